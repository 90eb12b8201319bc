//! The two lanes of a session that may run ahead of its messages: frames into the pool, and items
//! into the tree. Each keeps its order; neither waits for the other except through the chunks.

use super::convert;
use crate::failure::Failure;
use crate::pool_failure::{of_closed, of_ingest};
use crate::pool_thread::{LivePool, PoolHandle};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesOrdered;
use keelhold_disk::units::{ChunkRef, SessionId};
use keelhold_wire::{Frame, Item};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

/// Frames whose chunks are hashed at the same time: enough for the workers, little memory.
const VERIFYING_MAX: usize = 4;

/// What a lane has done.
#[derive(Debug)]
pub enum Done {
    /// The frame's chunks are in the pool; its body had this length.
    Kept {
        chunks: Vec<ChunkRef>,
        body_len: u64,
        permit: OwnedSemaphorePermit,
    },
    /// The items up to this message are in the tree.
    Pushed {
        seq: u64,
    },
    /// What was kept is journaled.
    Stepped,
    Failed(Failure),
}

#[derive(Debug)]
pub struct FrameWork {
    pub frame: Frame,
    pub chunks: Vec<ChunkRef>,
    pub body_len: u64,
    pub permit: OwnedSemaphorePermit,
}

#[derive(Debug)]
pub struct ItemWork {
    pub seq: u64,
    pub items: Vec<Item>,
}

pub type DoneSender = mpsc::UnboundedSender<Done>;

/// Frames: verified side by side, placed in their order.
pub async fn frames(
    pool: PoolHandle,
    session: SessionId,
    mut queue: mpsc::UnboundedReceiver<FrameWork>,
    done: DoneSender,
) {
    let mut verifying = FuturesOrdered::new();
    let mut open = true;
    while open || !verifying.is_empty() {
        tokio::select! {
            work = queue.recv(), if open && verifying.len() < VERIFYING_MAX => match work {
                Some(work) => verifying.push_back(verify(pool.clone(), work)),
                None => open = false,
            },
            Some((verified, kept)) = verifying.next(), if !verifying.is_empty() => {
                let told = match place(&pool, session, verified).await {
                    Ok(()) => kept,
                    Err(failure) => Done::Failed(failure),
                };
                let failed = matches!(told, Done::Failed(_));
                if done.send(told).is_err() || failed {
                    return;
                }
            }
        }
    }
}

/// Proves a frame, and says what to report once it is placed.
async fn verify(pool: PoolHandle, work: FrameWork) -> (Verified, Done) {
    let FrameWork { frame, chunks, body_len, permit } = work;
    let incoming = convert::frame(frame, chunks.clone());
    let verify = move |pool: LivePool| async move { pool.verify_frame(incoming).await };
    (pool.call(verify).await, Done::Kept { chunks, body_len, permit })
}

type Verified = Result<
    Result<keelhold_disk::pool::VerifiedFrame, keelhold_disk::IngestError>,
    crate::pool_thread::PoolClosed,
>;

async fn place(pool: &PoolHandle, session: SessionId, verified: Verified) -> Result<(), Failure> {
    let frame = verified.map_err(of_closed)?.map_err(|error| of_ingest(&error))?;
    let place = move |pool: LivePool| async move { pool.place_frame(session, frame).await };
    pool.call(place).await.map_err(of_closed)?.map_err(|error| of_ingest(&error))?;
    Ok(())
}

/// Items, in their order.
pub async fn items(
    pool: PoolHandle,
    session: SessionId,
    mut queue: mpsc::UnboundedReceiver<ItemWork>,
    done: DoneSender,
) {
    let mut converter = convert::Converter::default();
    while let Some(ItemWork { seq, items }) = queue.recv().await {
        let items = converter.items(items);
        let push = move |pool: LivePool| async move { pool.push(session, items).await };
        let told = match pool.call(push).await {
            Ok(Ok(())) => Done::Pushed { seq },
            Ok(Err(error)) => Done::Failed(of_ingest(&error)),
            Err(closed) => Done::Failed(of_closed(closed)),
        };
        let failed = matches!(told, Done::Failed(_));
        if done.send(told).is_err() || failed {
            return;
        }
    }
}
