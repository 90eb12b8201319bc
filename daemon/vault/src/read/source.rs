//! A vault as what another one is filled from: ids out of leaves, frames made of the chunks that are
//! asked for. What was compressed together stays together.

use std::collections::BTreeMap;

use keelhold_chunk::ChunkId;

use super::{FrameKey, Located, ReadError, VaultReader};
use crate::format::{FRAME_PLAIN_MAX, LEVEL, pack};
use crate::pack::{SourceChunk, SourceFrame};
use crate::store::Store;
use crate::units::PoolId;
use crate::work::Work;

impl<S: Store> VaultReader<S> {
    /// Ids of chunks, in the order of the question; nothing of the chunks themselves is read.
    pub async fn ids(
        &self,
        pool: PoolId,
        numbers: &[u64],
    ) -> Result<Vec<(u64, ChunkId)>, ReadError> {
        let located = self.locate(pool, numbers).await?;
        Ok(located.into_iter().map(|located| (located.number, located.id)).collect())
    }

    /// Frames with exactly these chunks, each proved by its id.
    pub async fn frames(
        &self,
        pool: PoolId,
        numbers: &[u64],
        work: &impl Work,
    ) -> Result<Vec<SourceFrame>, ReadError> {
        let located = self.locate(pool, numbers).await?;
        let found = self.contents(&located).await?;
        let mut of_frames: BTreeMap<FrameKey, Vec<Located>> = BTreeMap::new();
        for located in located {
            let key = (located.place.object.object, located.place.frame.index);
            of_frames.entry(key).or_default().push(located);
        }
        let mut frames = Vec::new();
        for mut of_frame in of_frames.into_values() {
            of_frame.sort_unstable_by_key(|located| (located.place.start, located.number));
            let (mut plain, mut chunks) = (Vec::new(), Vec::new());
            for Located { number, id, kind, place } in of_frame {
                let (_, bytes) = &found[&number];
                // One chunk under two numbers is two chunks here.
                if plain.len() + bytes.len() > FRAME_PLAIN_MAX {
                    let full = (std::mem::take(&mut plain), std::mem::take(&mut chunks));
                    frames.push(packed(full, work).await);
                }
                plain.extend_from_slice(bytes);
                chunks.push(SourceChunk { number, id, kind, len: place.len });
            }
            frames.push(packed((plain, chunks), work).await);
        }
        Ok(frames)
    }
}

async fn packed((plain, chunks): (Vec<u8>, Vec<SourceChunk>), work: &impl Work) -> SourceFrame {
    let plain_len = plain.len() as u32;
    let (codec, packed) = work.run(move || pack(&plain, LEVEL)).await;
    SourceFrame { codec, packed: packed.into(), plain_len, chunks }
}
