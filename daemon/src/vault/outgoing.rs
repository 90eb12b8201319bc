//! The pool, as shipping reads it.

use crate::pool_thread::PoolHandle;
use keelhold_disk::pool::PointHold;
use keelhold_disk::units::{ChunkNumber, PointId, PoolId};
use keelhold_vault::format::Codec;
use keelhold_vault::ship::{Source, SourceChunk, SourceError, SourceFrame};
use roaring::RoaringTreemap;

#[derive(Debug, Clone)]
pub(super) struct PoolSource {
    pool: PoolHandle,
    id: PoolId,
}

impl PoolSource {
    pub async fn new(pool: &PoolHandle) -> Result<Self, crate::pool_thread::PoolClosed> {
        let id = pool.call(|pool| async move { pool.id() }).await?;
        Ok(Self { pool: pool.clone(), id })
    }
}
