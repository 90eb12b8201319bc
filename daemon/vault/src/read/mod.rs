//! Reading a vault: records, chunks by number, and points as the pool's readers see them.
//!
//! Nothing is believed: a frame opens only at its place in its object, a chunk is held against its id
//! once the id key is known, and ids against the digest of the span or page that names them. An error
//! names the object.
//!
//! Frames are opened on the thread that polls.

mod cache;
mod error;
mod fetch;
mod pages;
mod plan;
mod records;
mod shelf;
mod source;

#[cfg(test)]
pub(crate) mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use keelhold_chunk::{ChunkId, IdKey};

use self::cache::Cache;
use self::shelf::Shelf;
use crate::format::{Leaf, Manifest, ObjectRef, Place};
use crate::keys::MasterKey;
use crate::store::Store;
use crate::units::{ObjectId, PoolId};

pub use error::ReadError;
pub use pages::{Local, NoLocal, VaultPages, root_number};
pub use plan::{Plan, Wanted, bring, plan};
pub use records::Records;

/// Bytes of leaves that stay decoded: some 250 of them.
const LEAVES_KEPT: usize = 64 << 20;
/// Bytes of frames that stay open.
const FRAMES_KEPT: usize = 64 << 20;

/// Reads a vault as one manifest says it is. Clones share what was read.
pub struct VaultReader<S> {
    inner: Arc<Inner<S>>,
}

struct Inner<S> {
    store: Arc<S>,
    master: Arc<MasterKey>,
    view: Arc<Manifest>,
    shelf: Shelf,
    id_key: Option<IdKey>,
    leaves: Mutex<Cache<Arc<Leaf>>>,
    frames: Mutex<Cache<Bytes>>,
}

/// A frame of an object.
type FrameKey = (ObjectId, u32);

impl<S> Clone for VaultReader<S> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<S> std::fmt::Debug for VaultReader<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "VaultReader(manifest {})", self.inner.view.number)
    }
}

fn lock<T>(cache: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is kept is kept whole: a thread that died leaves nothing half done.
    cache.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<S: Store> VaultReader<S> {
    /// `view` is a full manifest. The id key is a record of the appliance: without it records can be
    /// read, and no chunk is proved.
    #[must_use]
    pub fn new(
        store: Arc<S>,
        master: Arc<MasterKey>,
        view: Arc<Manifest>,
        id_key: Option<IdKey>,
    ) -> Self {
        let shelf = Shelf::new(&view);
        let (leaves, frames) = (Cache::new(LEAVES_KEPT), Cache::new(FRAMES_KEPT));
        let (leaves, frames) = (Mutex::new(leaves), Mutex::new(frames));
        Self { inner: Arc::new(Inner { store, master, view, shelf, id_key, leaves, frames }) }
    }

    #[must_use]
    pub fn view(&self) -> &Arc<Manifest> {
        &self.inner.view
    }

    #[must_use]
    pub fn store(&self) -> &Arc<S> {
        &self.inner.store
    }

    pub(crate) fn master(&self) -> &MasterKey {
        &self.inner.master
    }

    pub(crate) fn id_key(&self) -> Option<&IdKey> {
        self.inner.id_key.as_ref()
    }

    /// Ids and bytes of chunks, in the order of their numbers as given.
    pub async fn chunks(
        &self,
        pool: PoolId,
        numbers: &[u64],
    ) -> Result<Vec<(ChunkId, Bytes)>, ReadError> {
        let located = self.locate(pool, numbers).await?;
        let found = self.contents(&located).await?;
        let at = |number: &u64| found.get(number).cloned();
        numbers
            .iter()
            .map(|number| at(number).ok_or(ReadError::NoChunk { pool, number: *number }))
            .collect()
    }

    /// Where chunks lie, in the order of `numbers`.
    pub(crate) async fn locate(
        &self,
        pool: PoolId,
        numbers: &[u64],
    ) -> Result<Vec<Located>, ReadError> {
        let mut found: Vec<Option<Located>> = vec![None; numbers.len()];
        // Nearly always the leaf of the highest rank has the number: others are asked only after it.
        let mut depth = 0;
        loop {
            let missing = || (0..numbers.len()).filter(|at| found[*at].is_none());
            let candidates: Vec<(usize, shelf::Slot)> = missing()
                .filter_map(|at| Some((at, self.inner.shelf.at(pool, numbers[at], depth)?)))
                .collect();
            if candidates.is_empty() {
                break;
            }
            let slots: Vec<shelf::Slot> = candidates.iter().map(|(_, slot)| *slot).collect();
            let leaves = self.leaves(&slots).await?;
            for (at, slot) in candidates {
                let number = numbers[at];
                found[at] = leaves[&slot].find(number).map(|(entry, place)| Located {
                    number,
                    id: ChunkId::from_bytes(entry.id),
                    kind: entry.kind,
                    place,
                });
            }
            depth += 1;
        }
        let all = found.into_iter().zip(numbers);
        all.map(|(found, number)| found.ok_or(ReadError::NoChunk { pool, number: *number }))
            .collect()
    }
}

/// A chunk and where it lies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Located {
    pub number: u64,
    pub id: ChunkId,
    pub kind: u8,
    pub place: Place,
}

/// The stored name of an object, for errors.
pub(crate) fn name_of(object: &ObjectRef) -> String {
    crate::format::Name::of(object).to_string()
}
