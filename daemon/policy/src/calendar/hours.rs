//! Hours of the week in which something is allowed: `mon..fri 20:00-06:00`, `sat,sun 00:00-24:00`.
//!
//! The weekday is that of the beginning; an end that is not behind the beginning is on the next day.
//! On the days when clocks change, beginnings and ends are instants by the rule of [`super::wall`].

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::chain;
use super::event::EVERY_DAY;
use super::fault::{CalendarFault, Reason};
use super::marks::Field;
use super::parse::Piece;
use super::wall;

const DAY: u32 = 24 * 60;
const WEEK: u32 = 7 * DAY;

/// Stretches of the week. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hours {
    /// Minutes since Monday 00:00, in order, without overlap; the last may reach over the week's end.
    stretches: Vec<(u32, u32)>,
    /// What was read.
    text: String,
}

impl Hours {
    pub fn parse(text: &str) -> Result<Self, CalendarFault> {
        let mut stretches = Vec::new();
        for part in (Piece { at: 0, text }).split(";") {
            stretches.extend(part_of_week(part)?);
        }
        Ok(Self { stretches: merged(stretches), text: text.trim().to_owned() })
    }

    /// All of them together. `None` of none.
    #[must_use]
    pub fn joined(parts: impl IntoIterator<Item = Self>) -> Option<Self> {
        let parts: Vec<Self> = parts.into_iter().collect();
        let text = parts.iter().map(|part| part.text.as_str()).collect::<Vec<_>>().join("; ");
        let stretches = parts.into_iter().flat_map(|part| part.stretches).collect();
        let stretches = merged(stretches);
        (!stretches.is_empty()).then_some(Self { stretches, text })
    }

    #[must_use]
    pub fn is_always(&self) -> bool {
        self.stretches.iter().any(|(from, to)| to - from >= WEEK)
    }

    #[must_use]
    pub fn contains(&self, zone: &TimeZone, at: Timestamp) -> bool {
        self.is_always() || self.around(zone, at).is_some_and(|(from, _)| from <= at)
    }

    /// Beginning and end of the stretch that holds the instant, or else of the next one. `None` if
    /// it is always, or beyond what time can tell.
    #[must_use]
    pub fn around(&self, zone: &TimeZone, at: Timestamp) -> Option<(Timestamp, Timestamp)> {
        if self.is_always() {
            return None;
        }
        let civil = zone.to_datetime(at);
        let since_monday = i64::from(civil.weekday().to_monday_zero_offset());
        let monday = civil.date().checked_sub(jiff::Span::new().days(since_monday)).ok()?;
        let minute = |from: u32, week: i64| -> Option<DateTime> {
            let days = i64::from(from / DAY) + 7 * week;
            let date = monday.checked_add(jiff::Span::new().days(days)).ok()?;
            let (hour, minute) = (from % DAY / 60, from % 60);
            Some(date.at(i8::try_from(hour).ok()?, i8::try_from(minute).ok()?, 0, 0))
        };
        for week in -1..=1 {
            for &(from, to) in &self.stretches {
                let end = minute(to, week)?;
                // An end more than a day ago on the wall is over, whatever clocks did meanwhile.
                if end < civil.checked_sub(jiff::SignedDuration::from_hours(25)).ok()? {
                    continue;
                }
                let (from, to) =
                    (wall::instant(zone, minute(from, week)?)?, wall::instant(zone, end)?);
                if at < to && from < to {
                    return Some((from, to));
                }
            }
        }
        None
    }
}

fn part_of_week(part: Piece<'_>) -> Result<Vec<(u32, u32)>, CalendarFault> {
    let words = part.words();
    let (days, times) = match words.as_slice() {
        [] => return Err(part.refuse(Reason::Empty)),
        [days, times @ ..] if !days.text.contains(':') => (chain::weekdays(*days, || None)?, times),
        times => (EVERY_DAY, times),
    };
    if times.is_empty() {
        return Err(part.refuse(Reason::NoHours));
    }
    let mut stretches = Vec::new();
    for piece in times {
        let (from, to) = piece.split_once("-").ok_or_else(|| piece.refuse(Reason::NoHours))?;
        let (begin, end) = (minute_of_day(from)?, minute_of_day(to)?);
        if begin == DAY || begin == end {
            return Err(piece.refuse(Reason::EmptyHours));
        }
        let length = if end > begin { end - begin } else { end + DAY - begin };
        for day in (0..7).filter(|day| days & (1 << day) != 0) {
            stretches.push((day * DAY + begin, day * DAY + begin + length));
        }
    }
    Ok(stretches)
}

/// `24:00` is the end of the day.
fn minute_of_day(piece: Piece<'_>) -> Result<u32, CalendarFault> {
    let Some((hour, minute)) = piece.split_once(":") else {
        return Err(piece.refuse(Reason::NoHours));
    };
    if (hour.text, minute.text) == ("24", "00") {
        return Ok(DAY);
    }
    let one = |piece: Piece<'_>, field| {
        let value = chain::number(piece, field)?;
        Ok::<u32, CalendarFault>(u32::from(value))
    };
    Ok(one(hour, Field::Hour)? * 60 + one(minute, Field::Minute)?)
}

fn merged(mut stretches: Vec<(u32, u32)>) -> Vec<(u32, u32)> {
    stretches.sort_unstable();
    let mut found: Vec<(u32, u32)> = Vec::new();
    for (from, to) in stretches {
        match found.last_mut() {
            Some((_, end)) if *end >= from => *end = (*end).max(to),
            _ => found.push((from, to)),
        }
    }
    // What reaches over Sunday's end may meet what begins the week.
    while found.len() > 1 {
        let (first, last) = (found[0], found[found.len() - 1]);
        if last.1 < first.0 + WEEK {
            break;
        }
        found.remove(0);
        if let Some(last) = found.last_mut() {
            last.1 = last.1.max(first.1 + WEEK);
        }
    }
    found
}

impl std::fmt::Display for Hours {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Hours {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hours {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn around(text: &str, at: &str) -> Option<(String, String)> {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let found = Hours::parse(text).unwrap().around(&zone, at.parse().unwrap());
        found.map(|(from, to)| (from.to_string(), to.to_string()))
    }

    #[test]
    fn nights_reach_into_the_next_day() {
        let nights = "mon..fri 20:00-06:00";
        let pair = |from: &str, to: &str| Some((from.to_owned(), to.to_owned()));
        // Saturday 03:00 belongs to Friday's night.
        let friday = pair("2026-11-20T19:00:00Z", "2026-11-21T05:00:00Z");
        assert_eq!(around(nights, "2026-11-21T02:00:00Z"), friday);
        let monday = pair("2026-11-23T19:00:00Z", "2026-11-24T05:00:00Z");
        assert_eq!(around(nights, "2026-11-21T05:00:00Z"), monday);
        // Together with the weekend it is one stretch, over the week's end.
        let both = "mon..fri 20:00-06:00; sat,sun 00:00-24:00";
        let weekend = pair("2026-11-20T19:00:00Z", "2026-11-22T23:00:00Z");
        assert_eq!(around(both, "2026-11-22T12:00:00Z"), weekend);
        assert!(Hours::parse("00:00-24:00").unwrap().is_always());
        // The night of the repeated hour is an hour longer.
        let long = pair("2026-10-24T18:00:00Z", "2026-10-25T05:00:00Z");
        assert_eq!(around("20:00-06:00", "2026-10-25T01:30:00Z"), long);
    }

    #[test]
    fn hours_that_cannot_be_are_refused() {
        for (text, at) in [
            ("", 0),
            ("mon", 0),
            ("mon 8:00", 4),
            ("mon 8:00-25:00", 9),
            ("fri..mon 8:00-9:00", 0),
            ("8:00-8:00", 0),
            ("mon, 8:00-9:00", 4),
            ("8:00-9:00; ", 10),
        ] {
            let fault = Hours::parse(text).expect_err(text);
            assert_eq!(fault.at, at, "{text}: {fault}");
        }
    }
}
