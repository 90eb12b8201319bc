//! Chains of a database, and what was deleted.

use crate::vectors::{at, now, seen};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use keelhold_policy::chain::{Backup, ChainFault, Kind, check, hold, windows};
use keelhold_policy::retain::Now;
use keelhold_policy::trash::{Deleted, State, Switch, charged};

fn hours(count: i64) -> SignedDuration {
    SignedDuration::from_hours(count)
}

fn backup(kind: Kind, begin: Timestamp, end: Timestamp) -> Backup {
    Backup { kind, begin, end, expires: end + hours(24 * 30) }
}

/// A full each Monday at 00:00 from 16 November 2026, logs each two hours, and differentials on the
/// other days at 00:00. Everything lives 30 days.
fn database(differentials: bool) -> Vec<Backup> {
    let first = at("2026-11-16 00:00:00");
    let mut all = Vec::new();
    for hour in (0..24 * 14).step_by(2) {
        let slot = first + hours(hour);
        if hour > 0 {
            // The last log before a full ends with it, and none runs over it.
            all.push(backup(Kind::Log, slot - hours(2), slot));
        }
        if hour % (24 * 7) == 0 {
            all.push(backup(Kind::Full, slot, slot));
        } else if differentials && hour % 24 == 0 {
            all.push(backup(Kind::Differential, slot, slot));
        }
    }
    all
}

fn held(all: &[Backup], kind: Kind, end: &str) -> Timestamp {
    let held = hold(all);
    let found = all.iter().position(|one| one.kind == kind && one.end == at(end)).unwrap();
    held[found]
}

#[test]
fn d3_a_full_stays_for_its_last_log() {
    let mut all = database(true);
    // The document counts days: the last log of the chain is one of 22 November.
    all.retain(|one| one.kind != Kind::Log || one.end != at("2026-11-23 00:00:00"));
    assert_eq!(held(&all, Kind::Full, "2026-11-16 00:00:00"), at("2026-12-22 22:00:00"));
    let own = all.iter().find(|one| one.kind == Kind::Full).unwrap().expires;
    assert_eq!(own, at("2026-12-16 00:00:00"));
}

#[test]
fn d3_every_promised_second_can_be_restored() {
    for differentials in [true, false] {
        let all = database(differentials);
        let held = hold(&all);
        for day in 14..45 {
            let now = at("2026-11-16 12:00:00") + hours(24 * day);
            let left = all.iter().zip(&held).filter(|(_, until)| **until > now);
            let left: Vec<Backup> = left.map(|(one, _)| *one).collect();
            let windows = windows(&left);
            // Each second of a log that has not expired.
            for log in all.iter().filter(|one| one.kind == Kind::Log && one.expires > now) {
                let is_there = windows
                    .iter()
                    .any(|window| window.from <= log.begin && log.end <= window.until);
                assert!(is_there, "{log:?} on {now}, differentials {differentials}");
            }
        }
    }
}

#[test]
fn d3_trap_on_20_december() {
    let now = at("2026-12-20 12:00:00");
    let gone = |all: &[Backup], end: &str| held(all, Kind::Log, end) <= now;
    let with = database(true);
    // Logs of 16 to 20 November have expired; 21 November goes back to the differential before it.
    assert!(gone(&with, "2026-11-18 02:00:00") && gone(&with, "2026-11-20 00:00:00"));
    assert!(held(&with, Kind::Differential, "2026-11-21 00:00:00") > now);
    assert!(held(&with, Kind::Full, "2026-11-16 00:00:00") > now);
    // Without differentials the logs from the full on stay as long as any later second.
    let without = database(false);
    assert!(!gone(&without, "2026-11-16 02:00:00") && !gone(&without, "2026-11-20 00:00:00"));
    assert_eq!(held(&without, Kind::Log, "2026-11-16 02:00:00"), at("2026-12-23 00:00:00"));
}

#[test]
fn d3_a_hole_splits_the_window() {
    let mut all = database(false);
    let (from, until) = (at("2026-11-16 00:00:00"), at("2026-11-29 22:00:00"));
    let whole = windows(&all);
    assert_eq!((whole.len(), whole[0].from, whole[0].until), (1, from, until));
    all.retain(|one| one.end != at("2026-11-18 12:00:00"));
    let split = windows(&all);
    let ends: Vec<_> = split.iter().map(|window| (window.from, window.until)).collect();
    // Nothing after the hole counts before the next full.
    let next = at("2026-11-23 00:00:00");
    assert_eq!(ends, [(from, at("2026-11-18 10:00:00")), (next, until)]);
    // With differentials it goes on with the next of them.
    let mut all = database(true);
    all.retain(|one| one.end != at("2026-11-18 12:00:00"));
    assert_eq!(windows(&all)[1].from, at("2026-11-19 00:00:00"));
    // What hangs in the air holds nothing.
    assert_eq!(held(&all, Kind::Log, "2026-11-18 10:00:00"), at("2026-12-18 10:00:00"));
}

#[test]
fn d3_ranges() {
    assert_eq!(check(Kind::Log, 35), Ok(()));
    assert_eq!(check(Kind::Log, 36), Err(ChainFault::TooLong { most: 35 }));
    assert_eq!(check(Kind::Differential, 181), Err(ChainFault::TooLong { most: 180 }));
    assert_eq!(check(Kind::Full, 6), Err(ChainFault::TooShort));
}

fn deleted(days: i32) -> Deleted {
    let at = at("2026-06-01 15:00:00");
    Deleted { at, witnessed: seen(at), days }
}

#[test]
fn d4_until_the_end_of_day_14() {
    let state = |when: &str| deleted(14).state(&TimeZone::UTC, Switch::On, now(at(when)));
    let until = at("2026-06-16 00:00:00");
    assert_eq!(state("2026-06-15 23:59:59"), State::Waits { until });
    assert_eq!(state("2026-06-16 00:00:00"), State::Gone);
}

#[test]
fn d4_the_period_at_deletion_counts() {
    // What is set later is not asked: the period stands with what was deleted.
    let (long, short) = (deleted(60), deleted(14));
    let when = now(at("2026-07-01 00:00:00"));
    assert_eq!(short.state(&TimeZone::UTC, Switch::On, when), State::Gone);
    let until = at("2026-08-01 00:00:00");
    assert_eq!(long.state(&TimeZone::UTC, Switch::On, when), State::Waits { until });
}

#[test]
fn d4_charges() {
    assert_eq!(charged(60, 52), (46, 6));
    assert_eq!((charged(14, 10), charged(60, 40), charged(60, 60)), ((0, 10), (40, 0), (46, 14)));
}

#[test]
fn d4_switching_off_purges_unless_it_is_always_on() {
    let when = now(at("2026-06-02 00:00:00"));
    let state = |switch| deleted(14).state(&TimeZone::UTC, switch, when);
    assert_eq!(state(Switch::Off), State::Gone);
    assert!(matches!(state(Switch::AlwaysOn), State::Waits { .. }));
}

#[test]
fn no_clock_ends_the_trash_early() {
    let jumped =
        Now { wall: at("2030-01-01 00:00:00"), witnessed: seen(at("2026-06-03 15:00:00")) };
    let until = at("2030-01-01 00:00:00") + hours(12 * 24 + 9);
    let state = deleted(14).state(&TimeZone::UTC, Switch::On, jumped);
    assert_eq!(state, State::Waits { until });
}
