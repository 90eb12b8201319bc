//! Containers: which are open, where the next run goes, and which writes are under way.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::event::Event;
use super::layout::{Fixed, container_number, container_slot};
use super::run::RunPlace;
use super::tables::{COMPACTOR, Effect, Tables};
use super::{Inner, Work};
use crate::buffer::AlignedBuf;
use crate::device::Device;
use crate::error::CommitError;
use crate::format::{ContainerFooter, ContainerHeader, Op, Purpose};
use crate::units::{BLOCK, SessionId};

/// Bytes of writes under way before whoever produces more has to wait.
const IN_FLIGHT_MAX: u64 = 32 << 20;

/// A container that still takes runs.
struct Open {
    container: u32,
    generation: u64,
    salt: [u8; 16],
    purpose: Purpose,
    next_block: u32,
    run_count: u64,
    /// Headers and directories of its runs: the footer-to-be.
    directories: Vec<u8>,
    /// The stream that fills it, so that a stream's chunks stay together.
    owner: Option<SessionId>,
    /// Runs reserved whose directories are not known yet: it cannot be sealed before.
    unfinished: u32,
}

/// Room for one run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    pub(super) container: u32,
    pub(super) generation: u64,
    pub(super) salt: [u8; 16],
    pub(super) block: u16,
    pub(super) ordinal: u64,
}

impl Room {
    pub(super) fn place(&self) -> RunPlace {
        let Self { container, block, salt, .. } = *self;
        RunPlace { container, block, generation_salt: salt }
    }
}

/// Container and first block of a run.
pub(super) type RunKey = (u32, u16);

#[derive(Default)]
pub(super) struct Space {
    open: RefCell<Vec<Open>>,
    next_write: Cell<u64>,
    /// Writes in the order they were issued, with the run each belongs to.
    under_way: RefCell<BTreeMap<u64, Option<RunKey>>>,
    in_flight: Cell<u64>,
    pub(super) changed: Event,
}

impl Open {
    /// Whether a run with this directory fits, footer included.
    fn fits(&self, fixed: &Fixed, blocks: u32, directory_len: usize) -> bool {
        let footer = (self.directories.len() + directory_len).div_ceil(BLOCK) as u32 + 1;
        self.next_block + blocks + footer <= fixed.container_blocks()
    }
}

impl<D: Device, W: Work> Inner<D, W> {
    /// Largest run that fits an empty container, with header block and footer.
    pub(super) fn run_len_max(&self) -> usize {
        // The directory is repeated in the footer: a quarter of the container is more than any
        // mixture of frames and chunks within the other three can need.
        (self.fixed.container_len as usize) * 3 / 4 - 2 * BLOCK
    }

    /// Reserves room for a run of `blocks` whose header and directory take `directory_len` bytes.
    pub(super) fn reserve(
        &self,
        purpose: Purpose,
        owner: SessionId,
        blocks: u32,
        directory_len: usize,
    ) -> Result<Room, CommitError> {
        let mut full = Vec::new();
        let found = {
            let open = self.space.open.borrow();
            let fits = |at: &usize| {
                let candidate = &open[*at];
                candidate.purpose == purpose && candidate.fits(&self.fixed, blocks, directory_len)
            };
            let by_load = |at: &usize| {
                let disk = container_slot(open[*at].container).0;
                self.disks[disk].in_flight.get()
            };
            full.extend((0..open.len()).filter(|at| {
                open[*at].purpose == purpose && open[*at].owner == Some(owner) && !fits(at)
            }));
            let own = (0..open.len()).find(|at| open[*at].owner == Some(owner) && fits(at));
            own.or_else(|| {
                (0..open.len())
                    .filter(|at| open[*at].owner.is_none() && fits(at))
                    .min_by_key(by_load)
            })
        };
        let at = match found {
            Some(at) => at,
            None => {
                for at in full.into_iter().rev() {
                    self.seal(at);
                }
                self.open_container(purpose, owner)?
            }
        };
        let mut open = self.space.open.borrow_mut();
        let chosen = &mut open[at];
        chosen.owner = Some(owner);
        let room = Room {
            container: chosen.container,
            generation: chosen.generation,
            salt: chosen.salt,
            block: chosen.next_block as u16,
            ordinal: chosen.run_count,
        };
        chosen.next_block += blocks;
        chosen.run_count += 1;
        chosen.unfinished += 1;
        Ok(room)
    }

    /// Tells the container what the directory of a reserved run is.
    pub(super) fn finish_room(&self, room: &Room, directory: &[u8]) {
        let mut open = self.space.open.borrow_mut();
        if let Some(open) = open.iter_mut().find(|open| open.container == room.container) {
            open.directories.extend_from_slice(directory);
            open.unfinished -= 1;
        }
    }

    /// The stream is done: others may go on in its container.
    pub(super) fn release(&self, owner: SessionId) {
        let mut open = self.space.open.borrow_mut();
        for open in open.iter_mut() {
            if open.owner == Some(owner) {
                open.owner = None;
            }
        }
    }

    /// Opens a container in a free slot of the disk that has most.
    fn open_container(&self, purpose: Purpose, owner: SessionId) -> Result<usize, CommitError> {
        let mut tables = self.tables.borrow_mut();
        let free = tables.free_slots();
        // Data leaves a reserve, so that checkpoints and deletes always find room; what compaction
        // moves may use half of it, since it gives back more.
        let reserve = match purpose {
            Purpose::State => 0,
            Purpose::Data if owner == COMPACTOR => self.reserved_slots() / 2,
            Purpose::Data => self.reserved_slots(),
        };
        if free <= reserve {
            let len = self.fixed.container_len;
            return Err(CommitError::Full {
                needed: len,
                free: free.saturating_sub(reserve) * len,
            });
        }
        let container = match purpose {
            Purpose::Data => self.slot_for_data(&tables),
            Purpose::State => self.slot_for_state(&tables, owner),
        };
        let (generation, salt) = (tables.next_generation, self.random());
        tables.open_container(container, generation, purpose, salt);
        drop(tables);
        let disk = container_slot(container).0;
        let header = ContainerHeader { container, generation, purpose, salt };
        let offset = self.disks[disk].offset(container, 0);
        let place = self.disks[disk].place(offset);
        let block = header.encode(&self.fixed.key, self.fixed.pool, place);
        self.start_write(disk, offset, AlignedBuf::padded(&block), None);
        self.journal
            .push(Op::ContainerOpened { container, generation, purpose, salt }, Effect::None);
        let mut open = self.space.open.borrow_mut();
        open.push(Open {
            container,
            generation,
            salt,
            purpose,
            next_block: 1,
            run_count: 0,
            directories: Vec::new(),
            owner: None,
            unfinished: 0,
        });
        Ok(open.len() - 1)
    }

    /// On the disk with fewest open containers, among these with most free slots.
    fn slot_for_data(&self, tables: &Tables) -> u32 {
        let open = self.space.open.borrow();
        let open_on = |disk: usize| {
            open.iter().filter(|open| container_slot(open.container).0 == disk).count()
        };
        let disk = (0..self.disks.len())
            .filter(|disk| !tables.free[*disk].is_empty())
            .min_by_key(|disk| (open_on(*disk), Reverse(tables.free[*disk].len())))
            .expect("some disk has a free slot");
        let slot = tables.free[disk].first().expect("the disk was chosen for its free slot");
        container_number(disk, *slot)
    }

    /// The two copies of the state on two disks, or near both ends of the only one.
    fn slot_for_state(&self, tables: &Tables, owner: SessionId) -> u32 {
        let back = owner.0[0] == 1;
        let preferred = if back { self.disks.len() - 1 } else { 0 };
        let any = (0..self.disks.len()).find(|disk| !tables.free[*disk].is_empty());
        let disk = match tables.free[preferred].is_empty() {
            false => preferred,
            true => any.expect("some disk has a free slot"),
        };
        let free = &tables.free[disk];
        let slot = if back { free.last() } else { free.first() };
        container_number(disk, *slot.expect("the disk was chosen for its free slot"))
    }

    /// Whether runs may still be added to the container.
    pub(super) fn is_open(&self, container: u32) -> bool {
        self.space.open.borrow().iter().any(|open| open.container == container)
    }

    /// Seals open containers that nobody fills now and that have at least `least_dead` per cent of
    /// garbage: as long as they are open nothing in them can be given back.
    pub(super) fn seal_sparse(&self, least_dead: u8) -> bool {
        let tables = self.tables.borrow();
        let sparse = |open: &Open| {
            let container = tables.containers.get(&open.container);
            container.is_some_and(|container| {
                let (stored, live) = (container.row.stored_len, container.shares.live_len());
                let dead = stored.saturating_sub(live);
                dead > 0 && dead * 100 >= stored * u64::from(least_dead)
            })
        };
        let idle = |open: &Open| {
            open.owner.is_none() && open.unfinished == 0 && open.purpose == Purpose::Data
        };
        let chosen: Vec<usize> = {
            let open = self.space.open.borrow();
            (0..open.len()).filter(|at| idle(&open[*at]) && sparse(&open[*at])).collect()
        };
        chosen.iter().rev().for_each(|at| self.seal(*at));
        !chosen.is_empty()
    }

    /// Closes a container for good and writes its footer, unless a run in it is still being put
    /// together: then it goes without.
    fn seal(&self, at: usize) {
        let open = self.space.open.borrow_mut().remove(at);
        let has_footer = open.unfinished == 0;
        if has_footer {
            self.write_footer(&open);
        }
        let container = open.container;
        self.journal.push(Op::ContainerSealed { container, has_footer }, Effect::None);
    }

    fn write_footer(&self, open: &Open) {
        let disk_index = container_slot(open.container).0;
        let disk = &self.disks[disk_index];
        let body_block = open.next_block as u16;
        let footer = ContainerFooter {
            container: open.container,
            generation: open.generation,
            run_count: open.run_count as u32,
            body_block,
            body_len: open.directories.len() as u64,
            body_hash: *blake3::hash(&open.directories).as_bytes(),
        };
        if !open.directories.is_empty() {
            let body = AlignedBuf::padded(&open.directories);
            let offset = disk.offset(open.container, body_block);
            self.start_write(disk_index, offset, body, None);
        }
        let last = disk.offset(open.container, 0) + self.fixed.container_len - BLOCK as u64;
        let key = self.fixed.run_key(&open.salt);
        let block = footer.encode(&key, self.fixed.pool, disk.place(last));
        self.start_write(disk_index, last, AlignedBuf::padded(&block), None);
    }

    /// Starts a write that nobody awaits by itself: the next journal entry waits for all of them.
    pub(super) fn start_write(
        &self,
        disk: usize,
        offset: u64,
        buf: AlignedBuf,
        run: Option<RunKey>,
    ) {
        let space = &self.space;
        let number = space.next_write.get();
        space.next_write.set(number + 1);
        space.under_way.borrow_mut().insert(number, run);
        let len = buf.len() as u64;
        space.in_flight.set(space.in_flight.get() + len);
        let inner = self.handle();
        self.spawner.spawn(async move {
            let disk = &inner.disks[disk];
            if disk.write(offset, buf).await.is_err() {
                inner.journal.fail(disk.id);
            }
            let space = &inner.space;
            space.in_flight.set(space.in_flight.get() - len);
            space.under_way.borrow_mut().remove(&number);
            space.changed.notify();
        });
    }

    /// Waits until every write issued before this call has ended, and well.
    pub(super) async fn writes_ended(&self) -> Result<(), CommitError> {
        let space = &self.space;
        let upto = space.next_write.get();
        space
            .changed
            .until(|| {
                let first = space.under_way.borrow().keys().next().copied();
                first.is_none_or(|first| first >= upto).then_some(())
            })
            .await;
        self.journal.check()
    }

    /// Waits until this run is no longer on its way to the disk: before that, what is there may be
    /// anything.
    pub(super) async fn run_written(&self, run: RunKey) {
        let space = &self.space;
        space
            .changed
            .until(|| {
                let on_its_way = space.under_way.borrow().values().any(|key| *key == Some(run));
                (!on_its_way).then_some(())
            })
            .await;
    }

    /// Waits while too many bytes are under way.
    pub(super) async fn room_in_flight(&self) {
        let space = &self.space;
        space.changed.until(|| (space.in_flight.get() < IN_FLIGHT_MAX).then_some(())).await;
    }

    /// Slots kept back for the pool's own needs: checkpoints at two places, twice over, or 1 %.
    pub(super) fn reserved_slots(&self) -> u64 {
        let total: u64 = self.disks.iter().map(|disk| disk.zones.container_count).sum();
        (total / 100).max(8).min(total / 2)
    }
}
