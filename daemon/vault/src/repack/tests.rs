//! Points stay whole, what dies is let go, and a run that is killed sends next to nothing twice.

use std::sync::atomic::Ordering;

use super::*;
use crate::chain::Unlock;
use crate::random::seeded;
use crate::ship::tests::{Pool, Reader, Site, all_points, check, id_key};
use crate::testing::world::World;
use crate::testing::{POOL, now};
use crate::work::InPlace;

pub(crate) fn order(at: i64) -> Order {
    Order {
        bar_per_mille: 900,
        bytes: BYTES_DEFAULT,
        object_len: 256 << 10,
        locks: Locks::default(),
        now: at,
        witnessed: at,
        creates_only: true,
    }
}

pub(crate) fn once(
    world: &World,
    site: &mut Site,
    pool: &Pool,
    at: i64,
) -> Result<Repacked, RepackError> {
    let mut live = Live::default();
    for row in &site.opened.view.points {
        live.add(row.point, row.pool, &pool.points[&row.point].0);
    }
    let (mut ids, mut random) = (site.ids(), site.random(77));
    let (opened, order, key) = (site.opened.clone(), order(at), id_key());
    let run = repack(world, &opened, &mut ids, &live, &key, &order, &InPlace, &mut random);
    let repacked = now(run)?;
    site.opened = repacked.opened.clone();
    Ok(repacked)
}

/// A vault with three points of which one has left.
fn vault() -> (World, Site, Pool) {
    let world = World::new();
    let (mut site, mut pool) = (Site::found(&world), Pool::new(POOL));
    let first = pool.back_up(1, 80, 1);
    pool.back_up(2, 20, 1);
    pool.back_up(3, 20, 2);
    let order = pool.order();
    site.ship(&world, &pool, &order, 1).unwrap();
    let mut order = pool.order();
    order.points.retain(|point| point.point != first.point);
    order.gone = vec![first.point];
    site.ship(&world, &pool, &order, 2).unwrap();
    (world, site, pool)
}

#[test]
fn what_lives_is_written_again() {
    let (world, mut site, mut pool) = vault();
    let before = site.opened.clone();
    let repacked = once(&world, &mut site, &pool, 9).unwrap();
    assert!(repacked.let_go > 0 && repacked.chunks > 0, "{repacked:?}");
    // The old view still reads.
    let mut reader = Reader::new(&world.inner, &site.master);
    before.view.points.iter().for_each(|row| reader.check_point(&before.view, &pool, row));
    let left = check(&world, &site, &pool);
    assert_eq!(left.len(), 2);
    pool.points.retain(|point, _| left.contains(point));
    assert_eq!(left, all_points(&pool));
    // A second run finds nothing that got poorer, and shipping goes on.
    pool.back_up(4, 20, 1);
    let order = pool.order();
    site.ship(&world, &pool, &order, 5).unwrap();
    assert_eq!(check(&world, &site, &pool), all_points(&pool));
}

#[test]
fn killed_at_every_request() {
    let (world, mut site, pool) = vault();
    let begun = world.requests();
    let whole = once(&world, &mut site, &pool, 9).unwrap();
    let requests = world.requests() - begun;
    for at in 0..requests as i64 {
        let (world, mut site, pool) = vault();
        world.left.store(at, Ordering::Relaxed);
        let killed = once(&world, &mut site, &pool, 9);
        world.left.store(i64::MAX, Ordering::Relaxed);
        site.reopen(&world);
        check(&world, &site, &pool);
        let again = once(&world, &mut site, &pool, 9).unwrap();
        assert_eq!(check(&world, &site, &pool).len(), 2, "killed at {at}");
        let sent = again.chunks + again.taken_over;
        assert!(
            killed.is_err() && (sent == whole.chunks || sent == 0),
            "killed at {at}: {again:?}"
        );
    }
    println!("{requests} places to be killed at");
}

#[test]
fn nothing_is_dead_before_every_point_is_known() {
    let (world, site, _) = vault();
    let (mut ids, mut random) = (site.ids(), seeded(4));
    let (live, order, key) = (Live::default(), order(9), id_key());
    let opened = now(chain::open(&world, Unlock::Master(&site.master), None)).unwrap();
    let run = repack(&world, &opened, &mut ids, &live, &key, &order, &InPlace, &mut random);
    assert!(matches!(now(run), Err(RepackError::Unknown { .. })));
}
