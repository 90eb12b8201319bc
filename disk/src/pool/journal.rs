//! Appending to the journal: the one place where changes become true.
//!
//! Callers queue operations and await. Whoever holds the lock takes everything queued, so that many
//! streams share a flush, and then, in this order: every write issued so far ends; the disks written
//! to are flushed; the entry is written to both zones; these are flushed; memory follows; the callers
//! are told. A failure anywhere is final for this opening of the pool: what a disk holds after a
//! failed write or flush is unknown, and only recovery may find out.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use futures_util::future::join_all;
use futures_util::lock::Mutex;

use super::phase::Phase;
use super::tables::{Effect, Pending};
use super::{Inner, Work};
use crate::buffer::AlignedBuf;
use crate::device::Device;
use crate::error::CommitError;
use crate::format::{EntryHeader, Op, SealedEntry, ops_bytes};
use crate::mutants::Mutant;
use crate::seal::ENTRY_OVERHEAD;
use crate::units::{BLOCK, DiskId};

pub(super) struct Journal {
    /// Operations that belong together are not torn apart by the end of an entry.
    queue: RefCell<VecDeque<Vec<Pending>>>,
    /// Batches queued, and batches that are durable.
    queued: Cell<u64>,
    written: Cell<u64>,
    /// The disk whose failure ended all writing.
    failed: Cell<Option<DiskId>>,
    tail: Mutex<Tail>,
    /// Where the entries begin that the newest checkpoint does not hold, and those the one before
    /// it does not hold. Positions count bytes since the pool was made.
    pub(super) start: Cell<u64>,
    pub(super) older_start: Cell<u64>,
    pub(super) end: Cell<u64>,
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
    pub(super) fn new(tail: Tail) -> Self {
        Self {
            queue: RefCell::default(),
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
        self.queue.borrow_mut().push_back(vec![Pending { op, effect }]);
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
        journal.queue.borrow_mut().push_back(batch);
        let ticket = journal.queued.get() + 1;
        journal.queued.set(ticket);
        let mut tail = journal.tail.lock().await;
        if journal.written.get() >= ticket {
            return Ok(());
        }
        journal.check()?;
        self.write_queue(&mut tail).await
    }

    /// As [`append`](Self::append) with nothing of its own, and runs `then` while no entry can be
    /// written: what it sees of memory is exactly what the entries so far made true.
    pub(super) async fn settle<T>(&self, then: impl FnOnce(&Tail) -> T) -> Result<T, CommitError> {
        let mut tail = self.journal.tail.lock().await;
        self.journal.check()?;
        if !self.journal.is_idle() {
            self.write_queue(&mut tail).await?;
        }
        Ok(then(&tail))
    }

    /// Writes everything queued when it is called, in as many entries as it takes.
    async fn write_queue(&self, tail: &mut Tail) -> Result<(), CommitError> {
        let journal = &self.journal;
        let phase = Phase::begin("entry");
        let mut groups = journal.queue.take();
        let upto = journal.queued.get();
        if self.mutants.keeps(Mutant::PayloadFlush) {
            self.writes_ended().await?;
            self.flush_disks().await?;
        }
        phase.passed("payload flushed");
        let limit = (self.fixed.journal_len / 4) as usize - EntryHeader::LEN - ENTRY_OVERHEAD;
        while !groups.is_empty() {
            let (mut ops, mut effects, mut len) = (Vec::new(), Vec::new(), 0);
            while let Some(group) = groups.front() {
                let group_len: usize = group.iter().map(|pending| pending.op.len_bound()).sum();
                if len > 0 && len + group_len > limit {
                    break;
                }
                len += group_len;
                for pending in groups.pop_front().into_iter().flatten() {
                    ops.push(pending.op);
                    effects.push(pending.effect);
                }
            }
            let ops = self.write_copies(tail, ops, &phase).await?;
            let mut tables = self.tables.borrow_mut();
            for (op, effect) in ops.into_iter().zip(effects) {
                tables.apply(Pending { op, effect });
            }
        }
        journal.written.set(upto);
        Ok(())
    }

    async fn write_copies(
        &self,
        tail: &mut Tail,
        ops: Vec<Op>,
        phase: &Phase,
    ) -> Result<Vec<Op>, CommitError> {
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
        let used = header.position + len - self.journal.older_start.get();
        assert!(used <= ring_len, "an entry would overwrite one that recovery needs");
        let copies = self.journal_copies();
        let mut link = [0; 16];
        let mut writes = Vec::new();
        for (copy, (disk, zone)) in copies.into_iter().enumerate() {
            let disk = &self.disks[disk];
            let offset = disk.zones.journals()[zone] + header.position % ring_len;
            let (bytes, copy_link) = self.encode(&entry, copy);
            link = copy_link;
            let buf = AlignedBuf::padded(&bytes);
            writes.push(async move { (disk.id, disk.write(offset, buf).await) });
        }
        for (disk, result) in join_all(writes).await {
            result.map_err(|_| self.journal.fail(disk))?;
        }
        phase.passed("entry written");
        if self.mutants.keeps(Mutant::JournalFlush) {
            self.flush_disks().await?;
        }
        phase.passed("entry flushed");
        *tail = Tail {
            sequence: tail.sequence + 1,
            position: header.position + len,
            parent: link,
            epoch: tail.epoch,
        };
        self.journal.end.set(tail.position);
        Ok(ops)
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
        let (disk, zone) = self.journal_copies()[copy];
        let disk = &self.disks[disk];
        let within = entry.header.position % self.fixed.journal_len;
        let place = disk.place(disk.zones.journals()[zone] + within);
        entry.encode(&self.fixed.key, self.fixed.pool, place)
    }

    /// Disk and zone of the journal's two copies: two disks, or both ends of the only one.
    pub(super) fn journal_copies(&self) -> [(usize, usize); 2] {
        if self.disks.len() > 1 { [(0, 0), (1, 0)] } else { [(0, 0), (0, 1)] }
    }

    /// Flushes every disk written to since its last flush, all at once.
    pub(super) async fn flush_disks(&self) -> Result<(), CommitError> {
        let flushes = self.disks.iter().map(|disk| async { (disk.id, disk.flush().await) });
        for (disk, result) in join_all(flushes).await {
            result.map_err(|_| self.journal.fail(disk))?;
        }
        Ok(())
    }
}
