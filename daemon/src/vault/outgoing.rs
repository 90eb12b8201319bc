//! The pool, as shipping reads it, and where the processor's part of shipping runs.

use super::choose::Plan;
use crate::failure::chain;
use crate::pool_thread::{LivePool, PoolClosed, PoolHandle};
use keelhold_chunk::ChunkId;
use keelhold_disk::error::ReadError;
use keelhold_disk::pool::{ChunkOut, FrameOut, Unread};
use keelhold_disk::units::{ChunkNumber, PointId, PoolId};
use keelhold_vault::format::Codec;
use keelhold_vault::pack::{SourceChunk, SourceFrame};
use keelhold_vault::ship::{Source, SourceError};
use keelhold_vault::work::Work;
use roaring::RoaringTreemap;
use tokio::sync::oneshot;

/// Runs jobs on threads that may be kept busy.
#[derive(Debug, Clone, Copy)]
pub(super) struct Blocking;

impl Work for Blocking {
    async fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        match tokio::task::spawn_blocking(job).await {
            Ok(made) => made,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}

/// The points that are shipped stay in the pool while this lives.
#[derive(Debug)]
pub(super) struct PoolSource {
    pool: PoolHandle,
    id: PoolId,
    _release: oneshot::Sender<()>,
}

impl PoolSource {
    pub async fn new(pool: &PoolHandle, plan: &Plan) -> Result<Self, PoolClosed> {
        let points: Vec<PointId> = plan.points.iter().map(|chosen| chosen.info.id).collect();
        let (release, released) = oneshot::channel::<()>();
        let (held, is_held) = oneshot::channel();
        let handle = pool.clone();
        tokio::spawn(async move {
            let hold = move |pool: LivePool| async move {
                // One that is gone already is told of when it is asked for.
                let holds: Vec<_> = points.iter().map(|point| pool.hold_point(point)).collect();
                let _ = held.send(pool.id());
                let _ = released.await;
                drop(holds);
            };
            handle.call(hold).await
        });
        let id = is_held.await.map_err(|_| PoolClosed)?;
        Ok(Self { pool: pool.clone(), id, _release: release })
    }
}

fn failed(error: &ReadError) -> SourceError {
    match error {
        ReadError::NoPoint { .. } => SourceError::Gone,
        error => SourceError::Failed(chain(error)),
    }
}

fn closed(closed: PoolClosed) -> SourceError {
    SourceError::Failed(closed.to_string())
}

impl Source for PoolSource {
    fn pool(&self) -> PoolId {
        self.id
    }

    async fn reach(&self, point: PointId) -> Result<RoaringTreemap, SourceError> {
        let reach = move |pool: LivePool| async move { pool.reach(&point).await };
        self.pool.call(reach).await.map_err(closed)?.map_err(|error| failed(&error))
    }

    async fn ids(&self, numbers: Vec<u64>) -> Result<Vec<(u64, ChunkId)>, SourceError> {
        let ids = move |pool: LivePool| async move {
            let numbers: Vec<ChunkNumber> = numbers.into_iter().map(ChunkNumber).collect();
            pool.ids_of(&numbers).await
        };
        let out = self.pool.call(ids).await.map_err(closed)?;
        lost(&out.unread)?;
        Ok(out.ids.into_iter().map(|(number, id)| (number.0, id)).collect())
    }

    async fn frames(&self, numbers: Vec<u64>) -> Result<Vec<SourceFrame>, SourceError> {
        let mut left: Vec<ChunkNumber> = numbers.into_iter().map(ChunkNumber).collect();
        let mut frames = Vec::new();
        while !left.is_empty() {
            let take = move |pool: LivePool| async move { pool.frames_out(&left).await };
            let out = self.pool.call(take).await.map_err(closed)?;
            lost(&out.unread)?;
            frames.extend(out.frames.into_iter().map(frame));
            left = out.left;
        }
        Ok(frames)
    }
}

fn lost(unread: &[Unread]) -> Result<(), SourceError> {
    let Some(first) = unread.first() else { return Ok(()) };
    let chunk = first.number.0;
    tracing::warn!(
        chunk,
        error = chain(&first.error),
        "a chunk that is to be shipped cannot be read"
    );
    Err(SourceError::Lost { first: chunk, count: unread.len() as u64 })
}

fn frame(out: FrameOut) -> SourceFrame {
    let codec = match out.codec {
        keelhold_disk::format::Codec::Raw => Codec::Raw,
        _ => Codec::Zstd,
    };
    let chunk = |chunk: ChunkOut| SourceChunk {
        number: chunk.number.0,
        id: chunk.id,
        kind: chunk.kind as u8,
        len: chunk.len,
    };
    let chunks = out.chunks.into_iter().map(chunk).collect();
    SourceFrame { codec, packed: out.packed, plain_len: out.plain_len, chunks }
}
