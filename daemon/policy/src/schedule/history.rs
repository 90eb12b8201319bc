//! What has been: per source and kind of job the slots that are accounted for, the state, the last
//! good one. The daemon keeps it; the scheduler alone writes it.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::clock::{Clock, Jump, Moment, Now};
use super::decide::WaitReason;
use super::goals::Kind;
use crate::mutants::Mutants;

/// All that has to be remembered between two decisions, and over restarts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    pub clock: Clock,
    pub sources: BTreeMap<String, Record>,
    #[serde(skip)]
    pub(crate) mutants: Mutants,
}

/// One source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Record {
    pub(crate) tracks: Vec<(Kind, Track)>,
    /// Good points so far, and the wall of the newest: what online protection goes by.
    pub points: u64,
    pub newest_point: Option<Moment>,
    /// Requests that wait, oldest first.
    pub asked: Vec<u64>,
}

/// One kind of job of one source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Track {
    /// Since when there is something to miss.
    pub begun: Moment,
    marks: Vec<Mark>,
    pub last_start: Option<Moment>,
    pub last_good: Option<Moment>,
    pub state: State,
    /// What held it up when it was last looked at.
    pub(crate) held_by: Option<WaitReason>,
    /// Told already: no good one before the deadline, and the slot that was not started in time.
    pub(crate) overdue_told: bool,
    pub(crate) late_told: Option<Timestamp>,
    /// For "after the newest point": the points that are taken care of.
    pub(crate) taken: u64,
    /// How long a good one usually takes.
    pub usual: Option<SignedDuration>,
}

/// All slots after `from` and not after `until` are accounted for: in this reign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    reign: u32,
    from: Timestamp,
    until: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
pub enum State {
    Idle,
    Running {
        slot: Option<Timestamp>,
        since: Moment,
        stop_by: Option<Timestamp>,
    },
    /// Interrupted; goes on where it was.
    Parked {
        slot: Option<Timestamp>,
        since: Moment,
        /// Its time was over: not again in the same opening of the window.
        out_of_time: bool,
    },
}

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Good,
    Failed,
    Parked,
}

impl Track {
    pub(crate) fn new(begun: Moment) -> Self {
        let mark = Mark { reign: begun.reign, from: begun.wall, until: begun.wall };
        Self {
            begun,
            marks: vec![mark],
            last_start: None,
            last_good: None,
            state: State::Idle,
            held_by: None,
            overdue_told: false,
            late_told: None,
            taken: 0,
            usual: None,
        }
    }

    /// Up to where slots are accounted for, going by this reign and those it goes on with. None: the
    /// clock is before everything this track knows.
    pub(crate) fn accounted(&self, clock: &Clock) -> Option<Timestamp> {
        let mark = |reign| self.marks.iter().find(|mark: &&Mark| mark.reign == reign);
        clock.lineage().find_map(mark).map(|mark| mark.until)
    }

    pub(crate) fn account(&mut self, clock: &Clock, until: Timestamp) {
        let reign = clock.current();
        let from = self.accounted(clock).unwrap_or(until);
        match self.marks.iter_mut().find(|mark| mark.reign == reign) {
            Some(mark) => mark.until = mark.until.max(until),
            None => {
                self.marks.retain(|mark| clock.knows(mark.reign));
                self.marks.push(Mark { reign, from, until });
            }
        }
    }

    /// What an earlier reign had accounted for is this one's beginning, whatever becomes of that.
    pub(crate) fn enter(&mut self, clock: &Clock) -> Option<Timestamp> {
        let until = self.accounted(clock)?;
        self.account(clock, until);
        Some(until)
    }

    /// Whether the slot was accounted for by a clock that is not this one.
    pub(crate) fn is_spent(&self, slot: Timestamp) -> bool {
        self.marks.iter().any(|mark| mark.from < slot && slot <= mark.until)
    }

    /// Witnessed since something of this kind was started, or since protection began.
    pub(crate) fn rest(&self, now: Now) -> SignedDuration {
        let last = self.last_start.unwrap_or(self.begun);
        now.witnessed.saturating_sub(last.witnessed)
    }

    pub(crate) const fn is_running(&self) -> bool {
        matches!(self.state, State::Running { .. })
    }

    /// For a test that wants to notice.
    pub(crate) fn forget_handled(&mut self, clock: &Clock, until: Timestamp) {
        let reign = clock.current();
        if let Some(mark) = self.marks.iter_mut().find(|mark| mark.reign == reign) {
            mark.until = mark.until.min(until);
        }
    }
}

impl Record {
    #[must_use]
    pub fn track(&self, kind: &Kind) -> Option<&Track> {
        self.tracks.iter().find(|(other, _)| other == kind).map(|(_, track)| track)
    }

    pub(crate) fn track_mut(&mut self, kind: &Kind) -> Option<&mut Track> {
        self.tracks.iter_mut().find(|(other, _)| other == kind).map(|(_, track)| track)
    }

    /// Where the track stands; it is made if there is none.
    pub(crate) fn place(&mut self, kind: &Kind, begun: Moment) -> usize {
        let found = self.tracks.iter().position(|(other, _)| other == kind);
        found.unwrap_or_else(|| {
            self.tracks.push((kind.clone(), Track::new(begun)));
            self.tracks.len() - 1
        })
    }

    pub(crate) fn running(&self) -> impl Iterator<Item = &Kind> {
        self.tracks.iter().filter(|(_, track)| track.is_running()).map(|(kind, _)| kind)
    }
}

impl History {
    #[must_use]
    pub fn new(now: Now) -> Self {
        let mutants = Mutants::default();
        Self { clock: Clock::new(now), sources: BTreeMap::new(), mutants }
    }

    #[cfg(feature = "mutants")]
    #[must_use]
    pub fn with_mutants(self, mutants: Mutants) -> Self {
        Self { mutants, ..self }
    }

    /// A daemon begins: the wall may have gone on, and what ran is parked.
    pub fn daemon_started(&mut self, now: Now) -> Option<Jump> {
        let jump = self.clock.look(now, true, self.mutants);
        let since = self.clock.moment(now);
        for (_, track) in self.sources.values_mut().flat_map(|record| &mut record.tracks) {
            if let State::Running { slot, .. } = track.state {
                track.state = State::Parked { slot, since, out_of_time: false };
            }
        }
        jump
    }

    /// From now on this source can be missed. Nothing happens to one that is known.
    pub fn protect(&mut self, source: &str, kinds: impl IntoIterator<Item = Kind>, now: Now) {
        let begun = self.clock.moment(now);
        let record = self.sources.entry(source.to_owned()).or_default();
        for kind in kinds {
            record.place(&kind, begun);
        }
    }

    /// Somebody asks for a point now.
    pub fn ask(&mut self, source: &str, request: u64) {
        let record = self.sources.entry(source.to_owned()).or_default();
        if !record.asked.contains(&request) {
            record.asked.push(request);
        }
    }

    /// A job that was started has ended. Nothing happens to one that did not run.
    pub fn finished(&mut self, source: &str, kind: &Kind, outcome: Outcome, now: Now) {
        let moment = self.clock.moment(now);
        let Some(record) = self.sources.get_mut(source) else { return };
        let Some(track) = record.track_mut(kind) else { return };
        let State::Running { slot, since, stop_by } = track.state else { return };
        track.state = match outcome {
            Outcome::Parked => {
                let out_of_time = stop_by.is_some_and(|stop| stop <= now.wall);
                State::Parked { slot, since: moment, out_of_time }
            }
            Outcome::Good | Outcome::Failed => State::Idle,
        };
        if outcome != Outcome::Good {
            return;
        }
        let took = now.witnessed.saturating_sub(since.witnessed).max(SignedDuration::ZERO);
        track.usual = Some(track.usual.map_or(took, |usual| usual / 4 * 3 + took / 4));
        track.last_good = Some(moment);
        track.overdue_told = false;
        if matches!(kind, Kind::Point | Kind::OnDemand) {
            record.points += 1;
            record.newest_point = Some(moment);
            // A point is a point, whoever asked for it.
            if let Some(track) = record.track_mut(&Kind::Point) {
                track.last_good = Some(moment);
                track.overdue_told = false;
            }
        }
    }

    /// Sources that nobody protects any more are forgotten.
    pub fn keep_only(&mut self, is_protected: impl Fn(&str) -> bool) {
        self.sources.retain(|source, _| is_protected(source));
    }
}
