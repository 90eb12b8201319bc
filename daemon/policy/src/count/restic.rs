//! Counts side by side: every rule sees every snapshot, and one that matches is enough.

use super::{Bucket, Rule, back, limit, newest_first};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// A time back from the newest snapshot that is not in the future.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ResticWithin {
    pub years: u32,
    pub months: u32,
    pub days: u32,
    pub hours: u32,
}

impl ResticWithin {
    fn before(self, newest: Timestamp, zone: &TimeZone) -> Timestamp {
        let months = limit(self.years).saturating_mul(12).saturating_add(limit(self.months));
        let hours = SignedDuration::from_hours(i64::from(self.hours));
        back(newest, zone, months, self.days).checked_sub(hours).unwrap_or(Timestamp::MIN)
    }
}

/// `u32::MAX` is all of them; zero, or no time, is no rule. By bucket: hour to year.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ResticKeep {
    pub last: u32,
    pub counts: [u32; 5],
    pub within: Option<ResticWithin>,
    pub within_each: [Option<ResticWithin>; 5],
}

/// A policy without any rule would remove everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no rule is given, and everything would be removed")]
pub struct EmptyPolicy;

/// # Errors
/// [`EmptyPolicy`].
pub fn restic(
    snapshots: &[Timestamp],
    keep: &ResticKeep,
    zone: &TimeZone,
    now: Timestamp,
) -> Result<Vec<Vec<Rule>>, EmptyPolicy> {
    if *keep == ResticKeep::default() {
        return Err(EmptyPolicy);
    }
    let order = newest_first(snapshots.iter().copied());
    let newest = snapshots.iter().copied().filter(|at| *at <= now).max().unwrap_or(now);
    let mut kept = vec![Vec::new(); snapshots.len()];
    for index in order.iter().copied().take(usize::try_from(keep.last).unwrap_or(usize::MAX)) {
        kept[index].push(Rule::Last);
    }
    for (place, bucket) in Bucket::ALL.into_iter().enumerate() {
        let each = Each { snapshots, order: &order, bucket, zone };
        each.mark(Timestamp::MIN, keep.counts[place], Rule::Count, &mut kept);
        if let Some(within) = keep.within_each[place] {
            each.mark(within.before(newest, zone), u32::MAX, Rule::WithinEach, &mut kept);
        }
    }
    if let Some(within) = keep.within {
        let bound = within.before(newest, zone);
        let young = order.iter().filter(|index| snapshots[**index] > bound);
        young.for_each(|index| kept[*index].push(Rule::Within));
    }
    Ok(kept)
}

struct Each<'a> {
    snapshots: &'a [Timestamp],
    order: &'a [usize],
    bucket: Bucket,
    zone: &'a TimeZone,
}

impl Each<'_> {
    /// The newest of each bucket, and the oldest of all if the counter lasts so long. Only what is
    /// later than the bound counts.
    fn mark(
        &self,
        bound: Timestamp,
        mut left: u32,
        rule: fn(Bucket) -> Rule,
        kept: &mut [Vec<Rule>],
    ) {
        let mut last = None;
        let oldest = self.order.last().copied();
        let young = |index: &usize| bound == Timestamp::MIN || self.snapshots[*index] > bound;
        for index in self.order.iter().copied().filter(young) {
            let of = self.bucket.of(self.snapshots[index], self.zone);
            let is_new = last != Some(of);
            if left > 0 && (is_new || oldest == Some(index)) {
                kept[index].push(if is_new {
                    rule(self.bucket)
                } else {
                    Rule::Oldest(self.bucket)
                });
                last = Some(of);
                left = if left == u32::MAX { left } else { left - 1 };
            }
        }
    }
}
