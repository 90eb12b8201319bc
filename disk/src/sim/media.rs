//! What one simulated disk holds, and what each operation does to it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use nix::errno::Errno;

use super::cache::Cache;
use super::fault::Fault;
use super::history::Event;
use super::image::{Block, Image, blocks_of};
use super::rng::Rng;
use super::state::OpId;
use crate::buffer::AlignedBuf;
use crate::device::{CounterCells, DeviceFault, DeviceOp};
use crate::units::{BLOCK, BLOCK_U64};

/// An operation as the world keeps it while it is in flight.
pub(super) enum Request {
    Read { offset: u64, buf: AlignedBuf },
    Write { offset: u64, buf: AlignedBuf },
    Flush,
    Discard { offset: u64, len: u64 },
}

impl Request {
    pub(super) fn op(&self) -> DeviceOp {
        match self {
            Self::Read { .. } => DeviceOp::Read,
            Self::Write { .. } => DeviceOp::Write,
            Self::Flush => DeviceOp::Flush,
            Self::Discard { .. } => DeviceOp::Discard,
        }
    }

    pub(super) fn bytes(&self) -> Range<u64> {
        match self {
            Self::Read { offset, buf } | Self::Write { offset, buf } => {
                *offset..*offset + buf.len() as u64
            }
            Self::Flush => 0..0,
            Self::Discard { offset, len } => *offset..*offset + *len,
        }
    }

    pub(super) fn into_buf(self) -> Option<AlignedBuf> {
        match self {
            Self::Read { buf, .. } | Self::Write { buf, .. } => Some(buf),
            Self::Flush | Self::Discard { .. } => None,
        }
    }
}

pub(super) struct Media {
    /// Counts crashes: handles of an earlier one are dead.
    pub(super) generation: u64,
    /// What readers see.
    pub(super) live: Image,
    pub(super) cache: Cache,
    pub(super) counters: CounterCells,
    gone: bool,
    /// So many times as long as usual every operation takes.
    pub(super) slowness: u64,
    /// Blocks that cannot be read.
    bad: BTreeSet<u64>,
    /// Each block as it was before its last write; none if it was never written.
    before: BTreeMap<u64, Option<Block>>,
}

/// What the world needs to know of the end of an operation.
pub(super) struct Ended {
    pub(super) result: Result<(), DeviceFault>,
    /// The fault that took effect.
    pub(super) struck: Option<Fault>,
    pub(super) event: Option<Event>,
}

impl Ended {
    fn well(event: Option<Event>) -> Self {
        Self { result: Ok(()), struck: None, event }
    }

    fn badly(fault: DeviceFault, struck: Option<Fault>, event: Option<Event>) -> Self {
        Self { result: Err(fault), struck, event }
    }
}

impl Media {
    pub(super) fn new(image: Image) -> Self {
        let cache = Cache::new(image);
        Self {
            generation: 0,
            live: cache.durable.clone(),
            cache,
            counters: CounterCells::default(),
            gone: false,
            slowness: 1,
            bad: BTreeSet::new(),
            before: BTreeMap::new(),
        }
    }

    pub(super) fn begin(
        &mut self,
        id: OpId,
        request: &Request,
        fault: Option<Fault>,
        rng: &mut Rng,
    ) -> Option<Event> {
        match request {
            Request::Read { buf, .. } => self.counters.read(buf.len() as u64),
            Request::Discard { .. } => self.counters.discard(),
            Request::Flush => {
                self.counters.flush();
                self.cache.begin_flush(id);
                return Some(Event::FlushBegun { id });
            }
            Request::Write { offset, buf } => {
                self.counters.write(buf.len() as u64);
                let place = match fault {
                    Some(Fault::MisdirectedWrite) => self.elsewhere(*offset, buf.len() as u64, rng),
                    _ => *offset,
                };
                let blocks: Arc<[_]> = blocks_of(place, buf).collect();
                self.cache.begin_write(id, Arc::clone(&blocks));
                return Some(Event::WriteBegun { id, blocks });
            }
        }
        None
    }

    /// Another place where a write of this length fits.
    fn elsewhere(&self, offset: u64, len: u64, rng: &mut Rng) -> u64 {
        let places = (self.live.size() - len) / BLOCK_U64;
        if places == 0 {
            return offset;
        }
        let own = offset / BLOCK_U64;
        let other = rng.below(places);
        BLOCK_U64 * if other >= own { other + 1 } else { other }
    }

    pub(super) fn end(
        &mut self,
        id: OpId,
        request: &mut Request,
        fault: Option<Fault>,
        rng: &mut Rng,
    ) -> Ended {
        if fault == Some(Fault::Vanish) {
            self.gone = true;
        }
        if self.gone {
            return Ended::badly(DeviceFault::Gone, fault, None);
        }
        match request {
            Request::Read { offset, buf } => self.end_read(*offset, buf, fault, rng),
            Request::Write { .. } => self.end_write(id, fault, rng),
            Request::Flush => self.end_flush(id, fault, rng),
            Request::Discard { .. } => match fault {
                Some(Fault::Error(errno)) => Ended::badly(DeviceFault::Os(errno), fault, None),
                _ => Ended::well(None),
            },
        }
    }

    fn end_read(
        &mut self,
        offset: u64,
        buf: &mut AlignedBuf,
        fault: Option<Fault>,
        rng: &mut Rng,
    ) -> Ended {
        let blocks = offset / BLOCK_U64..(offset + buf.len() as u64) / BLOCK_U64;
        let mut struck = fault;
        let mut event = None;
        if !buf.is_empty() {
            let victim = blocks.start + rng.below(blocks.end - blocks.start);
            match fault {
                Some(Fault::Error(errno)) => {
                    rng.fill(&mut buf[..BLOCK]);
                    return Ended::badly(DeviceFault::Os(errno), fault, None);
                }
                Some(Fault::Short) => {
                    let done = (victim - blocks.start) * BLOCK_U64;
                    let part = usize::try_from(done).unwrap_or(0);
                    self.live.read(offset, &mut buf[..part]);
                    return Ended::badly(DeviceFault::Short { done }, fault, None);
                }
                Some(Fault::LatentSector) => drop(self.bad.insert(victim)),
                Some(Fault::BitRot) => event = Some(self.rot(victim, rng)),
                _ => {}
            }
            self.live.read(offset, buf);
            if fault == Some(Fault::StaleRead) {
                let stale: Vec<u64> =
                    self.before.range(blocks.clone()).map(|(index, _)| *index).collect();
                if stale.is_empty() {
                    struck = None;
                } else {
                    self.read_before(offset, stale[rng.index(stale.len())], buf);
                }
            }
        }
        if self.bad.range(blocks).next().is_some() {
            return Ended::badly(DeviceFault::Os(Errno::EIO), struck, event);
        }
        Ended { result: Ok(()), struck, event }
    }

    fn read_before(&self, offset: u64, index: u64, buf: &mut AlignedBuf) {
        let at = usize::try_from(index * BLOCK_U64 - offset).unwrap_or(0);
        match self.before.get(&index) {
            Some(Some(block)) => buf[at..at + BLOCK].copy_from_slice(block.as_slice()),
            _ => buf[at..at + BLOCK].fill(0),
        }
    }

    /// One bit of a block turns over, durably.
    fn rot(&mut self, index: u64, rng: &mut Rng) -> Event {
        let mut block = self.live.block(index).map_or([0; BLOCK], |block| **block);
        block[rng.index(BLOCK)] ^= 1 << rng.below(8);
        self.place(index, Arc::new(block))
    }

    fn place(&mut self, index: u64, block: Block) -> Event {
        self.live.set_block(index, Arc::clone(&block));
        self.cache.durable.set_block(index, Arc::clone(&block));
        Event::Altered { index, block }
    }

    fn end_write(&mut self, id: OpId, fault: Option<Fault>, rng: &mut Rng) -> Ended {
        let Some(write) = self.cache.open.iter().find(|write| write.id == id).cloned() else {
            return Ended::well(None);
        };
        match fault {
            Some(Fault::LostWrite) => {
                self.cache.lose_write(id);
                return Ended {
                    result: Ok(()),
                    struck: fault,
                    event: Some(Event::WriteLost { id }),
                };
            }
            Some(Fault::Error(errno)) => {
                write.persist_some(&mut self.live, rng);
                self.cache.fail_write(id);
                return Ended::badly(DeviceFault::Os(errno), fault, None);
            }
            Some(Fault::Short) => {
                let done = rng.index(write.blocks.len().max(1));
                for (index, block) in &write.blocks[..done] {
                    self.live.set_block(*index, Arc::clone(block));
                }
                self.cache.fail_write(id);
                let done = done as u64 * BLOCK_U64;
                return Ended::badly(DeviceFault::Short { done }, fault, None);
            }
            _ => {}
        }
        for (index, block) in write.blocks.iter() {
            self.before.insert(*index, self.live.block(*index).cloned());
            self.bad.remove(index);
            self.live.set_block(*index, Arc::clone(block));
        }
        self.cache.end_write(id);
        Ended { result: Ok(()), struck: fault, event: Some(Event::WriteEnded { id }) }
    }

    fn end_flush(&mut self, id: OpId, fault: Option<Fault>, rng: &mut Rng) -> Ended {
        if let Some(Fault::Error(errno)) = fault {
            let forgotten = self.cache.fail_flush(id, |_| rng.below(2) == 0);
            let event = Event::FlushFailed { id, forgotten };
            return Ended::badly(DeviceFault::Os(errno), fault, Some(event));
        }
        self.cache.end_flush(id, rng);
        Ended::well(Some(Event::FlushEnded { id }))
    }

    pub(super) fn crash(&mut self, rng: &mut Rng) {
        self.generation += 1;
        self.cache.crash(rng);
        self.live = self.cache.durable.clone();
        self.before.clear();
    }

    /// Changes the content from outside, durably.
    pub(super) fn alter(&mut self, change: impl FnOnce(&mut Image)) -> Vec<Event> {
        let mut changed = self.live.clone();
        change(&mut changed);
        let differs: Vec<(u64, Block)> = changed
            .written_blocks()
            .filter_map(|index| Some((index, Arc::clone(changed.block(index)?))))
            .filter(|(index, block)| {
                self.live.block(*index).is_none_or(|old| !Arc::ptr_eq(old, block))
            })
            .collect();
        differs.into_iter().map(|(index, block)| self.place(index, block)).collect()
    }

    /// The block at `offset` cannot be read until it is written again.
    pub(super) fn spoil(&mut self, offset: u64) {
        self.bad.insert(offset / BLOCK_U64);
    }

    pub(super) fn vanish(&mut self) {
        self.gone = true;
    }

    /// It is there again, as it was when it went.
    pub(super) fn come_back(&mut self) {
        self.gone = false;
    }
}
