//! What a shipment costs: requests, bytes, memory, index objects.

use std::sync::atomic::AtomicUsize;

use super::*;
use crate::store::MemoryStore;

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

/// Frames that are held and bodies on their way: so many objects, and what was just read.
#[test]
fn memory_is_bounded_by_streams_and_objects() {
    for streams in [1, 3] {
        let mut pool = Pool::new(POOL);
        pool.back_up(1, 6000, 3);
        let store = MemoryStore::new();
        let mut site = Site::found(&store);
        let mut order = pool.order();
        (order.object_len, order.streams) = (2 << 20, streams);
        let weighing = store.kept().weighing(&pool.held);
        let ended = site.ship_over(&weighing, (&pool, &order), 8, usize::MAX, &|| false);
        assert!(ended.unwrap().unwrap().objects > 20);
        let most = weighing.most.into_inner();
        let object = (2 << 20) + (2 << 20);
        let bound = (streams + 3) * object + (24 << 20);
        assert!(most <= bound, "{most} of {bound}");
        assert_eq!(pool.held.load(Ordering::Relaxed), 0);
        assert_eq!(check(&store, &site, &pool), all_points(&pool));
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
    let stopped = site.ship_over(&store.kept(), (&pool, &order), 1, 1, &stop).unwrap();
    assert_eq!(stopped.unwrap_err(), ShipError::Stopped);
    let shipped = site.ship(&store, &pool, &order, 2).unwrap();
    assert!(shipped.taken_over > 0);
    assert_eq!(shipped.taken_over + shipped.chunks, pool.chunks.len() as u64);
    assert_eq!(check(&store, &site, &pool), all_points(&pool));
}
