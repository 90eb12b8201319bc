//! Whether what a text says makes sense together.

mod rules;

use super::fault::Fault;
use super::group::{ANY_MACHINE, Cover, Group, OnlineWhen, Sync};
use super::read::Reading;
use super::suggest::nearest;
use super::{Known, Terms};
use crate::calendar::Calendar;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use std::collections::HashSet;

pub(super) fn check(group: &Group, terms: &Terms, reading: &mut Reading<'_>) {
    if !is_name(&group.name) {
        reading.refuse("name", Fault::Name { name: group.name.clone() });
    }
    zone(group, reading);
    members(group, &terms.known, reading);
    let points = Calendar::joined(group.short_term.points.iter().cloned());
    if let Some(points) = &points {
        gaps(group, points, reading);
    }
    if reading.has("short_term") {
        let (keep, place) = (&group.short_term.keep, "short_term.keep");
        rules::check(keep, points.as_ref(), terms.minimum, place, reading);
    }
    online(group, points.as_ref(), terms, reading);
    let (start, end) = (group.window.start_within, group.window.must_end_within);
    if start.zip(end).is_some_and(|(start, end)| end <= start) {
        reading.refuse("window.must_end_within", Fault::EndsBeforeStart);
    }
}

fn is_name(name: &str) -> bool {
    let sound = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let begins = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    begins && name.len() <= 64 && name.bytes().all(sound)
}

fn zone(group: &Group, reading: &mut Reading<'_>) {
    let Some(name) = &group.zone else { return };
    if TimeZone::get(name).is_ok() {
        return;
    }
    let known: Vec<String> = jiff::tz::db().available().map(|zone| zone.to_string()).collect();
    let meant = nearest(name, known.iter().map(String::as_str)).map(str::to_owned);
    reading.refuse("zone", Fault::UnknownZone { name: name.clone(), meant });
}

fn members(group: &Group, known: &Known, reading: &mut Reading<'_>) {
    let mut seen = HashSet::new();
    for (what, member) in reading.members.clone().iter().zip(&group.members) {
        let machine = &member.machine;
        let any = machine == ANY_MACHINE;
        if !any && !is_name(machine) {
            reading.refuse(&format!("{what}.machine"), Fault::Name { name: machine.clone() });
            continue;
        }
        let source = match &member.cover {
            Cover::Source(source) => Some(source),
            Cover::FileSystems { .. } => None,
        };
        if any && source.is_some() {
            reading.refuse(&format!("{what}.machine"), Fault::Alone { other: "every" });
        }
        // The same rule twice is one too many, whatever it says of new file systems.
        if !seen.insert((machine, source)) {
            reading.refuse(what, Fault::Twice);
        }
        if let Some(source) = source.filter(|source| !is_name(source)) {
            reading.refuse(&format!("{what}.source"), Fault::Name { name: source.clone() });
        }
        if !any {
            known_member(machine, source, known, what, reading);
        }
    }
}

fn known_member(
    machine: &str,
    source: Option<&String>,
    known: &Known,
    what: &str,
    reading: &mut Reading<'_>,
) {
    if let Some(machines) = known.machines.as_ref().filter(|all| !all.iter().any(|m| m == machine))
    {
        let meant = nearest(machine, machines.iter().map(String::as_str)).map(str::to_owned);
        let why = Fault::UnknownMachine { name: machine.to_owned(), meant };
        reading.refuse(&format!("{what}.machine"), why);
        return;
    }
    let Some((source, sources)) = source.zip(known.sources.as_ref()) else { return };
    let own: Vec<&str> =
        sources.iter().filter(|(of, _)| of == machine).map(|(_, name)| name.as_str()).collect();
    if !own.contains(&source.as_str()) {
        let meant = nearest(source, own).map(str::to_owned);
        let (machine, name) = (machine.to_owned(), source.clone());
        let why = Fault::UnknownSource { machine, name, meant };
        reading.refuse(&format!("{what}.source"), why);
    }
}

/// Shortest and longest time between two points that follow each other.
fn extremes(points: &Calendar) -> Option<(SignedDuration, SignedDuration)> {
    // Two thousand points or thirteen months, from a day like any other; zones without switches are
    // enough here, an hour more or less is not the question.
    let begin = Timestamp::from_second(1_767_225_600).ok()?;
    let end = begin.checked_add(SignedDuration::from_hours(24 * 400)).ok()?;
    let slots: Vec<Timestamp> =
        points.iter(&TimeZone::UTC, begin).take(2_000).take_while(|slot| *slot < end).collect();
    let gaps = || slots.windows(2).map(|pair| pair[1].duration_since(pair[0]));
    gaps().min().zip(gaps().max())
}

fn gaps(group: &Group, points: &Calendar, reading: &mut Reading<'_>) {
    let Some((shortest, longest)) = extremes(points) else { return };
    if let Sync::Every(interval) = group.short_term.sync
        && interval.duration() > shortest
    {
        let why = Fault::NoSyncBetween { gap_minutes: shortest.as_mins() };
        reading.refuse("short_term.sync", why);
    }
    if let Some(deadline) = group.short_term.deadline
        && deadline.duration() <= longest
    {
        let why = Fault::DeadlineTooShort { gap_hours: longest.as_hours() };
        reading.refuse("short_term.deadline", why);
    }
}

fn online(group: &Group, points: Option<&Calendar>, terms: &Terms, reading: &mut Reading<'_>) {
    let mut seen = HashSet::new();
    for (what, online) in reading.online.clone().iter().zip(&group.online) {
        let vault = &online.vault;
        if !is_name(vault) {
            reading.refuse(&format!("{what}.vault"), Fault::Name { name: vault.clone() });
        } else if !seen.insert(vault) {
            reading.refuse(&format!("{what}.vault"), Fault::Twice);
        }
        let unknown = terms.known.vaults.as_ref().filter(|vaults| !vaults.contains(vault));
        if let Some(vaults) = unknown {
            let meant = nearest(vault, vaults.iter().map(String::as_str)).map(str::to_owned);
            let why = Fault::UnknownVault { name: vault.clone(), meant };
            reading.refuse(&format!("{what}.vault"), why);
        }
        let own = match &online.schedule {
            OnlineWhen::AfterNewestPoint => points.cloned(),
            OnlineWhen::At(calendars) => Calendar::joined(calendars.iter().cloned()),
        };
        let keep = format!("{what}.keep");
        rules::check(&online.keep, own.as_ref(), terms.minimum, &keep, reading);
    }
}
