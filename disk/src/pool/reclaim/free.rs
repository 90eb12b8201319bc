//! Freeing one container: looking what is in it, and giving it up.

use std::rc::Rc;

use roaring::RoaringTreemap;

use crate::device::Device;
use crate::error::{CommitError, ReadError};
use crate::format::{ContainerFooter, ContainerRow, Directory, Op, SlotRef};
use crate::index::segment::{Change, Entry, SegmentWriter};
use crate::mutants::Mutant;
use crate::pool::space::RunKey;
use crate::pool::tables::{Effect, Pending};
use crate::pool::{Inner, Work};
use crate::units::{BLOCK, BLOCK_U64};

/// Directories of the runs of a container.
pub(in crate::pool) type Runs = Vec<(RunKey, Rc<Directory>)>;

impl<D: Device, W: Work> Inner<D, W> {
    /// Frees a container in which everything is dead. False if something in it is needed after all,
    /// or if it cannot be read what is in it: then it stays.
    pub(super) async fn free_container(&self, container: u32) -> Result<bool, CommitError> {
        match self.runs_of(container).await {
            Ok(runs) => self.give_up(container, &runs).await,
            Err(_) => Ok(false),
        }
    }

    /// All runs of a sealed container: out of its footer, or else one after another.
    pub(in crate::pool) async fn runs_of(&self, container: u32) -> Result<Runs, ReadError> {
        let row = self.tables.borrow().containers.get(&container).map(|found| found.row);
        let Some(row) = row else {
            return Ok(Vec::new());
        };
        let listed = match row.slots.iter().find(|slot| self.disk_of(*slot).is_there()) {
            Some(slot) if row.has_footer => self.footer_bytes(&row, slot).await,
            _ => None,
        };
        let mut listed = listed.as_deref().unwrap_or_default();
        let (mut runs, mut block) = (Runs::new(), 1u32);
        while block < row.used_blocks {
            let run = (container, block as u16);
            let directory = match self.decode_listed(&row, run, listed) {
                Some(directory) => {
                    listed = &listed[directory.byte_len()..];
                    Rc::new(directory)
                }
                None => self.directory(run).await?,
            };
            block += directory.header.run_len / BLOCK as u32;
            runs.push((run, directory));
        }
        Ok(runs)
    }

    /// The directory of a run as the footer of its container repeats it.
    pub(in crate::pool) async fn listed_directory(&self, run: RunKey) -> Option<Rc<Directory>> {
        for slot in self.slots(run.0)?.iter() {
            if let Some(directory) = self.listed_in(slot, run).await {
                return Some(Rc::new(directory));
            }
        }
        None
    }

    /// As [`listed_directory`](Self::listed_directory), out of one copy of the container.
    pub(in crate::pool) async fn listed_in(&self, slot: SlotRef, run: RunKey) -> Option<Directory> {
        let row = self.tables.borrow().containers.get(&run.0).map(|found| found.row)?;
        let listed =
            if row.has_footer { self.footer_bytes(&row, slot).await? } else { return None };
        let (mut rest, mut block) = (&listed[..], 1u32);
        while block < row.used_blocks {
            let at = (run.0, block as u16);
            let directory = self.decode_listed(&row, at, rest)?;
            if at == run {
                return Some(directory);
            }
            rest = &rest[directory.byte_len()..];
            block += directory.header.run_len / BLOCK as u32;
        }
        None
    }

    /// A footer repeats directories as they stand in the copy that was made first.
    fn decode_listed(&self, row: &ContainerRow, run: RunKey, listed: &[u8]) -> Option<Directory> {
        let mut slots = row.slots.iter();
        slots.find_map(|slot| self.decode_directory(slot, run, &row.salt, listed).ok())
    }

    /// Numbers the index has in a run.
    pub(in crate::pool) fn indexed_in(
        &self,
        run: RunKey,
        directory: &Rc<Directory>,
    ) -> RoaringTreemap {
        let runs = vec![(run, Rc::clone(directory))];
        let there = self.indexed_there(&self.tables.borrow(), &runs);
        there.iter().map(|entry| entry.number.0).collect()
    }

    /// The directories a footer repeats. Each of them proves itself.
    async fn footer_bytes(&self, row: &ContainerRow, slot: SlotRef) -> Option<Vec<u8>> {
        let disk = self.disk_of(slot);
        let last = disk.offset(slot.slot, 0) + self.fixed.container_len - BLOCK_U64;
        let block = disk.read(last, BLOCK).await.ok()?;
        let (key, place) = (self.fixed.run_key(&row.salt), disk.place(last));
        let footer = ContainerFooter::decode(&block, &key, self.fixed.pool, place).ok()?;
        let len = footer.body_len.min(self.fixed.container_len) as usize;
        let bytes = disk.read(disk.offset(slot.slot, footer.body_block), len).await.ok()?;
        bytes.get(..len).map(<[u8]>::to_vec)
    }

    /// Gives a container up, if nothing that the index has there is needed.
    pub(super) async fn give_up(&self, container: u32, runs: &Runs) -> Result<bool, CommitError> {
        let Some(batch) = self.take_out(container, runs) else {
            return Ok(false);
        };
        self.append(batch).await?;
        if !self.mutants.keeps(Mutant::FreedRests) {
            let mut tables = self.tables.borrow_mut();
            tables.forget_container(container);
        }
        Ok(true)
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

    /// Tombstones for what the index has in these runs.
    fn indexed_there(&self, tables: &crate::pool::tables::Tables, runs: &Runs) -> Vec<Entry> {
        let mut there = Vec::new();
        for (run, directory) in runs {
            for (ordinal, chunk) in directory.chunks.iter().enumerate() {
                let slot = tables.index.slot(chunk.number);
                let place = slot.map(|slot| slot.place);
                let here = place.is_some_and(|place| {
                    (place.container, place.run_block) == *run
                        && usize::from(place.ordinal) == ordinal
                });
                if here {
                    let fingerprint = tables.index.fingerprint(&chunk.id);
                    let number = chunk.number;
                    there.push(Entry { number, fingerprint, change: Change::Gone });
                }
            }
        }
        there
    }
}
