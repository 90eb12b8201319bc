//! What is in the vault is not sent again.

use super::*;
use crate::store::MemoryStore;

/// Several shipments; every chunk of every point comes back, and each is stored once.
#[test]
fn every_chunk_of_every_point_comes_back() {
    for seed in 0..6 {
        let store = MemoryStore::new();
        let (mut site, mut pool) = (Site::found(&store), Pool::new(POOL));
        for day in 0..5 {
            for class in 0..3 {
                let count = [0, 5, 60, 150][(seed + day + class) as usize % 4];
                pool.back_up(seed * 100 + day * 10 + class, count, class as u8 * 4);
            }
            let mut order = pool.order();
            order.records = vec![record("sources", day + 1)];
            // Every second time the daemon forgot what it knew, or only some of it.
            order.records_are_all = day == 0;
            if seed % 2 == 1 && day > 0 {
                site.forget_everything();
            }
            let shipped = site.ship(&store, &pool, &order, seed).unwrap();
            assert!(shipped.left_out.is_empty() && shipped.manifests == 1);
            assert_eq!(check(&store, &site, &pool), all_points(&pool), "seed {seed} day {day}");
            assert_eq!(site.opened.view.records.len() as u64, day + 1);
        }
        let (count, _) = stored(&store, &site.master);
        assert!(count.values().all(|count| *count == 1), "seed {seed}");
        // Nothing to say: no manifest, no request but none.
        let order = pool.order();
        let shipped = site.ship(&store, &pool, &order, seed).unwrap();
        assert_eq!((shipped.manifests, shipped.requests, shipped.bytes), (0, 0, 0));
    }
}

/// The same content under other numbers, of this pool or of another one: only entries are sent.
#[test]
fn bytes_that_are_there_get_an_entry_and_are_not_sent() {
    for other in [POOL, PoolId([8; 16])] {
        let store = MemoryStore::new();
        let (mut site, mut pool) = (Site::found(&store), Pool::new(POOL));
        pool.back_up(1, 200, 3);
        pool.back_up(2, 100, 3);
        let order = pool.order();
        site.ship(&store, &pool, &order, 1).unwrap();
        let (before, bytes) = stored(&store, &site.master);

        let mut again = Pool::new(other);
        again.next = if other == POOL { pool.next } else { 17 };
        let old: Vec<_> = pool.points.values().cloned().collect();
        for (at, (reach, point)) in old.iter().enumerate() {
            let mut numbers = BTreeMap::new();
            for number in reach {
                let (_, kind, bytes) = pool.chunks[&number].clone();
                numbers.insert(number, again.add(kind, bytes));
            }
            let mut point = point.clone();
            point.point = PointId([at as u8 + 1; 16]);
            point.recipe_number = numbers[&point.recipe_number];
            point.root_page = point.root_page.map(|number| numbers[&number]);
            let reach = numbers.values().copied().collect();
            again.points.insert(point.point, (reach, point));
        }
        let mut order = again.order();
        order.gone = pool.points.keys().copied().collect();
        let shipped = site.ship(&store, &again, &order, 2).unwrap();
        assert_eq!((shipped.chunks, shipped.frame_bytes), (0, 0));
        assert_eq!(again.asked_frames.load(Ordering::Relaxed), 0);
        assert!(shipped.known >= 300);
        assert_eq!(stored(&store, &site.master), (before, bytes));
        assert_eq!(check(&store, &site, &again), all_points(&again));
        assert_eq!(site.opened.view.points.len(), 2);
    }
}

/// A point whose chunks the pool has lost, or that is gone, stays out; the others go.
#[test]
fn a_point_that_cannot_go_keeps_nobody_back() {
    let store = MemoryStore::new();
    let (mut site, mut pool) = (Site::found(&store), Pool::new(POOL));
    for seed in 0..4 {
        pool.back_up(seed, 100, 2);
    }
    let gone = pool.back_up(9, 50, 2);
    let order = pool.order();
    pool.points.remove(&gone.point);
    // A chunk that some of the points need, not all.
    let lost = pool.chunks.keys().copied().find(|number| {
        let needs = pool.points.values().filter(|(reach, _)| reach.contains(*number)).count();
        (2..4).contains(&needs)
    });
    let lost = lost.unwrap();
    pool.lost.insert(lost);
    let shipped = site.ship(&store, &pool, &order, 1).unwrap();
    let out: BTreeSet<_> = (pool.points.iter())
        .filter(|(_, (reach, _))| reach.contains(lost))
        .map(|(p, _)| *p)
        .collect();
    let mut expected: BTreeMap<_, _> =
        out.iter().map(|point| (*point, LeftOut::Lost { first: lost, count: 1 })).collect();
    expected.insert(gone.point, LeftOut::Gone);
    assert_eq!(shipped.left_out, expected);
    assert_eq!(check(&store, &site, &pool), &all_points(&pool) - &out);
    // The pool was healed.
    pool.lost.clear();
    let order = pool.order();
    assert!(site.ship(&store, &pool, &order, 2).unwrap().left_out.is_empty());
    assert_eq!(check(&store, &site, &pool), all_points(&pool));
    let (count, _) = stored(&store, &site.master);
    assert!(count.values().all(|count| *count == 1));
}

/// A long shipment writes manifests on its way, and each of them is true.
#[test]
fn a_long_shipment_is_several_manifests() {
    let store = MemoryStore::new();
    let (mut site, mut pool) = (Site::found(&store), Pool::new(POOL));
    for seed in 0..3 {
        pool.back_up(seed, 400, seed as u8);
    }
    let mut order = pool.order();
    order.round_chunks = 150;
    order.records = vec![record("a", 1)];
    order.records_are_all = true;
    let shipped = site.ship(&store, &pool, &order, 1).unwrap();
    assert!(shipped.manifests >= 4, "{}", shipped.manifests);
    assert_eq!(check(&store, &site, &pool), all_points(&pool));
}

/// Records: all or what changed, never more than eight objects.
#[test]
fn records_are_eight_objects_at_most() {
    let store = MemoryStore::new();
    let (mut site, pool) = (Site::found(&store), Pool::new(POOL));
    for day in 0..20 {
        let mut order = pool.order();
        order.records = vec![record("a", day), record("b", day)];
        order.records_are_all = wants_all_records(&site.opened.view);
        site.ship(&store, &pool, &order, day).unwrap();
        assert!((1..=8).contains(&site.opened.view.records.len()));
        order.records_are_all = false;
        if site.opened.view.records.len() == 8 {
            let refused = site.ship(&store, &pool, &order, day).unwrap_err();
            assert_eq!(refused, ShipError::AllRecordsNeeded);
        }
    }
}

/// Somebody else ships to the vault while we do: ours is given up and nothing of it counts, theirs is
/// whole, and the next try sends nothing of it again.
#[test]
fn somebody_else_who_ships_meanwhile_goes_first() {
    use crate::chain::ChainError;
    for at in [0, 3, 9] {
        let store = MemoryStore::new();
        let (mut site, mut pool) = (Site::found(&store), Pool::new(POOL));
        pool.back_up(1, 300, 3);
        let mut other = Pool::new(PoolId([8; 16]));
        other.back_up(2, 40, 2);
        let (order, their_order) = (pool.order(), other.order());
        let (master, slots) = (site.master.clone(), site.slots.clone());
        let (dir, opened) = (tempfile::tempdir().unwrap(), site.opened.clone());
        let theirs = std::sync::Mutex::new(Site { master, slots, dir, opened, shipments: 0 });
        let asked = AtomicU64::new(0);
        let stop = || {
            if asked.fetch_add(1, Ordering::Relaxed) == at {
                theirs.lock().unwrap().ship(&store, &other, &their_order, 5).unwrap();
            }
            false
        };
        let ended = site.ship_over(&store.kept(), (&pool, &order), 1, 1, &stop).unwrap();
        let is_overtaken = matches!(&ended, Err(ShipError::Chain(ChainError::Overtaken { .. })));
        assert!(is_overtaken, "{ended:?}");
        assert_eq!(check(&store, &site, &other), all_points(&other));
        assert!(check(&store, &site, &pool).is_empty());
        site.reopen(&store);
        let shipped = site.ship(&store, &pool, &order, 2).unwrap();
        assert_eq!((shipped.chunks, shipped.taken_over), (0, pool.chunks.len() as u64));
        assert_eq!(check(&store, &site, &pool), all_points(&pool));
        assert_eq!(check(&store, &site, &other), all_points(&other));
        let (count, _) = stored(&store, &site.master);
        assert!(count.values().all(|count| *count == 1));
    }
}
