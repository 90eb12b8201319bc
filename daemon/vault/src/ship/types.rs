//! What is asked of a shipment, and what came of it.

use std::collections::BTreeMap;
use std::future::Future;

use keelhold_chunk::ChunkId;
use roaring::RoaringTreemap;

use super::error::{LeftOut, SourceError};
use crate::chain::Opened;
use crate::format::{Class, Lock, RecordEntry};
use crate::pack::SourceFrame;
use crate::store::Until;
use crate::units::{PointId, PoolId, SourceId};

/// The pool, as the shipment sees it.
pub trait Source: Send + Sync {
    fn pool(&self) -> PoolId;

    /// Numbers of every chunk a point needs: recipe, pages, data.
    fn reach(
        &self,
        point: PointId,
    ) -> impl Future<Output = Result<RoaringTreemap, SourceError>> + Send;

    /// Ids of chunks, in the order of the question.
    fn ids(
        &self,
        numbers: Vec<u64>,
    ) -> impl Future<Output = Result<Vec<(u64, ChunkId)>, SourceError>> + Send;

    /// Frames with exactly these chunks. `numbers` ascend.
    fn frames(
        &self,
        numbers: Vec<u64>,
    ) -> impl Future<Output = Result<Vec<SourceFrame>, SourceError>> + Send;
}

/// A point to be in the vault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShipPoint {
    pub point: PointId,
    pub source: SourceId,
    pub is_partial: bool,
    pub class: Class,
    pub at: i64,
    pub committed_at: i64,
    pub bytes_source: u64,
    pub entry_count: u64,
    pub attributes: Vec<u8>,
    pub recipe_number: u64,
    pub recipe_digest: [u8; 16],
    /// Root of the tree, as in the recipe.
    pub root: Vec<u8>,
    /// None of an empty tree.
    pub root_page: Option<u64>,
}

/// Until when objects are locked, by class. Index, records and manifest are locked as long as the
/// longest of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Locks {
    /// Of new objects. Ascending by class; times in nanoseconds, 0: no lock.
    pub rows: Vec<Lock>,
    /// What holds of everything the manifest needs, old or new; `None`: the same.
    pub promised: Option<Vec<Lock>>,
}

impl Locks {
    /// Locks that are leases: until now + `lease`, or until the class expires if that is sooner.
    #[must_use]
    pub fn leased(now: i64, lease: i64, expiry: &[(Class, i64)]) -> Self {
        let until = |expires: i64| expires.min(now.saturating_add(lease));
        let row = |(class, expires): &(Class, i64)| Lock { class: *class, until: until(*expires) };
        let mut rows: Vec<Lock> = expiry.iter().map(row).collect();
        rows.sort_by_key(|lock| lock.class);
        rows.dedup_by_key(|lock| lock.class);
        Self { rows, promised: None }
    }

    /// The rows of the next manifest.
    #[must_use]
    pub fn promise(&self) -> &[Lock] {
        self.promised.as_deref().unwrap_or(&self.rows)
    }

    #[must_use]
    pub fn of(&self, class: Class) -> Option<Until> {
        seconds(self.rows.iter().find(|lock| lock.class == class)?.until)
    }

    #[must_use]
    pub fn longest(&self) -> Option<Until> {
        seconds(self.rows.iter().map(|lock| lock.until).max()?)
    }
}

/// Rounded up: never shorter than what the manifest says.
pub(crate) fn seconds(nanoseconds: i64) -> Option<Until> {
    (nanoseconds > 0).then(|| Until((nanoseconds - 1).div_euclid(1_000_000_000) + 1))
}

/// What the vault shall have when the shipment is over.
#[derive(Debug, Clone)]
pub struct Order {
    /// Those that are in the vault already are passed over.
    pub points: Vec<ShipPoint>,
    /// Those that leave the vault.
    pub gone: Vec<PointId>,
    /// All records, or those that changed since the last shipment.
    pub records: Vec<RecordEntry>,
    pub records_are_all: bool,
    pub locks: Locks,
    pub now: i64,
    /// Highest time the appliance has seen.
    pub witnessed: i64,
    /// Of a data object, before it is padded: 16 to 64 MiB.
    pub object_len: usize,
    /// Objects on their way at a time.
    pub streams: usize,
    /// Chunks after which a manifest is written although the shipment goes on.
    pub round_chunks: usize,
    /// What the probe of the store found.
    pub creates_only: bool,
}

pub const OBJECT_LEN_DEFAULT: usize = 32 << 20;
pub const STREAMS_DEFAULT: usize = 3;
pub const ROUND_CHUNKS_DEFAULT: usize = 128 << 10;

/// How far a shipment is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Acknowledged objects, their bytes and chunks.
    pub objects: u64,
    pub bytes: u64,
    pub chunks: u64,
    pub points_done: usize,
    pub points_left: usize,
}

/// What came of a shipment.
#[derive(Debug, Clone)]
pub struct Shipped {
    pub opened: Opened,
    /// Packed objects that were sent, all kinds.
    pub objects: u64,
    /// Bodies of all requests that create: manifests, and what was sent again, too.
    pub bytes: u64,
    /// Packed bytes of frames among them.
    pub frame_bytes: u64,
    /// Of them those of data: not pages, nor recipes.
    pub data_bytes: u64,
    /// Chunks that were sent.
    pub chunks: u64,
    /// Chunks whose bytes were in the vault under another number.
    pub known: u64,
    /// Chunks that an interrupted shipment had sent.
    pub taken_over: u64,
    /// Requests to the store, all of them.
    pub requests: u64,
    /// Manifests that were written: none if there was nothing to say.
    pub manifests: u64,
    pub left_out: BTreeMap<PointId, LeftOut>,
}

impl Shipped {
    pub(super) fn nothing(opened: &Opened) -> Self {
        Self {
            opened: opened.clone(),
            objects: 0,
            bytes: 0,
            frame_bytes: 0,
            data_bytes: 0,
            chunks: 0,
            known: 0,
            taken_over: 0,
            requests: 0,
            manifests: 0,
            left_out: BTreeMap::new(),
        }
    }
}
