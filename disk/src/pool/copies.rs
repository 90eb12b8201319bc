//! The copies of a container: which of them is read, and what is remembered of a bad one.
//!
//! A read that one copy cannot serve is served by the other, at once; that the first is to be healed
//! is noted for [`heal`](super::heal) and never waited for.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

use super::layout::state_slot;
use super::space::RunKey;
use super::{Inner, Work};
use crate::device::Device;
use crate::error::ReadError;
use crate::format::{DiskState, SlotRef, Slots};
use crate::units::ChunkNumber;

/// Reads under way on a disk, more than on the other, from which on that is asked.
const READS_AHEAD_MAX: u32 = 4;
/// Faults remembered: beyond that the next scrub finds them.
const NOTED_MAX: usize = 4096;

/// Copies that gave a fault: container, disk, and the block of the run.
#[derive(Default)]
pub(super) struct Noted {
    faults: RefCell<BTreeSet<(u32, u16, u16)>>,
    /// The pool's own structures gave one.
    structures: Cell<bool>,
}

impl Noted {
    pub(super) fn note(&self, container: u32, slot: SlotRef, block: u16) {
        let mut faults = self.faults.borrow_mut();
        if faults.len() < NOTED_MAX {
            faults.insert((container, slot.disk, block));
        }
    }

    pub(super) fn note_structures(&self) {
        self.structures.set(true);
    }

    pub(super) fn has_structures(&self) -> bool {
        self.structures.get()
    }

    pub(super) fn forget_structures(&self) {
        self.structures.set(false);
    }

    pub(super) fn has(&self, container: u32, slot: SlotRef) -> bool {
        let from = (container, slot.disk, 0);
        let upto = (container, slot.disk, u16::MAX);
        self.faults.borrow().range(from..=upto).next().is_some()
    }

    pub(super) fn forget(&self, container: u32, disk: u16) {
        self.faults.borrow_mut().retain(|(of, on, _)| (*of, *on) != (container, disk));
    }

    /// Copies with faults: container and disk.
    pub(super) fn copies(&self) -> BTreeSet<(u32, u16)> {
        self.faults.borrow().iter().map(|(container, disk, _)| (*container, *disk)).collect()
    }
}

impl<D: Device, W: Work> Inner<D, W> {
    /// Where the copies of a container lie; none if nobody knows it.
    pub(super) fn slots(&self, container: u32) -> Option<Slots> {
        let slots = match state_slot(container) {
            Some(slot) => Slots::one(slot),
            None => self.tables.borrow().containers.get(&container)?.row.slots,
        };
        let disks = self.disks.borrow();
        let exists = |slot: SlotRef| {
            disks.get(usize::from(slot.disk)).is_some_and(|disk| disk.holds_slot(slot.slot))
        };
        slots.iter().all(exists).then_some(slots)
    }

    /// The copies in the order in which they are asked.
    pub(super) fn read_order(&self, container: u32) -> Vec<SlotRef> {
        let Some(slots) = self.slots(container) else {
            return Vec::new();
        };
        let mut order: Vec<SlotRef> = slots.iter().collect();
        if let [first, second] = order[..] {
            let doubt = |slot: SlotRef| {
                let disk = self.disk_of(slot);
                (!disk.is_there(), self.noted.has(container, slot))
            };
            let (left, right) = (doubt(first), doubt(second));
            let reading = |slot: SlotRef| self.disk_of(slot).reading.get();
            let is_slow = reading(first) > reading(second) + READS_AHEAD_MAX;
            if left > right || left == right && is_slow {
                order.swap(0, 1);
            }
        }
        order
    }

    /// What the first copy gives that can.
    pub(super) async fn ask_copies<T>(
        &self,
        run: RunKey,
        read: impl AsyncFn(SlotRef) -> Result<T, ReadError>,
    ) -> Result<T, ReadError> {
        let mut worst: Option<ReadError> = None;
        for slot in self.read_order(run.0) {
            match read(slot).await {
                Ok(found) => return Ok(found),
                Err(error) => {
                    self.note_fault(run, slot, &error);
                    // Damage says more than a disk that is not there.
                    let says_more = error.is_corruption()
                        && worst.as_ref().is_some_and(|worst| !worst.is_corruption());
                    if worst.is_none() || says_more {
                        worst = Some(error);
                    }
                }
            }
        }
        Err(worst.unwrap_or(ReadError::NoChunk { number: ChunkNumber(0) }))
    }

    /// Counts a fault of a copy and remembers the copy. Missing disks are no news.
    pub(super) fn note_fault(&self, run: RunKey, slot: SlotRef, error: &ReadError) {
        let disk = self.disk_of(slot);
        if !disk.is_there() {
            return;
        }
        // Reads that the device refused were counted where they were.
        if !matches!(error, ReadError::Device { .. }) {
            disk.faults.mismatches.set(disk.faults.mismatches.get() + 1);
        }
        if state_slot(run.0).is_none() {
            self.noted.note(run.0, slot, run.1);
        }
    }

    /// Whether any copy lies on a disk that is there and did not fail: only such chunks need not be
    /// sent again.
    pub(super) fn is_held(&self, container: u32) -> bool {
        let holds = |slot: SlotRef| {
            let disk = self.disk_of(slot);
            disk.is_there() && disk.state.get() != DiskState::Failed
        };
        self.slots(container).is_some_and(|slots| slots.iter().any(holds))
    }
}
