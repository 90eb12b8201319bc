//! Which runs a container holds.
//!
//! The container tells: its footer, or else its runs one after another. A copy that was moved lacks the
//! runs nobody needed, and where these were lies whatever the slot held before: there the next run is
//! searched for, and what is found instead is no fault. Whether all is found, the index says, which
//! counts the chunks it has in every container. Only when some are missing the index is walked for the
//! runs they are in.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use roaring::RoaringTreemap;

use super::space::RunKey;
use super::tables::Tables;
use super::{Inner, Work};
use crate::device::Device;
use crate::error::ReadError;
use crate::format::{ContainerFooter, ContainerRow, Directory, Head, Magic, Place, SlotRef};
use crate::index::segment::{Change, Entry};
use crate::units::{BLOCK, BLOCK_U64, DiskId};

/// Directories of the runs of a container, ascending.
pub(super) type Runs = Vec<(RunKey, Rc<Directory>)>;

/// Bytes searched with one read for the head of a run.
const SEARCH_LEN: usize = 256 << 10;

impl<D: Device, W: Work> Inner<D, W> {
    /// Every run of a container in which the index has a chunk, and of the others those that can be
    /// read. Fails if the directory of one that is needed cannot be read anywhere.
    pub(super) async fn runs_of(&self, container: u32) -> Result<Runs, ReadError> {
        let Some(row) = self.container_row(container) else {
            return Ok(Vec::new());
        };
        let mut runs = match self.listed_runs(&row).await {
            Some(runs) => runs,
            None => self.walked_runs(&row).await,
        };
        // In an open container runs may be on their way.
        if self.is_open(container) || self.is_all_indexed(container, &runs) {
            return Ok(runs);
        }
        for run in self.runs_by_index(container) {
            if runs.iter().all(|(known, _)| *known != run) {
                runs.push((run, self.directory(run).await?));
            }
        }
        runs.sort_by_key(|(run, _)| *run);
        Ok(runs)
    }

    /// Blocks at which runs begin that hold a chunk, of a container that takes no more of them.
    pub(super) async fn needed_blocks(&self, container: u32) -> BTreeSet<u16> {
        match self.runs_of(container).await {
            Ok(runs) => {
                let needed = |(run, directory): &(RunKey, Rc<Directory>)| {
                    let some = !self.indexed_in(*run, directory).is_empty();
                    some.then_some(run.1)
                };
                runs.iter().filter_map(needed).collect()
            }
            Err(_) => self.runs_by_index(container).into_iter().map(|(_, block)| block).collect(),
        }
    }

    fn is_all_indexed(&self, container: u32, runs: &Runs) -> bool {
        let tables = self.tables.borrow();
        let expected = tables.containers.get(&container).map_or(0, |found| found.shares.indexed);
        self.indexed_there(&tables, runs).len() as u64 == expected
    }

    fn runs_by_index(&self, container: u32) -> BTreeSet<RunKey> {
        let tables = self.tables.borrow();
        let places = tables.index.iter().map(|(_, slot)| slot.place);
        let here = places.filter(|place| place.container == container);
        here.map(|place| (container, place.run_block)).collect()
    }

    /// As a footer lists them, if one lists all it says it does.
    async fn listed_runs(&self, row: &ContainerRow) -> Option<Runs> {
        for slot in row.slots.iter().filter(|slot| self.disk_of(*slot).is_there()) {
            if let Some(Footer { runs, is_whole: true }) = self.footer(row, slot).await {
                let rc = |(block, directory)| ((row.container, block), Rc::new(directory));
                return Some(runs.into_iter().map(rc).collect());
            }
        }
        None
    }

    /// One after another, as they stand in the container.
    async fn walked_runs(&self, row: &ContainerRow) -> Runs {
        let (mut runs, mut block) = (Runs::new(), 1u32);
        while block < row.used_blocks {
            let run = (row.container, block as u16);
            match self.run_at(row, run).await {
                Some(directory) => {
                    block += directory.header.run_len.div_ceil(BLOCK as u32).max(1);
                    runs.push((run, directory));
                }
                None => block = self.next_head(row, block + 1).await,
            }
        }
        runs
    }

    /// The directory of the run that begins here, if one does. None is no fault.
    async fn run_at(&self, row: &ContainerRow, run: RunKey) -> Option<Rc<Directory>> {
        let known = self.cache.borrow_mut().directory(run);
        if known.is_some() {
            return known;
        }
        for slot in row.slots.iter().filter(|slot| self.disk_of(*slot).is_there()) {
            if let Ok(directory) = self.read_directory(slot, run, &row.salt).await {
                let directory = Rc::new(directory);
                self.cache.borrow_mut().keep_directory(run, Rc::clone(&directory));
                return Some(directory);
            }
        }
        None
    }

    /// The next block at which something looks like the head of a run, in whichever copy.
    async fn next_head(&self, row: &ContainerRow, from: u32) -> u32 {
        let slots: Vec<SlotRef> =
            row.slots.iter().filter(|slot| self.disk_of(*slot).is_there()).collect();
        let mut block = from;
        while block < row.used_blocks {
            let blocks = (row.used_blocks - block).min((SEARCH_LEN / BLOCK) as u32);
            let mut found = Vec::new();
            for slot in &slots {
                found.extend(self.head_within(*slot, block, blocks).await);
            }
            if let Some(first) = found.into_iter().min() {
                return first;
            }
            block += blocks;
        }
        block
    }

    async fn head_within(&self, slot: SlotRef, block: u32, blocks: u32) -> Option<u32> {
        let disk = self.disk_of(slot);
        let offset = disk.offset(slot.slot, block as u16);
        // What cannot be read as a whole may have a run at every block.
        let Ok(bytes) = disk.read(offset, blocks as usize * BLOCK).await else {
            return Some(block);
        };
        let is_head = |at: &u32| {
            let bytes = &bytes[*at as usize * BLOCK..];
            let place = disk.place(offset + u64::from(*at) * BLOCK_U64);
            Head::peek(bytes, Magic::Run)
                .is_ok_and(|head| head.expect(self.fixed.pool, place).is_ok())
        };
        (0..blocks).find(is_head).map(|at| block + at)
    }

    /// The directory of a run as the footer of its container repeats it.
    pub(super) async fn listed_directory(&self, run: RunKey) -> Option<Rc<Directory>> {
        for slot in self.slots(run.0)?.iter() {
            if let Some(directory) = self.listed_in(slot, run).await {
                return Some(Rc::new(directory));
            }
        }
        None
    }

    /// As [`listed_directory`](Self::listed_directory), out of one copy of the container.
    pub(super) async fn listed_in(&self, slot: SlotRef, run: RunKey) -> Option<Directory> {
        let row = self.container_row(run.0)?;
        self.footer(&row, slot).await?.runs.remove(&run.1)
    }

    /// What the footer of a copy lists, as far as it can be read.
    async fn footer(&self, row: &ContainerRow, slot: SlotRef) -> Option<Footer> {
        if !row.has_footer {
            return None;
        }
        let disk = self.disk_of(slot);
        let last = disk.offset(slot.slot, 0) + self.fixed.container_len - BLOCK_U64;
        let block = disk.read(last, BLOCK).await.ok()?;
        let (key, place) = (self.fixed.run_key(&row.salt), disk.place(last));
        let footer = ContainerFooter::decode(&block, &key, self.fixed.pool, place).ok()?;
        let len = footer.body_len.min(self.fixed.container_len) as usize;
        let bytes = disk.read(disk.offset(slot.slot, footer.body_block), len).await.ok()?;
        let (mut rest, mut runs) = (bytes.get(..len)?, BTreeMap::new());
        while let Some((block, directory)) = self.first_listed(row, rest) {
            rest = &rest[directory.byte_len()..];
            runs.insert(block, directory);
        }
        let is_whole = rest.is_empty() && runs.len() == footer.run_count as usize;
        Some(Footer { runs, is_whole })
    }

    /// A footer repeats directories as they stood in the copy that was made first, which may be gone:
    /// where that was, their heads say. Each of them proves itself.
    fn first_listed(&self, row: &ContainerRow, listed: &[u8]) -> Option<(u16, Directory)> {
        let head = Head::peek(listed, Magic::Run).ok()?;
        let place = Place { disk: DiskId(head.disk), offset: head.offset.get() };
        let first = self.disk(0).offset(0, 0);
        let within = place.offset.checked_sub(first)? % self.fixed.container_len;
        let block = u16::try_from(within / BLOCK_U64).ok()?;
        let run = (row.container, block);
        let directory = self.decode_directory_at(place, run, &row.salt, listed).ok()?;
        Some((block, directory))
    }

    /// Numbers the index has in a run.
    pub(super) fn indexed_in(&self, run: RunKey, directory: &Rc<Directory>) -> RoaringTreemap {
        let runs = vec![(run, Rc::clone(directory))];
        let there = self.indexed_there(&self.tables.borrow(), &runs);
        there.iter().map(|entry| entry.number.0).collect()
    }

    /// Tombstones for what the index has in these runs.
    pub(super) fn indexed_there(&self, tables: &Tables, runs: &Runs) -> Vec<Entry> {
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

/// The runs a footer lists, by their blocks.
struct Footer {
    runs: BTreeMap<u16, Directory>,
    /// Whether these are as many as it says.
    is_whole: bool,
}
