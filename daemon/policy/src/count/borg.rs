//! Counts that go on where the one before ended, each by its number or by a time back from now. A
//! number that is not used up takes the oldest archive, too.

use super::{Bucket, Rule, newest_first};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Interval {
    #[default]
    None,
    Count(u32),
    /// As far back, the bound included. A week is 7 days, a month 31, a year 365.
    Back(SignedDuration),
}

impl Interval {
    #[must_use]
    pub fn days(count: u32) -> Self {
        Self::Back(SignedDuration::from_hours(24 * i64::from(count)))
    }
}

/// Rules by bucket, hour to year; and what is kept whole.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BorgKeep {
    pub within: Option<SignedDuration>,
    pub rules: [Interval; 5],
}

#[must_use]
pub fn borg(
    archives: &[Timestamp],
    keep: &BorgKeep,
    zone: &TimeZone,
    reference: Timestamp,
) -> Vec<Vec<Rule>> {
    let order = newest_first(archives.iter().copied());
    let mut kept: Vec<Option<Rule>> = vec![None; archives.len()];
    let by_time = keep.rules.iter().any(|rule| matches!(rule, Interval::Back(_)));
    for (index, at) in archives.iter().enumerate() {
        if by_time && *at >= reference {
            kept[index] = Some(Rule::AtReference);
        } else if keep.within.is_some_and(|within| is_within(*at, within, reference)) {
            kept[index] = Some(Rule::Within);
        }
    }
    for (bucket, rule) in Bucket::ALL.into_iter().zip(keep.rules) {
        match rule {
            Interval::None => {}
            Interval::Count(count) => counted(archives, &order, (bucket, zone), count, &mut kept),
            Interval::Back(back) => {
                let young = |index: &usize| is_within(archives[*index], back, reference);
                let order: Vec<usize> = order.iter().copied().filter(young).collect();
                newest_of_each(archives, &order, (bucket, zone), u32::MAX, &mut kept);
            }
        }
    }
    kept.into_iter().map(|rule| rule.into_iter().collect()).collect()
}

fn is_within(at: Timestamp, back: SignedDuration, reference: Timestamp) -> bool {
    reference.checked_sub(back).map_or(true, |bound| at >= bound)
}

fn counted(
    archives: &[Timestamp],
    order: &[usize],
    place: (Bucket, &TimeZone),
    count: u32,
    kept: &mut [Option<Rule>],
) {
    let taken = newest_of_each(archives, order, place, count, kept);
    if let Some(oldest) = order.last().filter(|oldest| taken < count && kept[**oldest].is_none()) {
        kept[*oldest] = Some(Rule::Oldest(place.0));
    }
}

/// Of each bucket the newest, if nothing keeps that one already; how many that were.
fn newest_of_each(
    archives: &[Timestamp],
    order: &[usize],
    (bucket, zone): (Bucket, &TimeZone),
    count: u32,
    kept: &mut [Option<Rule>],
) -> u32 {
    let (mut last, mut taken) = (None, 0);
    for index in order.iter().copied() {
        let of = bucket.of(archives[index], zone);
        if taken == count {
            break;
        }
        if last.replace(of) != Some(of) && kept[index].is_none() {
            kept[index] = Some(Rule::Count(bucket));
            taken += 1;
        }
    }
    taken
}
