//! What will run when, and what will not fit: the schedule gone through ahead of time, with every
//! machine there and every job as long as it usually is.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use jiff::{SignedDuration, Timestamp};

use super::goals::{Goals, Group, Kind, OnlineWhen, Source, Sync};
use super::history::History;
use super::slots::starts;
use crate::calendar::Calendar;

/// One start to come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned<'a> {
    pub start: Timestamp,
    /// As far as it is known how long it takes.
    pub end: Timestamp,
    pub group: &'a Group,
    pub source: &'a Source,
    pub kind: Kind,
    pub slot: Timestamp,
    pub trouble: Option<Trouble>,
}

impl Eq for Group {}

/// Why it will not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    #[error("starts {by:#} too late: too few jobs may run at once")]
    StartsLate { by: SignedDuration },
    #[error("takes {by:#} longer than it may")]
    TooLong { by: SignedDuration },
    #[error("goes on {by:#} after the window has closed")]
    AfterWindow { by: SignedDuration },
    #[error("never starts: no window opens for it")]
    NoWindow,
    #[error("is not done before the deadline of its source")]
    PastDeadline,
}

/// A job that is not placed yet: ready from this instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Ready {
    at: Timestamp,
    due: Timestamp,
    kind: usize,
    member: usize,
    group: usize,
    slot: Timestamp,
}

type Ends = BinaryHeap<Reverse<Timestamp>>;

/// What runs from now on until an instant, in order of starts.
#[must_use]
pub fn plan<'a>(
    goals: &'a Goals,
    history: &History,
    now: Timestamp,
    until: Timestamp,
) -> Vec<Planned<'a>> {
    let kinds: Vec<Vec<(Kind, &Calendar)>> = goals.groups.iter().map(kinds).collect();
    let mut queue = BinaryHeap::new();
    for (place, group) in goals.groups.iter().enumerate() {
        gather(group, place, &kinds[place], now, until, &mut queue);
    }
    let free = |count: usize| -> Ends { vec![Reverse(now); count.max(1)].into() };
    let mut walk = Walk {
        goals,
        kinds: &kinds,
        usual: usual(goals, history, &kinds),
        all: free(goals.slots),
        groups: goals.groups.iter().map(|group| free(group.slots)).collect(),
        busy: BTreeMap::new(),
        planned: Vec::with_capacity(queue.len()),
    };
    while let Some(Reverse(ready)) = queue.pop() {
        if let Some(later) = walk.place(ready) {
            queue.push(Reverse(later));
        }
    }
    walk.planned.sort_by_key(|planned| planned.start);
    walk.planned
}

fn kinds(group: &Group) -> Vec<(Kind, &Calendar)> {
    let mut kinds = Vec::new();
    kinds.extend(group.points.as_ref().map(|calendar| (Kind::Point, calendar)));
    for online in &group.online {
        if let OnlineWhen::At(calendar) = &online.when {
            kinds.push((Kind::Online { vault: online.vault.clone() }, calendar));
        }
    }
    if let Sync::At(calendar) = &group.sync {
        kinds.push((Kind::Sync, calendar));
    }
    kinds
}

fn gather(
    group: &Group,
    place: usize,
    kinds: &[(Kind, &Calendar)],
    now: Timestamp,
    until: Timestamp,
    queue: &mut BinaryHeap<Reverse<Ready>>,
) {
    let from = now.saturating_sub(group.spread).unwrap_or(now);
    let slots = |calendar: &Calendar| -> Vec<Timestamp> {
        calendar.iter(&group.zone, from).take_while(|slot| *slot <= until).collect()
    };
    let slots: Vec<_> = kinds.iter().map(|(_, calendar)| slots(calendar)).collect();
    let is_point = |slot: &Timestamp| {
        kinds
            .iter()
            .zip(&slots)
            .any(|((kind, _), slots)| *kind == Kind::Point && slots.binary_search(slot).is_ok())
    };
    for (member, source) in group.members.iter().enumerate() {
        let jitter = source.jitter(group.spread);
        for (kind, slots) in slots.iter().enumerate() {
            // A point brings the newest state along.
            let is_sync = kinds[kind].0 == Kind::Sync;
            for &slot in slots.iter().filter(|slot| !(is_sync && is_point(slot))) {
                let at = starts(slot, jitter);
                if at > now && at <= until {
                    queue.push(Reverse(Ready { at, due: at, kind, member, group: place, slot }));
                }
            }
        }
    }
}

/// How long jobs take, by group, kind and member.
fn usual(
    goals: &Goals,
    history: &History,
    kinds: &[Vec<(Kind, &Calendar)>],
) -> Vec<Vec<Vec<SignedDuration>>> {
    let of = |source: &Source, kind: &Kind| {
        let record = history.sources.get(&source.name);
        let track = record.and_then(|record| record.track(kind));
        track.and_then(|track| track.usual).unwrap_or(SignedDuration::ZERO)
    };
    let groups = goals.groups.iter().zip(kinds).map(|(group, kinds)| {
        let members = |kind| group.members.iter().map(|source| of(source, kind)).collect();
        kinds.iter().map(|(kind, _)| members(kind)).collect()
    });
    groups.collect()
}

struct Walk<'a, 'b> {
    goals: &'a Goals,
    kinds: &'b [Vec<(Kind, &'a Calendar)>],
    usual: Vec<Vec<Vec<SignedDuration>>>,
    /// When each slot for a job is free again.
    all: Ends,
    groups: Vec<Ends>,
    /// The last end of a source's jobs, by group and member; where there was one that took time.
    busy: BTreeMap<(usize, usize), Timestamp>,
    planned: Vec<Planned<'a>>,
}

impl<'a> Walk<'a, '_> {
    /// Gives the job its time, or says when it is to be looked at again.
    fn place(&mut self, ready: Ready) -> Option<Ready> {
        let goals = self.goals;
        let group = &goals.groups[ready.group];
        let source = &group.members[ready.member];
        let (kind, _) = &self.kinds[ready.group][ready.kind];
        let length = self.usual[ready.group][ready.kind][ready.member];
        let mut start = ready.at;
        for ends in [&self.all, &self.groups[ready.group]] {
            start = start.max(ends.peek().map_or(start, |Reverse(end)| *end));
        }
        if let Some(end) = self.busy.get(&(ready.group, ready.member)) {
            start = start.max(*end);
        }
        let hours = group.window.allow.as_ref().filter(|hours| !hours.is_always());
        let mut closes = None;
        let mut trouble = None;
        if let (Some(hours), true) = (hours, kind.needs_machine()) {
            match hours.around(&group.zone, start) {
                Some((opens, _)) if opens > start => return Some(Ready { at: opens, ..ready }),
                Some((_, end)) => closes = Some(end),
                None => trouble = Some(Trouble::NoWindow),
            }
        }
        let end = start.saturating_add(length).unwrap_or(start);
        trouble = trouble.or_else(|| trouble_of(group, ready, (start, end), closes));
        if !length.is_zero() {
            let _ = self.all.pop();
            let _ = self.groups[ready.group].pop();
            self.all.push(Reverse(end));
            self.groups[ready.group].push(Reverse(end));
            self.busy.insert((ready.group, ready.member), end);
        }
        let (kind, slot) = (kind.clone(), ready.slot);
        self.planned.push(Planned { start, end, group, source, kind, slot, trouble });
        None
    }
}

fn trouble_of(
    group: &Group,
    ready: Ready,
    (start, end): (Timestamp, Timestamp),
    closes: Option<Timestamp>,
) -> Option<Trouble> {
    let over = |length: SignedDuration, limit: Option<SignedDuration>| {
        limit.map(|limit| length.saturating_sub(limit)).filter(SignedDuration::is_positive)
    };
    let waited = start.duration_since(ready.at);
    if let Some(by) = over(waited, group.window.start_within) {
        return Some(Trouble::StartsLate { by });
    }
    if let Some(by) = over(end.duration_since(start), group.window.must_end_within) {
        return Some(Trouble::TooLong { by });
    }
    if let Some(by) = closes.map(|closes| end.duration_since(closes)).filter(|by| by.is_positive())
    {
        return Some(Trouble::AfterWindow { by });
    }
    // By its deadline it was to be there.
    (end.duration_since(ready.due) > group.deadline).then_some(Trouble::PastDeadline)
}
