//! The uploader is killed: nothing wrong is named, and next to nothing is sent twice.

use super::*;
use crate::store::MemoryStore;

/// A vault with one shipment, and a pool with more.
fn scene() -> (MemoryStore, Site, Pool, Order) {
    scene_of([40, 120, 60], 100)
}

fn scene_of(counts: [usize; 3], round_chunks: usize) -> (MemoryStore, Site, Pool, Order) {
    let store = MemoryStore::new();
    let (mut site, mut pool) = (Site::found(&store), Pool::new(POOL));
    pool.back_up(1, counts[0], 3);
    let order = pool.order();
    site.ship(&store, &pool, &order, 5).unwrap();
    pool.back_up(2, counts[1], 3);
    pool.back_up(3, counts[2], 9);
    let mut order = pool.order();
    order.records = vec![record("a", 2)];
    order.records_are_all = true;
    order.round_chunks = round_chunks;
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
    let whole = store.kept();
    let ended = site.ship_over(&whole, (pool, order), 77, 1, &|| false);
    let ended = ended.expect("this store never waits");
    ended.unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(check(store, site, pool), all_points(pool), "{what}");
    let (count, bytes) = stored(store, &site.master);
    let first = count.values().filter(|count| **count > 1).count();
    assert_eq!(first, 0, "{what}: chunks were sent again though they had arrived");
    let (own, twice) = (sent + whole.sent.into_inner(), order.streams as u64 * (2 << 20));
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
            let killed = store.kept().killed(at, is_after);
            let ended = site.ship_over(&killed, (&pool, &order), 77, 1, &|| false);
            has_ended |= ended.is_some();
            let sent = before + killed.sent.into_inner();
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
    let mut killed = 0;
    for seed in 0..200 {
        let (store, mut site, pool, order) = scene_of([10, 30, 16], 25);
        let before = stored(&store, &site.master).1;
        let slow = store.kept().with(Plan::Done, Turns::Random(AtomicU64::new(seed)));
        let polls = 1 + (seed as usize * 7) % 150;
        let ended = site.ship_over(&slow, (&pool, &order), 77, polls, &|| false);
        killed += usize::from(ended.is_none());
        drop(ended);
        let sent = before + slow.sent.into_inner();
        let lost = (seed % 2 == 1, seed % 4 > 1);
        resume((&store, &mut site), (&pool, &order), sent, lost, &format!("seed {seed}"));
    }
    assert!(killed >= 100, "{killed} of 200 were under way");
}

/// Killed again and again, it still gets there.
#[test]
fn one_request_more_each_time_is_enough() {
    let (store, mut site, pool, order) = scene();
    for at in 1..200 {
        site.reopen(&store);
        let killed = store.kept().killed(at, at % 2 == 0);
        if let Some(ended) = site.ship_over(&killed, (&pool, &order), 77, 1, &|| false) {
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
