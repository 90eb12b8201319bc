//! What will run when, and what will not fit: the schedule gone through ahead of time, with every
//! machine there and every job as long as it usually is.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

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
    slot: Timestamp,
    group: u32,
    kind: u32,
    member: u32,
}

/// When a group's window is open, from now on. None: always.
type Openings = Option<Vec<(Timestamp, Timestamp)>>;

/// A week is looked at beyond the end of the plan: what waits then has an opening, or never one.
const BEYOND: SignedDuration = SignedDuration::from_hours(8 * 24);

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
    let openings: Vec<Openings> =
        goals.groups.iter().map(|group| openings(group, now, until)).collect();
    let mut in_order = Vec::new();
    for (place, group) in goals.groups.iter().enumerate() {
        gather(group, place, (&kinds[place], &openings[place]), now, until, &mut in_order);
    }
    in_order.sort_unstable();
    let free = |count: usize| -> Ends { vec![Reverse(now); count.max(1)].into() };
    let mut walk = Walk {
        goals,
        kinds: &kinds,
        openings: &openings,
        usual: usual(goals, history, &kinds),
        all: free(goals.slots),
        groups: goals.groups.iter().map(|group| free(group.slots)).collect(),
        busy: goals.groups.iter().map(|group| vec![now; group.members.len()]).collect(),
        planned: Vec::with_capacity(in_order.len()),
    };
    // What has to be looked at again is little: it stands beside what is in order already.
    let mut again: BinaryHeap<Reverse<Ready>> = BinaryHeap::new();
    let mut in_order = in_order.into_iter().peekable();
    loop {
        let is_first = match (in_order.peek(), again.peek()) {
            (Some(ready), Some(Reverse(other))) => ready <= other,
            (ready, _) => ready.is_some(),
        };
        let ready = if is_first { in_order.next() } else { again.pop().map(|other| other.0) };
        let Some(ready) = ready else { break };
        again.extend(walk.place(ready).map(Reverse));
    }
    walk.planned.sort_by_key(|planned| planned.start);
    walk.planned
}

fn openings(group: &Group, now: Timestamp, until: Timestamp) -> Openings {
    let hours = group.window.allow.as_ref().filter(|hours| !hours.is_always())?;
    let end = until.saturating_add(BEYOND).unwrap_or(until);
    let next = |at: Timestamp| hours.around(&group.zone, at);
    let all = std::iter::successors(next(now), |(_, closes)| next(*closes));
    Some(all.take_while(|(opens, _)| *opens <= end).collect())
}

/// The opening an instant lies in, or the next one.
fn opening(openings: &[(Timestamp, Timestamp)], at: Timestamp) -> Option<(Timestamp, Timestamp)> {
    openings.get(openings.partition_point(|(_, closes)| *closes <= at)).copied()
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
    (kinds, openings): (&[(Kind, &Calendar)], &Openings),
    now: Timestamp,
    until: Timestamp,
    found: &mut Vec<Ready>,
) {
    let from = now.saturating_sub(group.spread).unwrap_or(now);
    let slots = |calendar: &Calendar| -> Vec<Timestamp> {
        calendar.iter(&group.zone, from).take_while(|slot| *slot <= until).collect()
    };
    let mut slots: Vec<_> = kinds.iter().map(|(_, calendar)| slots(calendar)).collect();
    // A point brings the newest state along.
    let points: Vec<_> = kinds
        .iter()
        .zip(&slots)
        .filter(|((kind, _), _)| *kind == Kind::Point)
        .flat_map(|(_, slots)| slots.clone())
        .collect();
    for ((kind, _), slots) in kinds.iter().zip(&mut slots) {
        slots.retain(|slot| *kind != Kind::Sync || points.binary_search(slot).is_err());
    }
    let small = |place: usize| u32::try_from(place).unwrap_or(u32::MAX);
    for (member, source) in group.members.iter().enumerate() {
        let jitter = source.jitter(group.spread);
        for (kind, slots) in slots.iter().enumerate() {
            let mut last: Option<Ready> = None;
            for &slot in slots {
                let due = starts(slot, jitter);
                if due <= now || due > until {
                    continue;
                }
                let mut at = due;
                if let (Some(openings), true) = (openings, kinds[kind].0.needs_machine()) {
                    at = opening(openings, due).map_or(due, |(opens, _)| opens.max(due));
                }
                let (group, kind, member) = (small(place), small(kind), small(member));
                let ready = Ready { at, due, slot, group, kind, member };
                // Of what waits for the same opening only the newest runs.
                match last.replace(ready) {
                    Some(before) if before.at < at => found.push(before),
                    _ => {}
                }
            }
            found.extend(last);
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
    openings: &'b [Openings],
    usual: Vec<Vec<Vec<SignedDuration>>>,
    /// When each slot for a job is free again.
    all: Ends,
    groups: Vec<Ends>,
    /// The last end of a source's jobs, by group and member.
    busy: Vec<Vec<Timestamp>>,
    planned: Vec<Planned<'a>>,
}

impl<'a> Walk<'a, '_> {
    /// Gives the job its time, or says when it is to be looked at again.
    fn place(&mut self, ready: Ready) -> Option<Ready> {
        let goals = self.goals;
        let (place, member) = (ready.group as usize, ready.member as usize);
        let group = &goals.groups[place];
        let source = &group.members[member];
        let (kind, _) = &self.kinds[place][ready.kind as usize];
        let length = self.usual[place][ready.kind as usize][member];
        let mut start = ready.at.max(self.busy[place][member]);
        for ends in [&self.all, &self.groups[place]] {
            start = start.max(ends.peek().map_or(start, |Reverse(end)| *end));
        }
        let mut closes = None;
        let mut trouble = None;
        if let (Some(openings), true) = (&self.openings[place], kind.needs_machine()) {
            match opening(openings, start) {
                Some((opens, _)) if opens > start => return Some(Ready { at: opens, ..ready }),
                Some((_, end)) => closes = Some(end),
                None => trouble = Some(Trouble::NoWindow),
            }
        }
        let end = start.saturating_add(length).unwrap_or(start);
        trouble = trouble.or_else(|| trouble_of(group, ready, (start, end), closes));
        if !length.is_zero() {
            let _ = self.all.pop();
            let _ = self.groups[place].pop();
            self.all.push(Reverse(end));
            self.groups[place].push(Reverse(end));
            self.busy[place][member] = end;
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
