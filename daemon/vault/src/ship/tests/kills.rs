//! The uploader is killed: nothing wrong is named, and next to nothing is sent twice.

use std::pin::pin;
use std::sync::atomic::AtomicI64;
use std::task::{Context, Poll, Waker};

use super::*;
use crate::store::{Created, Listing, MemoryStore, StoreError, Until};

/// A store that ends the process with a certain request, before or after it took effect, and at random
/// lets others go first.
pub(super) struct Fuse<'a> {
    pub inner: &'a MemoryStore,
    left: AtomicI64,
    is_after: bool,
    yields: Option<AtomicU64>,
    /// Bodies of data and pages that were sent, whatever became of them.
    pub sent: AtomicU64,
    pub requests: AtomicU64,
}

impl<'a> Fuse<'a> {
    pub fn new(inner: &'a MemoryStore, at: i64, is_after: bool) -> Self {
        Self {
            inner,
            left: AtomicI64::new(at),
            is_after,
            yields: None,
            sent: AtomicU64::new(0),
            requests: AtomicU64::new(0),
        }
    }

    pub fn yielding(inner: &'a MemoryStore, seed: u64) -> Self {
        Self { yields: Some(AtomicU64::new(seed)), ..Self::new(inner, i64::MAX, false) }
    }

    async fn pass<T>(&self, work: impl Future<Output = T>) -> T {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let turn = self.yields.as_ref().map_or(0, |state| {
            let last = state.load(Ordering::Relaxed);
            let next = last.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state.store(next, Ordering::Relaxed);
            next >> 60
        });
        for _ in 0..turn {
            let mut is_first = true;
            std::future::poll_fn(|_| match std::mem::take(&mut is_first) {
                true => Poll::Pending,
                false => Poll::Ready(()),
            })
            .await;
        }
        let left = self.left.fetch_sub(1, Ordering::Relaxed);
        if left > 0 {
            return work.await;
        }
        if left == 0 && self.is_after {
            work.await;
        }
        std::future::pending().await
    }
}

impl Store for Fuse<'_> {
    async fn create(
        &self,
        name: &str,
        bytes: Bytes,
        until: Option<Until>,
    ) -> Result<Created, StoreError> {
        if self.left.load(Ordering::Relaxed) >= 0
            && (name.starts_with('d') || name.starts_with('p'))
        {
            self.sent.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        }
        self.pass(self.inner.create(name, bytes, until)).await
    }

    async fn read(&self, name: &str, range: std::ops::Range<u64>) -> Result<Bytes, StoreError> {
        self.pass(self.inner.read(name, range)).await
    }

    async fn head(&self, name: &str) -> Result<Option<u64>, StoreError> {
        self.pass(self.inner.head(name)).await
    }

    async fn list(&self, folder: &str, after: &str, limit: usize) -> Result<Listing, StoreError> {
        self.pass(self.inner.list(folder, after, limit)).await
    }

    async fn locked_until(&self, name: &str) -> Result<Option<Until>, StoreError> {
        self.pass(self.inner.locked_until(name)).await
    }

    async fn extend(&self, name: &str, until: Until) -> Result<(), StoreError> {
        self.pass(self.inner.extend(name, until)).await
    }

    async fn delete(&self, name: &str) -> Result<(), StoreError> {
        self.pass(self.inner.delete(name)).await
    }
}

/// Polls a shipment so many times; `None`: it was killed before it ended.
pub(super) fn ship_until(
    site: &mut Site,
    store: &Fuse<'_>,
    pool: &Pool,
    order: &Order,
    polls: usize,
) -> Option<Result<Shipped, ShipError>> {
    let (mut ids, mut random) = (site.ids(), site.random(77));
    let opened = site.opened.clone();
    let shipping = ship(
        store,
        &opened,
        &mut ids,
        pool,
        order,
        &Unpaced,
        &InPlace,
        &mut random,
        &|_| {},
        &|| false,
    );
    let mut shipping = pin!(shipping);
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..polls {
        if let Poll::Ready(ended) = shipping.as_mut().poll(&mut context) {
            return Some(ended);
        }
    }
    None
}

/// A vault with one shipment, and a pool with more.
fn scene() -> (MemoryStore, Site, Pool, Order) {
    let store = MemoryStore::new();
    let (mut site, mut pool) = (Site::found(&store), Pool::new(POOL));
    pool.back_up(1, 40, 3);
    let order = pool.order();
    site.ship(&store, &pool, &order, 5).unwrap();
    pool.back_up(2, 120, 3);
    pool.back_up(3, 60, 9);
    let mut order = pool.order();
    order.records = vec![record("a", 2)];
    order.records_are_all = true;
    order.round_chunks = 100;
    (store, site, pool, order)
}

fn other_commit(store: &MemoryStore, site: &Site) {
    let opened = now(chain::open(store, Unlock::Master(&site.master), None)).unwrap();
    let mut view = (*opened.view).clone();
    view.made_at += 1;
    now(chain::commit(store, &opened, &view, &site.slots, TERMS, &mut seeded(99))).unwrap();
}

/// After a kill: what is named is there; the next attempt ends; little was sent twice.
fn resume(
    (store, site): (&MemoryStore, &mut Site),
    (pool, order): (&Pool, &Order),
    sent: u64,
    (forgets, is_overtaken): (bool, bool),
    what: &str,
) {
    check(store, site, pool);
    if forgets {
        site.forget_everything();
    }
    if is_overtaken {
        other_commit(store, site);
    }
    site.reopen(store);
    let fuse = Fuse::new(store, i64::MAX, false);
    let ended = ship_until(site, &fuse, pool, order, 1).expect("this store never waits");
    ended.unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(check(store, site, pool), all_points(pool), "{what}");
    let (count, bytes) = stored(store, &site.master);
    let first = count.values().filter(|count| **count > 1).count();
    assert_eq!(first, 0, "{what}: chunks were sent again though they had arrived");
    let (own, twice) = (sent + fuse.sent.into_inner(), order.streams as u64 * (2 << 20));
    assert!(own <= bytes + twice, "{what}: {own} bytes were sent for {bytes}");
}

pub(crate) fn killed_at_every_request() {
    let mut at = 0;
    loop {
        let mut has_ended = false;
        for case in 0..6 {
            let (store, mut site, pool, order) = scene();
            let before = stored(&store, &site.master).1;
            let (is_after, forgets, is_overtaken) = (case % 2 == 1, case / 2 == 1, case / 2 == 2);
            let fuse = Fuse::new(&store, at, is_after);
            has_ended |= ship_until(&mut site, &fuse, &pool, &order, 1).is_some();
            let sent = before + fuse.sent.into_inner();
            let what = format!("request {at}, case {case}");
            let lost = (forgets, is_overtaken);
            resume((&store, &mut site), (&pool, &order), sent, lost, &what);
        }
        at += 1;
        if has_ended {
            break;
        }
    }
    assert!(at > 15, "{at} requests");
}

#[test]
fn a_kill_at_any_request_loses_nothing_and_sends_little_again() {
    killed_at_every_request();
}

#[test]
fn a_kill_at_any_moment_loses_nothing_and_sends_little_again() {
    for seed in 0..200 {
        let (store, mut site, pool, order) = scene();
        let before = stored(&store, &site.master).1;
        let fuse = Fuse::yielding(&store, seed);
        let polls = 1 + (seed as usize * 7) % 150;
        ship_until(&mut site, &fuse, &pool, &order, polls);
        let sent = before + fuse.sent.into_inner();
        let lost = (seed % 2 == 1, seed % 4 > 1);
        resume((&store, &mut site), (&pool, &order), sent, lost, &format!("seed {seed}"));
    }
}

/// Killed again and again, it still gets there.
#[test]
fn one_request_more_each_time_is_enough() {
    let (store, mut site, pool, order) = scene();
    for at in 1..200 {
        site.reopen(&store);
        let fuse = Fuse::new(&store, at, at % 2 == 0);
        if let Some(ended) = ship_until(&mut site, &fuse, &pool, &order, 1) {
            ended.unwrap();
            assert_eq!(check(&store, &site, &pool), all_points(&pool));
            let (count, _) = stored(&store, &site.master);
            assert!(count.values().all(|count| *count == 1));
            return;
        }
        check(&store, &site, &pool);
    }
    panic!("it never ended");
}
