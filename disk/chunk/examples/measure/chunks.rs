//! Cutting and deduplication, as the pool does it: a chunk is kept the first time its id is seen.

use std::collections::HashSet;

use keelhold_chunk::cut::Cutter;
use keelhold_chunk::{ChunkId, IdKey};

use super::tree::File;

/// Ids seen so far.
pub struct Chunks {
    key: IdKey,
    seen: HashSet<ChunkId>,
}

impl Default for Chunks {
    fn default() -> Self {
        Self { key: IdKey::new([2; 32]), seen: HashSet::new() }
    }
}

impl Chunks {
    /// The chunks of all files that were not there before, in order.
    pub fn add<'a>(
        &mut self,
        files: impl IntoIterator<Item = &'a File>,
        cutter: &Cutter,
    ) -> Vec<&'a [u8]> {
        let mut new = Vec::new();
        for file in files {
            let mut left = file.content.as_slice();
            while let Some(len) = cutter.cut(left, true) {
                let (chunk, rest) = left.split_at(len);
                left = rest;
                if self.is_new(chunk) {
                    new.push(chunk);
                }
            }
        }
        new
    }

    pub fn is_new(&mut self, chunk: &[u8]) -> bool {
        self.seen.insert(self.key.id(chunk))
    }
}
