//! Containers: which are open, where the next run goes, and which writes are under way.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::disk::Disk;
use super::event::Event;
use super::layout::{Fixed, state_number};
use super::run::RunPlace;
use super::tables::{COMPACTOR, Effect, Tables};
use super::{Inner, Work};
use crate::buffer::AlignedBuf;
use crate::device::Device;
use crate::error::CommitError;
use crate::format::{ContainerFooter, ContainerHeader, Op, Purpose, SlotRef, Slots};
use crate::units::{BLOCK, SessionId};

/// Bytes of writes under way before whoever produces more has to wait.
const IN_FLIGHT_MAX: u64 = 32 << 20;

/// A container that still takes runs.
struct Open {
    container: u32,
    generation: u64,
    salt: [u8; 16],
    slots: Slots,
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
    pub(super) slots: Slots,
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
    /// Runs of each container that have room and are not on their way yet.
    placing: RefCell<BTreeMap<u32, u32>>,
    pub(super) changed: Event,
}

impl Space {
    pub(super) fn is_placing(&self, container: u32) -> bool {
        self.placing.borrow().contains_key(&container)
    }
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
                let in_flight = |slot: SlotRef| self.disk_of(slot).in_flight.get();
                open[*at].slots.iter().map(in_flight).max()
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
            slots: chosen.slots,
            block: chosen.next_block as u16,
            ordinal: chosen.run_count,
        };
        chosen.next_block += blocks;
        chosen.run_count += 1;
        chosen.unfinished += 1;
        *self.space.placing.borrow_mut().entry(room.container).or_default() += 1;
        Ok(room)
    }

    /// Tells the container what the directory of a reserved run is.
    pub(super) fn finish_room(&self, room: &Room, directory: &[u8]) {
        let mut open = self.space.open.borrow_mut();
        if let Some(open) = open.iter_mut().find(|open| open.container == room.container) {
            open.directories.extend_from_slice(directory);
            open.unfinished -= 1;
        }
        let mut placing = self.space.placing.borrow_mut();
        if let Some(count) = placing.get_mut(&room.container) {
            *count -= 1;
            if *count == 0 {
                placing.remove(&room.container);
            }
        }
        self.space.changed.notify();
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

    /// Opens a container: one of data in free slots of as many disks as it should have copies.
    fn open_container(&self, purpose: Purpose, owner: SessionId) -> Result<usize, CommitError> {
        let mut tables = self.tables.borrow_mut();
        let slots = match purpose {
            Purpose::Data => self.slots_for_data(&tables, owner),
            Purpose::State => self.slot_for_state(&tables, owner).map(Slots::one),
        };
        let Some(slots) = slots else {
            let len = self.fixed.container_len;
            let free = self.free_for_data(&tables);
            return Err(CommitError::Full { needed: len, free: free * len });
        };
        let (generation, salt) = (tables.next_generation, self.random());
        let container = match purpose {
            Purpose::Data => tables.new_container(generation),
            Purpose::State => state_number(slots.first()),
        };
        tables.open_container(container, generation, purpose, salt, slots);
        drop(tables);
        for slot in slots.iter() {
            let disk = self.disk_of(slot);
            let header = ContainerHeader { container, generation, purpose, salt };
            let offset = disk.offset(slot.slot, 0);
            let block = header.encode(&self.fixed.key, self.fixed.pool, disk.place(offset));
            self.start_write(disk, offset, AlignedBuf::padded(&block), None);
        }
        let op = Op::ContainerOpened { container, generation, purpose, salt, slots };
        self.journal.push(op, Effect::None);
        let mut open = self.space.open.borrow_mut();
        open.push(Open {
            container,
            generation,
            salt,
            slots,
            purpose,
            next_block: 1,
            run_count: 0,
            directories: Vec::new(),
            owner: None,
            unfinished: 0,
        });
        Ok(open.len() - 1)
    }

    /// On the disks with fewest open containers, among these with most free slots. With two copies
    /// on two disks, unless there is only one left: fewer copies than asked for are no way to save
    /// room.
    /// Data leaves a reserve, so that checkpoints and deletes always find room; what compaction moves
    /// may use half of it, since it gives back more.
    fn slots_for_data(&self, tables: &Tables, owner: SessionId) -> Option<Slots> {
        let open = self.space.open.borrow();
        let taking = self.taking_disks();
        let open_on =
            |disk: usize| open.iter().filter(|open| open.slots.on(disk).is_some()).count();
        let reserve = match owner == COMPACTOR {
            true => self.reserve_per_disk() / 2,
            false => self.reserve_per_disk(),
        };
        let mut disks: Vec<usize> = taking.iter().map(|disk| disk.index).collect();
        disks.retain(|disk| tables.free_on(*disk) > reserve);
        disks.sort_by_key(|disk| (open_on(*disk), Reverse(tables.free_on(*disk))));
        let mut slots = disks.iter().filter_map(|disk| first_free(tables, *disk));
        let first = slots.next()?;
        if self.fixed.copies < 2 || taking.len() < 2 {
            return Some(Slots::one(first));
        }
        Some(Slots::two(first, slots.next()?))
    }

    /// The two copies of the state on two disks, or near both ends of the only one.
    fn slot_for_state(&self, tables: &Tables, owner: SessionId) -> Option<SlotRef> {
        let back = owner.0[0] == 1;
        let has_room = |disk: &usize| tables.free_on(*disk) > 0;
        let disks: Vec<usize> = self.taking_disks().iter().map(|disk| disk.index).collect();
        let preferred = if back { disks.last() } else { disks.first() };
        let any = || {
            if back {
                disks.iter().rfind(|disk| has_room(disk))
            } else {
                disks.iter().find(|disk| has_room(disk))
            }
        };
        let disk = *preferred.filter(|disk| has_room(disk)).or_else(any)?;
        let free = tables.free[disk].as_ref()?;
        let slot = if back { free.last() } else { free.first() };
        Some(SlotRef { disk: disk as u16, slot: *slot? })
    }

    /// A container for a copy of one that lies elsewhere: not on `avoid`, the fullest disks last.
    pub(super) fn slot_for_copy(&self, avoid: &[usize], prefer: Option<usize>) -> Option<SlotRef> {
        let mut tables = self.tables.borrow_mut();
        let reserve = self.reserve_per_disk();
        let mut disks: Vec<usize> = self.taking_disks().iter().map(|disk| disk.index).collect();
        disks.retain(|disk| !avoid.contains(disk) && tables.free_on(*disk) > reserve);
        disks.sort_by_key(|disk| (Some(*disk) != prefer, Reverse(tables.free_on(*disk))));
        let slot = first_free(&tables, *disks.first()?)?;
        tables.claim(slot);
        Some(slot)
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
        let body_block = open.next_block as u16;
        let footer = ContainerFooter {
            container: open.container,
            generation: open.generation,
            run_count: open.run_count as u32,
            body_block,
            body_len: open.directories.len() as u64,
            body_hash: *blake3::hash(&open.directories).as_bytes(),
        };
        let key = self.fixed.run_key(&open.salt);
        for slot in open.slots.iter() {
            let disk = self.disk_of(slot);
            if !open.directories.is_empty() {
                let body = AlignedBuf::padded(&open.directories);
                let offset = disk.offset(slot.slot, body_block);
                self.start_write(Rc::clone(&disk), offset, body, None);
            }
            let last = disk.offset(slot.slot, 0) + self.fixed.container_len - BLOCK as u64;
            let block = footer.encode(&key, self.fixed.pool, disk.place(last));
            self.start_write(disk, last, AlignedBuf::padded(&block), None);
        }
    }

    /// Nothing more is put into containers with a copy on this disk.
    pub(super) fn close_containers_on(&self, disk: usize) {
        self.close_containers(|open| open.slots.on(disk).is_some());
    }

    pub(super) fn close_state_containers(&self) {
        self.close_containers(|open| open.purpose == Purpose::State);
    }

    /// Nothing more is put into this container.
    pub(super) fn close_container(&self, container: u32) {
        self.close_containers(|open| open.container == container);
    }

    fn close_containers(&self, which: impl Fn(&Open) -> bool) {
        let closed: Vec<Open> =
            self.space.open.borrow_mut().extract_if(.., |open| which(open)).collect();
        for Open { container, .. } in closed {
            let op = Op::ContainerSealed { container, has_footer: false };
            self.journal.push(op, Effect::None);
        }
    }

    /// Starts a write that nobody awaits by itself: the next journal entry waits for all of them.
    pub(super) fn start_write(
        &self,
        disk: Rc<Disk<D>>,
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
            if disk.write(offset, buf).await.is_err() {
                inner.disk_failed(disk.index);
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

    /// Slots kept back for the pool's own needs, so that checkpoints and deletions always find room:
    /// checkpoints at two places, twice over, or 1 %. The two places are two disks.
    pub(super) fn reserve_per_disk(&self) -> u64 {
        let taking = self.taking_disks();
        let total: u64 = taking.iter().map(|disk| disk.zones.container_count).sum();
        (total / 100).max(8).min(total / 2).div_ceil(taking.len().clamp(1, 2) as u64)
    }

    /// All of them.
    pub(super) fn reserved_slots(&self) -> u64 {
        self.reserve_per_disk() * self.taking_disks().len() as u64
    }

    /// Free slots that data may take.
    pub(super) fn free_for_data(&self, tables: &Tables) -> u64 {
        let reserve = self.reserve_per_disk();
        let disks = self.taking_disks();
        disks.iter().map(|disk| tables.free_on(disk.index).saturating_sub(reserve)).sum()
    }
}

fn first_free(tables: &Tables, disk: usize) -> Option<SlotRef> {
    let slot = *tables.free[disk].as_ref()?.first()?;
    Some(SlotRef { disk: disk as u16, slot })
}
