//! How other products decide what to keep: by counting. Pure functions over instants, for comparing
//! and importing; Keelhold itself keeps by tags.
//!
//! Each function answers in the order of its input: the rules that keep a snapshot, none if it goes.

mod borg;
mod import;
mod kopia;
mod pbs;
mod restic;

pub use borg::{BorgKeep, Interval, borg};
pub use import::{Counts, Import, Model, NotExpressed, import};
pub use kopia::{KopiaKeep, KopiaSnapshot, kopia};
pub use pbs::{PbsKeep, PbsSnapshot, pbs};
pub use restic::{EmptyPolicy, ResticKeep, ResticWithin, restic};

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

/// Why a snapshot is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    Last,
    Count(Bucket),
    /// Kept by a rule that has slots left and nothing else to fill them with.
    Oldest(Bucket),
    Within,
    WithinEach(Bucket),
    Protected,
    /// Not complete, and new enough to go on with.
    Incomplete,
    /// Not older than the moment the rules are reckoned from.
    AtReference,
    /// No rule was given.
    All,
}

/// A stretch of the calendar of which one snapshot counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Bucket {
    Hour,
    Day,
    Week,
    Month,
    Year,
}

impl Bucket {
    pub const ALL: [Self; 5] = [Self::Hour, Self::Day, Self::Week, Self::Month, Self::Year];

    /// Which one an instant is in. Weeks begin on Monday and belong to the year of their Thursday.
    fn of(self, at: Timestamp, zone: &TimeZone) -> (i16, i16) {
        let at = zone.to_datetime(at);
        match self {
            Self::Hour => (at.year(), at.day_of_year() * 24 + i16::from(at.hour())),
            Self::Day => (at.year(), at.day_of_year()),
            Self::Week => {
                let week = at.date().iso_week_date();
                (week.year(), i16::from(week.week()))
            }
            Self::Month => (at.year(), i16::from(at.month())),
            Self::Year => (at.year(), 0),
        }
    }
}

/// Places in the list from the newest to the oldest; of equal ones the later in the list is newer.
fn newest_first(instants: impl Iterator<Item = Timestamp>) -> Vec<usize> {
    let mut order: Vec<_> = instants.enumerate().map(|(index, at)| (at, index)).collect();
    order.sort_unstable();
    order.into_iter().rev().map(|(_, index)| index).collect()
}

/// Months back as some products reckon: a day the month does not have is counted on into the next.
fn back(at: Timestamp, zone: &TimeZone, months: u32, days: u32) -> Timestamp {
    let from = zone.to_datetime(at);
    let reckon = || {
        let first = from.date().first_of_month().checked_sub(i64::from(months).months())?;
        let spilled = first.checked_add(i64::from(from.day() - 1).days())?;
        let date = spilled.checked_sub(i64::from(days).days())?;
        zone.to_timestamp(DateTime::from_parts(date, from.time()))
    };
    // What lies before the beginning of the calendar is older than everything. Spans that no calendar
    // holds do not come here: they are limited by `limit`.
    reckon().unwrap_or(Timestamp::MIN)
}

/// Counts beyond what a calendar holds mean all of it.
fn limit(count: u32) -> u32 {
    count.min(100_000)
}
