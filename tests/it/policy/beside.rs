//! Points, synchronisations and requests of one source: never two at once, slots of the group kept,
//! and a synchronisation that a point makes superfluous does not run.

use jiff::SignedDuration;
use jiff::tz::TimeZone;
use keelhold_policy::calendar::Calendar;
use keelhold_policy::mutants::Mutants;
use keelhold_policy::schedule::{
    Goals, History, Kind, Now, Outcome, Source, Sync, WaitReason, decide,
};
use keelhold_tests::chance::Chance;
use keelhold_tests::rig::campaign;

use super::Verdict;
use super::naive::{DAY, at};
use super::year::{machine, one_source};

const BEGIN: i64 = 20_500 * DAY;
const MEMBERS: usize = 6;
const SLOTS: usize = 2;

fn goals() -> Goals {
    let mut goals = one_source(TimeZone::UTC, "daily 12:00 18:00");
    let group = &mut goals.groups[0];
    group.sync = Sync::At(Calendar::every(45).unwrap());
    group.slots = SLOTS;
    group.spread = SignedDuration::from_mins(20);
    group.members = (0..MEMBERS)
        .map(|number| Source { name: format!("anna/{number}"), machine: String::from("anna") })
        .collect();
    goals
}

pub fn one_at_a_time(seed: u64, mutants: Mutants) -> Verdict<u64> {
    let mut chance = Chance::new(seed);
    let goals = goals();
    let begin = Now { wall: at(BEGIN), witnessed: SignedDuration::ZERO };
    let mut history = History::new(begin).with_mutants(mutants);
    let mut running: Vec<(String, Kind)> = Vec::new();
    let (mut covered, mut answered) = (0, Vec::new());
    for minute in 0..3 * DAY {
        let now = Now { wall: at(BEGIN + minute), witnessed: SignedDuration::from_mins(minute) };
        if chance.below(200) == 0 {
            history.ask(&format!("anna/{}", chance.below(MEMBERS as u64)), minute as u64);
        }
        running.retain(|(source, kind)| {
            let goes_on = chance.below(12) > 0;
            if !goes_on {
                history.finished(source, kind, Outcome::Good, now);
            }
            goes_on
        });
        let decision = decide(&goals, &mut history, &machine(true), now);
        for start in decision.start {
            covered += u64::from(start.covers_sync.is_some());
            answered.extend(start.request);
            if running.iter().any(|(source, _)| *source == start.source) {
                return Err(format!("seed {seed}: {start:?} beside {running:?}"));
            }
            running.push((start.source, start.kind));
        }
        if running.len() > SLOTS {
            return Err(format!("seed {seed}: {running:?}"));
        }
        let free = running.len() < SLOTS;
        let no_slot = |reason: &WaitReason| matches!(reason, WaitReason::NoSlot { .. });
        if free && decision.wait.iter().any(|wait| no_slot(&wait.reason)) {
            return Err(format!("seed {seed}: waits for a slot, and one is free"));
        }
    }
    let count = answered.len();
    answered.sort_unstable();
    answered.dedup();
    if count != answered.len() {
        return Err(format!("seed {seed}: a request was answered twice"));
    }
    Ok(covered)
}

#[test]
fn a_source_has_one_job_at_a_time() {
    let seed = Chance::of_suite("jobs beside each other").draw() >> 32;
    let mut covered = 0;
    for number in 0..campaign(30) {
        let found = one_at_a_time(seed + number, Mutants::default());
        covered += found.unwrap_or_else(|words| panic!("{words}"));
    }
    assert!(covered > 0, "no point ever took a synchronisation along");
}
