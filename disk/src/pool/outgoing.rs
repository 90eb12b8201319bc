//! What leaves the pool: which chunks a point needs, and these chunks as frames ready to be shipped.
//!
//! A number means something only together with the pool that gave it; what leaves carries numbers and
//! ids. Every byte is proved by its id first: a store far away is no place to find out that a disk
//! here was lying.

mod frames;

use std::collections::BTreeMap;

use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt as _};
use keelhold_chunk::ChunkId;
use roaring::RoaringTreemap;

pub use frames::{ChunkOut, FrameOut, FramesOut};

use super::read::Found;
use super::space::RunKey;
use super::{Inner, Pool, Work};
use crate::device::Device;
use crate::error::ReadError;
use crate::units::{ChunkNumber, PointId};

/// Reads under way at once.
const IN_FLIGHT: usize = 8;

/// How one point is put together, for who keeps it elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anatomy {
    pub recipe: ChunkNumber,
    /// Digest over the recipe's one id.
    pub recipe_digest: [u8; 16],
    /// Root of the tree, as the recipe has it.
    pub root: Vec<u8>,
    /// Page at the root; an empty tree has none.
    pub root_page: Option<ChunkNumber>,
}

/// A chunk that could not be had, and why. Those beside it were not harmed.
#[derive(Debug, Clone)]
pub struct Unread {
    pub number: ChunkNumber,
    pub error: ReadError,
}

/// Answer of [`Pool::ids_of`].
#[derive(Debug, Clone, Default)]
pub struct IdsOut {
    /// Ascending by number.
    pub ids: Vec<(ChunkNumber, ChunkId)>,
    pub unread: Vec<Unread>,
}

impl<D: Device, W: Work> Pool<D, W> {
    /// Every chunk a point needs: recipe, pages, data. Out of the sets; only what no set tells of (a
    /// working state) is walked.
    pub async fn reach(&self, point: &PointId) -> Result<RoaringTreemap, ReadError> {
        match self.inner.reach_by_sets(point) {
            Some(reach) => Ok(reach),
            None => self.walk_reach(point).await,
        }
    }

    pub async fn anatomy(&self, point: &PointId) -> Result<Anatomy, ReadError> {
        let row = self.inner.row(point).ok_or(ReadError::NoPoint { point: *point })?;
        let root = self.inner.recipe(&row).await?.root;
        let root_page = self.inner.decode_root(&row, &root)?.page.map(|page| page.number);
        let recipe_digest = *row.recipe_digest.as_bytes();
        Ok(Anatomy { recipe: row.recipe, recipe_digest, root, root_page })
    }

    /// Ids of chunks, out of directories: nothing of the chunks themselves is read. Memory is that of
    /// the answer, so callers ask for some ten thousand at once.
    pub async fn ids_of(&self, numbers: &[ChunkNumber]) -> IdsOut {
        let inner = &self.inner;
        // Before the look-up: compaction may move chunks away at any time.
        let _epoch = inner.epochs.hold();
        let mut out = IdsOut::default();
        let mut by_run: BTreeMap<RunKey, Vec<(ChunkNumber, u16)>> = BTreeMap::new();
        for number in numbers.iter().copied() {
            match inner.tables.borrow().index.slot(number).map(|slot| slot.place) {
                Some(place) => {
                    let run = (place.container, place.run_block);
                    by_run.entry(run).or_default().push((number, place.ordinal));
                }
                None => out.unread.push(Unread { number, error: ReadError::NoChunk { number } }),
            }
        }
        let read = async |(run, wanted)| (run, wanted, inner.directory(run).await);
        let mut reading = stream::iter(by_run).map(read).buffered(IN_FLIGHT);
        while let Some((run, wanted, directory)) = reading.next().await {
            for (number, ordinal) in wanted {
                let wrong = || ReadError::WrongChunk { number, place: inner.run_place(run) };
                let id = directory.as_ref().map_err(Clone::clone).and_then(|directory| {
                    let chunk = directory.chunks.get(usize::from(ordinal));
                    let chunk = chunk.filter(|chunk| chunk.number == number);
                    chunk.map(|chunk| chunk.id).ok_or_else(wrong)
                });
                match id {
                    Ok(id) => out.ids.push((number, id)),
                    Err(error) => out.unread.push(Unread { number, error }),
                }
            }
        }
        drop(reading);
        out.ids.sort_unstable_by_key(|(number, _)| *number);
        out.unread.sort_by_key(|unread| unread.number);
        out
    }

    /// The chunks under `count` numbers from `first` on, each proved by its id. None where the pool
    /// has none or cannot read it: for readers that look elsewhere then.
    pub async fn chunks_at(&self, first: ChunkNumber, count: u16) -> Vec<Option<(ChunkId, Bytes)>> {
        let inner = &self.inner;
        // Beyond the limit there are none.
        let numbers = (0..u64::from(count)).map(|at| ChunkNumber(first.0.saturating_add(at)));
        let found = join_all(numbers.map(|number| inner.locate(number))).await;
        let found: Vec<Option<Found>> = found.into_iter().map(Result::ok).collect();
        let mut frames: BTreeMap<(RunKey, u16), &Found> = BTreeMap::new();
        for each in found.iter().flatten() {
            frames.entry((each.run, each.chunk.frame)).or_insert(each);
        }
        let read = async |(key, each): ((RunKey, u16), &Found)| {
            (key, inner.frame_plain(each.run, &each.directory, each.chunk.frame).await.ok())
        };
        let plains: BTreeMap<(RunKey, u16), Option<Bytes>> =
            stream::iter(frames).map(read).buffered(IN_FLIGHT).collect().await;
        let bytes = |each: &Found| {
            let plain = plains.get(&(each.run, each.chunk.frame))?.as_ref()?;
            let start = each.chunk.offset as usize;
            Some((each.chunk.id, plain.slice(start..start + each.chunk.len as usize)))
        };
        found.iter().map(|found| found.as_ref().and_then(bytes)).collect()
    }
}

impl<D: Device, W: Work> Inner<D, W> {
    fn reach_by_sets(&self, point: &PointId) -> Option<RoaringTreemap> {
        let tables = self.tables.borrow();
        tables.sources.get(&tables.point(point)?.source)?.chain.reach(point)
    }
}
