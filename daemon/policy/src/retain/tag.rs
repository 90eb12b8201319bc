//! The tags of a point, given once when it is made.

use super::judge::Policy;
use crate::calendar::Calendar;
use crate::calendar::wall;
use crate::goal::keep::Tag;
use crate::mutants::Mutant;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use std::fmt;

/// A set of tags.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Tags(u8);

impl Tags {
    pub const NONE: Self = Self(0);

    #[must_use]
    pub fn with(self, tag: Tag) -> Self {
        Self(self.0 | 1 << tag as u8)
    }

    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    #[must_use]
    pub fn has(self, tag: Tag) -> bool {
        self.0 & 1 << tag as u8 != 0
    }

    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// What a failed run hands on. A day without a point is a day without a point.
    #[must_use]
    pub fn long_term(self) -> Self {
        Self(self.0 & !(1 << Tag::Daily as u8))
    }

    pub fn iter(self) -> impl Iterator<Item = Tag> {
        Tag::ALL.into_iter().filter(move |tag| self.has(*tag))
    }
}

impl FromIterator<Tag> for Tags {
    fn from_iter<I: IntoIterator<Item = Tag>>(tags: I) -> Self {
        tags.into_iter().fold(Self::NONE, Self::with)
    }
}

impl fmt::Debug for Tags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// How a point came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Made {
    /// For this run of the schedule, however late it was.
    Slot(Timestamp),
    OnDemand,
}

impl Policy {
    /// The tags of a run of the schedule.
    #[must_use]
    pub fn tags_of_slot(&self, slot: Timestamp) -> Tags {
        let date = self.zone.to_datetime(slot).date();
        Tag::ALL.into_iter().filter(|tag| self.names(*tag, date, slot)).collect()
    }

    fn names(&self, tag: Tag, date: Date, slot: Timestamp) -> bool {
        let Some(times) = self.keep.times(tag) else { return false };
        if times.is_all() {
            return self.keep.is_on(tag, date);
        }
        // A time that is left out on the day of the switch runs at the next minute there is, and that
        // may be on the day after.
        let dates = [Some(date), date.checked_sub(1.day()).ok()];
        dates.into_iter().flatten().filter(|date| self.keep.is_on(tag, *date)).any(|date| {
            let mut starts =
                times.0.iter().map(|time| wall::instant(&self.zone, date.to_datetime(*time)));
            starts.any(|start| start == Some(slot))
        })
    }

    /// Every long-term tag a run may have.
    fn long_term(&self) -> Tags {
        let rules = Tag::ALL.into_iter().filter(|tag| self.keep.lifetime(*tag).is_some());
        rules.collect::<Tags>().long_term()
    }
}

/// The tags of a point that is made now. `missed` are the runs of the schedule since the last complete
/// point that brought none; the point stands for them, too. A point that is not complete is tagged by
/// the same rule, and its own run counts as missed for the next.
#[must_use]
pub fn tags_when_made(
    policy: &Policy,
    made: Made,
    missed: impl IntoIterator<Item = Timestamp>,
) -> Tags {
    let mut tags = match made {
        Made::Slot(slot) => policy.tags_of_slot(slot),
        Made::OnDemand => Tags::NONE,
    };
    if policy.mutants.keeps(Mutant::TagInheritance) {
        let all = policy.long_term();
        for slot in missed {
            if tags.long_term() == all {
                break;
            }
            tags = tags.and(policy.tags_of_slot(slot).long_term());
        }
    }
    tags
}

/// The runs of a schedule between two moments, without both: between the run (or the moment) of the
/// last complete point, or the day the source became a member, and the run (or the moment) of the
/// point that is made now, none brought a complete one.
pub fn missed_runs(
    schedule: &Calendar,
    zone: &TimeZone,
    after: Timestamp,
    before: Timestamp,
) -> impl Iterator<Item = Timestamp> {
    schedule.iter(zone, after).take_while(move |slot| *slot < before)
}
