//! How much of a write that no flush covered is found after a crash.

use std::sync::Arc;

use super::image::{Block, Image, SECTOR, SECTORS_PER_BLOCK};
use super::rng::Rng;
use super::state::OpId;
use crate::units::BLOCK;

/// A write that was begun and that no flush has covered.
#[derive(Clone, Debug)]
pub(super) struct OpenWrite {
    pub(super) id: OpId,
    pub(super) blocks: Arc<[(u64, Block)]>,
    /// Its place among the writes that have ended; none while it is in flight.
    pub(super) ended: Option<u64>,
    pub(super) failed: bool,
}

impl OpenWrite {
    pub(super) fn sector_count(&self) -> usize {
        self.blocks.len() * SECTORS_PER_BLOCK
    }

    pub(super) fn persist_whole(&self, image: &mut Image) {
        for (index, block) in self.blocks.iter() {
            image.set_block(*index, Arc::clone(block));
        }
    }

    /// Nothing, everything, a beginning, an end or any sectors of it.
    pub(super) fn persist_some(&self, image: &mut Image, rng: &mut Rng) {
        match rng.below(5) {
            0 => {}
            1 => self.persist_whole(image),
            _ => self.persist_torn(image, rng),
        }
    }

    /// A part of the sectors: at least one persists and at least one does not.
    pub(super) fn persist_torn(&self, image: &mut Image, rng: &mut Rng) {
        let count = self.sector_count();
        if count < 2 {
            return;
        }
        let at = 1 + rng.index(count - 1);
        match rng.below(3) {
            0 => self.persist_sectors(image, |sector| sector < at),
            1 => self.persist_sectors(image, |sector| sector >= at),
            _ => {
                // `at` persists and the one before it does not, whatever becomes of the others.
                let mut others = rng.clone();
                rng.next_u64();
                self.persist_sectors(image, |sector| {
                    let heads = others.below(2) == 0;
                    sector == at || (sector + 1 != at && heads)
                });
            }
        }
    }

    fn persist_sectors(&self, image: &mut Image, mut persists: impl FnMut(usize) -> bool) {
        for (place, (index, new)) in self.blocks.iter().enumerate() {
            let mut merged = image.block(*index).map_or([0; BLOCK], |old| **old);
            for sector in 0..SECTORS_PER_BLOCK {
                if persists(place * SECTORS_PER_BLOCK + sector) {
                    let bytes = sector * SECTOR..(sector + 1) * SECTOR;
                    merged[bytes.clone()].copy_from_slice(&new[bytes]);
                }
            }
            image.set_block(*index, Arc::new(merged));
        }
    }
}
