//! Calendars as text: the normal form, which is read back, and words for people.

use jiff::civil::Time;

use super::event::{EVERY_DAY, Event};
use super::marks::{Field, Marks};

const SHORT: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const LONG: [&str; 7] =
    ["Mondays", "Tuesdays", "Wednesdays", "Thursdays", "Fridays", "Saturdays", "Sundays"];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

pub(crate) fn normal(event: &Event) -> String {
    let mut text = String::new();
    if event.weekdays != EVERY_DAY {
        let runs = weekday_runs(event.weekdays);
        let parts = runs.iter().map(|&(from, to)| match to - from {
            0 => SHORT[from].to_owned(),
            1 => format!("{},{}", SHORT[from], SHORT[to]),
            _ => format!("{}..{}", SHORT[from], SHORT[to]),
        });
        text = parts.collect::<Vec<_>>().join(",") + " ";
    }
    let before_day = if event.days.field() == Field::DayFromEnd { '~' } else { '-' };
    let (years, months, days) = (chain(&event.years), chain(&event.months), chain(&event.days));
    text += &format!("{years}-{months}{before_day}{days} ");
    let (hours, minutes) = (chain(&event.hours), chain(&event.minutes));
    text += &format!("{hours}:{minutes}:{}", chain(&event.seconds));
    if let Some(name) = event.zone.as_ref().and_then(|zone| zone.iana_name()) {
        text = text + " " + name;
    }
    text
}

/// The values of a field: `*`, a step to the end of the field, or a list with ranges.
fn chain(marks: &Marks) -> String {
    if marks.is_all() {
        return String::from("*");
    }
    let values: Vec<u16> = marks.iter().collect();
    let field = marks.field();
    let written = |value: u16| match field {
        Field::Year => value.to_string(),
        _ => format!("{value:02}"),
    };
    if let (&[first, second, third, ..], Some(&last)) = (values.as_slice(), values.last()) {
        let step = second - first;
        let steady = values.windows(2).all(|pair| pair[1] - pair[0] == step);
        let to_the_end = last + step > field.high() && field != Field::DayFromEnd;
        if steady && to_the_end && step > 1 && third > second {
            return format!("{}/{step}", written(first));
        }
    }
    let parts = runs(&values).into_iter().map(|(from, to)| match to - from {
        0 => written(from),
        1 => format!("{},{}", written(from), written(to)),
        _ => format!("{}..{}", written(from), written(to)),
    });
    parts.collect::<Vec<_>>().join(",")
}

/// Neighbours together.
fn runs(values: &[u16]) -> Vec<(u16, u16)> {
    let mut found: Vec<(u16, u16)> = Vec::new();
    for &value in values {
        match found.last_mut() {
            Some((_, to)) if *to + 1 == value => *to = value,
            _ => found.push((value, value)),
        }
    }
    found
}

fn weekday_runs(bits: u8) -> Vec<(usize, usize)> {
    let days: Vec<u16> = (0..7).filter(|day| bits & (1 << day) != 0).collect();
    runs(&days).into_iter().map(|(from, to)| (usize::from(from), usize::from(to))).collect()
}

pub(crate) fn describe(events: &[Event]) -> String {
    let mut groups: Vec<(&Event, Vec<&Event>)> = Vec::new();
    for event in events {
        let same = |other: &Event| {
            let other = Event { hours: event.hours, minutes: event.minutes, ..other.clone() };
            Event { seconds: event.seconds, ..other } == *event
        };
        match groups.iter_mut().find(|(first, _)| same(first)) {
            Some((_, members)) => members.push(event),
            None => groups.push((event, vec![event])),
        }
    }
    let texts = groups.iter().map(|(first, members)| {
        let zone = first.zone.as_ref().and_then(|zone| zone.iana_name());
        let zone = zone.map_or_else(String::new, |name| format!(" ({name})"));
        let often = match members.as_slice() {
            [one] => often(one),
            _ => None,
        };
        match often {
            Some(often) if first.has_all_dates() => often + &zone,
            Some(often) => format!("{}, {often}{zone}", dates(first)),
            None => format!("{} at {}{zone}", dates(first), times(members)),
        }
    });
    texts.collect::<Vec<_>>().join("; ")
}

/// Times that are better said as a rhythm than listed.
fn often(event: &Event) -> Option<String> {
    let on_the_minute = event.seconds == Marks::one(Field::Second, 0);
    if !on_the_minute {
        return None;
    }
    let hour = event.hours.is_all();
    if hour && event.minutes.is_all() {
        return Some(String::from("every minute"));
    }
    let all_day = if hour { "every hour".to_owned() } else { every(&event.hours, "hours")? };
    if event.minutes.count() == 1 {
        let minute = event.minutes.first()?;
        let at = if minute == 0 { String::new() } else { format!(", {minute} minutes past") };
        return Some(all_day + &at);
    }
    if hour { every(&event.minutes, "minutes") } else { None }
}

/// A step that goes on over the end of its field evenly.
fn every(marks: &Marks, unit: &str) -> Option<String> {
    let span = marks.field().high() + 1;
    let mut values = marks.iter();
    let step = values.nth(1)? - marks.first()?;
    let steady = span.is_multiple_of(step) && usize::from(span / step) == marks.count();
    let follows = marks.iter().all(|value| value % step == marks.first().unwrap_or(0) % step);
    (steady && follows && marks.first() == Some(0)).then(|| format!("every {step} {unit}"))
}

fn times(events: &[&Event]) -> String {
    let count: usize = events.iter().map(|event| event.times_count()).sum();
    if count > 12 {
        let texts = events.iter().map(|event| {
            let (hours, minutes) = (chain(&event.hours), chain(&event.minutes));
            format!("{hours}:{minutes}:{}", chain(&event.seconds))
        });
        return texts.collect::<Vec<_>>().join(" and ");
    }
    let mut list: Vec<Time> = events.iter().flat_map(|event| event.times()).collect();
    list.sort_unstable();
    list.dedup();
    let texts: Vec<String> = list
        .iter()
        .map(|time| match time.second() {
            0 => format!("{:02}:{:02}", time.hour(), time.minute()),
            second => format!("{:02}:{:02}:{second:02}", time.hour(), time.minute()),
        })
        .collect();
    listed(&texts)
}

fn dates(event: &Event) -> String {
    if event.has_all_dates() {
        return String::from("every day");
    }
    let mut parts = Vec::new();
    if event.weekdays != EVERY_DAY {
        let runs = weekday_runs(event.weekdays);
        let texts = runs.into_iter().map(|(from, to)| match to - from {
            0 => LONG[from].to_owned(),
            1 => format!("{}, {}", LONG[from], LONG[to]),
            _ => format!("{} to {}", LONG[from], LONG[to]),
        });
        parts.push(listed(&texts.collect::<Vec<_>>()));
    }
    if !event.days.is_all() {
        let from_end = event.days.field() == Field::DayFromEnd;
        let days = chain(&event.days).trim_start_matches('0').to_owned();
        parts.push(match (from_end, event.days.count()) {
            (true, 1) if event.days.first() == Some(1) => String::from("the last day"),
            (true, _) => format!("day {days} from the end"),
            (false, _) => format!("day {days}"),
        });
    }
    if event.months.is_all() {
        parts.extend((!event.days.is_all()).then(|| String::from("of every month")));
    } else {
        let names = event.months.iter().map(|month| MONTHS[usize::from(month) - 1].to_owned());
        let word = if event.days.is_all() { "in" } else { "of" };
        parts.push(format!("{word} {}", listed(&names.collect::<Vec<_>>())));
    }
    if !event.years.is_all() {
        parts.push(format!("in {}", chain(&event.years)));
    }
    parts.join(" ")
}

/// `a, b and c`.
fn listed(parts: &[String]) -> String {
    match parts {
        [] => String::new(),
        [one] => one.clone(),
        [head @ .., last] => format!("{} and {last}", head.join(", ")),
    }
}
