//! The pool, as shipping reads it, and where the processor's part of shipping runs.

use super::choose::Plan;
use crate::failure::chain;
use crate::pool_thread::{LivePool, PoolClosed, PoolHandle};
use bytes::Bytes;
use keelhold_chunk::ChunkId;
use keelhold_disk::error::ReadError;
use keelhold_disk::units::{ChunkNumber, PointId, PoolId};
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
        let ids = self.pool.call(ids).await.map_err(closed)?.map_err(|error| failed(&error))?;
        Ok(ids.into_iter().map(|(number, id)| (number.0, id)).collect())
    }

    async fn frames(&self, numbers: Vec<u64>) -> Result<Vec<SourceFrame>, SourceError> {
        todo!()
    }
}
