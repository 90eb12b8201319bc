//! The index as part of the tables: every change of it keeps the shares of the containers right.

use roaring::RoaringTreemap;

use super::{Shares, Tables};
use crate::format::RunRow;
use crate::index::segment::{Change, Entry, SegmentReader};
use crate::index::{Index, Slot};
use crate::units::ChunkNumber;

impl Tables {
    /// Puts the chunks of a run into the index.
    pub(in crate::pool) fn index_run(&mut self, entries: &[Entry]) {
        for entry in entries {
            if let Change::Stored { place, stored_len } = entry.change {
                let slot = Slot { place, stored_len, sources: 0 };
                if self.index.insert(entry.number, entry.fingerprint, slot).is_ok() {
                    let len = self.index.kept_len(stored_len);
                    self.shares(place.container, |shares| shares.take(len));
                } else if self.lost.contains(entry.number.0) {
                    // Somebody sent what was lost: it is here from now on.
                    self.relocate(entry, slot);
                }
            }
        }
    }

    /// The chunk is here, wherever it was before.
    pub(in crate::pool) fn replace(&mut self, entry: &Entry) {
        if let Change::Stored { place, stored_len } = entry.change {
            let slot = Slot { place, stored_len, sources: 0 };
            if self.index.insert(entry.number, entry.fingerprint, slot).is_err() {
                let moved = self.index.set_stored(entry.number, place, stored_len);
                assert!(moved.is_ok(), "chunk {} has a slot", entry.number);
            }
            self.unsaved.push(*entry);
        }
    }

    /// An index without a chunk.
    pub(in crate::pool) fn clear_index(&mut self, secret: [u8; 32], expected: u64) {
        self.index = Index::for_chunks(secret, expected);
    }

    /// A run of new chunks is durable.
    pub(super) fn take_run(&mut self, row: &RunRow, entries: Vec<Entry>) {
        self.note_stored(row, &entries);
        let numbers = entries.iter().map(|entry| entry.number.0);
        if !self.lost.is_empty() {
            numbers.clone().for_each(|number| {
                self.lost.remove(number);
            });
        }
        match self.sessions.get_mut(&row.session) {
            Some(session) => session.numbers.extend(numbers),
            // Its session ended before its last run was written.
            None => {
                let numbers = numbers.collect();
                self.suspect(&numbers);
            }
        }
        self.unsaved.extend(entries);
    }

    /// A run of moved chunks is durable: those that are still in the index are there now.
    pub(super) fn move_chunks(&mut self, row: &RunRow, entries: Vec<Entry>) {
        self.note_stored(row, &entries);
        self.sharing += 1;
        for entry in entries {
            let Change::Stored { place, stored_len } = entry.change else {
                continue;
            };
            if self.relocate(&entry, Slot { place, stored_len, sources: 0 }) {
                self.unsaved.push(entry);
            }
        }
    }

    /// Gives a chunk another place, if the index has it.
    fn relocate(&mut self, entry: &Entry, to: Slot) -> bool {
        let Some(old) = self.index.slot(entry.number) else {
            return false;
        };
        let dead = self.dead.contains(entry.number.0);
        self.shares(old.place.container, |shares| shares.give(old.stored_len, dead));
        let moved = self.index.set_stored(entry.number, to.place, to.stored_len);
        assert!(moved.is_ok(), "chunk {} has a slot", entry.number);
        let len = self.index.kept_len(to.stored_len);
        self.shares(to.place.container, |shares| {
            shares.take(len);
            shares.die(len, dead);
        });
        true
    }

    fn note_stored(&mut self, row: &RunRow, entries: &[Entry]) {
        let stored = |entry: &Entry| match entry.change {
            Change::Stored { stored_len, .. } => u64::from(stored_len),
            Change::Gone => 0,
        };
        if let Some(container) = self.containers.get_mut(&row.run.container) {
            container.row.stored_len += entries.iter().map(stored).sum::<u64>();
        }
    }

    /// Takes chunks out of the index; those it does not have are no error.
    pub(in crate::pool) fn drop_chunks(&mut self, entries: &[Entry]) {
        for entry in entries {
            let number = entry.number;
            if let Ok(slot) = self.index.remove(number, entry.fingerprint) {
                let dead = self.dead.remove(number.0);
                self.suspects.remove(number.0);
                self.lost.remove(number.0);
                self.shares(slot.place.container, |shares| shares.give(slot.stored_len, dead));
            }
        }
    }

    pub(super) fn drop_segment(&mut self, segment: &[u8]) {
        let entries: Result<Vec<Entry>, _> =
            SegmentReader::new(segment).and_then(Iterator::collect);
        // Written by this program and checksummed; what cannot be read stays in the index, where it
        // takes room and harms nobody.
        let entries = entries.unwrap_or_default();
        self.drop_chunks(&entries);
        self.unsaved.extend(entries);
    }

    /// These numbers lost somebody who needed them: the next reclaim looks whether anybody is left.
    pub(super) fn suspect(&mut self, numbers: &RoaringTreemap) {
        let fresh = numbers - &self.suspects;
        for number in &fresh {
            if let Some(slot) = self.index.slot(ChunkNumber(number))
                && slot.sources == 0
            {
                self.expected_len += u64::from(slot.stored_len);
            }
        }
        self.suspects |= fresh;
    }

    /// Makes `dead` what is dead now.
    pub(in crate::pool) fn set_dead(&mut self, dead: RoaringTreemap) {
        let revived = &self.dead - &dead;
        let died = &dead - &self.dead;
        for (numbers, dies) in [(died, true), (revived, false)] {
            for number in &numbers {
                let Some(slot) = self.index.slot(ChunkNumber(number)) else {
                    continue;
                };
                self.shares(slot.place.container, |shares| match dies {
                    true => shares.die(slot.stored_len, true),
                    false => shares.revive(slot.stored_len),
                });
            }
        }
        self.dead = dead;
    }

    /// Stored bytes of everything known to be dead.
    pub(in crate::pool) fn dead_len(&self) -> u64 {
        self.containers.values().map(|container| container.shares.dead_len).sum()
    }

    /// Makes the shares of all containers anew, from the index alone.
    pub(in crate::pool) fn count_shares(&mut self) {
        self.containers.values_mut().for_each(|container| container.shares = Shares::default());
        for (_, slot) in self.index.iter() {
            if let Some(container) = self.containers.get_mut(&slot.place.container) {
                container.shares.take(slot.stored_len);
            }
        }
    }

    fn shares(&mut self, container: u32, change: impl FnOnce(&mut Shares)) {
        if let Some(container) = self.containers.get_mut(&container) {
            change(&mut container.shares);
        }
    }
}

impl Shares {
    fn take(&mut self, len: u32) {
        self.indexed += 1;
        self.indexed_len += u64::from(len);
    }

    fn give(&mut self, len: u32, dead: bool) {
        self.indexed -= 1;
        self.indexed_len -= u64::from(len);
        if dead {
            self.revive(len);
        }
    }

    fn die(&mut self, len: u32, dead: bool) {
        self.dead += u64::from(dead);
        self.dead_len += if dead { u64::from(len) } else { 0 };
    }

    fn revive(&mut self, len: u32) {
        self.dead -= 1;
        self.dead_len -= u64::from(len);
    }

    /// Shares that somebody needs.
    pub(in crate::pool) fn live_len(&self) -> u64 {
        self.indexed_len - self.dead_len
    }
}
