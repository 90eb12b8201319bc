//! How long what was deleted can be brought back. The time in force on the day it was deleted counts,
//! whatever is set later; and days are days that passed, not days on a clock that was moved.

use crate::retain::{Now, Witnessed};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};

/// The range a window may be set to, in days.
pub const DAYS: std::ops::RangeInclusive<i32> = 14..=180;
/// Of any window the last days cost nothing.
pub const FREE_DAYS: i32 = 14;

/// What was deleted, and under which window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deleted {
    pub at: Timestamp,
    pub witnessed: Witnessed,
    pub days: i32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Can be brought back until then.
    Waits {
        until: Timestamp,
    },
    Gone,
}

/// Whether the window can be switched off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switch {
    On,
    /// What waits goes at once.
    Off,
    /// Switching it off is refused, so it counts as on.
    AlwaysOn,
}

impl Deleted {
    /// The end of the last day of the window.
    #[must_use]
    pub fn until(&self, zone: &TimeZone) -> Timestamp {
        let date = zone.to_datetime(self.at).date();
        let end = date.checked_add(i64::from(self.days).saturating_add(1).days());
        end.and_then(|end| zone.to_timestamp(end.at(0, 0, 0, 0))).unwrap_or(Timestamp::MAX)
    }

    #[must_use]
    pub fn state(&self, zone: &TimeZone, switch: Switch, now: Now) -> State {
        if switch == Switch::Off {
            return State::Gone;
        }
        let until = self.until(zone);
        let left =
            until.duration_since(self.at).saturating_sub(now.witnessed.since(self.witnessed));
        if now.wall >= until && left <= SignedDuration::ZERO {
            return State::Gone;
        }
        let end = now.wall.checked_add(left).unwrap_or(Timestamp::MAX);
        State::Waits { until: if left > SignedDuration::ZERO { until.max(end) } else { until } }
    }
}

/// Days of a window that count and that do not, when it ends after `day` days.
#[must_use]
pub fn charged(days: i32, day: i32) -> (i32, i32) {
    let day = day.clamp(0, days.max(0));
    let charged = day.min((days - FREE_DAYS).max(0));
    (charged, day - charged)
}
