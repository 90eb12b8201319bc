//! One simulated life of a pool: a seed decides everything that happens to it.

use keelhold_disk::device::DeviceOp;
use keelhold_disk::mutants::Mutants;
use keelhold_disk::pool::{INDEX_BUDGET, RecordChange};
use keelhold_disk::sim::{Fault, FaultRule, Rng, When};
use keelhold_disk::units::{PointId, SourceId, UnixNanos};
use keelhold_disk::{CommitError, IngestError, OpenError};
use keelhold_tests::rig::{Files, Rig, Shape, SimPool};
use nix::errno::Errno;

use super::actions::{Action, Answer, perform};
use super::check::{compare, read_back, read_some, settle};
use super::damage;
use super::model::{Attempt, Model};
use super::reads;
use super::tally::Tally;
use crate::pool::content::{change_tree, some_file, some_tree};
use crate::pool::verdict::{Verdict, chain, ensure};

/// Longest file: some are several chunks.
const LONGEST: usize = 1800;
/// Virtual time in which most operations end, and many do not.
const MIDST_NANOS: u64 = 30_000_000;
/// Longest time in the trash.
const TRASH_NANOS: u64 = 20_000_000_000;

pub struct Life {
    pub rig: Rig,
    pub pool: SimPool,
    pub model: Model,
    pub rng: Rng,
    pub tally: Tally,
    mutants: Mutants,
    next_at: i64,
}

impl Life {
    pub fn begin(seed: u64, mutants: Mutants) -> Verdict<Self> {
        let mut rng = Rng::new(seed);
        let disk_count = 1 + rng.index(3);
        let copies = if disk_count > 1 && rng.below(2) == 0 { 2 } else { 1 };
        let shape =
            Shape { disk_len: 24 << 20, journal_len: 160 << 10, copies, ..Shape::toy(disk_count) };
        let mut rig = Rig::shaped(seed, shape, mutants);
        let pool = rig.create().map_err(|error| chain(&error))?;
        let (model, tally) = (Model::default(), Tally::default());
        Ok(Self { rig, pool, model, rng, tally, mutants, next_at: 1 })
    }

    pub fn trace_hash(&self) -> [u8; 32] {
        self.rig.world.trace_hash()
    }

    fn now(&self) -> UnixNanos {
        self.rig.now()
    }

    fn source(&mut self) -> SourceId {
        SourceId([1 + self.rng.index(3) as u8; 16])
    }

    /// One operation, and what is to be checked behind it.
    pub fn step(&mut self) -> Verdict {
        match self.rng.below(1000) {
            0..330 => {
                let action = self.choose();
                self.act(&action)
            }
            330..600 => reads::one(self),
            600..916 => self.small_read(),
            916..920 => self.heal(),
            920..930 => self.crash_idle(),
            930..946 => self.crash_in_the_midst(),
            946..952 => self.restart(),
            952..956 => self.verify(),
            956..962 => self.conflict(),
            962..980 => self.fail_once(),
            _ => damage::episode(self, self.mutants),
        }
    }

    fn choose(&mut self) -> Action {
        match self.rng.below(100) {
            0..20 => Action::One(self.some_point(false)),
            20..24 => self.some_forget(),
            24..26 => self.some_undo(),
            26..31 => Action::One(self.some_point(true)),
            31..34 => self.some_promotion(),
            34..54 => Action::One(self.some_record()),
            54..67 => Action::One(self.some_entry()),
            67..70 => Action::One(self.some_trim()),
            70..76 => Action::One(self.some_park()),
            76..80 => {
                let source = self.source();
                Action::One(Attempt::Cancel { source })
            }
            80..86 => {
                let first = self.some_point(false);
                let second = match self.rng.below(3) {
                    0 => self.some_record(),
                    1 => self.some_entry(),
                    _ => self.other_point(&first),
                };
                Action::Both(first, second)
            }
            86..89 => Action::Checkpoint,
            89..91 => Action::CheckpointBeside(self.some_point(false)),
            _ => self.some_reclaim(),
        }
    }

    fn some_point(&mut self, working: bool) -> Attempt {
        let source = self.source();
        self.point_of(source, working)
    }

    fn other_point(&mut self, first: &Attempt) -> Attempt {
        let Attempt::Point { source: SourceId([number, ..]), .. } = first else {
            return self.some_entry();
        };
        self.point_of(SourceId([1 + number % 3; 16]), false)
    }

    fn point_of(&mut self, source: SourceId, working: bool) -> Attempt {
        self.next_at += 1;
        let mut files = self.next_tree(source);
        if self.rng.below(4) > 0 {
            change_tree(&mut files, &mut self.rng, LONGEST);
        }
        Attempt::Point { at: self.next_at, source, files, working }
    }

    /// What the machine has now: what a parked session was sent, its basis, another machine's tree
    /// (so that chunks are shared), or something new.
    fn next_tree(&mut self, source: SourceId) -> Files {
        if let Some(files) = self.model.parked.get(&source) {
            return files.clone();
        }
        let other = SourceId([1 + self.rng.index(3) as u8; 16]);
        let from = if self.rng.below(8) == 0 { other } else { source };
        match self.model.basis(from) {
            Some(point) if self.rng.below(30) > 0 => point.files.clone(),
            _ => some_tree(self.rng.next_u64(), 4, LONGEST),
        }
    }

    fn some_record(&mut self) -> Attempt {
        let name = format!("record/{}", self.rng.below(6));
        let removes = self.rng.below(5) == 0;
        let value = (!removes).then(|| some_file(&mut self.rng, 600));
        Attempt::Record { name, value }
    }

    fn some_entry(&mut self) -> Attempt {
        let series = format!("series/{}", self.rng.below(2));
        Attempt::Entry { series, bytes: some_file(&mut self.rng, 100) }
    }

    fn some_trim(&mut self) -> Attempt {
        let series = format!("series/{}", self.rng.below(2));
        let known = self.model.series.get(&series).map_or(0, Vec::len);
        Attempt::Trim { series, count: self.rng.index(known + 1) }
    }

    /// Forgets some points, for good or for a while.
    fn some_forget(&mut self) -> Action {
        let listed: Vec<PointId> = self.model.points.iter().map(|point| point.id).collect();
        let listed: Vec<PointId> =
            listed.into_iter().filter(|point| !self.model.trash.contains_key(point)).collect();
        if listed.len() < 4 {
            return Action::One(self.some_point(false));
        }
        let first = self.rng.index(listed.len());
        let count = 1 + self.rng.index(4);
        let points = listed.into_iter().skip(first).take(count).collect();
        let nanos = if self.rng.below(2) == 0 { 1 } else { self.rng.below(TRASH_NANOS) as i64 };
        Action::One(Attempt::Forget { points, until: self.now().0 + nanos })
    }

    /// Of a source that has a working state; else one gets it.
    fn some_promotion(&mut self) -> Action {
        let sources: Vec<SourceId> = self.model.working.keys().copied().collect();
        Action::One(match sources.is_empty() {
            true => self.some_point(true),
            false => Attempt::Promote { source: sources[self.rng.index(sources.len())] },
        })
    }

    fn some_undo(&mut self) -> Action {
        // An opening in between takes a second.
        let now = self.now().0 + 3_000_000_000;
        let in_time: Vec<PointId> = self
            .model
            .trash
            .iter()
            .filter(|(_, until)| **until > now)
            .map(|(point, _)| *point)
            .collect();
        match in_time.is_empty() {
            true => self.some_forget(),
            false => {
                let point = in_time[self.rng.index(in_time.len())];
                Action::One(Attempt::Undo { point })
            }
        }
    }

    fn some_reclaim(&mut self) -> Action {
        let reclaim = Attempt::Reclaim { least_dead: 1 + self.rng.below(40) as u8 };
        match self.rng.below(4) {
            0 => Action::Both(reclaim, self.some_point(false)),
            1 if !self.model.points.is_empty() => {
                let point = self.model.points[self.rng.index(self.model.points.len())].id;
                Action::ReclaimBesideRead(reclaim, point)
            }
            _ => Action::One(reclaim),
        }
    }

    fn some_park(&mut self) -> Attempt {
        let source = self.source();
        let mut files = self.next_tree(source);
        change_tree(&mut files, &mut self.rng, LONGEST);
        Attempt::Park { source, files }
    }

    fn act(&mut self, action: &Action) -> Verdict {
        self.tally.count(action.name());
        let now = self.now();
        let answers = self.rig.run(perform(&self.pool, &self.model, action, now));
        for answer in &answers {
            if let Err(error) = answer {
                return Err(format!("{}: {}", action.name(), chain(error)));
            }
        }
        self.take(action, answers)?;
        self.check_some()
    }

    /// The pool answered: the model follows.
    fn take(&mut self, action: &Action, answers: Vec<Answer>) -> Verdict {
        for (attempt, answer) in action.attempts().into_iter().zip(answers) {
            let (id, sent) = answer.map_err(|error| chain(&error))?;
            if let Attempt::Point { source, files, .. } = &attempt
                && self.model.parked.get(source) == Some(files)
                && !self.model.forgot.contains(source)
            {
                self.tally.count("resume session");
                ensure!(sent == 0, "a resumed session was asked for {sent} bytes again");
            }
            if matches!(attempt, Attempt::Reclaim { .. }) {
                settle(&self.pool, &mut self.model, vec![attempt]);
            } else {
                self.model.happened(attempt, id);
            }
        }
        Ok(())
    }

    fn check_some(&mut self) -> Verdict {
        if self.rng.below(12) == 0 {
            compare(&self.pool, &self.model)?;
        }
        Ok(())
    }

    fn small_read(&mut self) -> Verdict {
        reads::small(self)
    }

    /// A record change that expects another version than there is changes nothing.
    fn conflict(&mut self) -> Verdict {
        self.tally.count("conflicting record");
        let name = format!("record/{}", self.rng.below(6));
        let version = self.model.records.get(&name).map_or(0, |(version, _)| *version);
        let change =
            RecordChange { name, expected: Some(version + 1), bytes: Some(b"never".to_vec()) };
        let now = self.now();
        let answer = self.rig.run(self.pool.write_records(vec![change], now));
        let refused = matches!(answer, Err(CommitError::Version { .. }));
        ensure!(refused, "a conflicting change was answered with {answer:?}");
        compare(&self.pool, &self.model)
    }

    fn verify(&mut self) -> Verdict {
        self.tally.count("verify");
        let report = self.rig.run(self.pool.verify(|_, _| {}));
        ensure!(report.findings.is_empty(), "verify finds {:?}", report.findings);
        Ok(())
    }

    /// All disks are there: afterwards everything has as many copies as it should.
    fn heal(&mut self) -> Verdict {
        self.tally.count("heal");
        let report = self.rig.run(self.pool.heal());
        let report = report.map_err(|error| format!("heal: {}", chain(&error)))?;
        ensure!(report.unhealed.is_empty(), "not healed: {:?}", report.unhealed);
        let status = self.pool.status();
        ensure!(!status.degraded, "degraded though healed: {status:?}");
        Ok(())
    }

    fn restart(&mut self) -> Verdict {
        self.tally.count("close and open");
        let now = self.now();
        let closed = self.rig.run(self.pool.clone().close(now));
        closed.map_err(|error| format!("close: {}", chain(&error)))?;
        self.rig.end();
        self.reopen(Vec::new())
    }

    fn crash_idle(&mut self) -> Verdict {
        self.tally.count("crash");
        self.rig.crash();
        self.reopen(Vec::new())
    }

    fn crash_in_the_midst(&mut self) -> Verdict {
        self.tally.count("crash in the midst");
        let action = self.choose();
        let (now, nanos) = (self.now(), 1 + self.rng.below(MIDST_NANOS));
        let answers = self.rig.run_at_most(nanos, perform(&self.pool, &self.model, &action, now));
        let mut attempts = Vec::new();
        match answers {
            Some(answers) => self.take(&action, answers)?,
            None => attempts = action.attempts(),
        }
        self.rig.crash();
        if self.rng.below(4) == 0 {
            self.tally.count("crash in recovery");
            let nanos = 1 + self.rng.below(MIDST_NANOS);
            self.rig.open_at_most(nanos);
            self.rig.crash();
        }
        self.reopen(attempts)
    }

    pub fn reopen(&mut self, attempts: Vec<Attempt>) -> Verdict {
        // What was sent to a session that nobody journaled may have to be sent again.
        let unsure = attempts.iter().filter_map(|attempt| match attempt {
            Attempt::Point { source, .. }
            | Attempt::Park { source, .. }
            | Attempt::Cancel { source } => Some(*source),
            _ => None,
        });
        let unsure: Vec<SourceId> = unsure.collect();
        if self.rig.index_budget < INDEX_BUDGET {
            self.rig.index_budget = [0, 0, 100, INDEX_BUDGET - 1][self.rng.index(4)];
        }
        let pool = self.rig.open();
        self.pool = pool.map_err(|error| format!("does not open: {}", chain(&error)))?;
        for source in unsure {
            let gone = !self.pool.sessions().iter().any(|session| session.source == source);
            if gone {
                self.model.parked.remove(&source);
            }
        }
        settle(&self.pool, &mut self.model, attempts);
        compare(&self.pool, &self.model)?;
        let pick = self.rng.index(1 << 20);
        read_some(&mut self.rig, &self.pool, &self.model, pick)
    }

    /// One device operation fails. What was in the midst fails or not; the pool is opened again and
    /// holds everything announced.
    fn fail_once(&mut self) -> Verdict {
        let action = self.choose();
        // Late enough to meet every step of an action, early enough to meet one at all.
        let (op, bound) = match self.rng.below(5) {
            0 => (DeviceOp::Read, 3),
            1 | 2 => (DeviceOp::Write, 6),
            _ => (DeviceOp::Flush, 3),
        };
        let disk = self.rng.index(self.rig.disks.len());
        let when = When::Nth(self.rng.below(bound));
        let fault = Fault::Error(Errno::EIO);
        self.rig.world.add_fault(FaultRule::new(disk, op, when, fault));
        if op == DeviceOp::Read {
            self.tally.count("backup with a failing read");
            // Everything is to be read from the disks: a pool just opened has nothing cached.
            self.rig.end();
            match self.rig.open() {
                Ok(pool) => self.pool = pool,
                Err(error) => return self.refused(&error),
            }
        } else {
            self.tally.count("action with a failing disk");
        }
        let now = self.now();
        let answers = self.rig.run(perform(&self.pool, &self.model, &action, now));
        let failed = answers.iter().any(Result::is_err);
        for error in answers.iter().filter_map(|answer| answer.as_ref().err()) {
            ensure!(is_of_the_disk(error), "a failing disk gave {}", chain(error));
        }
        let mut attempts = Vec::new();
        match failed {
            false => self.take(&action, answers)?,
            true => attempts = action.attempts(),
        }
        self.tally.outcome(if failed { "failed, nothing lost" } else { "went well all the same" });
        damage::count_faults(&self.rig, &mut self.tally);
        self.rig.world.clear_faults();
        // A crash, or a new opening by a process that goes on.
        match self.rng.below(2) {
            0 => self.rig.crash(),
            _ => self.rig.end(),
        }
        self.reopen(attempts)
    }

    /// The disk did not answer while the pool was opened: later it does.
    fn refused(&mut self, error: &OpenError) -> Verdict {
        let of_the_disk = match error {
            OpenError::Device { .. } => true,
            OpenError::Read(read) | OpenError::NoCheckpoint(read) => !read.is_corruption(),
            OpenError::Commit(CommitError::Read(read)) => !read.is_corruption(),
            _ => false,
        };
        ensure!(of_the_disk, "a failing disk gave {}", chain(error));
        self.tally.outcome("opening refused, nothing lost");
        damage::count_faults(&self.rig, &mut self.tally);
        self.rig.world.clear_faults();
        self.rig.crash();
        self.reopen(Vec::new())
    }

    /// Everything, at the end.
    pub fn end(&mut self) -> Verdict {
        compare(&self.pool, &self.model)?;
        for point in &self.model.points {
            read_back(&mut self.rig, &self.pool, point)?;
        }
        self.verify()?;
        self.crash_idle()
    }
}

fn is_of_the_disk(error: &IngestError) -> bool {
    match error {
        IngestError::Commit(CommitError::Fenced { .. } | CommitError::DiskLost { .. }) => true,
        IngestError::Commit(CommitError::Read(read)) | IngestError::Read(read) => {
            !read.is_corruption()
        }
        _ => false,
    }
}
