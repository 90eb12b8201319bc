//! Leases over a store that has locks and a clock.

use std::sync::atomic::Ordering;

use super::*;
use crate::format::Name;
use crate::random::seeded;
use crate::ship::tests::{Pool, Site};
use crate::store::Store;
use crate::testing::world::World;
use crate::testing::{POOL, now};

const SECOND: i64 = 1_000_000_000;
const DAY: i64 = 86_400 * SECOND;
/// Requests to extend that a failing store still answers.
const ANSWERED: i64 = 2;

fn terms(at: i64) -> Terms {
    let classes = (0..16).map(|class| (Class::new(class).unwrap(), 400 * DAY)).collect();
    Terms { now: at, lease: LEASE_DEFAULT, expiry: classes, streams: 4 }
}

/// Four months of daily shipments: what the newest manifest promises holds, and no object is extended more
/// than once in half a lease. Returns how many requests extended locks, and the days with more of them
/// than a failing store answers.
fn four_months(fails_at: Option<i64>) -> (u64, Vec<i64>) {
    let world = World::new();
    let (mut site, mut pool) = (Site::found(&world), Pool::new(POOL));
    let dir = tempfile::tempdir().unwrap();
    let (mut needed_days, mut busy) = (0, Vec::new());
    for day in 1..=120_i64 {
        world.clock.store(day * 86_400, Ordering::Relaxed);
        if day % 4 == 1 {
            pool.back_up(day as u64, 6, (day % 3) as u8);
        }
        let mut ids = site.ids();
        now(ids.bring_up(&world, &site.master, &site.opened.view)).unwrap();
        let mut book = Book::open(dir.path());
        let terms = terms(day * DAY);
        let mut random = seeded(day as u64);
        if fails_at == Some(day) {
            world.extends_left.store(ANSWERED, Ordering::Relaxed);
        }
        let renewed = now(renew(&world, &site.opened, &ids, &mut book, &terms, &mut random));
        world.extends_left.store(i64::MAX, Ordering::Relaxed);
        let Ok(renewed) = renewed else { continue };
        needed_days += renewed.needed;
        busy.extend((renewed.extended > ANSWERED as u64).then_some(day));
        let mut order = pool.order();
        (order.now, order.witnessed, order.locks) = (day * DAY, day * DAY, renewed.locks);
        let before = world.extends.load(Ordering::Relaxed);
        site.ship(&world, &pool, &order, day as u64).unwrap();
        assert_eq!(world.extends.load(Ordering::Relaxed), before);
        for lock in &site.opened.view.locks {
            let locked = |name: &str| {
                let until = now(world.locked_until(name)).unwrap().map_or(0, |until| until.0);
                assert!(until * SECOND >= lock.until, "day {day}: {name} until {until}, {lock:?}");
            };
            let mut ids = site.ids();
            now(ids.bring_up(&world, &site.master, &site.opened.view)).unwrap();
            let of_class = |object: &&crate::format::ObjectRef| object.class == lock.class;
            let objects = ids.object_refs();
            objects
                .iter()
                .filter(of_class)
                .for_each(|object| locked(&Name::of(object).to_string()));
            let view = &site.opened.view;
            view.indexes.iter().for_each(|index| locked(&Name::of(&index.object).to_string()));
        }
    }
    let extends = world.extends.load(Ordering::Relaxed);
    // Half a lease is fifteen days; the first days have nothing to extend.
    assert!(extends * 15 <= needed_days + 15 * 40, "{extends} of {needed_days}");
    (extends, busy)
}

#[test]
fn what_is_promised_is_locked() {
    let (extends, _) = four_months(None);
    assert!(extends > 100, "{extends}");
    println!("{extends} requests to extend");
}

fn failing(days: &[i64]) {
    assert!(days.len() > 2, "{days:?}: next to nothing fails");
    days.iter().take(3).for_each(|day| {
        four_months(Some(*day));
    });
}

#[test]
fn what_could_not_be_extended_is_not_promised() {
    failing(&four_months(None).1);
}

#[cfg(feature = "mutants")]
#[test]
fn promising_before_extending_is_noticed() {
    use crate::mutants::{Mutant, without};
    let days = four_months(None).1;
    let failing = || failing(&days);
    let survived = without(Mutant::LeaseFirst, || std::panic::catch_unwind(failing).is_ok());
    assert!(!survived);
}

/// A book that is damaged or lost costs questions.
#[test]
fn a_lost_book_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let mut book = Book::open(dir.path());
    book.note("d/1", crate::store::Until(7));
    book.save().unwrap();
    assert_eq!(Book::open(dir.path()).until("d/1"), Some(crate::store::Until(7)));
    let path = dir.path().join("locks");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("7 d", "9 d")).unwrap();
    assert_eq!(Book::open(dir.path()).until("d/1"), None);
}
