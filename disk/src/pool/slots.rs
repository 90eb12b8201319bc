//! Slots in the tables: which are free, which hold a copy of what, and which wait to be free.

use super::layout::data_number;
use super::tables::Tables;
use crate::format::{Released, SlotRef, Slots};

impl Tables {
    /// Takes a slot. False if it was not free, where free slots are known at all.
    pub(super) fn claim(&mut self, slot: SlotRef) -> bool {
        match self.free.get_mut(usize::from(slot.disk)) {
            Some(Some(free)) => free.remove(&slot.slot),
            Some(None) => true,
            None => false,
        }
    }

    /// Gives a slot back that nothing durable refers to.
    pub(super) fn give_back(&mut self, slot: SlotRef) {
        if let Some(Some(free)) = self.free.get_mut(usize::from(slot.disk)) {
            free.insert(slot.slot);
        }
    }

    /// Nothing new is put on the disk from now on.
    pub(super) fn close_disk(&mut self, disk: usize) {
        self.free[disk] = None;
    }

    pub(super) fn free_on(&self, disk: usize) -> u64 {
        self.free[disk].as_ref().map_or(0, |free| free.len() as u64)
    }

    /// A number for a new data container: one that no container has.
    pub(super) fn new_container(&self, generation: u64) -> u32 {
        let mut generation = generation;
        while self.containers.contains_key(&data_number(generation)) {
            generation += 1;
        }
        data_number(generation)
    }

    /// The container is gone, and its slots are free.
    pub(super) fn forget_container(&mut self, container: u32) {
        if let Some(gone) = self.containers.remove(&container) {
            gone.row.slots.iter().for_each(|slot| self.give_back(slot));
        }
    }

    /// The container's copies lie elsewhere. What they leave is free when two checkpoints have not
    /// needed it.
    pub(super) fn set_slots(&mut self, container: u32, slots: Slots) {
        let Some(found) = self.containers.get_mut(&container) else {
            // Freed before the entry was written: whoever made the copy sees it.
            return;
        };
        let old = std::mem::replace(&mut found.row.slots, slots);
        let left = old.iter().filter(|slot| slots.iter().all(|new| new != *slot));
        self.released.extend(left.map(|slot| Released { slot, freed_at: 0 }));
        for slot in slots.iter() {
            let _ = self.claim(slot);
        }
    }

    /// What a checkpoint of this sequence leaves unneeded: slots that are free once it is durable.
    pub(super) fn free_released(&mut self, sequence: u64) -> Vec<SlotRef> {
        let mut freed = Vec::new();
        for released in &mut self.released {
            if released.freed_at == 0 {
                released.freed_at = sequence;
            } else if released.freed_at < sequence {
                freed.push(released.slot);
            }
        }
        freed
    }
}
