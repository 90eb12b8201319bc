//! From the newest root to the state the journal tells of. Recovery reads only; what it found becomes
//! durable with the checkpoint that [`Pool::open`](super::Pool::open) makes afterwards. Crashing in
//! between and doing it again gives the same.

use super::journal::Tail;
use super::layout::state_slot;
use super::refs::refs_of_recipe;
use super::run::index_entries;
use super::tables::{
    Container, Effect, Pending, PointEffect, Record, Series, Session, Shares, Source,
};
use super::tables::{Tables, decode_set};
use super::{Inner, Work, steps};
use crate::device::Device;
use crate::error::{OpenError, ReadError};
use crate::format::{
    BlobRef, ContainerHeader, Fault, HeadFault, JournalEntry, Op, PointRow, Purpose, Recipe,
    RunRef, RunRow, SealedEntry, SlotRef, Slots, State, StateRoot, Superblock, WorkingRow,
};
use crate::index::Index;
use crate::index::segment::SegmentReader;
use crate::mutants::Mutant;
use crate::sets::{Chain, RefCounts, SetDelta};
use crate::units::{BLOCK, ChunkNumber, PointId, SourceId};
use keelhold_chunk::{DecodeError, Reader};
use std::collections::BTreeMap;

impl<D: Device, W: Work> Inner<D, W> {
    pub(super) async fn recover(&self, superblock: &Superblock) -> Result<(), OpenError> {
        {
            let mut tables = self.tables.borrow_mut();
            (tables.witnessed, tables.sequence) = (superblock.witnessed, superblock.sequence);
        }
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
        let working = load_tables(&mut self.tables.borrow_mut(), state)?;
        self.note_state_containers(superblock, &root).await?;
        let mut root = root;
        let entries: u64 = root.segments.iter().map(|(count, _)| count).sum();
        if entries > self.index_budget {
            self.tables.borrow_mut().index = Index::bounded(self.fixed.index_secret);
        }
        if let Some(missing) = self.load_index(&root).await? {
            tracing::warn!(error = %missing, "a segment of the index");
            root.segments.clear();
            self.rebuild_index().await;
        } else if self.tables.borrow().index.is_bounded() {
            self.load_sheets(&root).await?;
        }
        match self.load_steps(&root).await? {
            Ok(steps) => load_chains(&mut self.tables.borrow_mut(), &steps, working)?,
            Err(missing) => {
                tracing::warn!(error = %missing, "a segment of the steps");
                root.steps.clear();
                self.rebuild_chains(working).await?;
            }
        }
        let mut tables = self.tables.borrow_mut();
        tables.count_uses();
        tables.count_shares();
        tables.root = root;
        tables.root_runs.clone_from(&superblock.root);
        Ok(())
    }

    /// Fills the index from its segments. Gives why that is not possible, if one is damaged at every
    /// place.
    async fn load_index(&self, root: &StateRoot) -> Result<Option<ReadError>, OpenError> {
        for (_, blob) in &root.segments {
            let bytes = match self.read_blob(blob).await {
                Ok(bytes) => bytes,
                Err(error) if error.is_corruption() => {
                    let mut tables = self.tables.borrow_mut();
                    tables.clear_index(self.fixed.index_secret, self.expected_chunks());
                    return Ok(Some(error));
                }
                Err(error) => return Err(OpenError::NoCheckpoint(error)),
            };
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
        Ok(None)
    }

    /// The steps of all points, or why they cannot be read.
    async fn load_steps(
        &self,
        root: &StateRoot,
    ) -> Result<Result<steps::Steps, ReadError>, OpenError> {
        let mut steps = steps::Steps::new();
        for (_, blob) in &root.steps {
            match self.read_blob(blob).await {
                Ok(bytes) => steps.extend(steps::decode(&bytes).map_err(OpenError::Tables)?),
                Err(error) if error.is_corruption() => return Ok(Err(error)),
                Err(error) => return Err(OpenError::NoCheckpoint(error)),
            }
        }
        Ok(Ok(steps))
    }

    /// State containers opened by the very checkpoint are not in its tables.
    async fn note_state_containers(
        &self,
        superblock: &Superblock,
        root: &StateRoot,
    ) -> Result<(), OpenError> {
        for run in root.runs().chain(&superblock.root) {
            let known = self.tables.borrow().containers.contains_key(&run.container);
            let Some(slot) = state_slot(run.container).filter(|_| !known) else {
                continue;
            };
            // One that cannot be read is in use all the same: nothing may be put into its slot.
            let salt = match self.container_header(slot).await {
                Ok(header) => header.salt,
                Err(_) if self.disk_of(slot).is_there() => {
                    self.noted.note_structures();
                    [0; 16]
                }
                Err(_) => continue,
            };
            let mut tables = self.tables.borrow_mut();
            let (container, generation) = (run.container, run.generation);
            tables.open_container(container, generation, Purpose::State, salt, Slots::one(slot));
            if let Some(opened) = tables.containers.get_mut(&container) {
                // The root names it.
                opened.journaled = true;
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
        let Some((entry, len, link)) = self.read_closed_entry(copy, position).await? else {
            return Ok(None);
        };
        match entry.open(self.fixed.pool, self.fixed.seal.as_ref()) {
            Ok(entry) => Ok(Some((entry, len, link))),
            // No crash leaves that. A later program wrote it, or somebody who knew the checksum's
            // secret altered it: it must not pass as torn.
            Err(fault) => {
                let place = self.entry_place(copy, position);
                Err(Fault { what: "journal entry", place, fault }.into())
            }
        }
    }

    /// As [`read_entry`](Self::read_entry), its operations as they are stored.
    pub(super) async fn read_closed_entry(
        &self,
        copy: usize,
        position: u64,
    ) -> Result<Option<(SealedEntry, u64, [u8; 16])>, ReadError> {
        let ring_len = self.fixed.journal_len;
        let within = position % ring_len;
        let (disk, offset) = self.journal_place(copy, position);
        let block = disk.read(offset, BLOCK).await?;
        let Ok(len) = SealedEntry::peek_len(&block) else {
            return Ok(None);
        };
        let len = len.next_multiple_of(BLOCK);
        if len as u64 > ring_len - within {
            return Ok(None);
        }
        let bytes = if len > BLOCK { disk.read(offset, len).await? } else { block };
        let place = disk.place(offset);
        match SealedEntry::decode(&bytes, &self.fixed.key, self.fixed.pool, place) {
            Ok((entry, link)) => Ok(Some((entry, len as u64, link))),
            // Sound, and not understood: see above.
            Err(fault @ HeadFault::Content) => {
                Err(Fault { what: "journal entry", place, fault }.into())
            }
            Err(_) => Ok(None),
        }
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
        if row.moved {
            return Ok(Effect::Moved(entries));
        }
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
        let source = tables.sources.get(&point.source);
        let newest = source.and_then(|source| source.newest.as_ref());
        let newest = newest.map_or(&empty, |(_, refs)| refs);
        let working = source.and_then(|source| source.working.as_ref());
        let working = working.map_or(&empty, |(_, refs)| refs);
        let Ok(refs) = refs_of_recipe(newest, working, &delta, &recipe.extra) else {
            return Err(contradiction);
        };
        Ok(PointEffect { refs, delta })
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

/// Gives the steps of the working states.
fn load_tables(tables: &mut Tables, state: State) -> Result<Vec<(SourceId, Vec<u8>)>, OpenError> {
    tables.next_number = state.next_number;
    tables.next_generation = state.next_generation;
    for row in state.containers {
        if !row.slots.iter().all(|slot| tables.claim(slot)) {
            return Err(OpenError::Contradiction { what: "a container outside the disks" });
        }
        let container = Container { row, journaled: true, shares: Shares::default() };
        tables.containers.insert(row.container, container);
    }
    for released in state.released {
        if !tables.claim(released.slot) {
            return Err(OpenError::Contradiction { what: "a slot both used and released" });
        }
        tables.released.push(released);
    }
    let mut working = Vec::new();
    for row in state.sources {
        let what = "sets of a source";
        let refs = |bytes: &[u8]| {
            let mut reader = Reader::new(bytes);
            let refs = RefCounts::decode(&mut reader);
            refs.ok().filter(|_| reader.is_at_end()).ok_or(OpenError::Contradiction { what })
        };
        let mut source = Source {
            domain: row.domain,
            lease_next: row.lease_next,
            lease_end: row.lease_end,
            newest: None,
            chain: Chain::default(),
            working: None,
            exclusive: None,
        };
        if let Some((point, bytes)) = row.newest {
            source.newest = Some((point, refs(&bytes)?));
        }
        if let Some(WorkingRow { point, refs: bytes, step }) = row.working {
            // Behind the points, which come later.
            working.push((row.source, step));
            source.working = Some((point, refs(&bytes)?));
        }
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
    tables.suspects = decode_set(&state.suspects);
    tables.expected_len = state.expected_len;
    tables.lost = decode_set(&state.lost);
    Ok(working)
}

/// Puts the points of each source behind one another, and its working state behind them.
fn load_chains(
    tables: &mut Tables,
    steps: &BTreeMap<PointId, Option<Vec<u8>>>,
    working: Vec<(SourceId, Vec<u8>)>,
) -> Result<(), OpenError> {
    link_chains(tables, working, |point| {
        let step = steps.get(point).and_then(Option::as_ref);
        step.and_then(|bytes| decode_step(bytes))
    })
}

fn decode_step(bytes: &[u8]) -> Option<SetDelta> {
    let mut reader = Reader::new(bytes);
    SetDelta::decode(&mut reader).ok().filter(|_| reader.is_at_end())
}

/// As [`load_chains`], with the steps from wherever they come.
pub(super) fn link_chains(
    tables: &mut Tables,
    working: Vec<(SourceId, Vec<u8>)>,
    step: impl Fn(&PointId) -> Option<SetDelta>,
) -> Result<(), OpenError> {
    let what = "steps of the points";
    for point in &tables.points {
        let step = step(&point.id).ok_or(OpenError::Contradiction { what })?;
        let source = tables.sources.get_mut(&point.source);
        let source = source.ok_or(OpenError::Contradiction { what })?;
        source.chain.push(point.id, &step, point.trashed_until == 0);
    }
    for (source, step) in working {
        let source = tables.sources.get_mut(&source);
        let source = source.ok_or(OpenError::Contradiction { what })?;
        let step = decode_step(&step).ok_or(OpenError::Contradiction { what })?;
        source.chain.set_working(&step);
    }
    Ok(())
}
