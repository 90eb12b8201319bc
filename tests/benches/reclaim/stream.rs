//! What fills the pool: points of small chunks, and streams of ordinary ones that never end.

use std::cell::Cell;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use keelhold_chunk::{Attributes, Kind, Timestamp};
use keelhold_disk::device::backend::AnyDevice;
use keelhold_disk::format::Codec;
use keelhold_disk::pool::{
    BeginSession, CommitPoint, FRAME_TARGET, IncomingFrame, NewContent, NewExtent, NewItem,
};
use keelhold_disk::sim::Rng;
use keelhold_disk::units::{ChunkRef, DomainId, PointId, SessionId, SourceId, UnixNanos};
use keelhold_disk::work::Work as _;

use super::work::ThreadWork;

pub type Pool = keelhold_disk::Pool<AnyDevice<ThreadWork>, ThreadWork>;

pub const NOW: UnixNanos = UnixNanos(1);
/// So small that ten million of them fit anywhere.
const SMALL_LEN: usize = 128;
const ORDINARY_LEN: usize = 64 << 10;
const FRAMES_AHEAD: usize = 8;

fn frame(
    pool: &Pool,
    seed: u64,
    chunk_len: usize,
    count: usize,
) -> impl FnOnce() -> IncomingFrame + Send + use<> {
    let key = pool.id_key();
    move || {
        let mut bytes = vec![0; chunk_len * count];
        let mut rng = Rng::new(seed);
        bytes.chunks_mut(8).for_each(|word| word.copy_from_slice(&rng.next_u64().to_le_bytes()));
        let chunks = bytes.chunks(chunk_len);
        let chunks = chunks.map(|chunk| ChunkRef { id: key.id(chunk), len: chunk.len() as u32 });
        let (chunks, plain_len) = (chunks.collect(), bytes.len() as u32);
        IncomingFrame { codec: Codec::Raw, plain_len, stored: Bytes::from(bytes), chunks }
    }
}

async fn begin(pool: &Pool, number: u64) -> SessionId {
    let id = 1 + (number % 200) as u8;
    let request = BeginSession {
        source: SourceId([id; 16]),
        domain: DomainId([id; 16]),
        basis: None,
        lease_until: NOW,
    };
    let session = pool.begin(request, NOW).await.expect("a session");
    let attributes = attributes(Kind::Directory);
    let root = NewItem::Entry { path: Vec::new(), attributes, content: NewContent::None };
    pool.push(session, vec![root]).await.expect("a root");
    session
}

fn attributes(kind: Kind) -> Vec<u8> {
    let mtime = Timestamp::default();
    Attributes { kind, mode: 0o644, uid: 0, gid: 0, mtime, link_group: None, xattrs: Vec::new() }
        .to_bytes()
}

async fn keep(pool: &Pool, session: SessionId, frame: IncomingFrame) {
    let extents: Vec<NewExtent> = frame.chunks.iter().copied().map(NewExtent::Chunk).collect();
    let verified = pool.verify_frame(frame).await.expect("a sound frame");
    pool.place_frame(session, verified).await.expect("room");
    pool.push(session, vec![NewItem::More { extents }]).await.expect("extents");
}

async fn commit(pool: &Pool, session: SessionId, len: u64) -> PointId {
    let file = NewItem::Entry {
        path: b"file".to_vec(),
        attributes: attributes(Kind::File { size: len }),
        content: NewContent::Streamed,
    };
    pool.push(session, vec![file]).await.expect("a file");
    let commit = CommitPoint { at: NOW, ..CommitPoint::default() };
    pool.commit(session, commit, NOW).await.expect("a point").id
}

/// A point of `count` small chunks nobody else has.
pub async fn small_chunks(pool: &Pool, number: u64, count: u64) -> PointId {
    let session = begin(pool, number).await;
    let per_frame = (FRAME_TARGET / SMALL_LEN) as u64;
    let mut left = count;
    while left > 0 {
        let now = left.min(per_frame);
        let seed = number << 32 | left;
        keep(pool, session, frame(pool, seed, SMALL_LEN, now as usize)()).await;
        left -= now;
    }
    commit(pool, session, count * SMALL_LEN as u64).await
}

/// Lets others run for a moment.
pub async fn pause(work: &ThreadWork) {
    work.run(|| std::thread::sleep(std::time::Duration::from_millis(2))).await;
}

/// Stores noise for ever.
pub struct Stream {
    number: u64,
    moved: Cell<u64>,
}

impl Stream {
    pub fn new(number: usize) -> Self {
        Self { number: 150 + number as u64, moved: Cell::new(0) }
    }

    /// Bytes the pool has taken so far.
    pub fn moved(&self) -> u64 {
        self.moved.get()
    }

    pub async fn run(&self, pool: &Pool, work: &ThreadWork) {
        let session = begin(pool, self.number).await;
        let seeds = stream::iter((1 << 60 | self.number << 40)..);
        let frames = seeds.map(|seed| {
            let made = work.run(frame(pool, seed, ORDINARY_LEN, FRAME_TARGET / ORDINARY_LEN));
            async { pool.verify_frame(made.await).await }
        });
        let mut verified = std::pin::pin!(frames.buffered(FRAMES_AHEAD));
        while let Some(frame) = verified.try_next().await.expect("sound frames") {
            pool.place_frame(session, frame).await.expect("room");
            self.moved.set(self.moved.get() + FRAME_TARGET as u64);
        }
    }
}
