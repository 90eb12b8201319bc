//! Freeing one container: looking what is in it, and giving it up.

use roaring::RoaringTreemap;

use crate::device::Device;
use crate::error::CommitError;
use crate::format::Op;
use crate::index::segment::SegmentWriter;
use crate::mutants::Mutant;
use crate::pool::listing::Runs;
use crate::pool::tables::{Effect, Pending};
use crate::pool::{Inner, Work};

/// What giving up containers brought.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Freed {
    pub(super) containers: u64,
    /// Stored bytes of the frames in them.
    pub(super) stored_len: u64,
}

impl Freed {
    pub(super) fn add(&mut self, other: Self) {
        self.containers += other.containers;
        self.stored_len += other.stored_len;
    }
}

impl<D: Device, W: Work> Inner<D, W> {
    /// Frees a container in which everything is dead. Nothing is freed if something in it is needed
    /// after all, or if it cannot be read what is in it: then it stays.
    pub(super) async fn free_container(&self, container: u32) -> Result<Freed, CommitError> {
        match self.runs_of(container).await {
            Ok(runs) => self.give_up(container, &runs).await,
            Err(_) => Ok(Freed::default()),
        }
    }

    /// Gives a container up, if nothing that the index has there is needed.
    pub(super) async fn give_up(&self, container: u32, runs: &Runs) -> Result<Freed, CommitError> {
        let stored_len = self.container_row(container).map_or(0, |row| row.stored_len);
        let Some(batch) = self.take_out(container, runs) else {
            return Ok(Freed::default());
        };
        self.append(batch).await?;
        if !self.mutants.keeps(Mutant::FreedRests) {
            let mut tables = self.tables.borrow_mut();
            tables.forget_container(container);
        }
        Ok(Freed { containers: 1, stored_len })
    }

    /// From one await to the next: looks, and lets the index forget what is there. Whoever was told of
    /// it before is seen here, and afterwards nobody can be told.
    fn take_out(&self, container: u32, runs: &Runs) -> Option<Vec<Pending>> {
        let mut tables = self.tables.borrow_mut();
        let mut gone = self.indexed_there(&tables, runs);
        let numbers: RoaringTreemap = gone.iter().map(|entry| entry.number.0).collect();
        let shares = tables.containers.get(&container)?.shares;
        if self.mutants.keeps(Mutant::FreeOnlyDead) {
            let all = shares.indexed == gone.len() as u64;
            let dead = numbers.is_subset(&tables.dead) && self.told(&tables, &numbers).is_empty();
            let held = tables.sources.values().any(|source| match self.keeps_trash() {
                true => !source.chain.held().is_disjoint(&numbers),
                false => !source.chain.held_by_listed().is_disjoint(&numbers),
            });
            if !all || !dead || held {
                return None;
            }
        }
        tables.drop_chunks(&gone);
        drop(tables);
        self.epochs.give_up(container);
        let mut batch = Vec::new();
        gone.sort_by_key(|entry| entry.number);
        gone.dedup_by_key(|entry| entry.number);
        // So many tombstones fit an entry of the smallest journal.
        for gone in gone.chunks(256) {
            let mut writer = SegmentWriter::new();
            gone.iter().for_each(|entry| writer.push(entry));
            let op = Op::ChunksDropped { segment: writer.finish() };
            batch.push(Pending { op, effect: Effect::None });
        }
        batch.push(Pending { op: Op::ContainerFreed { container }, effect: Effect::None });
        Some(batch)
    }

    fn keeps_trash(&self) -> bool {
        self.mutants.keeps(Mutant::TrashPins)
    }
}
