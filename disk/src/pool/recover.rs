//! From the newest root to the state the journal tells of. Recovery reads only; what it found becomes
//! durable with the checkpoint that [`Pool::open`](super::Pool::open) makes afterwards. Crashing in
//! between and doing it again gives the same.

use super::journal::Tail;
use super::layout::state_slot;
use super::refs::refs_of_recipe;
use super::run::index_entries;
use super::tables::{Container, Effect, Pending, PointEffect, Record, Series, Session, Source};
use super::tables::{Tables, decode_set};
use super::{Inner, Work};
use crate::device::Device;
use crate::error::{OpenError, ReadError};
use crate::format::{
    BlobRef, ContainerHeader, Fault, JournalEntry, Op, PointRow, Purpose, Recipe, RunRef, RunRow,
    SlotRef, Slots, State, StateRoot, Superblock,
};
use crate::index::segment::SegmentReader;
use crate::mutants::Mutant;
use crate::sets::{RefCounts, SetDelta};
use crate::units::{BLOCK, ChunkNumber};
use keelhold_chunk::{DecodeError, Reader};

impl<D: Device, W: Work> Inner<D, W> {
    pub(super) async fn recover(&self, superblock: &Superblock) -> Result<(), OpenError> {
        self.tables.borrow_mut().witnessed = superblock.witnessed;
        if !superblock.root.is_empty() {
            self.load_root(superblock).await?;
        }
        let tail = self.replay(superblock).await?;
        self.journal.resume(Tail { epoch: superblock.epoch + 1, ..tail });
        self.settle_after_crash();
        Ok(())
    }

    async fn load_root(&self, superblock: &Superblock) -> Result<(), OpenError> {
        let copies = superblock.root.iter().map(|run| vec![*run]).collect();
        let bytes = self.read_copies(copies).await.map_err(OpenError::NoCheckpoint)?;
        let root = StateRoot::from_bytes(&bytes).map_err(OpenError::Tables)?;
        let bytes = self.read_blob(&root.tables).await.map_err(OpenError::NoCheckpoint)?;
        let state = State::from_bytes(&bytes).map_err(OpenError::Tables)?;
        {
            let mut tables = self.tables.borrow_mut();
            load_tables(&mut tables, state)?;
        }
        for (_, blob) in &root.segments {
            let bytes = self.read_blob(blob).await.map_err(OpenError::NoCheckpoint)?;
            let reader = SegmentReader::new(&bytes).map_err(OpenError::Tables)?;
            let mut tables = self.tables.borrow_mut();
            for entry in reader {
                let entry = entry.map_err(OpenError::Tables)?;
                tables
                    .index
                    .apply(&entry)
                    .map_err(|_| OpenError::Contradiction { what: "segments of the index" })?;
            }
        }
        self.note_state_containers(superblock, &root).await?;
        let mut tables = self.tables.borrow_mut();
        count_uses(&mut tables);
        tables.root = root;
        tables.root_runs.clone_from(&superblock.root);
        Ok(())
    }

    /// State containers opened by the very checkpoint are not in its tables.
    async fn note_state_containers(
        &self,
        superblock: &Superblock,
        root: &StateRoot,
    ) -> Result<(), OpenError> {
        for run in root.runs().chain(&superblock.root) {
            let known = self.tables.borrow().containers.contains_key(&run.container);
            if !known
                && let Some(slot) = state_slot(run.container)
                && let Ok(header) = self.container_header(slot).await
            {
                let ContainerHeader { container, generation, salt, .. } = header;
                let mut tables = self.tables.borrow_mut();
                let slots = Slots::one(slot);
                tables.open_container(container, generation, Purpose::State, salt, slots);
                if let Some(opened) = tables.containers.get_mut(&container) {
                    // Its header was just read from the disk.
                    opened.journaled = true;
                }
            }
        }
        Ok(())
    }

    pub(super) async fn container_header(
        &self,
        slot: SlotRef,
    ) -> Result<ContainerHeader, ReadError> {
        let disk = self.disk_of(slot);
        let offset = disk.offset(slot.slot, 0);
        let block = disk.read(offset, BLOCK).await?;
        let place = disk.place(offset);
        ContainerHeader::decode(&block, &self.fixed.key, self.fixed.pool, place)
            .map_err(|fault| Fault { what: "container header", place, fault }.into())
    }

    /// A byte stream from whichever copy is whole.
    pub(super) async fn read_blob(&self, blob: &BlobRef) -> Result<Vec<u8>, ReadError> {
        self.read_copies(blob.copies.clone()).await
    }

    async fn read_copies(&self, copies: Vec<Vec<RunRef>>) -> Result<Vec<u8>, ReadError> {
        let mut first_error = None;
        for runs in copies {
            match self.read_runs(&runs).await {
                Ok(bytes) => return Ok(bytes),
                Err(error) => {
                    first_error.get_or_insert(error);
                }
            }
        }
        Err(first_error.unwrap_or(ReadError::NoChunk { number: ChunkNumber(0) }))
    }

    pub(super) async fn read_runs(&self, runs: &[RunRef]) -> Result<Vec<u8>, ReadError> {
        let mut bytes = Vec::new();
        for run in runs {
            let slots = state_slot(run.container).and(self.slots(run.container));
            let slot = slots.ok_or(ReadError::NoChunk { number: ChunkNumber(0) })?.first();
            let header = self.container_header(slot).await?;
            bytes.extend_from_slice(&self.read_state_run(slot, run, &header.salt).await?);
        }
        Ok(bytes)
    }

    async fn replay(&self, superblock: &Superblock) -> Result<Tail, OpenError> {
        let mut tail = Tail {
            sequence: superblock.journal_sequence,
            position: superblock.journal_position,
            parent: superblock.journal_parent,
            epoch: superblock.epoch,
        };
        while let Some((entry, end, link)) = self.next_entry(&tail).await? {
            // Entries behind a root never fill more than the ring: others were overwritten.
            if end - superblock.journal_position > self.fixed.journal_len {
                return Err(OpenError::Contradiction { what: "a journal longer than its ring" });
            }
            {
                let mut tables = self.tables.borrow_mut();
                tables.witnessed = tables.witnessed.max(entry.header.witnessed);
            }
            for op in entry.ops {
                let effect = self.effect_of(&op).await?;
                self.tables.borrow_mut().apply(Pending { op, effect });
            }
            tail = Tail { sequence: tail.sequence + 1, position: end, parent: link, ..tail };
        }
        self.check_no_hole(&tail).await?;
        Ok(tail)
    }

    /// The entry at the tail, from whichever copy is whole; its end, and its link.
    async fn next_entry(
        &self,
        tail: &Tail,
    ) -> Result<Option<(JournalEntry, u64, [u8; 16])>, OpenError> {
        let ring_len = self.fixed.journal_len;
        let wrapped = tail.position.next_multiple_of(ring_len);
        let chained = self.mutants.keeps(Mutant::JournalChain);
        let of_epoch = self.mutants.keeps(Mutant::JournalEpoch);
        for position in [tail.position, wrapped] {
            let mut failure = None;
            let mut answers = 0;
            for copy in 0..2 {
                let found = match self.read_entry(copy, position).await {
                    Ok(found) => found,
                    Err(error) => {
                        failure = Some(error);
                        continue;
                    }
                };
                answers += 1;
                if let Some((entry, len, link)) = found
                    && (!chained
                        || (entry.header.sequence, entry.header.position)
                            == (tail.sequence, position)
                            && entry.header.parent == tail.parent)
                    && (entry.header.epoch == tail.epoch || !of_epoch)
                {
                    return Ok(Some((entry, position + len, link)));
                }
            }
            // What was announced is in both copies: one that can be read and is no entry proves
            // that there is none. If neither can be read, nobody knows.
            if let (0, Some(error)) = (answers, failure) {
                return Err(error.into());
            }
        }
        Ok(None)
    }

    /// Whatever valid entry lies at a position of the ring, in one copy.
    pub(super) async fn read_entry(
        &self,
        copy: usize,
        position: u64,
    ) -> Result<Option<(JournalEntry, u64, [u8; 16])>, ReadError> {
        let ring_len = self.fixed.journal_len;
        let within = position % ring_len;
        let (disk, offset) = self.journal_place(copy, position);
        let block = disk.read(offset, BLOCK).await?;
        let Ok(len) = JournalEntry::peek_len(&block) else {
            return Ok(None);
        };
        let len = len.next_multiple_of(BLOCK);
        if len as u64 > ring_len - within {
            return Ok(None);
        }
        let bytes = if len > BLOCK { disk.read(offset, len).await? } else { block };
        let place = disk.place(offset);
        match JournalEntry::decode(&bytes, &self.fixed.key, self.fixed.pool, place) {
            Ok((entry, link)) => Ok(Some((entry, len as u64, link))),
            Err(_) => Ok(None),
        }
    }

    /// A torn tail is what a crash leaves: nothing valid follows. If something does, an announced
    /// entry was damaged, and cutting here would lose what was announced.
    async fn check_no_hole(&self, tail: &Tail) -> Result<(), OpenError> {
        if !self.mutants.keeps(Mutant::JournalHole) {
            return Ok(());
        }
        let ring_len = self.fixed.journal_len;
        for ahead in (0..ring_len).step_by(BLOCK) {
            let position = tail.position + ahead;
            for copy in 0..2 {
                if let Ok(Some((entry, _, _))) = self.read_entry(copy, position).await
                    && entry.header.epoch == tail.epoch
                    && entry.header.sequence > tail.sequence
                {
                    return Err(OpenError::JournalHole { sequence: tail.sequence });
                }
            }
        }
        Ok(())
    }

    /// What memory needs to follow an operation, read from where the operation points to.
    async fn effect_of(&self, op: &Op) -> Result<Effect, OpenError> {
        match op {
            Op::RunPlaced(row) => self.run_effect(row).await,
            Op::PointCommitted { point, .. } => {
                let effect = self.point_effect(point).await?;
                Ok(Effect::Point(Box::new(effect)))
            }
            _ => Ok(Effect::None),
        }
    }

    async fn run_effect(&self, row: &RunRow) -> Result<Effect, OpenError> {
        let run = row.run;
        let directory = self.directory((run.container, run.block)).await?;
        let entries = {
            let tables = self.tables.borrow();
            index_entries(&tables.index, run.container, run.block, &directory)
        };
        self.tables.borrow_mut().index_run(&entries);
        Ok(Effect::Run(entries))
    }

    async fn point_effect(&self, point: &PointRow) -> Result<PointEffect, OpenError> {
        let recipe = self.recipe(point).await?;
        let undecodable = |source: DecodeError| {
            OpenError::from(ReadError::Undecodable { number: point.recipe, source })
        };
        let mut reader = Reader::new(&recipe.delta);
        let contradiction = OpenError::Contradiction { what: "sets of a recipe" };
        let Ok(delta) = SetDelta::decode(&mut reader) else {
            return Err(contradiction);
        };
        reader.finish().map_err(undecodable)?;
        let tables = self.tables.borrow();
        let empty = RefCounts::new();
        let newest = tables.sources.get(&point.source).map_or(&empty, |source| &source.newest);
        let Ok(refs) = refs_of_recipe(newest, &delta, &recipe.extra) else {
            return Err(contradiction);
        };
        Ok(PointEffect { refs, born: delta.born })
    }

    /// The recipe of a point, proved against the digest its row carries.
    pub(super) async fn recipe(&self, point: &PointRow) -> Result<Recipe, ReadError> {
        let found = self.locate_span(point.recipe, 1, point.recipe_digest).await?;
        let bytes = self.chunk_bytes(&found[0]).await?;
        Recipe::from_bytes(&bytes)
            .map_err(|source| ReadError::Undecodable { number: point.recipe, source })
    }

    /// What was open when the pool went down is closed as it is: behind the last journaled run of a
    /// container bytes may lie that nobody acknowledged, and of a block of numbers some may be in
    /// them.
    fn settle_after_crash(&self) {
        let mut tables = self.tables.borrow_mut();
        for container in tables.containers.values_mut() {
            container.row.sealed = true;
        }
        if !self.mutants.keeps(Mutant::LeaseAfterCrash) {
            return;
        }
        for source in tables.sources.values_mut() {
            source.lease_next = source.lease_end;
        }
    }
}

fn load_tables(tables: &mut Tables, state: State) -> Result<(), OpenError> {
    tables.next_number = state.next_number;
    tables.next_generation = state.next_generation;
    for row in state.containers {
        if !row.slots.iter().all(|slot| tables.claim(slot)) {
            return Err(OpenError::Contradiction { what: "a container outside the disks" });
        }
        tables.containers.insert(row.container, Container { row, journaled: true });
    }
    for released in state.released {
        if !tables.claim(released.slot) {
            return Err(OpenError::Contradiction { what: "a slot both used and released" });
        }
        tables.released.push(released);
    }
    for row in state.sources {
        let what = "sets of a source";
        let refs = |bytes: &[u8]| {
            let mut reader = Reader::new(bytes);
            let refs = RefCounts::decode(&mut reader);
            refs.ok().filter(|_| reader.is_at_end()).ok_or(OpenError::Contradiction { what })
        };
        let working = match row.working {
            Some((point, bytes)) => Some((point, refs(&bytes)?)),
            None => None,
        };
        let of_source = |point: &&PointRow| point.source == row.source;
        let source = Source {
            domain: row.domain,
            lease_next: row.lease_next,
            lease_end: row.lease_end,
            newest_point: state.points.iter().rfind(of_source).map(|point| point.id),
            newest: refs(&row.newest)?,
            history: decode_set(&row.history),
            working,
        };
        tables.sources.insert(row.source, source);
    }
    tables.points = state.points;
    for row in state.sessions {
        let session = Session {
            source: row.source,
            domain: row.domain,
            basis: row.basis,
            opened_at: row.opened_at,
            lease_until: row.lease_until,
            numbers: decode_set(&row.numbers),
        };
        tables.sessions.insert(row.session, session);
    }
    for (name, version, value) in state.records {
        tables.records.insert(name, Record { version, value });
    }
    for row in state.series {
        let series = Series { first: row.first, entries: row.entries.into() };
        tables.series.insert(row.name, series);
    }
    Ok(())
}

/// Counts of sources per chunk are not written down: they follow from the histories.
fn count_uses(tables: &mut Tables) {
    tables.index.clear_uses();
    for source in tables.sources.values() {
        for number in &source.history {
            // A chunk that is not there is reported by whoever reads it.
            let _ = tables.index.begin_use(ChunkNumber(number));
        }
    }
}
