//! The pool's state in memory, and how one journaled operation changes it. Recovery and the running
//! pool change it through the same function.

mod chunks;
mod points;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use roaring::RoaringTreemap;

use crate::format::{
    ContainerRow, Op, PointRow, Purpose, Released, RunRef, SeriesRow, Slots, StateRoot,
};
use crate::index::Index;
use crate::index::segment::Entry;
use crate::index::sheet::Row;
use crate::sets::{Chain, RefCounts, SetDelta};
use crate::units::{ChunkNumber, DomainId, PointId, SessionId, SourceId};

/// An operation on its way through the journal, with what memory needs to follow it.
pub(super) struct Pending {
    pub(super) op: Op,
    pub(super) effect: Effect,
}

pub(super) enum Effect {
    None,
    /// Chunks of a run. They were put into the index when the run was written; what is left to do
    /// is to have the next checkpoint save them.
    Run(Vec<Entry>),
    /// Chunks that were in the pool and have a second place now, which becomes theirs.
    Moved(Vec<Entry>),
    /// References of a point's tree, and what was born and died since the point before.
    Point(Box<PointEffect>),
}

pub(super) struct PointEffect {
    pub(super) refs: RefCounts,
    pub(super) delta: SetDelta,
}

/// The stream that compaction is: it fills containers of its own.
pub(super) const COMPACTOR: SessionId = SessionId([0xc0; 16]);

#[derive(Debug, Clone)]
pub(super) struct Container {
    pub(super) row: ContainerRow,
    /// The journal tells of it. Before that its header may not be on the disk, and a checkpoint that
    /// named it would name what a crash takes away.
    pub(super) journaled: bool,
    pub(super) shares: Shares,
}

/// Shares of a container's stored bytes. What is in no share any more was moved away or dropped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Shares {
    /// Chunks the index has here, and their shares.
    pub(super) indexed: u64,
    pub(super) indexed_len: u64,
    /// Those of them that are dead.
    pub(super) dead: u64,
    pub(super) dead_len: u64,
}

#[derive(Debug)]
pub(super) struct Source {
    pub(super) domain: DomainId,
    pub(super) lease_next: ChunkNumber,
    pub(super) lease_end: ChunkNumber,
    /// References of the last point, unless it was dropped.
    pub(super) newest: Option<(PointId, RefCounts)>,
    pub(super) chain: Chain,
    pub(super) working: Option<(PointRow, RefCounts)>,
    /// What each listed point alone holds, as of a state of sharing.
    pub(super) exclusive: Option<(u64, BTreeMap<PointId, u64>)>,
}

#[derive(Debug, Clone)]
pub(super) struct Session {
    pub(super) source: SourceId,
    pub(super) domain: DomainId,
    pub(super) basis: Option<PointId>,
    pub(super) opened_at: i64,
    pub(super) lease_until: i64,
    /// What it stored or was told to exist.
    pub(super) numbers: RoaringTreemap,
}

#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) version: u64,
    pub(super) value: Vec<u8>,
}

#[derive(Debug, Default)]
pub(super) struct Series {
    pub(super) first: u64,
    pub(super) entries: VecDeque<Vec<u8>>,
}

pub(super) struct Tables {
    pub(super) next_number: u64,
    pub(super) next_generation: u64,
    pub(super) witnessed: i64,
    pub(super) containers: BTreeMap<u32, Container>,
    /// Free slots of each disk; none where nothing new may be put.
    pub(super) free: Vec<Option<BTreeSet<u32>>>,
    /// Slots whose copies moved elsewhere.
    pub(super) released: Vec<Released>,
    pub(super) sources: BTreeMap<SourceId, Source>,
    /// In order of commit.
    pub(super) points: Vec<PointRow>,
    pub(super) sessions: BTreeMap<SessionId, Session>,
    pub(super) records: BTreeMap<String, Record>,
    pub(super) series: BTreeMap<String, Series>,
    pub(super) index: Index,
    /// Changes of the index that no segment holds yet.
    pub(super) unsaved: Vec<Entry>,
    /// Rows for which there was no room in sheets yet.
    pub(super) unsheeted: Vec<Row>,
    /// Every chunk that a segment holds is in a sheet, or in `unsheeted`.
    pub(super) sheets_are_whole: bool,
    /// They cannot be made until the pool is opened again.
    pub(super) sheets_failed: bool,
    /// How far the sheets were freed of what is dead.
    pub(super) refreshed_to: u64,
    /// Points whose steps changed and are in no segment yet.
    pub(super) unsaved_steps: Vec<PointId>,
    /// Numbers that may be in no set any more: looked at by the next reclaim.
    pub(super) suspects: RoaringTreemap,
    /// Those of them that were found to be in none, and are still in the index.
    pub(super) dead: RoaringTreemap,
    /// Chunks that cannot be read anywhere and are asked for.
    pub(super) lost: RoaringTreemap,
    /// Stored bytes that suspects are expected to free, counted as they became suspects.
    pub(super) expected_len: u64,
    /// Counts changes of which chunks several sources share.
    pub(super) sharing: u64,
    /// The newest checkpoint, or the one being made.
    pub(super) sequence: u64,
    pub(super) root: StateRoot,
    pub(super) root_runs: Vec<RunRef>,
}

impl Tables {
    /// `slots`: how many each disk has, or none where nothing new may be put.
    pub(super) fn new(index: Index, slots: impl Iterator<Item = Option<u64>>) -> Self {
        Self {
            next_number: 1,
            next_generation: 1,
            witnessed: i64::MIN,
            containers: BTreeMap::new(),
            free: slots.map(|count| Some((0..count? as u32).collect())).collect(),
            released: Vec::new(),
            sources: BTreeMap::new(),
            points: Vec::new(),
            sessions: BTreeMap::new(),
            records: BTreeMap::new(),
            series: BTreeMap::new(),
            index,
            unsaved: Vec::new(),
            unsheeted: Vec::new(),
            sheets_are_whole: false,
            sheets_failed: false,
            refreshed_to: 0,
            unsaved_steps: Vec::new(),
            suspects: RoaringTreemap::new(),
            dead: RoaringTreemap::new(),
            lost: RoaringTreemap::new(),
            expected_len: 0,
            sharing: 0,
            sequence: 0,
            root: StateRoot::default(),
            root_runs: Vec::new(),
        }
    }

    /// Applies what the journal has made true.
    pub(super) fn apply(&mut self, pending: Pending) {
        match (pending.op, pending.effect) {
            (Op::Lease { source, domain, first, count }, _) => {
                self.next_number = self.next_number.max(first.0 + count);
                let source = self.source(source, domain);
                (source.lease_next, source.lease_end) = (first, first.plus(count));
            }
            (Op::ContainerOpened { container, generation, purpose, salt, slots }, _) => {
                self.open_container(container, generation, purpose, salt, slots);
                if let Some(opened) = self.containers.get_mut(&container) {
                    opened.journaled = true;
                }
            }
            (Op::RunPlaced(row), effect) => {
                if let Some(container) = self.containers.get_mut(&row.run.container) {
                    let end = u32::from(row.run.block) + row.run.blocks;
                    container.row.used_blocks = container.row.used_blocks.max(end);
                    container.row.run_count = container.row.run_count.max(row.ordinal + 1);
                }
                match effect {
                    Effect::Run(entries) => self.take_run(&row, entries),
                    Effect::Moved(entries) => self.move_chunks(&row, entries),
                    Effect::None | Effect::Point(_) => {}
                }
            }
            (Op::ContainerSealed { container, has_footer }, _) => {
                if let Some(container) = self.containers.get_mut(&container) {
                    (container.row.sealed, container.row.has_footer) = (true, has_footer);
                }
            }
            (Op::ContainerFreed { container }, _) => {
                let freed_at = self.sequence + 1;
                if let Some(container) = self.containers.get_mut(&container) {
                    container.row.freed_at = freed_at;
                }
            }
            (Op::ContainerSlots { container, slots }, _) => self.set_slots(container, slots),
            (Op::SessionOpened { session, source, domain, basis, opened_at, lease_until }, _) => {
                self.source(source, domain);
                // A session taken up again keeps what it was sent before.
                let parked = self.sessions.remove(&session);
                let numbers = parked.map(|parked| parked.numbers).unwrap_or_default();
                let opened = Session { source, domain, basis, opened_at, lease_until, numbers };
                self.sessions.insert(session, opened);
            }
            (Op::SessionStep { session, numbers }, _) => {
                if let Some(session) = self.sessions.get_mut(&session) {
                    session.numbers |= decode_set(&numbers);
                }
            }
            (Op::SessionEnded { session }, _) => {
                self.end_session(&session);
            }
            (Op::PointCommitted { session, point }, effect) => {
                if let Effect::Point(effect) = effect {
                    self.commit_point(point, *effect);
                }
                self.end_session(&session);
            }
            (Op::PointAttributes { point, attributes }, _) => {
                if let Some(row) = self.points.iter_mut().find(|row| row.id == point) {
                    row.attributes = attributes;
                }
            }
            (Op::PointsTrashed { until, points }, _) => {
                points.iter().for_each(|point| self.set_trash(point, until));
            }
            (Op::PointDropped { point }, _) => self.drop_point(&point),
            (Op::WorkingDropped { source }, _) => self.drop_working(&source),
            (Op::WorkingPromoted { source, point, attributes }, _) => {
                self.promote_working(&source, &point, attributes);
            }
            (Op::ChunksDropped { segment }, _) => self.drop_segment(&segment),
            (Op::ChunksLost { numbers }, _) => self.lost |= decode_set(&numbers),
            (Op::ChunksFound { numbers }, _) => self.lost -= decode_set(&numbers),
            (Op::Record { name, version, value: Some(value) }, _) => {
                self.records.insert(name, Record { version, value });
            }
            (Op::Record { name, value: None, .. }, _) => {
                self.records.remove(&name);
            }
            (Op::SeriesTrimmed { name, first }, _) => {
                if let Some(series) = self.series.get_mut(&name) {
                    series.trim(first);
                }
            }
            (Op::SeriesAppended { name, sequence, entry }, _) => {
                let series = self.series.entry(name).or_default();
                // Entries a checkpoint already holds are met again when the journal is replayed.
                if sequence == series.next() {
                    series.entries.push_back(entry);
                }
            }
        }
    }

    /// The source, made when it is met first.
    pub(super) fn source(&mut self, source: SourceId, domain: DomainId) -> &mut Source {
        self.sources.entry(source).or_insert_with(|| Source {
            domain,
            lease_next: ChunkNumber(0),
            lease_end: ChunkNumber(0),
            newest: None,
            chain: Chain::default(),
            working: None,
            exclusive: None,
        })
    }

    pub(super) fn open_container(
        &mut self,
        container: u32,
        generation: u64,
        purpose: Purpose,
        salt: [u8; 16],
        slots: Slots,
    ) {
        for slot in slots.iter() {
            let _ = self.claim(slot);
        }
        self.next_generation = self.next_generation.max(generation + 1);
        let known = self.containers.get(&container);
        // In the running pool the container was opened in memory before it was journaled.
        if known.is_some_and(|known| known.row.generation == generation) {
            return;
        }
        let row = ContainerRow {
            container,
            generation,
            purpose,
            salt,
            slots,
            sealed: false,
            has_footer: false,
            used_blocks: 1,
            run_count: 0,
            stored_len: 0,
            freed_at: 0,
        };
        self.containers
            .insert(container, Container { row, journaled: false, shares: Shares::default() });
    }

    pub(super) fn point(&self, id: &PointId) -> Option<&PointRow> {
        self.points.iter().find(|row| row.id == *id)
    }

    /// Free slots over all disks.
    pub(super) fn free_slots(&self) -> u64 {
        (0..self.free.len()).map(|disk| self.free_on(disk)).sum()
    }
}

impl Series {
    fn trim(&mut self, first: u64) {
        let count = first.saturating_sub(self.first).min(self.entries.len() as u64);
        self.entries.drain(..count as usize);
        self.first += count;
    }

    pub(super) fn next(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    pub(super) fn row(&self, name: &str) -> SeriesRow {
        let entries = self.entries.iter().cloned().collect();
        SeriesRow { name: name.to_owned(), first: self.first, entries }
    }
}

/// Sets inside operations are written by this program and were checksummed: what does not decode
/// counts as empty, which pins less than was asked for and loses nothing that was announced.
pub(super) fn decode_set(bytes: &[u8]) -> RoaringTreemap {
    RoaringTreemap::deserialize_from(bytes).unwrap_or_default()
}

pub(super) fn encode_set(set: &RoaringTreemap) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(set.serialized_size());
    set.serialize_into(&mut bytes).expect("memory takes every write");
    bytes
}
