//! Chunks as frames that leave the pool.
//!
//! A frame all of whose chunks are asked for leaves as it is stored, opened if it is sealed. Of others
//! the chunks asked for are joined and compressed anew: neighbours in the pool with neighbours, as
//! when containers are compacted. Data and pages never share a frame, nor do trust domains.

use std::collections::BTreeMap;
use std::rc::Rc;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use keelhold_chunk::ChunkId;

use super::{IN_FLIGHT, Unread};
use crate::device::Device;
use crate::error::ReadError;
use crate::format::{ChunkEntry, ChunkKind, Codec, Directory};
use crate::index::Place;
use crate::mutants::Mutant;
use crate::pool::frame;
use crate::pool::prove::{Checks, Proved};
use crate::pool::read::Found;
use crate::pool::space::RunKey;
use crate::pool::{Inner, Pool, Work};
use crate::units::{ChunkNumber, DomainId};

/// Plain bytes taken by one call; passed by less than a frame.
const PLAIN_LEN: u64 = 8 << 20;
/// Frames read by one call, however few bytes of each are asked for.
const FRAMES_MAX: usize = 256;
/// Bytes of directories held by one call; passed by less than a directory.
const DIRECTORIES_LEN: usize = 4 << 20;
/// Numbers looked at for which directories will be needed.
const NUMBERS_AHEAD: usize = 16 << 10;

/// Chunks on their way out, compressed together and not sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameOut {
    /// Raw or Zstandard.
    pub codec: Codec,
    /// Often in the memory that the pool lends for reading: whoever keeps it long copies it.
    pub packed: Bytes,
    pub plain_len: u32,
    /// In the order of their bytes in the plain frame.
    pub chunks: Vec<ChunkOut>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkOut {
    pub number: ChunkNumber,
    pub id: ChunkId,
    pub kind: ChunkKind,
    pub len: u32,
}

/// Answer of [`Pool::frames_out`].
#[derive(Debug, Clone, Default)]
pub struct FramesOut {
    /// In the order of the lowest number in each.
    pub frames: Vec<FrameOut>,
    pub unread: Vec<Unread>,
    /// Numbers that were not looked at: for the next call. Fewer than were given.
    pub left: Vec<ChunkNumber>,
}

impl<D: Device, W: Work> Pool<D, W> {
    /// Frames that hold exactly the chunks `numbers`, which ascend, every byte proved by the ids.
    ///
    /// About 8 MiB of plain bytes are taken at once, frame by frame from the lowest number on, and what
    /// is left is said: memory of a call stays below some 16 MiB whatever is asked for. A frame whose
    /// chunks all are among the numbers is taken as a whole, so whoever has many to ship gives some ten
    /// thousand at once.
    pub async fn frames_out(&self, numbers: &[ChunkNumber]) -> FramesOut {
        assert!(numbers.is_sorted(), "numbers ascend");
        let inner = &self.inner;
        // Before any look-up: what compaction gives up meanwhile is not overwritten.
        let _epoch = inner.epochs.hold();
        let mut plan = inner.plan_out(numbers).await;
        let mut out = FramesOut { frames: Vec::new(), unread: plan.unread, left: plan.left };
        // In the order in which they lie on the disks.
        plan.frames.sort_unstable_by_key(|from| (from.run, from.frame));
        let mut joined = Joiner::default();
        let read = async |from: FrameFrom| {
            let read = inner.read_out(&from).await;
            (from, read)
        };
        let mut reading = stream::iter(plan.frames).map(read).buffered(IN_FLIGHT);
        while let Some((from, read)) = reading.next().await {
            match read {
                Ok(Read::Whole(frame)) => out.frames.push(frame),
                Ok(Read::Parts(parts)) => {
                    joined.push(from.directory.header.domain, &parts, inner.frame_len());
                }
                Err(error) => out.unread.extend(from.chunks.iter().map(|chunk| {
                    let (number, error) = (chunk.number, error.clone());
                    Unread { number, error }
                })),
            }
        }
        drop(reading);
        let mut building = stream::iter(joined.finish())
            .map(|loose| inner.work.run(move || loose.build()))
            .buffered(IN_FLIGHT);
        while let Some(frame) = building.next().await {
            out.frames.push(frame);
        }
        drop(building);
        out.frames.sort_by_key(|frame| frame.chunks.iter().map(|chunk| chunk.number).min());
        out.unread.sort_by_key(|unread| unread.number);
        out
    }
}

/// A frame of the pool from which chunks are taken.
struct FrameFrom {
    run: RunKey,
    directory: Rc<Directory>,
    frame: u16,
    /// Those asked for.
    chunks: Vec<ChunkEntry>,
}

#[derive(Default)]
struct Plan {
    frames: Vec<FrameFrom>,
    unread: Vec<Unread>,
    left: Vec<ChunkNumber>,
    plain_len: u64,
    directories: BTreeMap<RunKey, usize>,
}

enum Read {
    Whole(FrameOut),
    /// Chunks with their bytes.
    Parts(Vec<(ChunkOut, Bytes)>),
}

impl Plan {
    fn is_full(&self) -> bool {
        self.plain_len >= PLAIN_LEN
            || self.frames.len() >= FRAMES_MAX
            || self.directories.values().sum::<usize>() >= DIRECTORIES_LEN
    }

    fn take(&mut self, found: Found, chunks: Vec<ChunkEntry>) {
        let Found { run, directory, chunk, .. } = found;
        self.plain_len += chunks.iter().map(|chunk| u64::from(chunk.len)).sum::<u64>();
        self.directories.insert(run, directory.byte_len());
        self.frames.push(FrameFrom { run, directory, frame: chunk.frame, chunks });
    }
}

impl<D: Device, W: Work> Inner<D, W> {
    /// Which frames are read for which numbers.
    async fn plan_out(&self, numbers: &[ChunkNumber]) -> Plan {
        self.directories_ahead(numbers).await;
        let mut plan = Plan::default();
        let mut taken = roaring::RoaringTreemap::new();
        for (at, number) in numbers.iter().copied().enumerate() {
            if taken.contains(number.0) {
                continue;
            }
            if plan.is_full() {
                let left = numbers[at..].iter().filter(|number| !taken.contains(number.0));
                plan.left = left.copied().collect();
                break;
            }
            match self.locate(number).await {
                Ok(found) => {
                    let chunks = self.asked_of(&found, numbers, &taken);
                    taken.extend(chunks.iter().map(|chunk| chunk.number.0));
                    plan.take(found, chunks);
                }
                Err(error) => {
                    taken.insert(number.0);
                    plan.unread.push(Unread { number, error });
                }
            }
        }
        plan
    }

    /// Chunks of the frame of `found` that are asked for and that the index has there. What was
    /// written again lies elsewhere: here it may be damaged.
    fn asked_of(
        &self,
        found: &Found,
        numbers: &[ChunkNumber],
        taken: &roaring::RoaringTreemap,
    ) -> Vec<ChunkEntry> {
        let tables = self.tables.borrow();
        let is_here = |number: ChunkNumber| {
            let Some(Place { container, run_block, .. }) =
                tables.index.slot(number).map(|slot| slot.place)
            else {
                return false;
            };
            (container, run_block) == found.run
        };
        let asked = |chunk: &&ChunkEntry| {
            // Compaction may just have moved it: there it is what it was.
            chunk.number == found.chunk.number
                || !taken.contains(chunk.number.0)
                    && numbers.binary_search(&chunk.number).is_ok()
                    && is_here(chunk.number)
        };
        found.directory.chunks_of(found.chunk.frame).iter().filter(asked).copied().collect()
    }

    /// Loads the directories of the first numbers, several at once. Whoever needs one that cannot be
    /// read meets the error.
    async fn directories_ahead(&self, numbers: &[ChunkNumber]) {
        let mut runs: BTreeMap<RunKey, ()> = BTreeMap::new();
        let mut stored_len = 0;
        for number in numbers.iter().take(NUMBERS_AHEAD) {
            let slot = self.tables.borrow().index.slot(*number);
            let Some(slot) = slot else { continue };
            stored_len += u64::from(slot.stored_len);
            runs.insert((slot.place.container, slot.place.run_block), ());
            if stored_len >= PLAIN_LEN || runs.len() >= FRAMES_MAX {
                break;
            }
        }
        let read = async |run| drop(self.directory(run).await);
        stream::iter(runs.into_keys()).map(read).buffer_unordered(IN_FLIGHT).count().await;
    }

    async fn read_out(&self, from: &FrameFrom) -> Result<Read, ReadError> {
        let entry = from.directory.frames[usize::from(from.frame)];
        let is_whole = from.chunks.len() == from.directory.chunks_of(from.frame).len();
        if is_whole && entry.codec != Codec::Lz4 {
            let packed = self.proved_out(from).await?.compressed;
            let chunks = from.chunks.iter().map(ChunkOut::of).collect();
            let (codec, plain_len) = (entry.codec, entry.plain_len);
            return Ok(Read::Whole(FrameOut { codec, packed, plain_len, chunks }));
        }
        let cached = self.cache.borrow_mut().frame(from.run, from.frame);
        let plain = match cached {
            Some(plain) => plain,
            None => self.proved_out(from).await?.plain,
        };
        let part = |chunk: &ChunkEntry| {
            let start = chunk.offset as usize;
            (ChunkOut::of(chunk), plain.slice(start..start + chunk.len as usize))
        };
        Ok(Read::Parts(from.chunks.iter().map(part).collect()))
    }

    async fn proved_out(&self, from: &FrameFrom) -> Result<Proved, ReadError> {
        let ids = self.mutants.keeps(Mutant::ShippedIsProved);
        let checks = Checks { hash: false, ids };
        self.prove_whole(from.run, &from.directory, from.frame, checks).await
    }
}

impl ChunkOut {
    fn of(chunk: &ChunkEntry) -> Self {
        let ChunkEntry { number, id, kind, len, .. } = *chunk;
        Self { number, id, kind, len }
    }
}

/// Chunks waiting for neighbours to be compressed with.
#[derive(Default)]
struct Loose {
    chunks: Vec<ChunkOut>,
    plain: Vec<u8>,
}

impl Loose {
    fn build(self) -> FrameOut {
        let plain_len = self.plain.len() as u32;
        let (codec, packed) = frame::compress(Codec::Zstd, self.plain);
        FrameOut { codec, packed: packed.into(), plain_len, chunks: self.chunks }
    }
}

/// What comes out of frames that do not leave as they are.
#[derive(Default)]
struct Joiner {
    /// By trust domain, and whether it is data.
    open: BTreeMap<(DomainId, bool), Loose>,
    full: Vec<Loose>,
}

impl Joiner {
    fn push(&mut self, domain: DomainId, parts: &[(ChunkOut, Bytes)], frame_len: usize) {
        for (chunk, bytes) in parts {
            let open = self.open.entry((domain, chunk.kind == ChunkKind::Data)).or_default();
            if !open.plain.is_empty() && open.plain.len() + bytes.len() > frame_len {
                self.full.push(std::mem::take(open));
            }
            open.plain.extend_from_slice(bytes);
            open.chunks.push(*chunk);
        }
    }

    fn finish(mut self) -> Vec<Loose> {
        self.full.extend(self.open.into_values());
        self.full
    }
}
