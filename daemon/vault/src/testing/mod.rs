//! What several tests need: keys without Argon2, stores that count and wait, points made up.

pub(crate) mod vault;

use std::ops::Range;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use futures_util::FutureExt;

use crate::format::{Class, Codec, FramePlace, ObjectKind, ObjectRef, Place, Point};
use crate::keys::{KitSecret, KitShape, MasterKey, Slots};
use crate::random::{Random, seeded};
use crate::store::{Created, Listing, Store, StoreError, Until};
use crate::units::{ManifestNumber, ObjectId, PointId, PoolId, SourceId, VaultId};

pub(crate) const VAULT: VaultId = VaultId([7; 16]);
pub(crate) const POOL: PoolId = PoolId([3; 16]);

/// The stores of tests never wait.
pub(crate) fn now<T>(work: impl Future<Output = T>) -> T {
    work.now_or_never().expect("these stores answer at once")
}

pub(crate) fn master() -> Arc<MasterKey> {
    Arc::new(MasterKey::draw(VAULT, &mut seeded(1)))
}

/// Slots that a kit opens.
pub(crate) fn slots(master: &MasterKey, seed: u64) -> (Slots, KitSecret) {
    let mut random = seeded(seed);
    let kit = KitSecret::draw(&mut random);
    let mut slots = Slots::new(master);
    slots.set_kit(master, &kit, KitShape::new(1, 1).unwrap(), 5, &mut random);
    (slots, kit)
}

/// A point that leads nowhere.
pub(crate) fn point(random: &mut impl Random, at: i64) -> Point {
    let object = ObjectRef {
        object: ObjectId::draw(random),
        shipment: ManifestNumber(1),
        check: random.array(),
        len: 1 << 20,
        kind: ObjectKind::Pages,
        class: Class::ZERO,
    };
    let frame =
        FramePlace { index: 0, offset: 4096, stored_len: 500, plain_len: 900, codec: Codec::Raw };
    Point {
        point: PointId(random.array()),
        source: SourceId([4; 16]),
        pool: POOL,
        is_partial: false,
        class: Class::ZERO,
        at,
        committed_at: at,
        recipe_number: 9,
        recipe_digest: random.array(),
        bytes_source: 5,
        entry_count: 1,
        root: vec![3; 30],
        attributes: Vec::new(),
        recipe: Place { object, frame, start: 0, len: 7 },
        root_page: None,
    }
}

/// Counts requests, and lets others go first before each if that is wanted.
#[derive(Debug)]
pub(crate) struct Watched<S> {
    pub inner: S,
    pub requests: AtomicU64,
    pub bytes: AtomicU64,
    yields: bool,
}

impl<S> Watched<S> {
    pub fn new(inner: S) -> Self {
        Self { inner, requests: AtomicU64::new(0), bytes: AtomicU64::new(0), yields: false }
    }

    pub fn yielding(inner: S) -> Self {
        Self { yields: true, ..Self::new(inner) }
    }

    /// Requests since the last call.
    pub fn take(&self) -> u64 {
        self.requests.swap(0, Ordering::Relaxed)
    }

    async fn pass(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        if self.yields {
            Yield(false).await;
        }
    }
}

struct Yield(bool);

impl Future for Yield {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.0, true) { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl<S: Store> Store for Watched<S> {
    async fn create(
        &self,
        name: &str,
        bytes: Bytes,
        until: Option<Until>,
    ) -> Result<Created, StoreError> {
        self.pass().await;
        self.inner.create(name, bytes, until).await
    }

    async fn read(&self, name: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        self.pass().await;
        let bytes = self.inner.read(name, range).await?;
        self.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(bytes)
    }

    async fn head(&self, name: &str) -> Result<Option<u64>, StoreError> {
        self.pass().await;
        self.inner.head(name).await
    }

    async fn list(&self, folder: &str, after: &str, limit: usize) -> Result<Listing, StoreError> {
        self.pass().await;
        self.inner.list(folder, after, limit).await
    }

    async fn locked_until(&self, name: &str) -> Result<Option<Until>, StoreError> {
        self.inner.locked_until(name).await
    }

    async fn extend(&self, name: &str, until: Until) -> Result<(), StoreError> {
        self.inner.extend(name, until).await
    }

    async fn delete(&self, name: &str) -> Result<(), StoreError> {
        self.pass().await;
        self.inner.delete(name).await
    }
}

/// Runs futures over yielding stores, one step at a time in an order that follows from the seed.
pub(crate) fn interleave<T>(futures: Vec<impl Future<Output = T>>, seed: u64) -> Vec<T> {
    let mut random = seeded(seed);
    let mut futures: Vec<_> = futures.into_iter().map(Box::pin).collect();
    let mut done: Vec<Option<T>> = futures.iter().map(|_| None).collect();
    let mut context = Context::from_waker(Waker::noop());
    while done.iter().any(Option::is_none) {
        let [pick] = random.array();
        let at = usize::from(pick) % futures.len();
        if done[at].is_none()
            && let Poll::Ready(value) = pin!(&mut futures[at]).poll(&mut context)
        {
            done[at] = Some(value);
        }
    }
    done.into_iter().flatten().collect()
}
