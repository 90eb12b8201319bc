//! What a shipment costs: requests, bytes, memory, index objects.

use std::sync::atomic::AtomicUsize;

use super::*;
use crate::store::{Created, Listing, MemoryStore, StoreError, Until};

fn is_send<T: Send>(value: T) -> T {
    value
}

/// A day's delta: few requests, and little more than the frames.
#[test]
fn a_shipment_costs_little_more_than_its_frames() {
    let store = MemoryStore::new();
    let (mut site, mut pool) = (Site::found(&store), Pool::new(POOL));
    for (seed, count) in [(1, 4000), (2, 600), (3, 0), (4, 2000)] {
        pool.back_up(seed, count, 3);
        let mut order = pool.order();
        order.object_len = 16 << 20;
        order.records = vec![record("a", seed)];
        order.records_are_all = seed == 1;
        let shipped = site.ship(&store, &pool, &order, seed).unwrap();
        let (bytes, frames) = (shipped.bytes as f64, shipped.frame_bytes as f64);
        assert!(bytes <= 1.02 * frames + (4 << 20) as f64, "{count}: {bytes} for {frames}");
        let requests = shipped.bytes / (16 << 20) + 20;
        assert!(shipped.requests <= requests, "{count}: {} requests", shipped.requests);
    }
    assert_eq!(check(&store, &site, &pool), all_points(&pool));
}

/// Objects on their way are bodies in memory.
struct Weighing {
    inner: MemoryStore,
    now: AtomicUsize,
    frames: Arc<AtomicU64>,
    most: AtomicUsize,
    turns: AtomicUsize,
}

impl Weighing {
    fn weigh(&self) {
        let frames = self.frames.load(Ordering::Relaxed) as usize;
        self.most.fetch_max(self.now.load(Ordering::Relaxed) + frames, Ordering::Relaxed);
    }
}

impl Store for Weighing {
    async fn create(
        &self,
        name: &str,
        bytes: Bytes,
        until: Option<Until>,
    ) -> Result<Created, StoreError> {
        let len = bytes.len();
        self.now.fetch_add(len, Ordering::Relaxed);
        // Slow: everything else goes on as far as it can.
        for _ in 0..20 {
            self.weigh();
            let mut is_first = true;
            std::future::poll_fn(|context| {
                context.waker().wake_by_ref();
                match std::mem::take(&mut is_first) {
                    true => std::task::Poll::Pending,
                    false => std::task::Poll::Ready(()),
                }
            })
            .await;
        }
        self.turns.fetch_add(1, Ordering::Relaxed);
        let created = self.inner.create(name, bytes, until).await;
        self.now.fetch_sub(len, Ordering::Relaxed);
        created
    }

    async fn read(&self, name: &str, range: std::ops::Range<u64>) -> Result<Bytes, StoreError> {
        self.inner.read(name, range).await
    }

    async fn head(&self, name: &str) -> Result<Option<u64>, StoreError> {
        self.inner.head(name).await
    }

    async fn list(&self, folder: &str, after: &str, limit: usize) -> Result<Listing, StoreError> {
        self.inner.list(folder, after, limit).await
    }

    async fn locked_until(&self, name: &str) -> Result<Option<Until>, StoreError> {
        self.inner.locked_until(name).await
    }

    async fn extend(&self, name: &str, until: Until) -> Result<(), StoreError> {
        self.inner.extend(name, until).await
    }

    async fn delete(&self, name: &str) -> Result<(), StoreError> {
        self.inner.delete(name).await
    }
}

/// Frames that are held and bodies on their way: so many objects, and what was just read.
#[test]
fn memory_is_bounded_by_streams_and_objects() {
    for streams in [1, 3] {
        let mut pool = Pool::new(POOL);
        pool.back_up(1, 6000, 3);
        let store = Weighing {
            inner: MemoryStore::new(),
            now: AtomicUsize::new(0),
            frames: Arc::clone(&pool.held),
            most: AtomicUsize::new(0),
            turns: AtomicUsize::new(0),
        };
        let site = Site::found(&store.inner);
        let mut order = pool.order();
        (order.object_len, order.streams) = (2 << 20, streams);
        let (mut ids, mut random) = (site.ids(), seeded(8));
        let mut shipping = Box::pin(is_send(ship(
            &store,
            &site.opened,
            &mut ids,
            &pool,
            &order,
            &Unpaced,
            &InPlace,
            &mut random,
            &|_| {},
            &|| false,
        )));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        while shipping.as_mut().poll(&mut context).is_pending() {}
        drop(shipping);
        let most = store.most.into_inner();
        let object = (2 << 20) + (2 << 20);
        let bound = (streams + 2) * object + (24 << 20);
        assert!(store.turns.into_inner() > 20 && most <= bound, "{most} of {bound}");
        assert_eq!(pool.held.load(Ordering::Relaxed), 0);
        assert_eq!(check(&store.inner, &site, &pool), all_points(&pool));
    }
}

/// Small shipments do not make the list of index objects long.
#[test]
fn small_index_objects_are_joined() {
    let store = MemoryStore::new();
    let (mut site, mut pool) = (Site::found(&store), Pool::new(POOL));
    let mut random = seeded(4);
    let mut entries = 0u64;
    for day in 0..120 {
        let [count]: [u8; 1] = random.array();
        pool.points.clear();
        pool.back_up(day, usize::from(count % 40), 3);
        entries += u64::from(count % 40) + 1;
        let order = pool.order();
        site.ship(&store, &pool, &order, day).unwrap();
        let limit = 4 * (entries.ilog2() as usize + 1);
        assert!(site.opened.view.indexes.len() <= limit);
        assert!(site.opened.view.indexes.len() <= 17);
    }
    let (mut ids, opened) = (site.ids(), &site.opened);
    assert_eq!(
        now(ids.bring_up(&store, &site.master, &opened.view)).unwrap(),
        0,
        "nothing is read"
    );
    assert_eq!(ids.numbers(POOL), (1..pool.next).collect());
    let full = ids.fullness(|_, number| number % 2 == 0).unwrap();
    let chunks: u64 = full.values().map(|full| full.chunks).sum();
    let live: u64 = full.values().map(|full| full.live_chunks).sum();
    assert_eq!((chunks, live), (pool.next - 1, (pool.next - 1) / 2));
    assert!(full.values().all(|full| full.bytes <= u64::from(full.object.len)));
    // Who lost the directory reads each index object once, and then none.
    site.forget_everything();
    let mut ids = site.ids();
    let count = opened.view.indexes.len();
    assert_eq!(now(ids.bring_up(&store, &site.master, &opened.view)).unwrap(), count);
    assert_eq!(now(ids.bring_up(&store, &site.master, &opened.view)).unwrap(), 0);
}

/// Stopped between two objects: what was on its way has arrived and is taken over.
#[test]
fn a_stopped_shipment_goes_on_later() {
    let store = MemoryStore::new();
    let (mut site, mut pool) = (Site::found(&store), Pool::new(POOL));
    pool.back_up(1, 400, 3);
    let order = pool.order();
    let asked = AtomicUsize::new(0);
    let stop = || asked.fetch_add(1, Ordering::Relaxed) >= 3;
    let (mut ids, mut random) = (site.ids(), site.random(1));
    let stopped = now(ship(
        &store,
        &site.opened,
        &mut ids,
        &pool,
        &order,
        &Unpaced,
        &InPlace,
        &mut random,
        &|_| {},
        &stop,
    ));
    assert_eq!(stopped.unwrap_err(), ShipError::Stopped);
    let shipped = site.ship(&store, &pool, &order, 2).unwrap();
    assert!(shipped.taken_over > 0);
    assert_eq!(shipped.taken_over + shipped.chunks, pool.chunks.len() as u64);
    assert_eq!(check(&store, &site, &pool), all_points(&pool));
}
