//! What a history tried and what it was told: the two bounds of what a crash may leave.

use std::cell::{Cell, RefCell};

use keelhold_disk::pool::{CommitPoint, ReclaimOptions, RecordChange};
use keelhold_disk::sim::SimWorld;
use keelhold_disk::units::{ChunkRef, SourceId, UnixNanos};
use keelhold_disk::{ForgetError, IngestError, ReclaimError};
use keelhold_tests::rig::{Files, Machine, Rig, SimPool, chunks_of};

/// Something that was asked of the pool.
#[derive(Debug, Clone)]
pub enum Fact {
    /// A point, and in the same breath a record `last/<source>` that names it.
    Point {
        at: i64,
        source: SourceId,
        files: Files,
        working: bool,
    },
    /// The working state of that time became a point.
    Promoted {
        at: i64,
    },
    Record {
        name: String,
        value: Vec<u8>,
    },
    Entry {
        series: String,
        bytes: Vec<u8>,
    },
    /// What a session sent by then need not be sent again.
    Step {
        machine: Machine,
        chunks: Vec<ChunkRef>,
    },
    /// From here on the point of that time may be in the trash, or gone.
    Forgotten {
        at: i64,
    },
    /// The session of this source ended otherwise than by a step.
    Ended {
        source: SourceId,
    },
}

#[derive(Debug, Default, Clone)]
pub struct Ledger {
    /// In the order in which they were asked for.
    pub tried: Vec<Fact>,
    /// Indexes into `tried` in the order of the answers. A mark in the history is a length of this.
    pub answered: Vec<usize>,
}

/// A pool at work on a history that is recorded, and its ledger.
pub struct Stage {
    pub pool: SimPool,
    world: SimWorld,
    pub ledger: RefCell<Ledger>,
    next_at: Cell<i64>,
}

pub fn last_record(source: SourceId) -> String {
    format!("last/{source}")
}

impl Stage {
    pub fn new(rig: &Rig, pool: SimPool) -> Self {
        Self { pool, world: rig.world.clone(), ledger: RefCell::default(), next_at: Cell::new(1) }
    }

    /// Goes on with what an earlier stage left, over the same disks.
    pub fn going_on(rig: &Rig, pool: SimPool, ledger: Ledger, next_at: i64) -> Self {
        let stage = Self::new(rig, pool);
        stage.ledger.replace(ledger);
        stage.next_at.set(next_at);
        stage
    }

    fn tries(&self, fact: Fact) -> usize {
        let tried = &mut self.ledger.borrow_mut().tried;
        tried.push(fact);
        tried.len() - 1
    }

    fn answered(&self, fact: usize) {
        let answered = &mut self.ledger.borrow_mut().answered;
        answered.push(fact);
        self.world.mark(answered.len() as u64);
    }

    pub fn now(&self) -> UnixNanos {
        self.next_at.set(self.next_at.get() + 1);
        UnixNanos(self.next_at.get())
    }

    pub async fn backup(&self, machine: &mut Machine, files: &Files) -> Result<(), IngestError> {
        self.commit(machine, files, false).await
    }

    pub async fn synchronise(
        &self,
        machine: &mut Machine,
        files: &Files,
    ) -> Result<(), IngestError> {
        self.commit(machine, files, true).await
    }

    async fn commit(
        &self,
        machine: &mut Machine,
        files: &Files,
        working: bool,
    ) -> Result<(), IngestError> {
        let (now, source) = (self.now(), machine.source);
        let fact = Fact::Point { at: now.0, source, files: files.clone(), working };
        let fact = self.tries(fact);
        let record = RecordChange {
            name: last_record(source),
            expected: None,
            bytes: Some(now.0.to_le_bytes().to_vec()),
        };
        let commit =
            CommitPoint { at: now, working, records: vec![record], ..CommitPoint::default() };
        machine.backup_as(&self.pool, files, commit, now).await?;
        self.answered(fact);
        Ok(())
    }

    /// Makes the machine's working state a point.
    pub async fn promote(&self, machine: &Machine) -> Result<(), IngestError> {
        let state = self.pool.working_state(&machine.source).expect("a working state");
        let fact = self.tries(Fact::Promoted { at: state.at.0 });
        let promoted = self.pool.promote(machine.source, Vec::new(), self.now()).await;
        promoted.map_err(|error| match error {
            ForgetError::Commit(error) => error,
            other => panic!("promoting a working state: {other}"),
        })?;
        self.answered(fact);
        Ok(())
    }

    pub async fn record(&self, name: &str, value: &[u8]) -> Result<(), IngestError> {
        let (name, value) = (name.to_owned(), value.to_owned());
        let fact = self.tries(Fact::Record { name: name.clone(), value: value.clone() });
        let change = RecordChange { name, expected: None, bytes: Some(value) };
        self.pool.write_records(vec![change], self.now()).await?;
        self.answered(fact);
        Ok(())
    }

    pub async fn append(&self, series: &str, bytes: &[u8]) -> Result<(), IngestError> {
        let (series, bytes) = (series.to_owned(), bytes.to_owned());
        let fact = self.tries(Fact::Entry { series: series.clone(), bytes: bytes.clone() });
        self.pool.append(&series, bytes, self.now()).await?;
        self.answered(fact);
        Ok(())
    }

    /// Forgets the machine's newest point for good: the next reclaim drops it.
    pub async fn forget(&self, machine: &Machine) -> Result<(), IngestError> {
        let points = self.pool.points();
        let newest = points.iter().rfind(|point| point.source == machine.source);
        let Some(point) = newest.filter(|point| point.trashed_until.is_none()) else {
            return Ok(());
        };
        let fact = self.tries(Fact::Forgotten { at: point.at.0 });
        let now = self.now();
        let forgotten = self.pool.forget(&[point.id], now, now).await;
        forgotten.map_err(|error| match error {
            ForgetError::Commit(error) => error,
            other => panic!("forgetting a point: {other}"),
        })?;
        self.answered(fact);
        Ok(())
    }

    pub async fn reclaim(&self) -> Result<(), IngestError> {
        let options = ReclaimOptions { least_dead: 10, ..ReclaimOptions::default() };
        match self.pool.reclaim(options, self.now()).await {
            Ok(_) => Ok(()),
            Err(ReclaimError::Commit(error)) => Err(error.into()),
            Err(brake) => panic!("{brake}"),
        }
    }

    pub async fn checkpoint(&self) -> Result<(), IngestError> {
        Ok(self.pool.checkpoint(self.now()).await?)
    }

    /// Sends a tree, journals what was sent, and leaves it at that.
    pub async fn park(&self, machine: &Machine, files: &Files) -> Result<(), IngestError> {
        let session = machine.begin(&self.pool, self.now()).await?;
        machine.send(&self.pool, session, files).await?;
        let chunks = chunks_of(&self.pool, files);
        let fact = self.tries(Fact::Step { machine: machine.clone(), chunks });
        self.pool.park(session, self.now()).await?;
        self.answered(fact);
        Ok(())
    }

    pub async fn cancel(&self, machine: &Machine) -> Result<(), IngestError> {
        let session = machine.begin(&self.pool, self.now()).await?;
        let fact = self.tries(Fact::Ended { source: machine.source });
        self.pool.cancel(session, self.now()).await?;
        self.answered(fact);
        Ok(())
    }
}
