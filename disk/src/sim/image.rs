//! The content of a disk, shared as far as it is the same: a clone costs what differs from its base,
//! so ten thousand images of one history fit in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::buffer::AlignedBuf;
use crate::units::{BLOCK, BLOCK_U64};

/// The unit in which a write may be torn: what every drive promises at least.
pub const SECTOR: usize = 512;
pub(super) const SECTORS_PER_BLOCK: usize = BLOCK / SECTOR;

pub(super) type Block = Arc<[u8; BLOCK]>;

/// Bytes of one disk. What was never written is zero.
#[derive(Clone, Debug)]
pub struct Image {
    len: u64,
    base: Arc<BTreeMap<u64, Block>>,
    top: BTreeMap<u64, Block>,
}

impl Image {
    /// A disk of zeroes.
    ///
    /// # Panics
    /// If `len` is not a multiple of the block.
    #[must_use]
    pub fn empty(len: u64) -> Self {
        assert!(len.is_multiple_of(BLOCK_U64), "{len} is not a whole number of blocks");
        Self { len, base: Arc::default(), top: BTreeMap::new() }
    }

    #[must_use]
    pub fn size(&self) -> u64 {
        self.len
    }

    /// Makes the present content the shared base of later clones.
    pub fn freeze(&mut self) {
        if !self.top.is_empty() {
            Arc::make_mut(&mut self.base).append(&mut self.top);
        }
    }

    pub(super) fn block(&self, index: u64) -> Option<&Block> {
        self.top.get(&index).or_else(|| self.base.get(&index))
    }

    pub(super) fn set_block(&mut self, index: u64, block: Block) {
        self.top.insert(index, block);
    }

    /// Fills `out` from `offset`; both whole blocks inside the disk.
    pub fn read(&self, offset: u64, out: &mut [u8]) {
        for (index, part) in (offset / BLOCK_U64..).zip(out.chunks_exact_mut(BLOCK)) {
            match self.block(index) {
                Some(block) => part.copy_from_slice(block.as_slice()),
                None => part.fill(0),
            }
        }
    }

    /// Puts `bytes`, whole blocks, at `offset`.
    pub fn write(&mut self, offset: u64, bytes: &[u8]) {
        for (index, block) in blocks_of(offset, bytes) {
            self.set_block(index, block);
        }
    }

    /// Changes bytes at any place, as damage does.
    pub fn damage(&mut self, offset: u64, change: impl FnOnce(&mut u8)) {
        let index = offset / BLOCK_U64;
        let mut block = self.block(index).map_or([0; BLOCK], |block| **block);
        change(&mut block[usize::try_from(offset % BLOCK_U64).unwrap_or(0)]);
        self.set_block(index, Arc::new(block));
    }

    /// Indexes of the blocks that were ever written, in order.
    pub fn written_blocks(&self) -> impl Iterator<Item = u64> {
        let mut indexes: Vec<u64> = self.base.keys().chain(self.top.keys()).copied().collect();
        indexes.sort_unstable();
        indexes.dedup();
        indexes.into_iter()
    }

    /// Everything as one buffer. For small disks.
    #[must_use]
    pub fn to_buf(&self) -> AlignedBuf {
        let mut buf = AlignedBuf::zeroed(usize::try_from(self.len).unwrap_or(0));
        self.read(0, &mut buf);
        buf
    }
}

pub(super) fn blocks_of(offset: u64, bytes: &[u8]) -> impl Iterator<Item = (u64, Block)> {
    let (blocks, _) = bytes.as_chunks::<BLOCK>();
    (offset / BLOCK_U64..).zip(blocks.iter().map(|block| Arc::new(*block)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_do_not_see_each_other() {
        let mut first = Image::empty(4 * BLOCK_U64);
        first.write(BLOCK_U64, &[1; BLOCK]);
        first.freeze();
        let mut second = first.clone();
        second.damage(BLOCK_U64 + 5, |byte| *byte ^= 3);
        let mut block = [0; BLOCK];
        second.read(BLOCK_U64, &mut block);
        assert_eq!((block[4], block[5]), (1, 2));
        first.read(BLOCK_U64, &mut block);
        assert_eq!(block[5], 1);
        assert_eq!(second.written_blocks().collect::<Vec<_>>(), [1]);
        assert!(first.to_buf()[..BLOCK].iter().all(|byte| *byte == 0));
    }
}
