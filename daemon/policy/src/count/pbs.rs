//! Counts that go on where the one before ended: a bucket that a finer rule has is not counted again,
//! and what a rule has passed over is passed over for good.

use super::{Bucket, Rule, newest_first};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::collections::HashSet;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PbsSnapshot {
    pub at: Timestamp,
    pub is_protected: bool,
    pub is_finished: bool,
}

/// Not given is not zero: with none given everything stays, with zeros nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PbsKeep {
    pub last: Option<u32>,
    /// By bucket: hour to year.
    pub counts: [Option<u32>; 5],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    Open,
    Keep(Rule),
    Goes,
}

#[must_use]
pub fn pbs(snapshots: &[PbsSnapshot], keep: &PbsKeep, zone: &TimeZone) -> Vec<Vec<Rule>> {
    if *keep == PbsKeep::default() {
        return vec![vec![Rule::All]; snapshots.len()];
    }
    let order = newest_first(snapshots.iter().map(|snapshot| snapshot.at));
    let mut marks = unfinished(snapshots, &order);
    if let Some(last) = keep.last {
        let is_open =
            |index: &usize| marks[*index] == Mark::Open && !snapshots[*index].is_protected;
        let open = order.iter().copied().filter(is_open);
        let taken: Vec<usize> = open.take(usize::try_from(last).unwrap_or(usize::MAX)).collect();
        taken.into_iter().for_each(|index| marks[index] = Mark::Keep(Rule::Last));
    }
    for (bucket, count) in Bucket::ALL.into_iter().zip(keep.counts) {
        if let Some(count) = count {
            fill(snapshots, &order, &mut marks, (bucket, zone), count);
        }
    }
    let answer = |(snapshot, mark): (&PbsSnapshot, Mark)| match mark {
        _ if snapshot.is_protected => vec![Rule::Protected],
        Mark::Keep(rule) => vec![rule],
        Mark::Open | Mark::Goes => Vec::new(),
    };
    snapshots.iter().zip(marks).map(answer).collect()
}

/// Only the newest unfinished one stays, and only if nothing finished is newer.
fn unfinished(snapshots: &[PbsSnapshot], order: &[usize]) -> Vec<Mark> {
    let mut marks = vec![Mark::Open; snapshots.len()];
    let mut may_stay = true;
    for index in order.iter().copied() {
        if !snapshots[index].is_finished {
            marks[index] = if may_stay { Mark::Keep(Rule::Incomplete) } else { Mark::Goes };
        }
        may_stay = false;
    }
    marks
}

fn fill(
    snapshots: &[PbsSnapshot],
    order: &[usize],
    marks: &mut [Mark],
    (bucket, zone): (Bucket, &TimeZone),
    count: u32,
) {
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let of = |index: usize| bucket.of(snapshots[index].at, zone);
    let is_kept = |index: &usize| matches!(marks[*index], Mark::Keep(_));
    let covered: HashSet<_> = order.iter().copied().filter(is_kept).map(of).collect();
    let mut filled = HashSet::new();
    for index in order.iter().copied() {
        // What is protected uses up no slot and covers nothing.
        let is_open = marks[index] == Mark::Open && !snapshots[index].is_protected;
        if !is_open || covered.contains(&of(index)) {
            continue;
        }
        if filled.contains(&of(index)) {
            marks[index] = Mark::Goes;
        } else if filled.len() < count {
            filled.insert(of(index));
            marks[index] = Mark::Keep(Rule::Count(bucket));
        } else {
            break;
        }
    }
}
