//! From the words of the slow calculation to the product's.

use crate::oracle::{self, On, Stop};
use jiff::Timestamp;
use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;
use keelhold_policy::goal::keep::{Daily, MonthDay, Monthly, Times, Weekly, Which, Yearly};
use keelhold_policy::mutants::Mutants;
use keelhold_policy::retain::{Keep, Lifetime, Minimum, Pin, Point, Policy, Protection};
use keelhold_policy::retain::{Tag, Tags, Term, Unit, Witnessed};

pub fn seconds(at: Timestamp) -> i64 {
    at.as_second()
}

pub fn tags(tags: Tags) -> [bool; 4] {
    Tag::ALL.map(|tag| tags.has(tag))
}

pub fn protection(stop: Stop) -> Protection {
    match stop {
        Stop::No => Protection::On,
        Stop::ForEver => Protection::KeepForEver,
        Stop::ByPolicy => Protection::KeepByPolicy,
        Stop::Delete => Protection::Delete,
    }
}

fn lifetime((count, unit): oracle::Life) -> Lifetime {
    Lifetime::new(u32::try_from(count).unwrap(), Unit::ALL[unit])
}

fn weekday(monday_is_0: i64) -> Weekday {
    Weekday::from_monday_zero_offset(i8::try_from(monday_is_0).unwrap()).unwrap()
}

fn times(rule: &oracle::Rule) -> Times {
    let time = |second: &i64| Time::midnight() + jiff::SignedDuration::from_secs(*second);
    Times(rule.times.iter().map(time).collect())
}

fn on(rule: &oracle::Rule) -> MonthDay {
    match rule.on {
        On::Day(day) => MonthDay::Day(i8::try_from(day).unwrap()),
        On::Last => MonthDay::Last,
        On::Weekday(-1, day) => MonthDay::Weekday(Which::Last, weekday(day)),
        On::Weekday(nth, day) => {
            MonthDay::Weekday(Which::ALL[usize::try_from(nth - 1).unwrap()], weekday(day))
        }
    }
}

pub fn policy(asked: &oracle::Policy, mutants: Mutants) -> Policy {
    let rule = |tag: usize| asked.rules[tag].as_ref();
    let keep = Keep {
        daily: rule(0).map(|rule| Daily { times: times(rule), keep: lifetime(rule.life) }),
        weekly: rule(1).map(|rule| Weekly {
            on: rule.weekdays.iter().map(|day| weekday(*day)).collect(),
            times: times(rule),
            keep: lifetime(rule.life),
        }),
        monthly: rule(2).map(|rule| Monthly {
            on: on(rule),
            times: times(rule),
            keep: lifetime(rule.life),
        }),
        yearly: rule(3).map(|rule| Yearly {
            on: on(rule),
            months: rule.months.iter().map(|month| i8::try_from(*month).unwrap()).collect(),
            times: times(rule),
            keep: lifetime(rule.life),
        }),
    };
    let minimum = asked.minimum.map(|least| Minimum {
        daily: lifetime(least[0]),
        weekly: lifetime(least[1]),
        monthly: lifetime(least[2]),
        yearly: lifetime(least[3]),
    });
    let mut policy = Policy::new(TimeZone::get(asked.zone.name()).unwrap(), keep, minimum);
    policy.mutants = mutants;
    policy
}

pub fn product_points(points: &[oracle::Point]) -> Vec<Point> {
    let witnessed = |second: i64| Witnessed(second * 1_000_000_000);
    let at = |second: i64| Timestamp::from_second(second).unwrap();
    let one = |point: &oracle::Point| Point {
        made_at: at(point.made),
        witnessed_at: witnessed(point.witnessed),
        tags: Tag::ALL.into_iter().filter(|tag| point.tags[*tag as usize]).collect(),
        term: match (point.is_open, point.until) {
            (true, _) => Term::Open,
            (false, Some(until)) => Term::Until(at(until)),
            (false, None) => Term::Tags,
        },
        pin: point.pin.map(|until| Pin { until: witnessed(until), why: "a trial".into() }),
        is_good: point.is_good,
    };
    points.iter().map(one).collect()
}
