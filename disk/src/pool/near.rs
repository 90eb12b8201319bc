//! Ids beside those that were found on the disks lately. A stream that brings known chunks brings
//! them in the order they were stored in: what its first one led to leads to the others.

use std::collections::BTreeMap;

use keelhold_chunk::ChunkId;

use crate::format::Directory;
use crate::units::ChunkNumber;

/// Neighbours kept of one find: those behind it and a few before.
const BEHIND: usize = 1024;
const BEFORE: usize = 16;
/// When so many came, those before them go.
const COUNT: usize = 16 << 10;

/// By the first bytes of the id: whoever asks compares all of it.
#[derive(Default)]
pub(super) struct Near {
    newer: BTreeMap<u64, ChunkNumber>,
    older: BTreeMap<u64, ChunkNumber>,
}

impl Near {
    pub(super) fn find(&self, id: &ChunkId) -> Option<ChunkNumber> {
        let first = first_bytes(id);
        self.newer.get(&first).or_else(|| self.older.get(&first)).copied()
    }

    /// The chunk `number` of this run was found.
    pub(super) fn keep(&mut self, directory: &Directory, number: ChunkNumber) {
        let at = directory.chunks.iter().position(|chunk| chunk.number == number);
        let from = at.unwrap_or_default().saturating_sub(BEFORE);
        for chunk in directory.chunks.iter().skip(from).take(BEFORE + BEHIND) {
            self.newer.insert(first_bytes(&chunk.id), chunk.number);
        }
        if self.newer.len() >= COUNT {
            self.older = std::mem::take(&mut self.newer);
        }
    }

    /// Nodes of the maps cannot be asked for: counted as half full, the emptiest they get.
    pub(super) fn bytes_used(&self) -> u64 {
        let entry = size_of::<u64>() + size_of::<ChunkNumber>();
        (2 * entry * (self.newer.len() + self.older.len())) as u64
    }
}

fn first_bytes(id: &ChunkId) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&id.as_bytes()[..8]);
    u64::from_le_bytes(first)
}
