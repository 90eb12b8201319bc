//! Appending to the journal: the one place where changes become true.
//!
//! Callers queue operations and await. Whoever holds the lock takes everything queued, so that many
//! streams share a flush, and then, in this order: every write issued so far ends; the disks written
//! to are flushed; the entry is written at both places; these are flushed; memory follows; the
//! callers are told. A failed write or flush fences its disk. If that is one of the journal's, the
//! entry counts as never written: it may stand at one place, and nobody was told. A checkpoint moves
//! the journal to two places that can be written and begins behind that entry; then what it held is
//! written anew.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};

use futures_util::future::join_all;
use futures_util::lock::Mutex;

use super::phase::Phase;
use super::tables::{Effect, Pending};
use super::{Inner, Work};
use crate::buffer::AlignedBuf;
use crate::device::Device;
use crate::error::CommitError;
use crate::format::{EntryHeader, JournalPlace, Op, SealedEntry, ops_bytes};
use crate::mutants::Mutant;
use crate::seal::ENTRY_OVERHEAD;
use crate::units::{BLOCK, DiskId};

pub(super) struct Journal {
    queue: RefCell<VecDeque<Batch>>,
    /// Batches that will not be written, by their tickets.
    refused: RefCell<BTreeMap<u64, CommitError>>,
    /// Batches queued, and batches that are durable.
    queued: Cell<u64>,
    written: Cell<u64>,
    /// The disk whose failure ended all writing.
    failed: Cell<Option<DiskId>>,
    pub(super) tail: Mutex<Tail>,
    /// Where the newest root says that the two copies lie.
    pub(super) places: Cell<[JournalPlace; 2]>,
    /// Opening of the pool that writes now.
    pub(super) epoch: Cell<u64>,
    /// Something happened that the next root should know soon.
    pub(super) root_is_due: Cell<bool>,
    /// Where the entries begin that the newest checkpoint does not hold, and those the one before
    /// it does not hold. Positions count bytes since the pool was made.
    pub(super) start: Cell<u64>,
    pub(super) older_start: Cell<u64>,
    pub(super) end: Cell<u64>,
}

/// Operations that belong together: the end of an entry does not tear them apart.
pub(super) struct Batch {
    pub(super) ops: Vec<Pending>,
    /// Who waits for it; 0 is nobody.
    pub(super) ticket: u64,
}

impl Batch {
    pub(super) fn unasked(op: Op, effect: Effect) -> Self {
        Self { ops: vec![Pending { op, effect }], ticket: 0 }
    }

    fn len_bound(&self) -> usize {
        self.ops.iter().map(|pending| pending.op.len_bound()).sum()
    }
}

/// Where the next entry goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tail {
    pub(super) sequence: u64,
    pub(super) position: u64,
    pub(super) parent: [u8; 16],
    pub(super) epoch: u64,
}

impl Journal {
    pub(super) fn new(tail: Tail, places: [JournalPlace; 2]) -> Self {
        Self {
            queue: RefCell::default(),
            refused: RefCell::default(),
            places: Cell::new(places),
            epoch: Cell::new(tail.epoch),
            root_is_due: Cell::new(false),
            queued: Cell::new(0),
            written: Cell::new(0),
            failed: Cell::new(None),
            start: Cell::new(tail.position),
            older_start: Cell::new(tail.position),
            end: Cell::new(tail.position),
            tail: Mutex::new(tail),
        }
    }

    /// Goes on behind the last entry that recovery found.
    pub(super) fn resume(&self, tail: Tail) {
        *self.tail.try_lock().expect("nobody else has the pool yet") = tail;
        self.end.set(tail.position);
        self.epoch.set(tail.epoch);
    }

    pub(super) fn failed(&self) -> Option<DiskId> {
        self.failed.get()
    }

    pub(super) fn fail(&self, disk: DiskId) -> CommitError {
        if self.failed.get().is_none() {
            self.failed.set(Some(disk));
        }
        CommitError::Fenced { disk }
    }

    pub(super) fn check(&self) -> Result<(), CommitError> {
        match self.failed.get() {
            Some(disk) => Err(CommitError::Fenced { disk }),
            None => Ok(()),
        }
    }

    /// Queues an operation without waiting: it becomes durable with the next entry.
    pub(super) fn push(&self, op: Op, effect: Effect) {
        self.queue.borrow_mut().push_back(Batch::unasked(op, effect));
    }

    /// Queues operations that somebody waits for; gives the ticket to wait with.
    fn enqueue(&self, ops: Vec<Pending>) -> u64 {
        let ticket = self.queued.get() + 1;
        self.queued.set(ticket);
        self.queue.borrow_mut().push_back(Batch { ops, ticket });
        ticket
    }

    /// Nobody waits any more, and it is not to happen behind the caller's back.
    fn withdraw(&self, ticket: u64) {
        self.queue.borrow_mut().retain(|batch| batch.ticket != ticket);
    }

    /// Whoever waits with this ticket is told that it did not happen.
    pub(super) fn refuse(&self, ticket: u64, error: CommitError) {
        if ticket != 0 {
            self.refused.borrow_mut().insert(ticket, error);
        }
    }

    fn verdict(&self, ticket: u64) -> Result<(), CommitError> {
        self.refused.borrow_mut().remove(&ticket).map_or(Ok(()), Err)
    }

    pub(super) fn is_idle(&self) -> bool {
        self.queue.borrow().is_empty()
    }
}

impl<D: Device, W: Work> Inner<D, W> {
    /// Makes `batch`, and everything pushed before it, durable and true.
    pub(super) async fn append(&self, batch: Vec<Pending>) -> Result<(), CommitError> {
        self.checkpoint_if_due().await?;
        let journal = &self.journal;
        journal.check()?;
        let len: usize = batch.iter().map(|pending| pending.op.len_bound()).sum();
        if len as u64 > self.fixed.entry_limit() {
            return Err(CommitError::TooLarge { len: len as u64, limit: self.fixed.entry_limit() });
        }
        let ticket = journal.enqueue(batch);
        loop {
            let mut tail = journal.tail.lock().await;
            if journal.written.get() >= ticket {
                return journal.verdict(ticket);
            }
            journal.check()?;
            if self.is_journal_whole() && self.write_queue(&mut tail).await? {
                continue;
            }
            drop(tail);
            self.checkpoint().await.inspect_err(|_| journal.withdraw(ticket))?;
        }
    }

    /// Writes everything queued when it is called, in as many entries as it takes. False if a disk
    /// of the journal failed: then the journal has to be moved before anything is true.
    pub(super) async fn write_queue(&self, tail: &mut Tail) -> Result<bool, CommitError> {
        let journal = &self.journal;
        let phase = Phase::begin("entry");
        let mut batches = journal.queue.take();
        let upto = journal.queued.get();
        if self.mutants.keeps(Mutant::PayloadFlush) {
            self.writes_ended().await?;
            self.flush_disks().await?;
        }
        phase.passed("payload flushed");
        self.bury_lost(&mut batches);
        while !batches.is_empty() {
            let written = match self.is_journal_whole() {
                true => self.write_some(tail, &mut batches, &phase).await?,
                false => false,
            };
            if !written {
                let mut queue = journal.queue.borrow_mut();
                batches.into_iter().rev().for_each(|batch| queue.push_front(batch));
                return Ok(false);
            }
        }
        journal.written.set(upto);
        Ok(true)
    }

    /// Writes as much of `batches` as fits an entry, and follows it.
    async fn write_some(
        &self,
        tail: &mut Tail,
        batches: &mut VecDeque<Batch>,
        phase: &Phase,
    ) -> Result<bool, CommitError> {
        let limit = self.fixed.entry_limit() as usize;
        let (mut shapes, mut ops, mut effects, mut len) = (Vec::new(), Vec::new(), Vec::new(), 0);
        while let Some(next) = batches.front() {
            let next_len = next.len_bound();
            if len > 0 && len + next_len > limit {
                break;
            }
            len += next_len;
            let Some(batch) = batches.pop_front() else {
                break;
            };
            shapes.push((batch.ticket, batch.ops.len()));
            for pending in batch.ops {
                ops.push(pending.op);
                effects.push(pending.effect);
            }
        }
        let (ops, written) = self.write_copies(tail, ops, phase).await?;
        let mut pending = ops.into_iter().zip(effects).map(|(op, effect)| Pending { op, effect });
        if written {
            let mut tables = self.tables.borrow_mut();
            pending.for_each(|pending| tables.apply(pending));
            return Ok(true);
        }
        let again = shapes
            .into_iter()
            .map(|(ticket, count)| Batch { ops: pending.by_ref().take(count).collect(), ticket });
        let again: Vec<Batch> = again.collect();
        again.into_iter().rev().for_each(|batch| batches.push_front(batch));
        Ok(false)
    }

    async fn write_copies(
        &self,
        tail: &mut Tail,
        ops: Vec<Op>,
        phase: &Phase,
    ) -> Result<(Vec<Op>, bool), CommitError> {
        let ring_len = self.fixed.journal_len;
        let witnessed = self.tables.borrow().witnessed;
        let header = EntryHeader {
            sequence: tail.sequence,
            parent: tail.parent,
            epoch: tail.epoch,
            position: tail.position,
            witnessed,
        };
        let entry = self.make_entry(header, &ops).await;
        let header = entry.header;
        let len = entry.byte_len().next_multiple_of(BLOCK) as u64;
        assert!(len <= self.fixed.entry_len_max(), "recovery would not look behind it");
        let used = header.position + len - self.journal.older_start.get();
        assert!(used <= ring_len, "an entry would overwrite one that recovery needs");
        let mut link = [0; 16];
        let mut writes = Vec::new();
        for copy in 0..2 {
            let (disk, offset) = self.journal_place(copy, header.position);
            let (bytes, copy_link) = self.encode(&entry, copy);
            link = copy_link;
            let buf = AlignedBuf::padded(&bytes);
            writes.push(async move { (disk.index, disk.write(offset, buf).await) });
        }
        for (disk, result) in join_all(writes).await {
            if result.is_err() {
                self.disk_failed(disk);
            }
        }
        phase.passed("entry written");
        if self.mutants.keeps(Mutant::JournalFlush) {
            self.flush_disks().await?;
        }
        self.journal.check()?;
        phase.passed("entry flushed");
        // Also when it is at one place only: what follows must not be taken for its continuation.
        *tail = Tail {
            sequence: tail.sequence + 1,
            position: header.position + len,
            parent: link,
            epoch: tail.epoch,
        };
        self.journal.end.set(tail.position);
        Ok((ops, self.is_journal_whole()))
    }

    /// The entry as both copies will carry it. An entry does not run over the ring's end: the rest of
    /// the ring is left as it is, and recovery looks at the ring's start when it finds no entry here.
    async fn make_entry(&self, mut header: EntryHeader, ops: &[Op]) -> SealedEntry {
        let (pool, op_count, ops) = (self.fixed.pool, ops.len() as u32, ops_bytes(ops));
        let overhead = if self.fixed.is_encrypted() { ENTRY_OVERHEAD } else { 0 };
        let len = (EntryHeader::LEN + ops.len() + overhead).next_multiple_of(BLOCK) as u64;
        let left = self.fixed.journal_len - header.position % self.fixed.journal_len;
        if len > left {
            header.position += left;
        }
        let Some(key) = self.fixed.seal.clone() else {
            return SealedEntry::make(header, op_count, ops, pool, None);
        };
        let salt = self.random();
        let seal = move || SealedEntry::make(header, op_count, ops, pool, Some((&key, salt)));
        self.work.run(seal).await
    }

    fn encode(&self, entry: &SealedEntry, copy: usize) -> (Vec<u8>, [u8; 16]) {
        let (disk, offset) = self.journal_place(copy, entry.header.position);
        entry.encode(&self.fixed.key, self.fixed.pool, disk.place(offset))
    }

    /// Flushes every disk written to since its last flush, all at once. One that fails is fenced.
    pub(super) async fn flush_disks(&self) -> Result<(), CommitError> {
        let disks = self.written_disks();
        let flushes = disks.iter().map(|disk| async { (disk.index, disk.flush().await) });
        for (disk, result) in join_all(flushes).await {
            if result.is_err() {
                self.disk_failed(disk);
            }
        }
        self.journal.check()
    }
}
