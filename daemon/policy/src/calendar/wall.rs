//! From the wall clock of a zone to instants and back, by one rule.
//!
//! Every civil time is exactly one instant. A time that happens twice (clocks went back) is its first
//! occurrence. A time that does not happen (clocks went forward) is the first instant after the gap,
//! so everything inside a gap falls together there. The rule never turns the order of two times
//! around, and that is what the searches in `event.rs` rest on.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};

/// The instant of a civil time. `None` outside of what a timestamp can tell.
pub(crate) fn instant(zone: &TimeZone, civil: DateTime) -> Option<Timestamp> {
    match zone.to_ambiguous_timestamp(civil).offset() {
        AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(civil).ok(),
        AmbiguousOffset::Fold { before, .. } => before.to_timestamp(civil).ok(),
        AmbiguousOffset::Gap { before, .. } => {
            // Read with the offset of before, it lies behind the change: the change is the last
            // one not after it.
            let behind = before.to_timestamp(civil).ok()?;
            Some(last_change(zone, behind)?.0)
        }
    }
}

/// Where on the wall clock a search for times after (or before) an instant begins: the civil time
/// that divides what is not after the instant from what is.
///
/// In an hour that happens for the second time that is its end: its times are all over.
pub(crate) fn divide(zone: &TimeZone, at: Timestamp) -> DateTime {
    let civil = zone.to_datetime(at);
    let AmbiguousOffset::Fold { before, .. } = zone.to_ambiguous_timestamp(civil).offset() else {
        return civil;
    };
    match last_change(zone, at) {
        // Still the first time: the change is yet to come.
        _ if before.to_timestamp(civil).is_ok_and(|first| first == at) => civil,
        Some((_, end)) => end,
        None => civil,
    }
}

/// The last change of offset not after `at`, and the civil time that the old offset gives to it.
fn last_change(zone: &TimeZone, at: Timestamp) -> Option<(Timestamp, DateTime)> {
    let behind = at.checked_add(jiff::SignedDuration::from_nanos(1)).ok()?;
    for change in zone.preceding(behind) {
        let when = change.timestamp();
        let before = when.checked_sub(jiff::SignedDuration::from_nanos(1)).ok()?;
        let old = zone.to_offset(before);
        // Some changes are of the name only.
        if old != change.offset() {
            return Some((when, old.to_datetime(when)));
        }
    }
    None
}
