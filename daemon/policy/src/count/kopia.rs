//! Counts side by side that also end in time: the newest N of a kind, and none older than N of them
//! before the newest complete snapshot.

use super::{Bucket, Rule, back, limit, newest_first};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KopiaSnapshot {
    pub at: Timestamp,
    pub is_complete: bool,
}

/// By bucket: hour to year. All zero keeps all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KopiaKeep {
    pub latest: u32,
    pub counts: [u32; 5],
}

impl Default for KopiaKeep {
    fn default() -> Self {
        Self { latest: 10, counts: [48, 7, 4, 24, 3] }
    }
}

const INCOMPLETE_YOUNG: SignedDuration = SignedDuration::from_hours(4);
const INCOMPLETE_COUNT: usize = 3;

#[must_use]
pub fn kopia(snapshots: &[KopiaSnapshot], keep: &KopiaKeep, zone: &TimeZone) -> Vec<Vec<Rule>> {
    let order = newest_first(snapshots.iter().map(|snapshot| snapshot.at));
    let mut kept = vec![Vec::new(); snapshots.len()];
    incomplete(snapshots, &order, &mut kept);
    let complete: Vec<usize> =
        order.into_iter().filter(|index| snapshots[*index].is_complete).collect();
    let Some(newest) = complete.first().map(|index| snapshots[*index].at) else { return kept };
    let all = keep.latest == 0 && keep.counts == [0; 5];
    let few = if all { usize::MAX } else { usize::try_from(keep.latest).unwrap_or(usize::MAX) };
    for index in complete.iter().take(few) {
        kept[*index].push(if all { Rule::All } else { Rule::Last });
    }
    for (bucket, count) in Bucket::ALL.into_iter().zip(keep.counts) {
        let bound = bound(bucket, limit(count), newest, zone);
        let (mut last, mut taken) = (None, 0);
        for index in complete.iter().copied() {
            let of = bucket.of(snapshots[index].at, zone);
            if snapshots[index].at < bound || taken == count {
                break;
            }
            if last.replace(of) != Some(of) {
                kept[index].push(Rule::Count(bucket));
                taken += 1;
            }
        }
    }
    kept
}

fn bound(bucket: Bucket, count: u32, newest: Timestamp, zone: &TimeZone) -> Timestamp {
    match bucket {
        Bucket::Hour => {
            let hours = SignedDuration::from_hours(i64::from(count));
            newest.checked_sub(hours).unwrap_or(Timestamp::MIN)
        }
        Bucket::Day => back(newest, zone, 0, count),
        Bucket::Week => back(newest, zone, 0, count.saturating_mul(7)),
        Bucket::Month => back(newest, zone, count, 0),
        Bucket::Year => back(newest, zone, count.saturating_mul(12), 0),
    }
}

/// Before the first complete one: as long as they are young, or among the newest few.
fn incomplete(snapshots: &[KopiaSnapshot], order: &[usize], kept: &mut [Vec<Rule>]) {
    let Some(newest) = order.first().map(|index| snapshots[*index].at) else { return };
    for (place, index) in order.iter().copied().enumerate() {
        let age = newest.duration_since(snapshots[index].at);
        if snapshots[index].is_complete || (age >= INCOMPLETE_YOUNG && place >= INCOMPLETE_COUNT) {
            return;
        }
        kept[index].push(Rule::Incomplete);
    }
}
