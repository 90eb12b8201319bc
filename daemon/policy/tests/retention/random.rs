//! The product and the slow calculation over random policies, histories and clocks: the same tags,
//! reasons and dates.

use crate::dice::{Dice, seeds};
use crate::oracle::{self, DAY, Life, On, Rule, Stop, Zone, days};
use crate::probe::{policy, product_points, protection, seconds, tags};
use jiff::Timestamp;
use keelhold_policy::mutants::Mutants;
use keelhold_policy::retain::{Effect, Made, Now, Policy, Verdict, Witnessed};
use keelhold_policy::retain::{judge, preview, tags_when_made};

const SECONDS: i64 = 1_000_000_000;

/// A schedule, what became of its runs, and the points that are there.
struct World {
    asked: oracle::Policy,
    points: Vec<oracle::Point>,
    /// Where true time is at the end, how wrong the wall is, and what the appliance saw.
    end: i64,
    skew: i64,
    seen: i64,
}

fn life(dice: &mut Dice) -> Life {
    match dice.within(0, 5) {
        0 => (dice.within(1, 40), 0),
        1 => (dice.within(1, 9), 1),
        2 => (dice.within(1, 15), 2),
        3 => (dice.within(1, 4), 3),
        4 => (dice.within(1, 3), 0),
        _ => dice.pick(&[(9_999, 0), (5_163, 1), (1_188, 2), (99, 3), (1, 2)]),
    }
}

fn on(dice: &mut Dice) -> On {
    match dice.within(0, 2) {
        0 => On::Day(dice.pick(&[1, 15, 28, 29, 30, 31])),
        1 => On::Last,
        _ => On::Weekday(dice.pick(&[1, 2, 3, 4, -1]), dice.within(0, 6)),
    }
}

fn rules(dice: &mut Dice, zone: Zone, times: &[i64]) -> oracle::Policy {
    let rules = std::array::from_fn(|tag| {
        let on = on(dice);
        // A day that is in none of the months is refused before it gets here.
        let months: Vec<i64> = match on {
            On::Day(30 | 31) => vec![dice.pick(&[1, 3, 5, 12])],
            On::Day(29) => vec![2],
            _ => (1..=12).filter(|_| dice.one_in(3)).collect(),
        };
        let rule = Rule {
            weekdays: (0..7).filter(|_| dice.one_in(3)).collect(),
            on,
            months,
            times: if dice.one_in(2) { Vec::new() } else { dice.some(times) },
            life: life(dice),
        };
        (tag == 0 || dice.one_in(2)).then_some(rule).filter(|_| !dice.one_in(5))
    });
    let minimum = [(7, 0), (4, 1), (3, 2), (1, 3)];
    oracle::Policy { zone, rules, minimum: dice.one_in(3).then_some(minimum) }
}

fn begin(dice: &mut Dice) -> i64 {
    let year = dice.within(2010, 2080);
    match dice.within(0, 3) {
        0 => days().find(year, 2, 20),
        1 => days().find(year, 3, 1 + dice.within(0, 27)),
        2 => days().find(year, 10, 20),
        _ => days().find(year, dice.within(1, 12), 20),
    }
}

/// Runs day by day; checks each point's tags on the way.
fn world(dice: &mut Dice, mutants: Mutants) -> Result<World, String> {
    let zone = dice.pick(&Zone::ALL);
    let mut times = dice.some(&[0, 9_000, 8 * 3_600, 43_200, 64_800]);
    if times.is_empty() {
        times.push(43_200);
    }
    let asked = rules(dice, zone, &times);
    let product = policy(&asked, mutants);
    let first = begin(dice);
    let (mut points, mut missed, mut pending) = (Vec::new(), Vec::new(), [false; 4]);
    let (mut skew, mut lost) = (0, 0);
    let started = zone.run(first, 0);
    for day in first..first + dice.within(1, 20) {
        for second in &times {
            let slot = zone.run(day, *second);
            if dice.one_in(20) {
                skew = dice.pick(&[0, 0, 3_600, -DAY, 400 * DAY, -400 * DAY, 30]);
            }
            lost += if dice.one_in(30) {
                dice.within(1, 100_000).min(slot - started - lost)
            } else {
                0
            };
            let on_demand = dice.one_in(12);
            let (is_made, is_good) = (!dice.one_in(4), !dice.one_in(5));
            let own = asked.tags(day, *second);
            let base = if on_demand { [false; 4] } else { own };
            if on_demand || !(is_made && is_good) {
                missed.push(at(slot));
            }
            // One made on demand here is made after the run of the slot failed, and stands for it.
            if on_demand {
                pending = join(pending, own);
            }
            if is_made {
                let got = join(base, pending);
                let earlier =
                    if on_demand || is_good { &missed[..] } else { &missed[..missed.len() - 1] };
                let made = if on_demand { Made::OnDemand } else { Made::Slot(at(slot)) };
                let found = tags(tags_when_made(&product, made, earlier.iter().copied()));
                if found != got {
                    return Err(format!("tags of {slot}: {found:?}, by the walk {got:?}"));
                }
                let made = slot + skew + dice.within(0, 300);
                let is_open = dice.one_in(25);
                points.push(oracle::Point {
                    made,
                    witnessed: slot - started - lost,
                    tags: got,
                    until: (on_demand && !is_open).then(|| made + dice.within(-5, 60) * DAY),
                    is_open,
                    pin: dice.one_in(15).then(|| slot - started - lost + dice.within(0, 60) * DAY),
                    is_good,
                });
            }
            if is_made && is_good {
                (missed, pending) = (Vec::new(), [false; 4]);
            } else if !on_demand {
                pending = join(pending, own);
            }
        }
    }
    let end = zone.run(first + 20, 0);
    Ok(World { asked, points, end, skew, seen: end - started - lost })
}

/// Long-term tags are handed on, daily ones are not.
fn join(own: [bool; 4], handed: [bool; 4]) -> [bool; 4] {
    std::array::from_fn(|tag| own[tag] || (tag > 0 && handed[tag]))
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn answer(verdict: &Verdict) -> oracle::Answer {
    let mut reasons: Vec<_> = verdict.kept_because.iter().map(|reason| reason.name()).collect();
    reasons.sort_unstable();
    oracle::Answer { reasons, expires: verdict.expires_at.map(seconds) }
}

/// One history, looked at several times: a difference, or how many verdicts were compared.
pub fn compare(seed: u64, mutants: Mutants) -> Result<usize, String> {
    let dice = &mut Dice::new(seed);
    let world = world(dice, mutants)?;
    let times = [43_200, 9_000];
    let changed = rules(dice, world.asked.zone, &times);
    let points = product_points(&world.points);
    let mut compared = 0;
    for _ in 0..3 {
        let later = match dice.within(0, 2) {
            0 => dice.within(0, 40 * DAY),
            1 => dice.within(0, 500 * DAY),
            _ => dice.within(0, 30 * 366 * DAY),
        };
        let skew =
            if dice.one_in(3) { world.skew + dice.within(-800, 800) * DAY } else { world.skew };
        let (wall, seen) =
            (world.end + later + skew, world.seen + later - dice.within(0, later) / 20);
        let now = Now { wall: at(wall), witnessed: Witnessed(seen * SECONDS) };
        let stop =
            dice.pick(&[Stop::No, Stop::No, Stop::No, Stop::ForEver, Stop::ByPolicy, Stop::Delete]);
        let (old, new) = (policy(&world.asked, mutants), policy(&changed, mutants));
        let expected = [
            oracle::answers(&world.asked, Stop::No, &world.points, wall, seen),
            oracle::answers(&changed, stop, &world.points, wall, seen),
        ];
        let judged = judge(&old, protection(Stop::No), &points, now);
        same(&judged, &expected[0])?;
        same_preview((&old, &new, stop), &points, now, &expected)?;
        compared += 2 * points.len();
    }
    Ok(compared)
}

fn same(judged: &[Verdict], expected: &[oracle::Answer]) -> Result<(), String> {
    for (index, (verdict, expected)) in judged.iter().zip(expected).enumerate() {
        if answer(verdict) != *expected {
            return Err(format!("point {index}: {verdict:?}, by the walk {expected:?}"));
        }
    }
    Ok(())
}

fn same_preview(
    (old, new, stop): (&Policy, &Policy, Stop),
    points: &[keelhold_policy::retain::Point],
    now: Now,
    expected: &[Vec<oracle::Answer>; 2],
) -> Result<(), String> {
    let shown = preview((old, protection(Stop::No)), (new, protection(stop)), points, now);
    let before: Vec<_> = shown.changes.iter().map(|change| change.before.clone()).collect();
    let after: Vec<_> = shown.changes.iter().map(|change| change.after.clone()).collect();
    same(&before, &expected[0])?;
    same(&after, &expected[1])?;
    // Gone is less than any day, and no end is more.
    let length = |answer: &oracle::Answer| match (answer.reasons.is_empty(), answer.expires) {
        (true, _) => i64::MIN,
        (false, Some(end)) => end,
        (false, None) => i64::MAX,
    };
    for (index, change) in shown.changes.iter().enumerate() {
        let (was, is) = (length(&expected[0][index]), length(&expected[1][index]));
        let expected = match is - was.min(is) {
            0 if was == is => Effect::Keeps,
            0 => Effect::Loses,
            _ => Effect::Gains,
        };
        if change.effect() != expected {
            return Err(format!("point {index}: {:?}, by the walk {expected:?}", change.effect()));
        }
    }
    Ok(())
}

#[test]
fn judge_and_preview_say_what_a_walk_over_the_days_says() {
    let (seeds, mut compared) = (seeds(20_000), 0);
    println!("seeds {seeds:?}");
    let count = seeds.end - seeds.start;
    for seed in seeds {
        compared +=
            compare(seed, Mutants::default()).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    }
    println!("{count} histories, {compared} verdicts, no difference");
}
