//! What is due: brings every track up to now and gathers what could start.

use jiff::{SignedDuration, Timestamp};

use super::clock::Now;
use super::decide::{Missed, Park};
use super::goals::{Goals, Group, Kind, OnlineWhen, Source, Sync};
use super::history::{History, Record, State};
use super::slots::{Slots, starts};

/// A job that is due.
#[derive(Debug, Clone)]
pub(crate) struct Candidate<'a> {
    pub(crate) group: &'a Group,
    pub(crate) group_place: usize,
    pub(crate) member: &'a Source,
    pub(crate) kind: Kind,
    pub(crate) slot: Option<Timestamp>,
    pub(crate) due: Timestamp,
    pub(crate) request: Option<u64>,
    pub(crate) resumes: bool,
    pub(crate) parked_at: Option<Timestamp>,
    /// Parked since its time was over, and no newer slot is owed.
    pub(crate) waits_for_next: bool,
    /// What of "after the newest point" it takes care of.
    pub(crate) taken: u64,
    pub(crate) sync_owed: Option<Timestamp>,
}

impl Candidate<'_> {
    /// Who was asked for comes first, then what was begun, then what is due longest.
    pub(crate) fn order(&self) -> (bool, bool, Timestamp, &Kind, &str) {
        let asked = matches!(self.kind, Kind::OnDemand);
        (!asked, !self.resumes, self.due, &self.kind, &self.member.name)
    }

    pub(crate) fn is_slot_of_calendar(&self) -> bool {
        let online = matches!(self.kind, Kind::Online { .. }) && self.taken > 0;
        !self.resumes && !online && self.request.is_none()
    }
}

pub(crate) struct Settled<'a> {
    pub(crate) candidates: Vec<Candidate<'a>>,
    pub(crate) missed: Vec<Missed>,
    pub(crate) park: Vec<Park>,
    /// The next instant at which something becomes due or its time is over.
    pub(crate) next: Option<Timestamp>,
}

impl Settled<'_> {
    /// The point that is owed will bring the newest state.
    fn drop_sync_of(&mut self, member: &Source) {
        let last = self.candidates.last();
        let is_sync = last.is_some_and(|c| c.kind == Kind::Sync && c.member == member);
        if is_sync && last.is_some_and(|candidate| !candidate.resumes) {
            self.candidates.pop();
        }
    }

    fn wake(&mut self, at: Option<Timestamp>) {
        self.next = match (self.next, at) {
            (Some(next), Some(at)) => Some(next.min(at)),
            (next, at) => next.or(at),
        };
    }
}

/// The kinds of jobs a group wants, each with its slots. None: not by calendar.
fn wanted<'a>(group: &'a Group, now: Now, history: &History) -> Vec<(Kind, Option<Slots<'a>>)> {
    let slots = |calendar| Slots::new(calendar, &group.zone, group.spread, now, history.mutants);
    let mut kinds = vec![(Kind::OnDemand, None)];
    if let Sync::At(calendar) = &group.sync {
        kinds.push((Kind::Sync, Some(slots(calendar))));
    }
    if let Some(calendar) = &group.points {
        kinds.push((Kind::Point, Some(slots(calendar))));
    }
    for online in &group.online {
        let kind = Kind::Online { vault: online.vault.clone() };
        kinds.push(match &online.when {
            OnlineWhen::AfterNewestPoint => (kind, None),
            OnlineWhen::At(calendar) => (kind, Some(slots(calendar))),
        });
    }
    kinds
}

pub(crate) fn settle<'a>(goals: &'a Goals, history: &mut History, now: Now) -> Settled<'a> {
    let mut settled =
        Settled { candidates: Vec::new(), missed: Vec::new(), park: Vec::new(), next: None };
    for (group_place, group) in goals.groups.iter().enumerate() {
        let mut kinds = wanted(group, now, history);
        for member in &group.members {
            let mut record = history.sources.remove(&member.name).unwrap_or_default();
            let mut one = Member { group, group_place, member, history, now, record: &mut record };
            one.settle(&mut kinds, &mut settled);
            history.sources.insert(member.name.clone(), record);
        }
    }
    settled
}

struct Member<'a, 'b> {
    group: &'a Group,
    group_place: usize,
    member: &'a Source,
    history: &'b History,
    now: Now,
    record: &'b mut Record,
}

impl<'a> Member<'a, '_> {
    fn settle(&mut self, kinds: &mut [(Kind, Option<Slots<'a>>)], settled: &mut Settled<'a>) {
        let jitter = self.member.jitter(self.group.spread);
        let mut sync_owed = None;
        for (kind, slots) in kinds {
            let Some(slots) = slots else {
                self.without_calendar(kind, settled);
                continue;
            };
            let clock = &self.history.clock;
            let place = self.record.place(kind, clock.moment(self.now));
            let track = &mut self.record.tracks[place].1;
            let (owed, passed) = slots.settle(track, jitter, clock);
            settled.wake(slots.next_start(jitter));
            if let Some(slots) = passed {
                settled.missed.push(Missed {
                    group: self.group.name.clone(),
                    source: self.member.name.clone(),
                    kind: kind.clone(),
                    slots,
                    cause: track.held_by.take(),
                });
            }
            let owed_due = owed.map(|slot| starts(slot, jitter));
            if *kind == Kind::Sync {
                sync_owed = owed;
            }
            let is_free = self.state(kind, place, owed.is_some(), settled);
            if let (Some(slot), Some(due), true) = (owed, owed_due, is_free) {
                let slot = Some(slot);
                if *kind == Kind::Point && sync_owed.is_some() {
                    settled.drop_sync_of(self.member);
                }
                settled.candidates.push(Candidate { slot, sync_owed, ..self.due(kind, due) });
            }
        }
    }

    fn due(&self, kind: &Kind, due: Timestamp) -> Candidate<'a> {
        Candidate {
            group: self.group,
            group_place: self.group_place,
            member: self.member,
            kind: kind.clone(),
            slot: None,
            due,
            request: None,
            resumes: false,
            parked_at: None,
            waits_for_next: false,
            taken: 0,
            sync_owed: None,
        }
    }

    /// Looks after a job that runs or is parked. Whether the track is idle.
    fn state(&self, kind: &Kind, place: usize, is_owed: bool, settled: &mut Settled<'a>) -> bool {
        let track = &self.record.tracks[place].1;
        match track.state {
            State::Idle => true,
            State::Running { stop_by, since, .. } => {
                // By the wall it is only told if the clock is the one it was said by.
                let is_same = since.reign == self.history.clock.current();
                if stop_by.is_some_and(|stop| stop <= self.now.wall) && is_same {
                    let (source, kind) = (self.member.name.clone(), kind.clone());
                    settled.park.push(Park { source, kind });
                }
                settled.wake(stop_by.filter(|stop| *stop > self.now.wall));
                // The next slot waits for this one to end, and says so.
                true
            }
            State::Parked { slot, since, out_of_time } => {
                let due = slot.unwrap_or(since.wall);
                settled.candidates.push(Candidate {
                    slot,
                    resumes: true,
                    parked_at: Some(since.wall),
                    waits_for_next: out_of_time && !is_owed,
                    taken: track.taken,
                    ..self.due(kind, due)
                });
                false
            }
        }
    }

    /// Requests, and what follows points.
    fn without_calendar(&mut self, kind: &Kind, settled: &mut Settled<'a>) {
        if *kind == Kind::OnDemand && self.record.asked.is_empty() {
            let track = self.record.track(kind);
            if track.is_none_or(|track| track.state == State::Idle) {
                return;
            }
        }
        let begun = self.history.clock.moment(self.now);
        let place = self.record.place(kind, begun);
        if !self.state(kind, place, false, settled) {
            return;
        }
        if let Some(&number) = self.record.asked.first().filter(|_| *kind == Kind::OnDemand) {
            let request = Some(number);
            settled.candidates.push(Candidate { request, ..self.due(kind, self.now.wall) });
        }
        let Some(point) = self.record.newest_point.filter(|_| *kind != Kind::OnDemand) else {
            return;
        };
        let points = self.record.points;
        if self.record.tracks[place].1.taken < points {
            let jitter = SignedDuration::ZERO;
            let due = starts(point.wall, jitter);
            let slot = Some(point.wall);
            settled.candidates.push(Candidate { slot, taken: points, ..self.due(kind, due) });
        }
    }
}
