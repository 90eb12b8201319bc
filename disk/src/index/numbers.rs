//! The way from number to slot: blocks of 4,096 numbers, those with a live chunk only.

use std::collections::BTreeMap;
use std::ops::Range;

use super::block::{Block, NUMBERS};
use super::granule::Granules;
use super::slot::Slot;
use crate::units::ChunkNumber;

#[derive(Default)]
pub(super) struct Numbers {
    blocks: BTreeMap<u32, Block>,
    granules: Granules,
    len: u64,
    /// Sum over the blocks, kept by whoever changes one.
    block_bytes: usize,
}

impl Numbers {
    pub fn len(&self) -> u64 {
        self.len
    }

    pub fn slot(&self, number: ChunkNumber) -> Option<Slot> {
        let (block, offset) = split(number)?;
        self.blocks.get(&block)?.get(&self.granules, offset)
    }

    /// Whether the number was free. It must be below [`ChunkNumber::LIMIT`].
    pub fn insert(&mut self, number: ChunkNumber, slot: Slot) -> bool {
        let Some((at, offset)) = split(number) else {
            unreachable!("number {number} is beyond the limit")
        };
        let block = self.blocks.entry(at).or_default();
        let before = block.bytes_used();
        let new = block.insert(&mut self.granules, at, offset, slot);
        block.settle(&mut self.granules);
        self.block_bytes = self.block_bytes + block.bytes_used() - before;
        self.len += u64::from(new);
        self.take_empty(at);
        new
    }

    /// Whether the number was live.
    pub fn remove(&mut self, number: ChunkNumber) -> bool {
        let Some((at, offset)) = split(number) else {
            return false;
        };
        let Some(block) = self.blocks.get_mut(&at) else {
            return false;
        };
        if !block.remove(&mut self.granules, offset) {
            return false;
        }
        block.settle(&mut self.granules);
        self.len -= 1;
        self.take_empty(at);
        true
    }

    /// Gives back, one after another, the granules of a block in which nothing lives: each may move
    /// another granule of the same block.
    fn take_empty(&mut self, at: u32) {
        while let Some(block) = self.blocks.get_mut(&at) {
            let before = block.bytes_used();
            let Some(granule) = block.take_empty() else {
                return;
            };
            let after = if block.is_empty() { 0 } else { block.bytes_used() };
            self.block_bytes = self.block_bytes + after - before;
            if block.is_empty() {
                self.blocks.remove(&at);
            }
            let Some(moved) = self.granules.give_back(granule) else {
                continue;
            };
            let owner = self.blocks.get_mut(&moved.owner);
            assert!(owner.is_some(), "a granule of block {} without that block", moved.owner);
            owner.into_iter().for_each(|owner| owner.granule_moved(moved));
        }
    }

    /// Whether the number is live.
    pub fn change(&mut self, number: ChunkNumber, change: impl FnOnce(&mut Slot)) -> bool {
        let Some((at, offset)) = split(number) else {
            return false;
        };
        let Some(block) = self.blocks.get_mut(&at) else {
            return false;
        };
        block.change(&mut self.granules, offset, change)
    }

    pub fn change_all(&mut self, mut change: impl FnMut(&mut Slot)) {
        for block in self.blocks.values() {
            block.change_all(&mut self.granules, &mut change);
        }
    }

    pub fn range(
        &self,
        numbers: Range<ChunkNumber>,
    ) -> impl Iterator<Item = (ChunkNumber, Slot)> + '_ {
        let Range { start: ChunkNumber(start), end: ChunkNumber(end) } = numbers;
        // Beyond the limit there are no blocks: a bound that far out is as good as the limit.
        let start = start.min(ChunkNumber::LIMIT - 1);
        let first = (start / NUMBERS) as u32;
        let within = (start % NUMBERS) as u16;
        self.blocks
            .range(first..)
            .flat_map(move |(at, block)| {
                let base = u64::from(*at) * NUMBERS;
                let from = if *at == first { within } else { 0 };
                block
                    .iter_from(&self.granules, from)
                    .map(move |(offset, slot)| (base + u64::from(offset), slot))
            })
            .take_while(move |(number, _)| *number < end)
            .map(|(number, slot)| (ChunkNumber(number), slot))
    }

    /// The map's own nodes cannot be asked for: counted as half full, the emptiest they get.
    pub fn bytes_used(&self) -> usize {
        let entry = size_of::<u32>() + size_of::<Block>() + size_of::<usize>();
        self.granules.bytes_used() + self.block_bytes + self.blocks.len() * entry * 2
    }
}

#[cfg(test)]
impl Numbers {
    /// Bytes as the map itself sees them, to compare with the sum that is kept.
    pub fn check(&self) {
        let bytes: usize = self.blocks.values().map(Block::bytes_used).sum();
        assert_eq!(bytes, self.block_bytes);
        assert!(self.blocks.values().all(|block| !block.is_empty()));
    }
}

/// Block and offset in it; `None` beyond the numbers there are.
fn split(number: ChunkNumber) -> Option<(u32, u16)> {
    (number.0 < ChunkNumber::LIMIT)
        .then_some(((number.0 / NUMBERS) as u32, (number.0 % NUMBERS) as u16))
}

const _: () = assert!(ChunkNumber::LIMIT / NUMBERS <= 1 << u32::BITS);
