//! The pool's state in memory, and how one journaled operation changes it. Recovery and the running
//! pool change it through the same function.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use roaring::RoaringTreemap;

use crate::format::{
    ContainerRow, Op, PointRow, Purpose, Released, RunRef, SeriesRow, Slots, StateRoot,
};
use crate::index::segment::{Change, Entry};
use crate::index::{Index, Slot};
use crate::sets::RefCounts;
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
    /// References of a point's tree, and what was born since the point before.
    Point(Box<PointEffect>),
}

pub(super) struct PointEffect {
    pub(super) refs: RefCounts,
    pub(super) born: RoaringTreemap,
}

#[derive(Debug, Clone)]
pub(super) struct Container {
    pub(super) row: ContainerRow,
    /// The journal tells of it. Before that its header may not be on the disk, and a checkpoint that
    /// named it would name what a crash takes away.
    pub(super) journaled: bool,
}

#[derive(Debug)]
pub(super) struct Source {
    pub(super) domain: DomainId,
    pub(super) lease_next: ChunkNumber,
    pub(super) lease_end: ChunkNumber,
    pub(super) newest_point: Option<PointId>,
    pub(super) newest: RefCounts,
    /// Every number a point of this source ever used and its bytes may still be asked for.
    pub(super) history: RoaringTreemap,
    pub(super) working: Option<(PointRow, RefCounts)>,
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
                if let Effect::Run(entries) = effect {
                    if let Some(session) = self.sessions.get_mut(&row.session) {
                        session.numbers.extend(entries.iter().map(|entry| entry.number.0));
                    }
                    self.unsaved.extend(entries);
                }
            }
            (Op::ContainerSealed { container, has_footer }, _) => {
                if let Some(container) = self.containers.get_mut(&container) {
                    (container.row.sealed, container.row.has_footer) = (true, has_footer);
                }
            }
            (Op::ContainerFreed { container }, _) => {
                self.forget_container(container);
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
                self.sessions.remove(&session);
            }
            (Op::PointCommitted { session, point }, effect) => {
                self.sessions.remove(&session);
                if let Effect::Point(effect) = effect {
                    self.commit_point(point, *effect);
                }
            }
            (Op::PointAttributes { point, attributes, trashed_until }, _) => {
                if let Some(row) = self.points.iter_mut().find(|row| row.id == point) {
                    (row.attributes, row.trashed_until) = (attributes, trashed_until);
                }
            }
            (Op::PointDropped { point }, _) => self.points.retain(|row| row.id != point),
            (Op::Record { name, version, value: Some(value) }, _) => {
                self.records.insert(name, Record { version, value });
            }
            (Op::Record { name, value: None, .. }, _) => {
                self.records.remove(&name);
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
            newest_point: None,
            newest: RefCounts::new(),
            history: RoaringTreemap::new(),
            working: None,
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
            freed_at: 0,
        };
        self.containers.insert(container, Container { row, journaled: false });
    }

    fn commit_point(&mut self, point: PointRow, effect: PointEffect) {
        let Some(source) = self.sources.get_mut(&point.source) else {
            return;
        };
        for number in &effect.born - &source.history {
            // A chunk that is gone from the index is reported by whoever reads it.
            let _ = self.index.begin_use(ChunkNumber(number));
        }
        source.history |= effect.born;
        if point.working {
            source.working = Some((point, effect.refs));
        } else {
            source.newest_point = Some(point.id);
            source.newest = effect.refs;
            source.working = None;
            self.points.push(point);
        }
    }

    /// Puts the chunks of a run into the index.
    pub(super) fn index_run(&mut self, entries: &[Entry]) {
        for entry in entries {
            if let Change::Stored { place, stored_len } = entry.change {
                let slot = Slot { place, stored_len, sources: 0 };
                // Present only when a journal entry is replayed over a checkpoint that has it.
                let _ = self.index.insert(entry.number, entry.fingerprint, slot);
            }
        }
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
