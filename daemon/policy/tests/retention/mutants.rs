//! Time by the wall alone removes nothing; and each protection, left out, is missed by a test.

use crate::dice::{Dice, seeds};
use crate::vectors::{self, at, daily, kept_for, made, policy};
use jiff::{SignedDuration, Timestamp};
use keelhold_policy::mutants::Mutants;
use keelhold_policy::retain::{Lifetime, Now, Protection, Reason, Unit, Witnessed, judge};

const DAY: i64 = 86_400;

/// Clocks jump, points are made, and none is gone before the time it was promised has passed.
fn no_clock_ends_a_point_early(
    mutants: Mutants,
    seeds: std::ops::Range<u64>,
) -> Result<u32, String> {
    let mut held = 0;
    for seed in seeds {
        let dice = &mut Dice::new(seed);
        // A month has at least 28 days, three have 89, a year has 365, whatever the wall takes it for.
        let count = dice.within(1, 40);
        let (lifetime, days) = dice.pick(&[
            (Lifetime::new(u32::try_from(count).unwrap(), Unit::Days), count),
            (Lifetime::new(1, Unit::Months), 28),
            (Lifetime::new(3, Unit::Months), 89),
            (Lifetime::new(1, Unit::Years), 365),
        ]);
        let policy = policy(kept_for(lifetime), mutants);
        let promised = days * DAY;
        let wall = |true_time: i64, skew: i64| Timestamp::from_second(true_time + skew).unwrap();
        let (mut true_time, mut points) = (1_780_000_000, Vec::new());
        for _ in 0..20 {
            true_time += dice.within(1, promised / 4);
            let skew = dice.pick(&[0, 0, 0, 3_600, -DAY, 40 * DAY, -20_000 * DAY, 20_000 * DAY]);
            let witnessed = Witnessed(true_time * 1_000_000_000);
            let mut point = made(&policy, wall(true_time, skew));
            point.witnessed_at = witnessed;
            points.push((true_time, point));
            let listed: Vec<_> = points.iter().map(|pair| pair.1.clone()).collect();
            let skew = dice.pick(&[0, 0, DAY, 40 * DAY, 20_000 * DAY, -20_000 * DAY]);
            let now = Now { wall: wall(true_time, skew), witnessed };
            for ((made_at, _), verdict) in
                points.iter().zip(judge(&policy, Protection::On, &listed, now))
            {
                let passed = true_time - made_at;
                if verdict.goes() && passed < promised {
                    return Err(format!("seed {seed}: gone after {passed} s, not {promised} s"));
                }
                held += u32::from(!verdict.goes());
            }
        }
    }
    Ok(held)
}

#[test]
fn witnessed_time_decides() {
    let seeds = seeds(5_000);
    println!("seeds {seeds:?}");
    assert!(no_clock_ends_a_point_early(Mutants::default(), seeds).unwrap() > 0);
    let policy = policy(daily(7), Mutants::default());
    let points =
        [made(&policy, at("2026-06-01 00:00:00")), made(&policy, at("2026-06-02 00:00:00"))];
    let jumped = |hours: i64| {
        let witnessed = Witnessed(points[0].witnessed_at.0 + hours * 3_600_000_000_000);
        judge(&policy, Protection::On, &points, Now { wall: at("2030-01-01 00:00:00"), witnessed })
    };
    // The clock is years ahead: what is left is what has not passed, and that is said.
    let verdict = &jumped(24)[0];
    assert_eq!(
        verdict.kept_because,
        [Reason::NotWitnessed { left: SignedDuration::from_hours(144) }]
    );
    assert_eq!(verdict.expires_at, Some(at("2030-01-07 00:00:00")));
    assert!(!jumped(167)[0].goes() && jumped(168)[0].goes());
    // A clock that went back keeps everything, however long it takes.
    let back = Now { wall: at("1970-01-02 00:00:00"), witnessed: Witnessed(i64::MAX) };
    assert!(judge(&policy, Protection::On, &points, back).iter().all(|verdict| !verdict.goes()));
}

#[cfg(feature = "mutants")]
#[test]
fn every_mutant_is_caught() {
    use crate::random::compare;
    use keelhold_policy::mutants::Mutant;
    for mutant in Mutant::OF_RETENTION {
        let without = Mutants::without(mutant);
        let (test, caught) = match mutant {
            Mutant::LastGood => ("d1_8_never_the_last", vectors::never_the_last(without)),
            Mutant::WitnessedTime => {
                let found = no_clock_ends_a_point_early(without, 1..200).map(|_| ());
                ("witnessed_time_decides", found)
            }
            Mutant::TagInheritance => {
                ("d1_6_missed_long_term_point", vectors::missed_long_term_point(without))
            }
            Mutant::MonthEnd => ("d1_14_month_end", vectors::month_end(without)),
            Mutant::MinimumFloor => ("d1_10_minimum", vectors::minimum(without)),
            Mutant::StoppedForEver => ("d1_9_stop_and_retain", vectors::stopped_and_kept(without)),
            other => unreachable!("{other:?} is not of retention"),
        };
        let why = caught.expect_err(&format!("{mutant:?} was not caught by {test}"));
        println!("{mutant:?} caught by {test}: {why}");
        let (seed, why) =
            (1..500).find_map(|seed| Some((seed, compare(seed, without).err()?))).unwrap();
        println!("  and by the walk over the days, seed {seed}: {why}");
    }
}

#[test]
fn without_a_mutant_nothing_is_left_out() {
    vectors::stopped_and_kept(Mutants::default()).unwrap();
}
