//! The volatile cache of a disk: what is durable, and what no flush has covered yet. Used by the
//! live disk and by the replay of its history, so that both mean the same by "durable".

use std::sync::Arc;

use super::image::{Block, Image};
use super::persist::OpenWrite;
use super::rng::Rng;
use super::state::OpId;

/// Disks that break the contract. A test that still passes on one of these tests nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceMutant {
    /// Keeps its word.
    #[default]
    None,
    /// Says that a flush went well and makes nothing durable.
    IgnoresFlush,
    /// Leaves some of the writes before a flush to after it.
    ReordersAcrossFlush,
    /// Makes only some sectors of a flushed write durable.
    Tears,
}

#[derive(Clone, Debug)]
pub(super) struct Cache {
    pub(super) durable: Image,
    /// Begun and not covered by a flush, in the order they began.
    pub(super) open: Vec<OpenWrite>,
    /// Flushes in flight, with the number of writes that had ended when they began.
    flushes: Vec<(OpId, u64)>,
    ended: u64,
    pub(super) mutant: DeviceMutant,
}

impl Cache {
    pub(super) fn new(mut image: Image) -> Self {
        image.freeze();
        Self {
            durable: image,
            open: Vec::new(),
            flushes: Vec::new(),
            ended: 0,
            mutant: DeviceMutant::None,
        }
    }

    pub(super) fn begin_write(&mut self, id: OpId, blocks: Arc<[(u64, Block)]>) {
        self.forget_failed(&blocks);
        self.open.push(OpenWrite { id, blocks, ended: None, failed: false });
    }

    /// Where a write failed, a later one decides: no drive keeps the older bytes of a block back and
    /// puts them over newer ones.
    fn forget_failed(&mut self, newer: &[(u64, Block)]) {
        for write in self.open.iter_mut().filter(|write| write.failed) {
            let older = |index: &u64| newer.iter().all(|(other, _)| other != index);
            if write.blocks.iter().any(|(index, _)| !older(index)) {
                let left = write.blocks.iter().filter(|(index, _)| older(index));
                write.blocks = left.cloned().collect();
            }
        }
    }

    /// The write failed: what of it persists is open until its blocks are written again.
    pub(super) fn fail_write(&mut self, id: OpId) {
        if let Some(write) = self.open.iter_mut().find(|write| write.id == id) {
            write.failed = true;
        }
    }

    /// From now on a flush covers it. A write that failed never ends.
    pub(super) fn end_write(&mut self, id: OpId) {
        if let Some(write) = self.open.iter_mut().find(|write| write.id == id) {
            write.ended = Some(self.ended);
            self.ended += 1;
        }
    }

    /// The write never reaches the medium.
    pub(super) fn lose_write(&mut self, id: OpId) {
        self.open.retain(|write| write.id != id);
    }

    pub(super) fn begin_flush(&mut self, id: OpId) {
        self.flushes.push((id, self.ended));
    }

    pub(super) fn end_flush(&mut self, id: OpId, rng: &mut Rng) {
        for write in self.take_covered(id) {
            match self.mutant {
                DeviceMutant::None => write.persist_whole(&mut self.durable),
                DeviceMutant::IgnoresFlush => self.open.push(write),
                DeviceMutant::ReordersAcrossFlush if rng.below(2) == 0 => self.open.push(write),
                DeviceMutant::ReordersAcrossFlush => write.persist_whole(&mut self.durable),
                DeviceMutant::Tears if rng.below(2) == 0 => {
                    write.persist_torn(&mut self.durable, rng);
                }
                DeviceMutant::Tears => write.persist_whole(&mut self.durable),
            }
        }
    }

    /// The flush failed. As Linux does it, each write it covered is either durable or forgotten, and
    /// a later flush would not know. Gives back the forgotten ones.
    pub(super) fn fail_flush(
        &mut self,
        id: OpId,
        mut forgets: impl FnMut(OpId) -> bool,
    ) -> Vec<OpId> {
        let mut forgotten = Vec::new();
        for write in self.take_covered(id) {
            if forgets(write.id) {
                forgotten.push(write.id);
            } else {
                write.persist_whole(&mut self.durable);
            }
        }
        forgotten
    }

    /// In the order they ended.
    fn take_covered(&mut self, id: OpId) -> Vec<OpenWrite> {
        let Some(at) = self.flushes.iter().position(|(flush, _)| *flush == id) else {
            return Vec::new();
        };
        let (_, covers) = self.flushes.remove(at);
        let mut covered: Vec<OpenWrite> = self
            .open
            .extract_if(.., |write| write.ended.is_some_and(|ended| ended < covers))
            .collect();
        covered.sort_by_key(|write| write.ended);
        covered
    }

    /// The power goes: what is left is durable now.
    pub(super) fn crash(&mut self, rng: &mut Rng) {
        self.flushes.clear();
        let mut open = std::mem::take(&mut self.open);
        rng.shuffle(&mut open);
        for write in &open {
            write.persist_some(&mut self.durable, rng);
        }
        self.durable.freeze();
    }
}
