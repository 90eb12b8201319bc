//! What to do now: a step of the scheduler, a function of goals, history, machines and the time.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::candidates::{Candidate, Settled, settle};
use super::clock::{Jump, Now};
use super::goals::{Facts, Goals, Group, Kind, Machines};
use super::history::{History, State};
use super::slots::Passed;
use crate::mutants::Mutant;

/// Nobody sleeps longer: a wall that jumps wakes nobody.
pub const LOOK_WITHIN: SignedDuration = SignedDuration::from_mins(5);

/// What to do, and what to tell. The history knows it already: it is kept before anything is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The clock jumped by more than a day.
    pub jump: Option<Jump>,
    pub start: Vec<Start>,
    pub park: Vec<Park>,
    pub wait: Vec<Wait>,
    pub missed: Vec<Missed>,
    pub overdue: Vec<Overdue>,
    pub look_again: Timestamp,
}

/// A job to start, or to go on with if it was parked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    pub group: String,
    pub source: String,
    pub kind: Kind,
    /// The slot it stands for. None: nobody's calendar asked for it.
    pub slot: Option<Timestamp>,
    /// The synchronisation that this point makes superfluous.
    pub covers_sync: Option<Timestamp>,
    /// The request it answers.
    pub request: Option<u64>,
    pub resumes: bool,
    /// Parked at this instant if it is not done.
    pub stop_by: Option<Timestamp>,
}

/// A running job whose time is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Park {
    pub source: String,
    pub kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    pub group: String,
    pub source: String,
    pub kind: Kind,
    pub slot: Option<Timestamp>,
    pub reason: WaitReason,
}

/// Why something that is due does not start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case", tag = "why")]
pub enum WaitReason {
    #[error("{name} runs as many jobs at once as it may ({slots})")]
    NoSlot { name: String, slots: usize },
    #[error("outside of its window{}", opens.map_or_else(String::new, |at| format!(", which opens {at}")))]
    OutsideWindow { opens: Option<Timestamp> },
    #[error("too late to start in this window{}", opens.map_or_else(String::new, |at| format!(", the next opens {at}")))]
    StartedTooLate { opens: Option<Timestamp> },
    #[error("the machine is away")]
    MachineAway,
    #[error("the machine sleeps since {since}")]
    MachineAsleep { since: Timestamp },
    #[error("the machine is on battery")]
    OnBattery,
    #[error("the machine is on a metered network")]
    Metered,
    #[error("a point of the source is being made first")]
    AfterPoint,
    #[error("another job of the source is running")]
    AnotherJob { kind: Kind },
    #[error("its time was over; it goes on in the next window or with the next slot")]
    OutOfTime,
}

/// Slots that no job will stand for. Each is told once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missed {
    pub group: String,
    pub source: String,
    pub kind: Kind,
    pub slots: Passed,
    /// What held it up. None: nobody was there to start it.
    pub cause: Option<WaitReason>,
}

/// A promise that is not kept any more. Each is told once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overdue {
    pub group: String,
    pub source: String,
    pub kind: Kind,
    pub what: Promise,
    pub cause: Option<WaitReason>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    /// The newest good one is older than the deadline, or there is none.
    Deadline { last_good: Option<Timestamp>, deadline: SignedDuration },
    /// The slot did not start within its time.
    StartWithin { slot: Timestamp, within: SignedDuration },
}

/// One step. Everything in the answer is in the history already: keep that first, then act.
pub fn decide(goals: &Goals, history: &mut History, machines: &Machines, now: Now) -> Decision {
    let jump = history.clock.look(now, false, history.mutants);
    let Settled { mut candidates, missed, park, next } = settle(goals, history, now);
    candidates.sort_by(|left, right| left.order().cmp(&right.order()));

    let look_again = now.wall.saturating_add(LOOK_WITHIN).unwrap_or(now.wall);
    let mut step = Step {
        goals,
        history,
        machines,
        now,
        running: Vec::new(),
        decision: Decision {
            jump,
            start: Vec::new(),
            park,
            wait: Vec::new(),
            missed,
            overdue: Vec::new(),
            look_again: next.map_or(look_again, |next| next.min(look_again)),
        },
    };
    step.count_running();
    for candidate in candidates {
        step.consider(candidate);
    }
    step.look_at_deadlines();
    step.decision
}

struct Step<'a> {
    goals: &'a Goals,
    history: &'a mut History,
    machines: &'a Machines,
    now: Now,
    /// Jobs that run, by group.
    running: Vec<usize>,
    decision: Decision,
}

impl<'a> Step<'a> {
    fn count_running(&mut self) {
        let count = |group: &Group| {
            let records = group.members.iter().filter_map(|m| self.history.sources.get(&m.name));
            records.map(|record| record.running().count()).sum()
        };
        self.running = self.goals.groups.iter().map(count).collect();
    }

    fn wake(&mut self, at: Option<Timestamp>) {
        if let Some(at) = at.filter(|at| *at > self.now.wall) {
            self.decision.look_again = self.decision.look_again.min(at);
        }
    }

    fn consider(&mut self, candidate: Candidate<'a>) {
        let reason = self.may_start(&candidate);
        let Candidate { group, member, ref kind, slot, .. } = candidate;
        let Some(record) = self.history.sources.get_mut(&member.name) else { return };
        let Some(track) = record.track_mut(kind) else { return };
        let stop_by = match reason {
            Ok(stop_by) => stop_by,
            Err(reason) => {
                track.held_by = Some(reason.clone());
                // The synchronisation goes with the point.
                if let (Kind::Point, Some(sync)) = (kind, record.track_mut(&Kind::Sync)) {
                    sync.held_by = Some(reason.clone());
                }
                let (group, source) = (group.name.clone(), member.name.clone());
                let kind = kind.clone();
                self.late(&candidate);
                self.decision.wait.push(Wait { group, source, kind, slot, reason });
                return;
            }
        };
        let since = self.history.clock.moment(self.now);
        track.state = State::Running { slot, since, stop_by };
        track.last_start = Some(since);
        track.held_by = None;
        track.taken = candidate.taken;
        if let (Some(slot), true) = (slot, candidate.is_slot_of_calendar()) {
            track.account(&self.history.clock, slot);
        }
        if let Some(number) = candidate.request {
            record.asked.retain(|other| *other != number);
        }
        let mut covers_sync = None;
        if matches!(kind, Kind::Point)
            && !candidate.resumes
            && let (Some(slot), Some(sync)) = (candidate.sync_owed, record.track_mut(&Kind::Sync))
        {
            sync.account(&self.history.clock, slot);
            sync.last_start = Some(since);
            covers_sync = Some(slot);
        }
        self.running[candidate.group_place] += 1;
        self.wake(stop_by);
        self.decision.start.push(Start {
            group: group.name.clone(),
            source: member.name.clone(),
            kind: kind.clone(),
            slot,
            covers_sync,
            request: candidate.request,
            resumes: candidate.resumes,
            stop_by,
        });
    }

    /// When it has to stop, or why it does not start.
    fn may_start(&mut self, candidate: &Candidate<'a>) -> Result<Option<Timestamp>, WaitReason> {
        let Candidate { group, member, kind, .. } = candidate;
        self.beside_others(candidate)?;
        let stop_by = self.in_window(candidate)?;
        if kind.needs_machine() {
            let facts = self.machines.get(&member.machine).copied().unwrap_or_default();
            machine_allows(group, kind, facts)?;
        }
        let all: usize = self.running.iter().sum();
        if self.running[candidate.group_place] >= group.slots {
            return Err(WaitReason::NoSlot { name: group.name.clone(), slots: group.slots });
        }
        if all >= self.goals.slots {
            let name = String::from("the appliance");
            return Err(WaitReason::NoSlot { name, slots: self.goals.slots });
        }
        Ok(stop_by)
    }

    fn beside_others(&self, candidate: &Candidate<'a>) -> Result<(), WaitReason> {
        let Some(record) = self.history.sources.get(&candidate.member.name) else { return Ok(()) };
        let alone = self.history.mutants.keeps(Mutant::OneOfASource);
        for running in record.running() {
            let both_need_it = running.needs_machine() && candidate.kind.needs_machine();
            if *running == candidate.kind || (both_need_it && alone) {
                return Err(WaitReason::AnotherJob { kind: running.clone() });
            }
            if !candidate.kind.needs_machine() && matches!(running, Kind::Point | Kind::OnDemand) {
                return Err(WaitReason::AfterPoint);
            }
        }
        Ok(())
    }

    fn in_window(&mut self, of: &Candidate<'a>) -> Result<Option<Timestamp>, WaitReason> {
        // Who asks for a point now wants it now, and uploads have their own limits.
        if matches!(of.kind, Kind::OnDemand) || !of.kind.needs_machine() {
            return Ok(None);
        }
        let window = &of.group.window;
        let after = |length: SignedDuration| self.now.wall.saturating_add(length).ok();
        let must_end = window.must_end_within.and_then(after);
        let Some(hours) = window.allow.as_ref().filter(|hours| !hours.is_always()) else {
            return if of.waits_for_next { Err(WaitReason::OutOfTime) } else { Ok(must_end) };
        };
        let zone = &of.group.zone;
        let Some((opens, closes)) = hours.around(zone, self.now.wall) else {
            return Err(WaitReason::OutsideWindow { opens: None });
        };
        if opens > self.now.wall {
            self.wake(Some(opens));
            return Err(WaitReason::OutsideWindow { opens: Some(opens) });
        }
        if of.waits_for_next && of.parked_at.is_some_and(|at| at >= opens) {
            return Err(WaitReason::OutOfTime);
        }
        if let (Some(within), false) = (window.start_within, of.resumes) {
            let last = of.due.max(opens).saturating_add(within).unwrap_or(closes);
            if last < self.now.wall {
                let opens = hours.around(zone, closes).map(|(opens, _)| opens);
                self.wake(opens);
                return Err(WaitReason::StartedTooLate { opens });
            }
        }
        Ok(Some(must_end.map_or(closes, |end| end.min(closes))))
    }

    /// Tells once of a slot that did not start in time.
    fn late(&mut self, of: &Candidate<'a>) {
        let (Some(within), Some(slot)) = (of.group.window.start_within, of.slot) else { return };
        if of.resumes || !of.kind.needs_machine() {
            return;
        }
        // Hours in which nothing may start are not waiting.
        let zone = &of.group.zone;
        let hours = of.group.window.allow.as_ref();
        let opened = hours.and_then(|hours| hours.around(zone, of.due)).map(|(opens, _)| opens);
        let from = opened.map_or(of.due, |opens| opens.max(of.due));
        let end = from.saturating_add(within).unwrap_or(from);
        if end >= self.now.wall {
            return self.wake(end.saturating_add(SignedDuration::from_secs(1)).ok());
        }
        let record = self.history.sources.get_mut(&of.member.name);
        let Some(track) = record.and_then(|record| record.track_mut(&of.kind)) else { return };
        if track.late_told == Some(slot) {
            return;
        }
        track.late_told = Some(slot);
        let what = Promise::StartWithin { slot, within };
        self.decision.overdue.push(Overdue {
            group: of.group.name.clone(),
            source: of.member.name.clone(),
            kind: of.kind.clone(),
            what,
            cause: track.held_by.clone(),
        });
    }

    fn look_at_deadlines(&mut self) {
        let only_good = !self.history.mutants.keeps(Mutant::Deadline);
        let mut first: Option<SignedDuration> = None;
        for group in &self.goals.groups {
            let kind = if group.points.is_some() { Kind::Point } else { Kind::Sync };
            for member in &group.members {
                let Some(record) = self.history.sources.get_mut(&member.name) else { continue };
                let Some(track) = record.track_mut(&kind) else { continue };
                if track.overdue_told || (only_good && track.last_good.is_none()) {
                    continue;
                }
                let age = self.history.clock.age(track.last_good.unwrap_or(track.begun));
                let left = group.deadline.saturating_sub(age);
                if !left.is_negative() {
                    first = Some(first.map_or(left, |first| first.min(left)));
                    continue;
                }
                track.overdue_told = true;
                let last_good = track.last_good.map(|moment| moment.wall);
                let what = Promise::Deadline { last_good, deadline: group.deadline };
                self.decision.overdue.push(Overdue {
                    group: group.name.clone(),
                    source: member.name.clone(),
                    kind: kind.clone(),
                    what,
                    cause: track.held_by.clone(),
                });
            }
        }
        let second = SignedDuration::from_secs(1);
        let at = first.and_then(|left| self.now.wall.checked_add(left.saturating_add(second)).ok());
        self.wake(at);
    }
}

fn machine_allows(group: &Group, kind: &Kind, facts: Facts) -> Result<(), WaitReason> {
    if let Some(since) = facts.asleep_since {
        return Err(WaitReason::MachineAsleep { since });
    }
    if !facts.connected {
        return Err(WaitReason::MachineAway);
    }
    if matches!(kind, Kind::OnDemand) {
        return Ok(());
    }
    if facts.on_battery && !group.on_battery {
        return Err(WaitReason::OnBattery);
    }
    if facts.metered && !group.on_metered {
        return Err(WaitReason::Metered);
    }
    Ok(())
}
