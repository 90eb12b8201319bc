//! Retention rules.

use super::keys;
use super::tree::{Reading, Table, Text};
use crate::goal::fault::{DAYS, Fault};
use crate::goal::keep::{Daily, Keep, Lifetime, MonthDay, Monthly, Times, Weekly, Which, Yearly};
use crate::goal::suggest::nearest;
use jiff::civil::{Date, Time, Weekday};

pub(super) const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

/// What was read of one rule, whole or not.
pub(super) fn keep<'a>(reading: &mut Reading<'a>, table: &mut Table<'a>) -> Keep {
    table.only(reading, keys::KEEP);
    let mut read = Keep::default();
    if let Some(mut rule) = table.table(reading, "daily") {
        rule.only(reading, keys::DAILY);
        let (times, keep) = common(reading, &mut rule);
        read.daily = keep.map(|keep| Daily { times, keep });
    }
    if let Some(mut rule) = table.table(reading, "weekly") {
        rule.only(reading, keys::WEEKLY);
        let (times, keep) = common(reading, &mut rule);
        let on = weekdays(reading, &mut rule);
        read.weekly = keep.map(|keep| Weekly { on, times, keep });
    }
    if let Some(mut rule) = table.table(reading, "monthly") {
        rule.only(reading, keys::MONTHLY);
        let (times, keep) = common(reading, &mut rule);
        let on = month_day(reading, &mut rule);
        read.monthly = on.zip(keep).map(|(on, keep)| Monthly { on, times, keep });
    }
    if let Some(mut rule) = table.table(reading, "yearly") {
        rule.only(reading, keys::YEARLY);
        let (times, keep) = common(reading, &mut rule);
        let on = month_day(reading, &mut rule);
        let months = months(reading, &mut rule);
        read.yearly = on.zip(keep).map(|(on, keep)| Yearly { on, months, times, keep });
    }
    read
}

fn common<'a>(reading: &mut Reading<'a>, rule: &mut Table<'a>) -> (Times, Option<Lifetime>) {
    let mut times: Vec<Time> = Vec::new();
    for text in rule.texts(reading, "times").unwrap_or_default() {
        match time(&text.text) {
            Some(time) if times.contains(&time) => {
                reading.refuse_at(text.line, &rule.what("times"), Fault::Twice);
            }
            Some(time) => times.push(time),
            None => {
                let why = Fault::Time { text: text.text };
                reading.refuse_at(text.line, &rule.what("times"), why);
            }
        }
    }
    times.sort_unstable();
    let Some(text) = rule.text(reading, "for") else {
        if !rule.has("for") {
            rule.missing(reading, "for", "for = \"14 days\"");
        }
        return (Times(times), None);
    };
    let lifetime = Lifetime::parse(&text.text);
    if let Err(fault) = lifetime {
        let why = Fault::Lifetime { text: text.text, fault };
        reading.refuse_at(text.line, &rule.what("for"), why);
    }
    (Times(times), lifetime.ok())
}

fn time(text: &str) -> Option<Time> {
    let mut parts = text.trim().split(':');
    let mut part = |most: i8| {
        let text = parts.next()?;
        let digits =
            text.bytes().all(|byte| byte.is_ascii_digit()) && (1..=2).contains(&text.len());
        text.parse::<i8>().ok().filter(|value| digits && *value <= most)
    };
    let (hour, minute) = (part(23)?, part(59)?);
    let second = if text.matches(':').count() == 2 { part(59)? } else { 0 };
    if text.matches(':').count() > 2 {
        return None;
    }
    Time::new(hour, minute, second, 0).ok()
}

fn weekday(text: &str) -> Option<Weekday> {
    let text = text.trim().to_lowercase();
    let place = DAYS.iter().position(|day| *day == text || day[..3] == text)?;
    Weekday::from_monday_zero_offset(i8::try_from(place).ok()?).ok()
}

fn choice(found: &str, choices: &'static [&'static str]) -> Fault {
    let meant = nearest(found, choices.iter().copied());
    Fault::Choice { found: found.to_owned(), choices, meant }
}

fn weekdays<'a>(reading: &mut Reading<'a>, rule: &mut Table<'a>) -> Vec<Weekday> {
    if !rule.has("on") {
        rule.missing(reading, "on", "on = [\"saturday\"]");
    }
    let mut days: Vec<Weekday> = Vec::new();
    for text in rule.texts(reading, "on").unwrap_or_default() {
        match weekday(&text.text) {
            Some(day) if days.contains(&day) => {
                reading.refuse_at(text.line, &rule.what("on"), Fault::Twice);
            }
            Some(day) => days.push(day),
            None => reading.refuse_at(text.line, &rule.what("on"), choice(&text.text, &DAYS)),
        }
    }
    days.sort_by_key(|day| day.to_monday_zero_offset());
    days
}

/// `on = "last saturday"`, `day = 15`, `day = "last"`.
fn month_day<'a>(reading: &mut Reading<'a>, rule: &mut Table<'a>) -> Option<MonthDay> {
    match (rule.has("on"), rule.has("day")) {
        (true, true) => {
            reading.refuse(&rule.what("on"), Fault::Both { other: "day" });
            None
        }
        (false, false) => {
            rule.missing(reading, "on", "on = \"last saturday\", or day = 15, or day = \"last\"");
            None
        }
        (true, false) => {
            let text = rule.text(reading, "on")?;
            let on = ordinal(&text.text);
            if on.is_none() {
                let why = Fault::MonthDay { text: text.text };
                reading.refuse_at(text.line, &rule.what("on"), why);
            }
            on
        }
        (false, true) if rule.is_text("day") => {
            let text = rule.text(reading, "day")?;
            if text.text.trim() == "last" {
                return Some(MonthDay::Last);
            }
            reading.refuse_at(text.line, &rule.what("day"), Fault::MonthDay { text: text.text });
            None
        }
        (false, true) => {
            let day = rule.number(reading, "day")?;
            let number = i8::try_from(day).ok().filter(|day| (1..=31).contains(day));
            if number.is_none() {
                reading.refuse(&rule.what("day"), Fault::DayOutOfRange { day });
            }
            number.map(MonthDay::Day)
        }
    }
}

fn ordinal(text: &str) -> Option<MonthDay> {
    let lower = text.trim().to_lowercase();
    let (which, day) = lower.split_once(' ')?;
    let which = Which::ALL.into_iter().find(|one| one.name() == which)?;
    Some(MonthDay::Weekday(which, weekday(day)?))
}

fn months<'a>(reading: &mut Reading<'a>, rule: &mut Table<'a>) -> Vec<i8> {
    if !rule.has("month") {
        rule.missing(reading, "month", "month = \"march\"");
    }
    let mut months: Vec<i8> = Vec::new();
    for Text { line, text } in rule.texts(reading, "month").unwrap_or_default() {
        let lower = text.trim().to_lowercase();
        let place = MONTHS.iter().position(|month| *month == lower || month[..3] == lower);
        match place.and_then(|place| i8::try_from(place + 1).ok()) {
            Some(month) if months.contains(&month) => {
                reading.refuse_at(line, &rule.what("month"), Fault::Twice);
            }
            Some(month) => months.push(month),
            None => reading.refuse_at(line, &rule.what("month"), choice(&text, &MONTHS)),
        }
    }
    months.sort_unstable();
    months
}

/// A day that one of the months never has, leap years counted.
pub(in crate::goal) fn day_no_month_has(rule: &Yearly) -> Option<(i8, &'static str)> {
    let MonthDay::Day(day) = rule.on else { return None };
    let lacks = |month: &i8| Date::new(2024, *month, day).is_err();
    let month = rule.months.iter().copied().find(lacks)?;
    Some((day, usize::try_from(month - 1).ok().and_then(|place| MONTHS.get(place)).copied()?))
}

pub(in crate::goal) fn month_name(month: i8) -> &'static str {
    usize::try_from(month - 1).ok().and_then(|place| MONTHS.get(place)).copied().unwrap_or("")
}
