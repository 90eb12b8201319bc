//! Checkpoints: the only place that moves the root.
//!
//! Order: 1. under the journal's lock, memory is exactly what the entries so far made true: it is
//! copied and the journal's position noted. 2. The copy, and what of the index no segment holds, are
//! written to state containers at two places, and flushed. 3. One pair of superblocks is written and
//! flushed, then the other: whatever a crash leaves, two copies agree on the old root or on the new.
//! 4. Only now memory forgets the old root.
//!
//! A disk that fails on the way takes what was written to it along: then it is all done once more
//! without it. When the journal moves, no entry is written from 1. to 4.: what stands behind the new
//! root must stand at the new places.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use futures_util::future::join_all;
use keelhold_chunk::DecodeError;

use super::journal::Tail;
use super::layout::state_slot;
use super::phase::Phase;
use super::run::RunParts;
use super::sheets::Saved;
use super::tables::{Source, Tables, encode_set};
use super::{Inner, Pool, Work};
use crate::buffer::AlignedBuf;
use crate::device::Device;
use crate::error::{CommitError, ReadError};
use crate::format::{
    BlobRef, Codec, Features, Purpose, RunRef, SessionRow, SlotRef, SourceRow, State, StateRoot,
    Superblock, WorkingRow,
};
use crate::index::merge::{Merge, Tombstones};
use crate::index::segment::{Entry, SegmentReader, SegmentWriter};
use crate::index::sheet::Row;
use crate::mutants::Mutant;
use crate::units::{ChunkNumber, DomainId, PointId, SessionId, UnixNanos};

/// Segments above this many entries are not merged any more: merging happens in memory.
const MERGE_ENTRIES_MAX: u64 = 1 << 20;

/// The same where memory is short.
const MERGE_ENTRIES_MAX_BOUNDED: u64 = 1 << 18;

/// The newest root, as superblocks name it.
#[derive(Debug, Clone)]
pub(super) struct Checkpoints {
    pub(super) sequence: u64,
    pub(super) parent: [u8; 16],
    pub(super) epoch: u64,
}

struct Snapshot {
    tables: Vec<u8>,
    unsaved: Vec<Entry>,
    /// What of it no sheet has.
    fresh: Vec<Row>,
    /// Points whose steps are to be saved; without one those that left.
    steps: BTreeMap<PointId, Option<Vec<u8>>>,
    unsaved_steps: usize,
    root: StateRoot,
    tail: Tail,
    witnessed: i64,
    /// Containers whose slots are free once the new root is durable.
    freed: Vec<u32>,
    freed_slots: Vec<SlotRef>,
}

impl<D: Device, W: Work> Pool<D, W> {
    /// Makes a new root durable, so that the journal before it is no longer needed.
    pub async fn checkpoint(&self, now: UnixNanos) -> Result<(), CommitError> {
        self.inner.witness(now);
        self.inner.checkpoint().await
    }

    /// Parks every session and makes the last checkpoint. The pool takes no more calls afterwards.
    pub async fn close(self, now: UnixNanos) -> Result<(), CommitError> {
        let running: Vec<SessionId> = self.inner.live.borrow().keys().copied().collect();
        for session in running {
            // A session that cannot be parked is as it was last journaled.
            let _ = self.park(session, now).await;
        }
        self.checkpoint(now).await
    }
}

impl<D: Device, W: Work> Inner<D, W> {
    /// Makes a checkpoint when a quarter of the journal is in use.
    pub(super) async fn checkpoint_if_due(&self) -> Result<(), CommitError> {
        let due = || {
            if self.journal.root_is_due.get() {
                return true;
            }
            if self.tables.borrow().wants_sheets(&self.index_sizes()) {
                return true;
            }
            let used = self.journal.end.get() - self.journal.start.get();
            used > self.fixed.journal_len / 4
        };
        while due() {
            let mut checkpoints = self.checkpoints.lock().await;
            if due() {
                self.make_checkpoint(&mut checkpoints).await?;
            }
        }
        Ok(())
    }

    pub(super) async fn checkpoint(&self) -> Result<(), CommitError> {
        let mut checkpoints = self.checkpoints.lock().await;
        self.make_checkpoint(&mut checkpoints).await
    }

    pub(super) async fn make_checkpoint(
        &self,
        checkpoints: &mut Checkpoints,
    ) -> Result<(), CommitError> {
        // Every round that does not do has lost a disk.
        while !self.try_checkpoint(checkpoints).await? {}
        Ok(())
    }

    /// False if a disk failed meanwhile: then the root, if it was moved at all, does not know it.
    async fn try_checkpoint(&self, checkpoints: &mut Checkpoints) -> Result<bool, CommitError> {
        let phase = Phase::begin("checkpoint");
        let sequence = checkpoints.sequence + 1;
        let mut tail = self.journal.tail.lock().await;
        self.journal.check()?;
        let is_whole = self.is_journal_whole();
        if is_whole && !self.journal.is_idle() && !self.write_queue(&mut tail).await? {
            return Ok(false);
        }
        let (members, places) = (self.disk_rows(), self.journal_places());
        let mut snapshot = self.snapshot(sequence, *tail);
        let still = (places != self.journal.places.get()).then_some(tail);
        phase.passed("state copied");
        let saved = snapshot.unsaved.len();
        let (root, sheets) = self.write_state(&mut snapshot).await?;
        let root_blob = self.write_blob(root.to_bytes()).await?;
        let root_runs: Vec<RunRef> = root_blob.copies.iter().map(|runs| runs[0]).collect();
        assert!(root_blob.copies.iter().all(|runs| runs.len() == 1), "the root is one run");
        if self.mutants.keeps(Mutant::CheckpointFlush) {
            self.writes_ended().await?;
            self.flush_disks().await?;
        }
        if self.disk_rows() != members {
            return Ok(false);
        }
        phase.passed("state written");
        let superblock = self.with_keys(Superblock {
            sequence,
            parent: checkpoints.parent,
            features: Features::default(),
            epoch: checkpoints.epoch,
            journal_sequence: snapshot.tail.sequence,
            journal_position: snapshot.tail.position,
            journal_parent: snapshot.tail.parent,
            witnessed: snapshot.witnessed,
            id_key: [0; 32],
            cut_params: Vec::new(),
            index_secret: [0; 32],
            key_number: 0,
            wrapped_key: Vec::new(),
            root: root_runs.clone(),
            journal: places,
            disks: members.clone(),
        });
        checkpoints.parent = self.write_superblocks(&superblock, &phase).await?;
        checkpoints.sequence = sequence;
        self.journal.older_start.set(self.journal.start.get());
        self.journal.start.set(snapshot.tail.position);
        self.journal.places.set(places);
        drop(still);
        let stands = self.disk_rows() == members;
        self.journal.root_is_due.set(!stands);
        let mut tables = self.tables.borrow_mut();
        // What came behind these while the checkpoint was made is for the next one.
        tables.unsaved.drain(..saved);
        tables.unsaved_steps.drain(..snapshot.unsaved_steps);
        tables.sheets_saved(sheets);
        tables.root = root;
        tables.root_runs = root_runs;
        for container in snapshot.freed {
            self.cache.borrow_mut().forget_container(container);
            self.epochs.released(container);
            tables.forget_container(container);
        }
        for slot in snapshot.freed_slots {
            tables.released.retain(|released| released.slot != slot);
            tables.give_back(slot);
        }
        Ok(stands)
    }

    /// Writes what the snapshot holds; gives where it lies, and what changes with it in memory.
    async fn write_state(
        &self,
        snapshot: &mut Snapshot,
    ) -> Result<(StateRoot, Saved), CommitError> {
        let mut old = std::mem::take(&mut snapshot.root);
        self.bring_home(&mut old.segments).await?;
        self.bring_home(&mut old.steps).await?;
        let unsaved = std::mem::take(&mut snapshot.unsaved);
        let segments = self.save_index(old.segments, unsaved).await?;
        let steps = self.save_steps(old.steps, std::mem::take(&mut snapshot.steps)).await?;
        let tables = self.write_blob(std::mem::take(&mut snapshot.tables)).await?;
        let saved = self.save_sheets(&segments, std::mem::take(&mut snapshot.fresh)).await?;
        let mut sheets = saved.rows();
        if !self.mutants.keeps(Mutant::SheetsHaveAll) && sheets.is_empty() {
            sheets = old.sheets;
        }
        Ok((StateRoot { tables, segments, steps, sheets }, saved))
    }

    /// Writes segments anew that have a copy on a disk that is lost or leaves, or both on one disk
    /// of several.
    async fn bring_home(&self, segments: &mut [(u64, BlobRef)]) -> Result<(), CommitError> {
        let mut written = false;
        for (_, blob) in segments {
            if self.noted.has_structures() || !self.is_at_home(blob) {
                // Where no copy can be read, the pool lives on what memory has until it is closed.
                if let Ok(bytes) = self.read_blob(blob).await {
                    *blob = self.write_blob(bytes).await?;
                    written = true;
                }
            }
        }
        // Joining segments reads them again.
        if written { self.writes_ended().await } else { Ok(()) }
    }

    pub(super) fn is_at_home(&self, blob: &BlobRef) -> bool {
        let taking = self.taking_disks();
        let mut per_copy = blob.copies.iter().map(|runs| {
            let disks = runs.iter().filter_map(|run| state_slot(run.container));
            disks.map(|slot| usize::from(slot.disk)).collect::<BTreeSet<usize>>()
        });
        let first = per_copy.next().unwrap_or_default();
        let second = per_copy.next().unwrap_or_default();
        let takes = |index: &usize| taking.iter().any(|disk| disk.index == *index);
        first.union(&second).all(takes) && (taking.len() < 2 || first.is_disjoint(&second))
    }

    fn snapshot(&self, sequence: u64, tail: Tail) -> Snapshot {
        let mut tables = self.tables.borrow_mut();
        tables.sequence = sequence;
        let freed = self.unneeded(&mut tables, sequence);
        let freed_slots = tables.free_released(sequence);
        let steps = tables.unsaved_steps.iter().map(|point| (*point, tables.step_bytes(point)));
        let steps = steps.collect();
        // They stay where they are until a root holds them: this one may find no room.
        let mut unsaved = tables.unsaved.clone();
        unsaved.sort_by_key(|entry| entry.number);
        Snapshot {
            tables: tables_state(&tables, &freed, &freed_slots).to_bytes(),
            fresh: tables.fresh_rows(),
            unsaved,
            steps,
            unsaved_steps: tables.unsaved_steps.len(),
            root: tables.root.clone(),
            tail,
            witnessed: tables.witnessed,
            freed,
            freed_slots,
        }
    }

    /// Containers that neither the newest root nor the one before it needs leave the tables, unless
    /// somebody still reads in them.
    fn unneeded(&self, tables: &mut Tables, sequence: u64) -> Vec<u32> {
        let mut needed: BTreeSet<u32> =
            tables.root.runs().chain(&tables.root_runs).map(|run| run.container).collect();
        if !self.mutants.keeps(Mutant::RootPinned) {
            needed.clear();
        }
        let mut freed = Vec::new();
        for (number, container) in &mut tables.containers {
            let row = &mut container.row;
            if row.purpose == Purpose::Data {
                let unneeded = row.freed_at != 0 && row.freed_at < sequence;
                let read = self.mutants.keeps(Mutant::ReaderPins) && self.epochs.is_read(*number);
                if unneeded && !read {
                    freed.push(*number);
                }
                continue;
            }
            if row.purpose != Purpose::State || needed.contains(number) || self.is_open(*number) {
                row.freed_at = 0;
            } else if row.freed_at == 0 {
                row.freed_at = sequence;
            } else if row.freed_at < sequence {
                freed.push(*number);
            }
        }
        freed
    }

    /// Writes the index entries no segment holds as a new one, joined with older ones of like size:
    /// there are never more than a few, and an entry is written anew a logarithmic number of times.
    async fn save_index(
        &self,
        mut segments: Vec<(u64, BlobRef)>,
        unsaved: Vec<Entry>,
    ) -> Result<Vec<(u64, BlobRef)>, CommitError> {
        if unsaved.is_empty() {
            return Ok(segments);
        }
        let merge_max = match self.tables.borrow().index.is_bounded() {
            true => MERGE_ENTRIES_MAX_BOUNDED,
            false => MERGE_ENTRIES_MAX,
        };
        // Later entries of a number replace earlier ones.
        let mut newest = SegmentWriter::new();
        let mut count = 0;
        let mut unsaved = unsaved.into_iter().peekable();
        while let Some(entry) = unsaved.next() {
            if unsaved.peek().is_none_or(|next| next.number != entry.number) {
                newest.push(&entry);
                count += 1;
            }
        }
        let mut pieces = vec![newest.finish()];
        while let Some((older, blob)) = segments.last() {
            if *older > 2 * count || count + *older > merge_max {
                break;
            }
            pieces.push(self.read_blob(blob).await?);
            count += *older;
            segments.pop();
        }
        let undecodable = |source| ReadError::Undecodable { number: ChunkNumber(0), source };
        let readers: Result<Vec<SegmentReader<'_>>, DecodeError> =
            pieces.iter().rev().map(|piece| SegmentReader::new(piece)).collect();
        // Below the oldest segment there is nothing that a tombstone could hide.
        let tombstones = if segments.is_empty() { Tombstones::Drop } else { Tombstones::Keep };
        let mut writer = SegmentWriter::new();
        let mut count = 0;
        for entry in Merge::new(readers.map_err(undecodable)?, tombstones) {
            writer.push(&entry.map_err(undecodable)?);
            count += 1;
        }
        drop(pieces);
        segments.push((count, self.write_blob(writer.finish()).await?));
        Ok(segments)
    }

    /// Writes a byte stream at two places.
    pub(super) async fn write_blob(&self, bytes: Vec<u8>) -> Result<BlobRef, CommitError> {
        let len = bytes.len() as u64;
        let piece_len = self.frame_len();
        // So many frames fit a run whatever they compress to.
        let frames_per_run = (self.run_len_max() / (piece_len + piece_len / 8)).clamp(1, 16);
        let mut frames = Vec::new();
        // Empty streams have one empty frame: every blob is at least one run.
        let pieces: Vec<&[u8]> =
            if bytes.is_empty() { vec![&[]] } else { bytes.chunks(piece_len).collect() };
        for piece in pieces {
            frames.push(self.build_frame(Codec::Zstd, piece.to_vec()).await);
        }
        let mut copies = Vec::new();
        for copy in 0..2u8 {
            let mut runs = Vec::new();
            for frames in frames.chunks(frames_per_run) {
                let parts = RunParts {
                    purpose: Purpose::State,
                    domain: DomainId([0; 16]),
                    session: state_copy(copy),
                    moved: false,
                    frames: frames.iter().map(|frame| (frame.clone(), Vec::new())).collect(),
                };
                runs.push(self.place_run(parts).await?);
            }
            copies.push(runs);
        }
        Ok(BlobRef { len, copies })
    }

    /// Writes all superblocks, one pair after the other; gives the checksum the next one names.
    async fn write_superblocks(
        &self,
        superblock: &Superblock,
        phase: &Phase,
    ) -> Result<[u8; 16], CommitError> {
        let mut parent = None;
        for pair in [[0, 2], [1, 3]] {
            let mut writes = Vec::new();
            for disk in self.written_disks() {
                for copy in pair {
                    let offset = disk.zones.superblocks()[copy];
                    let place = disk.place(offset);
                    let block = superblock.encode(&self.fixed.key, self.fixed.pool, place);
                    let mut checksum = [0; 16];
                    checksum.copy_from_slice(&block[..16]);
                    parent.get_or_insert(checksum);
                    let (disk, buf) = (Rc::clone(&disk), AlignedBuf::padded(&block));
                    writes.push(async move { (disk.index, disk.write(offset, buf).await) });
                }
            }
            for (disk, result) in join_all(writes).await {
                if result.is_err() {
                    self.disk_failed(disk);
                }
            }
            self.flush_disks().await?;
            phase.passed("superblocks written");
        }
        Ok(parent.unwrap_or_default())
    }
}

/// The two copies of the state fill different containers: each is a stream of its own.
fn state_copy(copy: u8) -> SessionId {
    SessionId([copy; 16])
}

/// The state as it is written down, without the containers it frees.
fn tables_state(tables: &Tables, freed: &[u32], freed_slots: &[SlotRef]) -> State {
    State {
        next_number: tables.next_number,
        next_generation: tables.next_generation,
        containers: tables
            .containers
            .values()
            .filter(|container| container.journaled)
            .map(|container| container.row)
            .filter(|row| !freed.contains(&row.container))
            .collect(),
        released: tables
            .released
            .iter()
            .filter(|released| !freed_slots.contains(&released.slot))
            .copied()
            .collect(),
        sources: tables
            .sources
            .iter()
            .map(|(id, source)| SourceRow {
                source: *id,
                domain: source.domain,
                lease_next: source.lease_next,
                lease_end: source.lease_end,
                newest: source.newest.as_ref().map(|(point, refs)| (*point, refs_bytes(refs))),
                working: working_row(source),
            })
            .collect(),
        points: tables.points.clone(),
        sessions: tables
            .sessions
            .iter()
            .map(|(id, session)| SessionRow {
                session: *id,
                source: session.source,
                domain: session.domain,
                basis: session.basis,
                opened_at: session.opened_at,
                lease_until: session.lease_until,
                numbers: encode_set(&session.numbers),
            })
            .collect(),
        records: tables
            .records
            .iter()
            .map(|(name, record)| (name.clone(), record.version, record.value.clone()))
            .collect(),
        series: tables.series.iter().map(|(name, series)| series.row(name)).collect(),
        suspects: encode_set(&tables.suspects),
        // Whoever opens the pool finds the dead again among the suspects.
        expected_len: tables.expected_len + tables.dead_len(),
        lost: encode_set(&tables.lost),
    }
}

fn working_row(source: &Source) -> Option<WorkingRow> {
    let (point, refs) = source.working.as_ref()?;
    let step = source.chain.working_bytes()?.to_vec();
    Some(WorkingRow { point: point.clone(), refs: refs_bytes(refs), step })
}

fn refs_bytes(refs: &crate::sets::RefCounts) -> Vec<u8> {
    let mut writer = keelhold_chunk::Writer::new();
    refs.encode(&mut writer);
    writer.finish()
}
