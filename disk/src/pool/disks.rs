//! The disks of an open pool together: which may be written, where the journal lies, and what it
//! means that one failed.
//!
//! A failed write or flush fences its disk and no other. What was on its way to it and nowhere else
//! is lost and was not acknowledged ([`loss`](super::loss)); the rest goes on. Only when no disk is
//! left to write to, all writing ends.

use std::rc::Rc;

use super::disk::Disk;
use super::{Inner, Work};
use crate::device::Device;
use crate::format::{DiskRow, DiskState, JournalPlace, Place, SlotRef};
use crate::mutants::Mutant;

impl<D: Device, W: Work> Inner<D, W> {
    /// The disk at this position. Positions come from tables that were checked when they were read.
    pub(super) fn disk(&self, index: usize) -> Rc<Disk<D>> {
        Rc::clone(&self.disks.borrow()[index])
    }

    pub(super) fn disk_of(&self, slot: SlotRef) -> Rc<Disk<D>> {
        self.disk(usize::from(slot.disk))
    }

    pub(super) fn disks(&self) -> Vec<Rc<Disk<D>>> {
        self.disks.borrow().clone()
    }

    /// Disks that are written: all that are there and did not fail.
    pub(super) fn written_disks(&self) -> Vec<Rc<Disk<D>>> {
        self.disks.borrow().iter().filter(|disk| disk.is_written()).cloned().collect()
    }

    /// Disks that take new containers.
    pub(super) fn taking_disks(&self) -> Vec<Rc<Disk<D>>> {
        self.disks.borrow().iter().filter(|disk| disk.takes_new()).cloned().collect()
    }

    pub(super) fn disk_rows(&self) -> Vec<DiskRow> {
        self.disks.borrow().iter().map(|disk| disk.row()).collect()
    }

    pub(super) fn place(&self, slot: SlotRef, block: u16) -> Place {
        let disk = self.disk_of(slot);
        disk.place(disk.offset(slot.slot, block))
    }

    /// A write or flush of the disk failed: it is not written again in this opening.
    pub(super) fn disk_failed(&self, index: usize) {
        let disk = self.disk(index);
        if !disk.is_written() {
            return;
        }
        disk.faults.write_errors.set(disk.faults.write_errors.get() + 1);
        disk.state.set(DiskState::Failed);
        disk.left_epoch.set(self.journal.epoch.get());
        self.tables.borrow_mut().close_disk(index);
        self.close_containers_on(index);
        self.journal.root_is_due.set(true);
        if self.written_disks().is_empty() {
            self.journal.fail(disk.id);
        }
        tracing::error!(disk = %disk.id, "a write failed: the disk is not written any more");
        self.space.changed.notify();
    }

    /// Whether both copies of the journal can be written where the newest root says they are.
    pub(super) fn is_journal_whole(&self) -> bool {
        if !self.mutants.keeps(Mutant::JournalMove) {
            return true;
        }
        let places = self.journal.places.get();
        places.iter().all(|place| self.disk(usize::from(place.disk)).is_written())
    }

    /// Where the journal should lie: on two disks, or at both ends of the only one. It stays where
    /// it is as long as that is so.
    pub(super) fn journal_places(&self) -> [JournalPlace; 2] {
        let taking = self.taking_disks();
        let disks = if taking.is_empty() { self.written_disks() } else { taking };
        let current = self.journal.places.get();
        let may = |place: &JournalPlace| disks.iter().any(|disk| disk.index == place.disk.into());
        let kept: Vec<JournalPlace> = current.into_iter().filter(may).collect();
        let on = |disk: usize, zone| JournalPlace { disk: disk as u16, zone };
        let other = |than: u16| disks.iter().find(|disk| disk.index != usize::from(than));
        match (kept.first(), disks.first()) {
            (Some(first), _) => match other(first.disk) {
                None => [on(first.disk.into(), 0), on(first.disk.into(), 1)],
                Some(_) if kept.len() == 2 && kept[0].disk != kept[1].disk => current,
                Some(disk) => [*first, on(disk.index, 0)],
            },
            (None, Some(first)) => match other(first.index as u16) {
                None => [on(first.index, 0), on(first.index, 1)],
                Some(disk) => [on(first.index, 0), on(disk.index, 0)],
            },
            (None, None) => current,
        }
    }

    /// Disk and byte at which a copy of the journal has a position.
    pub(super) fn journal_place(&self, copy: usize, position: u64) -> (Rc<Disk<D>>, u64) {
        let place = self.journal.places.get()[copy];
        let disk = self.disk(usize::from(place.disk));
        let offset = disk.zones.journals()[usize::from(place.zone)];
        (disk, offset + position % self.fixed.journal_len)
    }
}
