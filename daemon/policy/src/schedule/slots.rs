//! The slots of one calendar around now: looked up once for all members of a group.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::clock::{Clock, Now};
use super::history::Track;
use crate::calendar::Calendar;
use crate::mutants::{Mutant, Mutants};

/// Slots that passed and were not run, told once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passed {
    pub first: Timestamp,
    pub last: Timestamp,
    /// Of many only that there are at least so many.
    pub count: usize,
}

/// Counting further helps nobody.
pub const COUNT_MAX: usize = 1_000;

pub(crate) struct Slots<'a> {
    calendar: &'a Calendar,
    zone: &'a TimeZone,
    now: Now,
    /// Newest first: as many as the spread can hold back, and one more.
    recent: Vec<Timestamp>,
    next: Option<Timestamp>,
    mutants: Mutants,
    counted: BTreeMap<(Timestamp, Timestamp), Option<Passed>>,
}

impl<'a> Slots<'a> {
    pub(crate) fn new(
        calendar: &'a Calendar,
        zone: &'a TimeZone,
        spread: SignedDuration,
        now: Now,
        mutants: Mutants,
    ) -> Self {
        let behind = now.wall.saturating_add(SignedDuration::from_nanos(1)).unwrap_or(now.wall);
        let held_back = now.wall.saturating_sub(spread).unwrap_or(now.wall);
        let mut recent = Vec::new();
        let mut before = behind;
        while let Some(slot) = calendar.previous_of(zone, before, mutants) {
            recent.push(slot);
            if slot <= held_back {
                break;
            }
            before = slot;
        }
        let next = calendar.next(zone, now.wall);
        Self { calendar, zone, now, recent, next, mutants, counted: BTreeMap::new() }
    }

    fn previous(&self, slot: Timestamp) -> Option<Timestamp> {
        self.calendar.previous_of(self.zone, slot, self.mutants)
    }

    /// The newest slot whose start is not after now.
    fn newest(&self, jitter: SignedDuration) -> Option<Timestamp> {
        let is_due = |slot: &&Timestamp| starts(**slot, jitter) <= self.now.wall;
        self.recent.iter().find(is_due).copied()
    }

    /// The next start after now.
    pub(crate) fn next_start(&self, jitter: SignedDuration) -> Option<Timestamp> {
        let held_back = self.recent.iter().rev().map(|slot| starts(*slot, jitter));
        let next = self.next.map(|slot| starts(slot, jitter));
        held_back.chain(next).find(|start| *start > self.now.wall)
    }

    /// Brings the track up to now. The slot that is owed, and what passed unrun before it.
    pub(crate) fn settle(
        &mut self,
        track: &mut Track,
        jitter: SignedDuration,
        clock: &Clock,
    ) -> (Option<Timestamp>, Option<Passed>) {
        let Some(newest) = self.newest(jitter) else { return (None, None) };
        let until = match track.enter(clock) {
            Some(until) => until,
            None => self.first_look(track, jitter, clock),
        };
        if newest <= until {
            if !self.mutants.keeps(Mutant::HandledSlots) && newest < until {
                let before = self.previous(newest).unwrap_or(newest);
                track.forget_handled(clock, before);
            }
            return (None, None);
        }
        let previous = self.previous(newest);
        if track.is_spent(newest) {
            let gap = previous.map_or(SignedDuration::ZERO, |slot| newest.duration_since(slot));
            // Another reign had it a moment ago: there is nothing new to protect.
            if track.rest(self.now) < gap / 2 {
                track.account(clock, newest);
                return (None, None);
            }
        }
        if !self.mutants.keeps(Mutant::Collapse) {
            return (self.calendar.next(self.zone, until), None);
        }
        let Some(previous) = previous.filter(|slot| *slot > until) else {
            return (Some(newest), None);
        };
        let passed = self.count(until, previous);
        track.account(clock, previous);
        (Some(newest), passed)
    }

    /// A clock from before everything the track knows: what is over on it is accounted for, but for
    /// its newest slot if that is due by what was witnessed.
    fn first_look(&self, track: &mut Track, jitter: SignedDuration, clock: &Clock) -> Timestamp {
        let began = clock.root_began();
        let end = began.wall.saturating_sub(jitter).unwrap_or(began.wall);
        let base = self.calendar.newest(self.zone, end).unwrap_or(end);
        let previous = self.calendar.previous(self.zone, base);
        let until = match previous {
            Some(slot) if track.rest(began) >= base.duration_since(slot) => slot,
            _ => base,
        };
        track.account(clock, until);
        until
    }

    /// The slots after one and up to another.
    fn count(&mut self, after: Timestamp, last: Timestamp) -> Option<Passed> {
        if let Some(known) = self.counted.get(&(after, last)) {
            return *known;
        }
        let slots = self.calendar.iter(self.zone, after).take_while(|slot| *slot <= last);
        let mut passed: Option<Passed> = None;
        for slot in slots.take(COUNT_MAX) {
            let found = passed.get_or_insert(Passed { first: slot, last, count: 0 });
            found.count += 1;
        }
        self.counted.insert((after, last), passed);
        passed
    }
}

pub(crate) fn starts(slot: Timestamp, jitter: SignedDuration) -> Timestamp {
    slot.saturating_add(jitter).unwrap_or(slot)
}
