//! How long it takes to judge 10,000 points of one source, in processor time.

use jiff::civil::Weekday;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use keelhold_policy::goal::keep::{Daily, MonthDay, Monthly, Times, Weekly, Which, Yearly};
use keelhold_policy::retain::{
    Keep, Lifetime, Made, Minimum, Now, Point, Policy, Protection, Term, Unit, Witnessed, judge,
    preview, tags_when_made,
};

const POINTS: i64 = 10_000;

fn policy(days: u32) -> Policy {
    let last = MonthDay::Weekday(Which::Last, Weekday::Saturday);
    let times = Times::default;
    let life = Lifetime::new;
    let keep = Keep {
        daily: Some(Daily { times: times(), keep: life(days, Unit::Days) }),
        weekly: Some(Weekly {
            on: vec![Weekday::Saturday],
            times: times(),
            keep: life(400, Unit::Weeks),
        }),
        monthly: Some(Monthly { on: last, times: times(), keep: life(120, Unit::Months) }),
        yearly: Some(Yearly {
            on: last,
            months: vec![3],
            times: times(),
            keep: life(10, Unit::Years),
        }),
    };
    let zone = TimeZone::get("Europe/Berlin").unwrap_or(TimeZone::UTC);
    Policy::new(zone, keep, Some(Minimum::USUAL))
}

fn made(policy: &Policy, slot: Timestamp) -> Point {
    Point {
        made_at: slot,
        witnessed_at: Witnessed(slot.as_second().saturating_mul(1_000_000_000)),
        tags: tags_when_made(policy, Made::Slot(slot), []),
        term: Term::Tags,
        pin: None,
        is_good: true,
    }
}

/// Processor time of this thread so far, as the kernel counts it.
fn cpu_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = text.split(' ').next().and_then(|word| word.parse::<f64>().ok());
    nanos.unwrap_or(0.0) / 1e9
}

/// The kernel counts in steps of a few milliseconds: many rounds, and their mean.
const ROUNDS: u32 = 50;

fn timed<T>(what: &str, work: impl Fn() -> T) -> T {
    let done = work();
    let begin = cpu_seconds();
    for _ in 0..ROUNDS {
        std::hint::black_box(work());
    }
    let each = (cpu_seconds() - begin) / f64::from(ROUNDS);
    println!("{what}: {:.2} ms of processor time, mean of {ROUNDS}", 1_000.0 * each);
    done
}

fn main() {
    let (old, new) = (policy(3_000), policy(30));
    let first = Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24 * 365 * 45);
    let slot = |index: i64| first + SignedDuration::from_hours(6 * index);
    let points: Vec<Point> = timed("tags of 10,000 points", || {
        (0..POINTS).map(|index| made(&old, slot(index))).collect()
    });
    let wall = slot(POINTS);
    let witnessed = Witnessed(wall.as_second().saturating_mul(1_000_000_000));
    let now = Now { wall, witnessed };
    let verdicts = timed("judge 10,000 points", || judge(&old, Protection::On, &points, now));
    let kept = verdicts.iter().filter(|verdict| !verdict.goes()).count();
    let shown = timed("preview on 10,000 points", || {
        preview((&old, Protection::On), (&new, Protection::On), &points, now)
    });
    println!("{kept} kept; the shorter policy would remove {}", shown.removed_count());
}
