//! Calendars beside those of systemd: random expressions, refused by both or with the same times.
//!
//! On the days around a change of clocks the rules differ by intent (ours are tested in the crate):
//! times within two days of one are left out on both sides.

use std::collections::BTreeSet;
use std::process::Command;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use keelhold_policy::calendar::{Calendar, Reason};
use keelhold_tests::chance::Chance;
use keelhold_tests::rig::campaign;

const ITERATIONS: usize = 6;
/// Systemd counts no further back from the end of a month; we do.
const LAST_FROM_END: u64 = 28;
const ZONES: [&str; 6] = [
    "UTC",
    "Asia/Kolkata",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Pacific/Auckland",
];

/// Whether systemd 252 tells all times of a step without an end. From the last value it counts on into
/// the next hour or day, and what lies there before that is passed over: of `*:1/9` 23:55 is followed by
/// 00:10. Of days and months it passes over more, or refuses them; from the end of a month, too, and in a
/// list whatever lies between.
fn steps_on(from: u64, low: u64, high: u64, step: u64) -> bool {
    let beyond = from + step * (high + 1 - from).div_ceil(step);
    low == 0 && beyond - (high + 1) <= from
}

/// A value, range, step or list of a field: mostly one that can be.
fn chain(chance: &mut Chance, low: u64, high: u64, counts_down: bool) -> String {
    if chance.below(4) == 0 {
        return String::from("*");
    }
    let mut items = Vec::new();
    // Of lists from the end of a month systemd refuses some, by the size of their days.
    let most = if counts_down { 0 } else { chance.below(3) / 2 + chance.below(2) };
    for _ in 0..=most {
        let span = high - low + 1;
        let mut from = low + chance.below(span);
        let to = from + chance.below(high - from + 1);
        // Now and then one that is too much.
        if chance.below(60) == 0 {
            from = if counts_down { 32 } else { high + 1 } + chance.below(3);
        }
        let step = 1 + chance.below(span.div_ceil(2));
        items.push(match chance.below(8) {
            0 | 1 if from < to => format!("{from}..{to}"),
            2 if !counts_down && from < to => format!("{from}..{to}/{step}"),
            3 | 4 if !counts_down && from < high => {
                match most == 0 && steps_on(from, low, high, step) {
                    true => format!("{from}/{step}"),
                    false => format!("{from}..{high}/{step}"),
                }
            }
            _ => format!("{from:02}"),
        });
    }
    items.join(",")
}

fn weekdays(chance: &mut Chance) -> String {
    const NAMES: [&str; 7] = ["Mon", "tuesday", "WED", "Thu", "Friday", "sat", "Sun"];
    let mut items = Vec::new();
    for _ in 0..=chance.below(3) {
        let from = chance.below(7) as usize;
        let to = chance.below(7) as usize;
        items.push(match chance.below(3) {
            0 if from <= to || chance.below(10) == 0 => format!("{}..{}", NAMES[from], NAMES[to]),
            _ => NAMES[from].to_owned(),
        });
    }
    items.join(",")
}

fn date(chance: &mut Chance) -> String {
    let counts_down = chance.below(3) == 0;
    let month = chain(chance, 1, 12, false);
    let day = chain(chance, 1, if counts_down { LAST_FROM_END } else { 31 }, counts_down);
    let between = if counts_down { '~' } else { '-' };
    match chance.below(3) {
        0 => format!("{month}{between}{day}"),
        1 => format!("{}-{month}{between}{day}", chain(chance, 2020, 2040, false)),
        _ => format!("*-{month}{between}{day}"),
    }
}

fn time(chance: &mut Chance) -> String {
    let (hour, minute) = (chain(chance, 0, 23, false), chain(chance, 0, 59, false));
    match chance.below(3) {
        0 => format!("{hour}:{minute}:{}", chain(chance, 0, 59, false)),
        _ => format!("{hour}:{minute}"),
    }
}

fn expression(chance: &mut Chance) -> String {
    const WORDS: [&str; 9] = [
        "minutely",
        "hourly",
        "daily",
        "weekly",
        "monthly",
        "quarterly",
        "semiannually",
        "yearly",
        "annually",
    ];
    let mut parts = Vec::new();
    if chance.below(20) == 0 {
        parts.push(WORDS[chance.below(9) as usize].to_owned());
    } else {
        let which = 1 + chance.below(7);
        if which & 1 != 0 {
            parts.push(weekdays(chance));
        }
        if which & 2 != 0 {
            parts.push(date(chance));
        }
        if which & 4 != 0 {
            parts.push(time(chance));
        }
    }
    if chance.below(6) == 0 {
        parts.push(ZONES[chance.below(6) as usize].to_owned());
    }
    parts.join(" ")
}

/// What systemd makes of each: its times in UTC, or nothing of one that it refuses.
fn systemd(zone: &str, base: Timestamp, texts: &[String]) -> Vec<Option<Vec<Timestamp>>> {
    let output = Command::new("systemd-analyze")
        .args(["calendar", &format!("--iterations={ITERATIONS}")])
        .arg(format!("--base-time=@{}", base.as_second()))
        .args(texts)
        .env("TZ", zone)
        .env("LC_ALL", "C")
        .output()
        .expect("tests/run installs systemd-analyze");
    let told = String::from_utf8(output.stdout).unwrap();
    let refusals = String::from_utf8(output.stderr).unwrap();
    let label = if zone == "UTC" { ["Next elapse: ", "Iter. #"] } else { ["(in UTC): "; 2] };
    // What it read in its normal form it tells once only.
    let mut blocks = told.split("\n\n").map(str::trim).filter(|block| !block.is_empty());
    let one = |text: &String| {
        if refusals.contains(&format!("'{text}'")) {
            return None;
        }
        let block = blocks.next().unwrap_or_else(|| panic!("nothing about \"{text}\": {told}"));
        let times = block.lines().filter_map(|line| {
            let line = line.trim();
            label.iter().find(|label| line.starts_with(**label))?;
            // "Mon 2024-01-01 01:00:00 UTC"
            let words: Vec<&str> = line.split_whitespace().collect();
            let [.., date, time, "UTC"] = words.as_slice() else { return None };
            format!("{date}T{time}Z").parse().ok()
        });
        Some(times.collect())
    };
    texts.iter().map(one).collect()
}

/// Whether clocks change near an instant.
fn is_near_change(zones: &[&TimeZone], at: Timestamp) -> bool {
    let days = SignedDuration::from_hours(48);
    zones.iter().any(|zone| {
        let next = zone.following(at - days).next();
        next.is_some_and(|change| change.timestamp() <= at + days)
    })
}

/// Whether a day is meant that some months do not have.
fn has_late_days(calendar: &Calendar) -> bool {
    (1..=12).any(|month| {
        let first = jiff::civil::date(2028, month, 1);
        (29..=first.days_in_month()).any(|day| {
            let years =
                (2020..=2040).filter(|year| jiff::civil::Date::new(*year, month, day).is_ok());
            years.into_iter().any(|year| calendar.admits(jiff::civil::date(year, month, day)))
        })
    })
}

#[derive(Default, Debug)]
struct Tally {
    alike: usize,
    refused: usize,
    never: usize,
    odd: usize,
    passed_over: usize,
    times: usize,
}

fn compare(zone_name: &str, base: Timestamp, texts: &[String], tally: &mut Tally) {
    let zone = TimeZone::get(zone_name).unwrap();
    for (text, theirs) in texts.iter().zip(systemd(zone_name, base, texts)) {
        let ours = Calendar::parse(text);
        let place = || format!("\"{text}\" in {zone_name} from {base}");
        let (calendar, theirs) = match (ours, theirs) {
            (Ok(calendar), Some(theirs)) => (calendar, theirs),
            (Err(fault), Some(theirs)) => {
                let never = matches!(fault.reason, Reason::NoSuchDay { .. } | Reason::Never);
                assert!(never && theirs.is_empty(), "{}: {fault}, but {theirs:?}", place());
                tally.never += 1;
                continue;
            }
            // Systemd refuses some lists and ranges for a step in them that it takes alone.
            (Ok(_), None) if text.contains('/') && text.contains([',', '.']) => {
                tally.odd += 1;
                continue;
            }
            (Ok(_), None) => panic!("{}: systemd refuses it", place()),
            (Err(_), None) => {
                tally.refused += 1;
                continue;
            }
        };
        assert_eq!(Calendar::parse(&calendar.to_string()).as_ref(), Ok(&calendar), "{}", place());
        let named = ZONES.iter().find(|name| text.ends_with(**name));
        let other = TimeZone::get(named.unwrap_or(&zone_name)).unwrap();
        let zones = [&zone, &other];
        // Compared up to where both tell.
        let ours: Vec<Timestamp> = calendar.iter(&zone, base).take(ITERATIONS).collect();
        let end = |times: &[Timestamp]| {
            let is_full = times.len() == ITERATIONS;
            times.last().copied().filter(|_| is_full).unwrap_or(Timestamp::MAX)
        };
        let end = end(&ours).min(end(&theirs));
        let kept = |times: Vec<Timestamp>| -> BTreeSet<Timestamp> {
            let all = times.into_iter().filter(|at| *at <= end);
            all.filter(|at| !is_near_change(&zones, *at)).collect()
        };
        let (ours, theirs) = (kept(ours), kept(theirs));
        // After a month without one of the days asked for, systemd 252 passes over the first days
        // of the next.
        if ours != theirs && has_late_days(&calendar) {
            let lost: Vec<_> = ours.difference(&theirs).collect();
            let early = |at: &&Timestamp| other.to_datetime(**at).day() <= 4;
            let is_known = theirs.is_subset(&ours) && lost.iter().all(early);
            assert!(is_known, "{}: {ours:?}, not {theirs:?}", place());
            tally.passed_over += 1;
            continue;
        }
        assert_eq!(ours, theirs, "{}", place());
        tally.alike += 1;
        tally.times += ours.len();
    }
}

#[test]
fn calendars_are_those_of_systemd() {
    let mut chance = Chance::of_suite("calendars beside systemd's");
    let mut tally = Tally::default();
    let count = campaign(60);
    for _ in 0..count {
        let zone = ZONES[chance.below(6) as usize];
        let from: Timestamp = "2021-01-01T00:00:00Z".parse().unwrap();
        let base = from + SignedDuration::from_secs(chance.below(9 * 365 * 86_400) as i64);
        // The same text twice is told once.
        let texts: BTreeSet<String> = (0..60).map(|_| expression(&mut chance)).collect();
        compare(zone, base, &texts.into_iter().collect::<Vec<_>>(), &mut tally);
    }
    println!("{tally:?}");
    assert!((tally.odd + tally.passed_over) * 10 < tally.alike, "{tally:?}");
    assert!(tally.alike >= 2_000 && tally.refused > 50, "{tally:?}");
}

#[test]
fn what_systemd_refuses_is_refused() {
    let bad = [
        "25:00",
        "24:00",
        "0:60",
        "*-13-1",
        "*-0-1",
        "*-1-0",
        "2200-1-1",
        "1969-1-1",
        "100-1-1",
        "fri..mon",
        "Mon,,Tue",
        "Mon..",
        "5..:00",
        "..5:00",
        "1,,2:00",
        "1,:00",
        "*/2:00",
        "*:50/10",
        "2:0/0",
        "1:2:3:4",
        "*-*-*10:00",
        "+1:00",
        "10:00 Mon",
        "UTC",
        "5",
        "2..4",
        "10:00 Mars/Olympus",
        "",
    ];
    let bad: Vec<String> = bad.iter().map(|text| (*text).to_owned()).collect();
    let base = Timestamp::from_second(1_700_000_000).unwrap();
    for (text, theirs) in bad.iter().zip(systemd("UTC", base, &bad)) {
        assert_eq!(theirs, None, "systemd takes \"{text}\"");
        let fault = Calendar::parse(text).expect_err(text);
        assert!(fault.at <= text.len() && !fault.to_string().is_empty());
    }
}
