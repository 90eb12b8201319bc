//! Calendars: when something happens, on the wall clock of a zone.
//!
//! The text is that of systemd's calendar events (`Mon..Fri *-*-* 02:00`, `*-*~1`, `hourly`) and of a
//! few plain forms (`daily 08:15 18:45`, `weekly sat 02:00`, `monthly last 03:00`). Several events
//! stand behind each other with `;`. What differs from systemd:
//!
//! - An event may carry several times of day.
//! - Fractions of a second and single instants (`@…`) are refused: neither is a schedule.
//! - Dates that never happen are refused with the reason, a comma with nothing behind it, too.
//! - On the days when clocks change every time is one instant ([`wall`]): the repeated hour counts
//!   when it happens first, a time that is skipped happens at the first instant after the gap, and
//!   what falls together there happens once.

mod chain;
mod event;
mod fault;
mod hours;
mod marks;
mod parse;
mod show;
#[cfg(test)]
mod tests;
pub(crate) mod wall;

use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::{Date, Time, Weekday};
use jiff::tz::TimeZone;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::mutants::{Mutant, Mutants};
use event::Event;
pub use fault::{CalendarFault, Reason};
pub use hours::Hours;
pub use marks::Field;
use marks::Marks;

/// When something happens. Never empty.
#[derive(Debug, Clone, PartialEq)]
pub struct Calendar {
    events: Vec<Event>,
}

/// As many times of day as a person would list.
const TIMES_MAX: usize = 96;

impl Calendar {
    pub fn parse(text: &str) -> Result<Self, CalendarFault> {
        Ok(Self { events: parse::calendar(text)? })
    }

    /// Every so many minutes, counted on the wall from midnight. `None` if a day is not a whole
    /// number of them.
    #[must_use]
    pub fn every(minutes: u16) -> Option<Self> {
        if minutes == 0 || !(24 * 60_u16).is_multiple_of(minutes) {
            return None;
        }
        let mut events: Vec<Event> = Vec::new();
        for hour in 0..24_u16 {
            let mut marks = Marks::none(Field::Minute);
            let of_hour = (0..60).filter(|minute| (hour * 60 + minute).is_multiple_of(minutes));
            of_hour.for_each(|minute| marks.insert(minute));
            if marks.count() == 0 {
                continue;
            }
            // Hours with the same minutes are one event.
            match events.iter_mut().find(|event| event.minutes == marks) {
                Some(event) => event.hours.insert(hour),
                None => {
                    let hours = Marks::one(Field::Hour, hour);
                    events.push(Event { hours, minutes: marks, ..Event::daily() });
                }
            }
        }
        Some(Self { events })
    }

    /// All of them together. `None` of none.
    #[must_use]
    pub fn joined(calendars: impl IntoIterator<Item = Self>) -> Option<Self> {
        let mut events: Vec<Event> = Vec::new();
        for event in calendars.into_iter().flat_map(|calendar| calendar.events) {
            if !events.contains(&event) {
                events.push(event);
            }
        }
        (!events.is_empty()).then_some(Self { events })
    }

    /// The first time after an instant. `zone` is for the events that name none.
    #[must_use]
    pub fn next(&self, zone: &TimeZone, after: Timestamp) -> Option<Timestamp> {
        let next = |event: &Event| {
            let zone = event.zone.as_ref().unwrap_or(zone);
            let mut civil = event.at_or_after(wall::divide(zone, after))?;
            loop {
                let at = wall::instant(zone, civil)?;
                if at > after {
                    return Some(at);
                }
                civil = event.at_or_after(civil.checked_add(SECOND).ok()?)?;
            }
        };
        self.events.iter().filter_map(next).min()
    }

    /// The last time before an instant.
    #[must_use]
    pub fn previous(&self, zone: &TimeZone, before: Timestamp) -> Option<Timestamp> {
        self.previous_of(zone, before, Mutants::default())
    }

    pub(crate) fn previous_of(
        &self,
        zone: &TimeZone,
        before: Timestamp,
        mutants: Mutants,
    ) -> Option<Timestamp> {
        let previous = |event: &Event| {
            let zone = event.zone.as_ref().unwrap_or(zone);
            let mut civil = event.at_or_before(wall::divide(zone, before))?;
            loop {
                let at = wall::instant(zone, civil)?;
                if at < before && !mutants.keeps(Mutant::RepeatedHour) {
                    return previous_by_offset(event, zone, before).max(Some(at));
                }
                if at < before {
                    return Some(at);
                }
                civil = event.at_or_before(civil.checked_sub(SECOND).ok()?)?;
            }
        };
        self.events.iter().filter_map(previous).max()
    }

    /// The last time that is not after an instant.
    #[must_use]
    pub fn newest(&self, zone: &TimeZone, until: Timestamp) -> Option<Timestamp> {
        let behind = until.checked_add(jiff::SignedDuration::from_nanos(1)).ok()?;
        self.previous(zone, behind)
    }

    /// All times after an instant, in order.
    pub fn iter(
        &self,
        zone: &TimeZone,
        after: Timestamp,
    ) -> impl Iterator<Item = Timestamp> + use<'_> {
        let zone = zone.clone();
        let mut last = after;
        std::iter::from_fn(move || {
            last = self.next(&zone, last)?;
            Some(last)
        })
    }

    /// Every time of day at which something happens, in order, if they can be listed. On what dates
    /// is another question.
    #[must_use]
    pub fn times_of_day(&self) -> Option<Vec<Time>> {
        listed(self.events.iter())
    }

    /// The times of one date, if they can be listed.
    #[must_use]
    pub fn times_on(&self, date: Date) -> Option<Vec<Time>> {
        listed(self.events.iter().filter(|event| event.admits(date)))
    }

    /// Whether something may happen on this weekday.
    #[must_use]
    pub fn has_weekday(&self, weekday: Weekday) -> bool {
        self.events.iter().any(|event| event.has_weekday(weekday))
    }

    /// Whether something happens on this date (of the zone it is asked with).
    #[must_use]
    pub fn admits(&self, date: Date) -> bool {
        self.events.iter().any(|event| event.admits(date))
    }

    /// For people: `Mondays to Fridays at 02:00`.
    #[must_use]
    pub fn describe(&self) -> String {
        show::describe(&self.events)
    }
}

/// What is left when a time may be two instants: every time that a clock on the wall shows.
fn previous_by_offset(event: &Event, zone: &TimeZone, before: Timestamp) -> Option<Timestamp> {
    let mut changes = zone.preceding(before).map(|change| change.timestamp());
    let mut to = before.checked_sub(jiff::SignedDuration::from_nanos(1)).ok()?;
    loop {
        let begin = changes.next().unwrap_or(Timestamp::MIN);
        let offset = zone.to_offset(to);
        let civil = event.at_or_before(offset.to_datetime(to))?;
        match offset.to_timestamp(civil) {
            Ok(at) if at >= begin => return Some(at),
            _ => to = begin.checked_sub(jiff::SignedDuration::from_nanos(1)).ok()?,
        }
    }
}

const SECOND: jiff::SignedDuration = jiff::SignedDuration::from_secs(1);

fn listed<'a>(events: impl Iterator<Item = &'a Event> + Clone) -> Option<Vec<Time>> {
    if events.clone().map(Event::times_count).sum::<usize>() > TIMES_MAX {
        return None;
    }
    let mut times: Vec<Time> = events.flat_map(Event::times).collect();
    times.sort_unstable();
    times.dedup();
    Some(times)
}

impl FromStr for Calendar {
    type Err = CalendarFault;

    fn from_str(text: &str) -> Result<Self, CalendarFault> {
        Self::parse(text)
    }
}

/// The normal form: it reads back as the same calendar.
impl std::fmt::Display for Calendar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (place, event) in self.events.iter().enumerate() {
            let between = if place == 0 { "" } else { "; " };
            write!(f, "{between}{}", show::normal(event))?;
        }
        Ok(())
    }
}

impl Serialize for Calendar {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Calendar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}
