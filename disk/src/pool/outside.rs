//! What can be proved of an encrypted pool by somebody who has its disks and not its key: every
//! structure that stands in clear, and every stored byte by the unkeyed hash of its frame. What the
//! bytes mean, and which of them are needed, stays unknown.

mod container;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use keelhold_chunk::IdKey;
use keelhold_chunk::cut::CutParams;

use super::audit::Walk;
use super::journal::Tail;
use super::layout::{Fixed, state_slot};
use super::open::{assemble, in_order, root};
use super::{Inner, Pool, Surroundings, Work};
use crate::device::Device;
use crate::error::{OpenError, ReadError};
use crate::format::{ChecksumKey, Fault, HeadFault, RunRef, SlotRef, Superblock};
use crate::units::{BLOCK_U64, ChunkNumber, PoolId};

/// Containers looked at, at the same time.
const CONTAINERS_AT_ONCE: usize = 4;

/// What a look from outside found.
#[derive(Debug, Clone, Default)]
pub struct OutsideReport {
    /// Journal entries that no checkpoint holds yet.
    pub entries: u64,
    pub containers: u64,
    pub runs: u64,
    pub frames: u64,
    pub bytes_stored: u64,
    /// Runs that stand behind something which is no run. A crash leaves such.
    pub behind_gaps: u64,
    pub findings: Vec<ReadError>,
    /// Damage in containers without a footer: rot, or what a crash left of runs that nobody was told of.
    /// Which of the two, only the sealed tables know.
    pub doubtful: Vec<ReadError>,
}

impl OutsideReport {
    fn add(&mut self, part: Self) {
        self.entries += part.entries;
        self.containers += part.containers;
        self.runs += part.runs;
        self.frames += part.frames;
        self.bytes_stored += part.bytes_stored;
        self.behind_gaps += part.behind_gaps;
        self.findings.extend(part.findings);
        self.doubtful.extend(part.doubtful);
    }
}

impl<D: Device, W: Work> Pool<D, W> {
    /// Reads the disks of an encrypted pool without its key and proves what can be proved. Writes
    /// nothing. `progress` is told how many of the slots for containers were looked at.
    pub async fn verify_outside(
        devices: Vec<D>,
        surroundings: Surroundings<W>,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<(PoolId, OutsideReport), OpenError> {
        let mutants = surroundings.mutants;
        let (labelled, superblock) = root(devices, mutants).await?;
        let label = labelled[0].label.clone();
        let disks = in_order(labelled, &superblock, mutants)?;
        let fixed = Fixed {
            pool: label.pool,
            secret: label.secret,
            key: ChecksumKey::new(&label.secret, &[0; 16]),
            // Nothing below asks for these.
            id_key: IdKey::new([0; 32]),
            cut: CutParams::with_seed([0; 32]),
            index_secret: [0; 32],
            seal: None,
            container_len: label.zones.container_len,
            journal_len: label.zones.journal_len,
            copies: label.copies,
            mutants,
        };
        let inner = assemble(fixed, disks, surroundings, &superblock);
        inner.journal.fail(inner.disk(0).id);
        let report = inner.look_from_outside(&superblock, &mut progress).await;
        Ok((label.pool, report))
    }
}

impl<D: Device, W: Work> Inner<D, W> {
    async fn look_from_outside(
        &self,
        superblock: &Superblock,
        progress: &mut impl FnMut(u64, u64),
    ) -> OutsideReport {
        let mut report = OutsideReport::default();
        let mut walk = Walk::default();
        self.walk_fixed(&mut walk, superblock.sequence).await;
        report.findings.append(&mut walk.faults);
        self.look_at_journal(superblock, &mut report).await;
        for run in &superblock.root {
            if let Err(error) = self.look_at_root(run).await {
                report.findings.push(error);
            }
        }
        let disks = self.disks().into_iter().filter(|disk| disk.is_there());
        let slots = disks.flat_map(|disk| {
            let of = disk.index as u16;
            (0..disk.zones.container_count as u32).map(move |slot| SlotRef { disk: of, slot })
        });
        let slots: Vec<SlotRef> = slots.collect();
        let (total, mut done) = (slots.len() as u64, 0);
        let mut waiting = slots.into_iter();
        let mut running = FuturesUnordered::new();
        loop {
            while running.len() < CONTAINERS_AT_ONCE
                && let Some(slot) = waiting.next()
            {
                running.push(self.look_at_container(slot));
            }
            let Some(part) = running.next().await else {
                break;
            };
            report.add(part);
            done += 1;
            progress(done, total);
        }
        report
    }

    /// Follows the chain of entries behind the root, in both copies.
    async fn look_at_journal(&self, superblock: &Superblock, report: &mut OutsideReport) {
        let mut tail = Tail {
            sequence: superblock.journal_sequence,
            position: superblock.journal_position,
            parent: superblock.journal_parent,
            epoch: superblock.epoch,
        };
        // Of the newest entry a crash may have left one copy: that is known when another follows.
        let mut doubtful = Vec::new();
        while let Some((next, missing)) = self.next_closed_entry(&tail).await {
            report.findings.append(&mut doubtful);
            doubtful = missing;
            report.entries += 1;
            if next.position - superblock.journal_position > self.fixed.journal_len {
                break;
            }
            tail = next;
        }
        match self.check_no_hole(&tail).await {
            Err(OpenError::JournalHole { .. }) => {
                let place = self.entry_place(0, tail.position);
                let fault = HeadFault::Content;
                report.findings.push(Fault { what: "journal entry", place, fault }.into());
            }
            Err(OpenError::Read(error)) => report.findings.push(error),
            _ => {}
        }
    }

    /// Where the chain goes on behind the entry at `tail`, and what is wrong with single copies of it.
    async fn next_closed_entry(&self, tail: &Tail) -> Option<(Tail, Vec<ReadError>)> {
        let wrapped = tail.position.next_multiple_of(self.fixed.journal_len);
        for position in [tail.position, wrapped] {
            let (mut next, mut missing) = (None, Vec::new());
            for copy in 0..2 {
                let place = self.entry_place(copy, position);
                match self.read_closed_entry(copy, position).await {
                    Ok(Some((entry, len, link)))
                        if entry.header.sequence == tail.sequence
                            && entry.header.parent == tail.parent
                            && entry.header.position == position
                            && entry.header.epoch == tail.epoch =>
                    {
                        let sequence = tail.sequence + 1;
                        let position = position + len;
                        next = Some(Tail { sequence, position, parent: link, epoch: tail.epoch });
                    }
                    Ok(_) => {
                        let fault = HeadFault::Checksum;
                        missing.push(Fault { what: "journal entry", place, fault }.into());
                    }
                    Err(error) => missing.push(error),
                }
            }
            if let Some(next) = next {
                return Some((next, missing));
            }
        }
        None
    }

    /// A run that the superblock names: the one its reference means, and whole.
    async fn look_at_root(&self, run: &RunRef) -> Result<(), ReadError> {
        let slot =
            state_slot(run.container).ok_or(ReadError::NoChunk { number: ChunkNumber(0) })?;
        let disk = self.disks().get(usize::from(slot.disk)).cloned();
        let known = disk.is_some_and(|disk| u64::from(slot.slot) < disk.zones.container_count);
        known.then_some(()).ok_or(ReadError::NoChunk { number: ChunkNumber(0) })?;
        let header = self.container_header(slot).await?;
        let place = self.place(slot, run.block);
        let wrong = |fault| ReadError::from(Fault { what: "run directory", place, fault });
        let len = u64::from(run.blocks) * BLOCK_U64;
        if u64::from(run.block) * BLOCK_U64 + len > self.fixed.container_len {
            return Err(wrong(HeadFault::Content));
        }
        let found = self.look_at_run(slot, run.block, &header).await?;
        if found.check != run.check || header.generation != run.generation {
            return Err(wrong(HeadFault::Checksum));
        }
        Ok(())
    }
}
