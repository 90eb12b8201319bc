//! What a schedule implies: whether synchronisations fit between points, and how old a point may
//! become before somebody has to be told.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::calendar::Calendar;

/// Two points with no synchronisation between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a point at {} and one at {} are nearer than two synchronisations", wall(.first), wall(.second))]
pub struct TooClose {
    pub first: jiff::civil::DateTime,
    pub second: jiff::civil::DateTime,
}

fn wall(at: &jiff::civil::DateTime) -> String {
    let (date, time) = (at.date(), at.time());
    format!("{:02}:{:02} ({date})", time.hour(), time.minute())
}

/// Looked at for so long: a calendar that is regular for a year stays so.
const HORIZON: SignedDuration = SignedDuration::from_hours(24 * 400);
const SLOTS_MAX: usize = 20_000;

/// Whether at least one synchronisation every so many minutes lies between any two points.
///
/// Counted on the wall, on days on which no clock changes: what a spring night shortens is nobody's
/// mistake. `from` is today; a calendar of dates that are over has no two points.
pub fn has_sync_between(
    points: &Calendar,
    sync_minutes: u16,
    from: Timestamp,
) -> Result<(), TooClose> {
    let least = SignedDuration::from_mins(i64::from(sync_minutes));
    for (first, second) in pairs(points, from) {
        if second.duration_since(first) < least {
            let civil = |at| TimeZone::UTC.to_datetime(at);
            return Err(TooClose { first: civil(first), second: civil(second) });
        }
    }
    Ok(())
}

/// The deadline of a schedule that names none: its longest gap, and a twelfth of it or at least two
/// hours to be done in. A daily schedule has 26 hours.
#[must_use]
pub fn default_deadline(calendar: &Calendar, from: Timestamp) -> SignedDuration {
    let gaps = pairs(calendar, from).map(|(first, second)| second.duration_since(first));
    let longest = gaps.max().unwrap_or(SignedDuration::from_hours(24));
    longest.saturating_add((longest / 12).max(SignedDuration::from_hours(2)))
}

fn pairs(
    calendar: &Calendar,
    from: Timestamp,
) -> impl Iterator<Item = (Timestamp, Timestamp)> + use<'_> {
    let end = from.checked_add(HORIZON).unwrap_or(Timestamp::MAX);
    let mut slots = calendar.iter(&TimeZone::UTC, from).take(SLOTS_MAX);
    let mut last = slots.next();
    std::iter::from_fn(move || {
        let (first, second) = (last?, slots.next()?);
        last = (second <= end).then_some(second);
        Some((first, second))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sync_lies_between_two_points() {
        let from: Timestamp = "2026-11-22T00:00:00Z".parse().unwrap();
        let calendar = |text| Calendar::parse(text).unwrap();
        let close = calendar("daily 13:00 13:30");
        let found = has_sync_between(&close, 45, from).expect_err("half an hour");
        assert_eq!(found.second.time(), jiff::civil::time(13, 30, 0, 0));
        assert_eq!(has_sync_between(&close, 30, from), Ok(()));
        assert_eq!(has_sync_between(&calendar("daily 12:00 18:00"), 360, from), Ok(()));
        // Near each other only over midnight, and only on one day of the year.
        let yearly = calendar("*-06-30 23:50; *-07-01 00:00");
        assert!(has_sync_between(&yearly, 15, from).is_err());
    }

    #[test]
    fn a_schedule_has_a_deadline_without_naming_one() {
        let from: Timestamp = "2026-11-22T00:00:00Z".parse().unwrap();
        let hours = |text| default_deadline(&Calendar::parse(text).unwrap(), from).as_hours();
        assert_eq!((hours("daily 12:00"), hours("hourly"), hours("weekly")), (26, 3, 182));
        assert_eq!(hours("mon..fri 12:00"), 78);
    }
}
