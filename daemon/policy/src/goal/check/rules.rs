//! Retention rules against the schedule they are for, and against the minimum.

use crate::calendar::Calendar;
use crate::goal::fault::Fault;
use crate::goal::keep::{Keep, Minimum, Tag};
use crate::goal::read::{Reading, day_no_month_has};
use jiff::civil::{Date, Time, Weekday};

pub(super) fn check(
    keep: &Keep,
    schedule: Option<&Calendar>,
    minimum: Option<Minimum>,
    place: &str,
    reading: &mut Reading<'_>,
) {
    // A rule that could not be read was refused already, and is not missed.
    if keep.is_empty() && !reading.has_below(place) {
        reading.refuse(place, Fault::KeepsNothing);
    }
    for undercut in minimum.iter().flat_map(|minimum| minimum.undercut_by(keep)) {
        let (tag, asked, minimum) = (undercut.tag, undercut.asked, undercut.minimum);
        let why = Fault::Undercut { tag, asked, minimum };
        reading.refuse(&format!("{place}.{tag}.for"), why);
    }
    if let Some((day, month)) = keep.yearly.as_ref().and_then(day_no_month_has) {
        reading.refuse(&format!("{place}.yearly.day"), Fault::NoSuchDay { day, month });
        return;
    }
    let Some(schedule) = schedule else { return };
    let rules = Tag::ALL.into_iter().filter(|tag| keep.lifetime(*tag).is_some());
    for tag in rules {
        named(keep, tag, schedule, &format!("{place}.{tag}"), reading);
    }
}

/// Each weekday and time a rule names must be one that the schedule makes points at.
fn named(keep: &Keep, tag: Tag, schedule: &Calendar, place: &str, reading: &mut Reading<'_>) {
    let is_unread = match tag {
        Tag::Weekly => keep.weekly.as_ref().is_some_and(|rule| rule.on.is_empty()),
        Tag::Yearly => keep.yearly.as_ref().is_some_and(|rule| rule.months.is_empty()),
        Tag::Daily | Tag::Monthly => false,
    };
    if is_unread {
        // Refused where it was read.
        return;
    }
    let mut is_named_right = true;
    let weekly = keep.weekly.as_ref().filter(|_| tag == Tag::Weekly);
    let days = weekly.map(|rule| rule.on.clone()).unwrap_or_default();
    for day in days.into_iter().filter(|day| !schedule.has_weekday(*day)) {
        reading.refuse(&format!("{place}.on"), Fault::WeekdayNotScheduled { day });
        is_named_right = false;
    }
    let times = keep.times(tag).map(|times| times.0.clone()).unwrap_or_default();
    let there = schedule.times_of_day();
    for time in times.iter().copied() {
        if let Some(there) = there.as_ref().filter(|there| !there.contains(&time)) {
            let why = Fault::TimeNotScheduled { time, there: there.clone() };
            reading.refuse(&format!("{place}.times"), why);
            is_named_right = false;
        }
    }
    if is_named_right && !each_is_met(keep, tag, &times, schedule) {
        reading.refuse(place, Fault::NeverScheduled);
    }
}

/// Years to look through: two turns of leap years.
const YEARS: std::ops::Range<i16> = 2026..2034;

/// Whether for each weekday and time the rule names there is a day on which it meets a point.
fn each_is_met(keep: &Keep, tag: Tag, times: &[Time], schedule: &Calendar) -> bool {
    let weekly = keep.weekly.as_ref().filter(|_| tag == Tag::Weekly);
    let days: Vec<Option<Weekday>> =
        weekly.map_or_else(|| vec![None], |rule| rule.on.iter().copied().map(Some).collect());
    let times: Vec<Option<Time>> =
        if times.is_empty() { vec![None] } else { times.iter().copied().map(Some).collect() };
    let mut open: Vec<_> =
        days.iter().flat_map(|day| times.iter().map(|time| (*day, *time))).collect();
    let Ok(mut date) = Date::new(YEARS.start, 1, 1) else { return true };
    while date.year() < YEARS.end && !open.is_empty() {
        if keep.is_on(tag, date) && schedule.admits(date) {
            let there = schedule.times_on(date);
            let meets = |time: &Option<Time>| match (time, &there) {
                (Some(time), Some(there)) => there.contains(time),
                _ => true,
            };
            open.retain(|(day, time)| day.is_some_and(|day| day != date.weekday()) || !meets(time));
        }
        let Ok(next) = date.tomorrow() else { return true };
        date = next;
    }
    open.is_empty()
}
