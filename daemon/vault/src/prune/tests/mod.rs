//! Histories with shipments, interruptions, lies and deletions: no held manifest ever loses a chunk.

mod history;
#[cfg(feature = "mutants")]
mod mutants;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::*;
use crate::chain::{self, Opened, Unlock};
use crate::format::{Manifest, Name};
use crate::random::{Random, seeded};
use crate::ship::tests::{Pool, Reader, Site};
use crate::store::Store;
use crate::testing::world::{Telling, World};
use crate::testing::{POOL, now};

pub(super) const DAY: i64 = 86_400 * 1_000_000_000;

pub(super) fn terms(witnessed: i64) -> Terms {
    Terms { witnessed, margin: MARGIN_DEFAULT, forecast: None, confirmed: true }
}

/// What really happened: every manifest, and when it was made.
#[derive(Default)]
pub(super) struct Truth {
    manifests: Vec<(i64, Arc<Manifest>)>,
}

impl Truth {
    pub fn note(&mut self, at: i64, opened: &Opened) {
        if self.manifests.last().is_none_or(|(_, last)| last.number != opened.newest.number) {
            self.manifests.push((at, Arc::clone(&opened.view)));
        }
    }

    /// Everything that was the newest at any moment since then.
    fn held(&self, since: i64) -> impl Iterator<Item = &Arc<Manifest>> {
        let next = self.manifests.iter().skip(1).map(|(at, _)| *at).chain([i64::MAX]);
        let all = self.manifests.iter().zip(next);
        all.filter(move |(_, next)| *next > since).map(|((_, view), _)| view)
    }

    /// Reads every chunk of every point of what is held, and finds the manifests themselves.
    pub fn assert_whole(&self, world: &World, site: &Site, pool: &Pool, at: i64) {
        let mut reader = Reader::new(&world.inner, &site.master);
        for view in self.held(at - MARGIN_DEFAULT) {
            let name = Name::Manifest(view.number).to_string();
            assert!(now(world.inner.head(&name)).unwrap().is_some(), "{name}");
            for record in &view.records {
                let name = Name::of(&record.object).to_string();
                assert!(now(world.inner.head(&name)).unwrap().is_some(), "{name}");
            }
            for point in &view.points {
                reader.check_point(view, pool, point);
            }
        }
    }
}

pub(super) fn run(world: &World, site: &Site, terms: &Terms) -> Result<Pruned, PruneError> {
    let opened = now(chain::open(world, Unlock::Master(&site.master), None))?;
    let facts = now(gather(world, &opened, terms))?;
    let wanted = plan(&facts);
    now(carry_out(world, &wanted, terms, &mut |_| {}))
}

/// A damaged leaf of a held manifest ends the run before anything is deleted.
fn damaged_leaf() {
    let world = World::new();
    let (mut site, mut pool) = (Site::found(&world), Pool::new(POOL));
    pool.back_up(1, 20, 1);
    let mut order = pool.order();
    (order.now, order.witnessed) = (DAY, DAY);
    site.ship(&world, &pool, &order, 1).unwrap();
    let mut truth = Truth::default();
    truth.note(DAY, &site.opened);
    let object = site.opened.view.indexes[0].object;
    let index = Name::of(&object).to_string();
    let bytes = now(world.inner.read(&index, 0..u64::from(object.len))).unwrap();
    let mut damaged = bytes.to_vec();
    damaged[5000] ^= 1;
    world.inner.put(&index, damaged.into());
    let ran = run(&world, &site, &terms(60 * DAY));
    assert!(matches!(ran, Err(PruneError::Index { .. })), "{ran:?}");
    let names = now(world.inner.list("", "", 1000)).unwrap();
    assert!(names.entries.iter().any(|entry| entry.name.starts_with("d/")));
}

#[test]
fn what_cannot_be_read_ends_the_run() {
    damaged_leaf();
}

/// What a shipment under way has sent stays, however old it looks.
fn under_way() {
    let world = World::new();
    let (mut site, mut pool) = (Site::found(&world), Pool::new(POOL));
    pool.back_up(1, 40, 1);
    let mut order = pool.order();
    (order.now, order.witnessed) = (DAY, DAY);
    // Before the index, and the manifest.
    let whole = World::new();
    let mut other = Site::found(&whole);
    let begun = whole.requests();
    other.ship(&whole, &pool, &order, 1).unwrap();
    let all = whole.requests() - begun;
    world.left.store(all as i64 - 4, Ordering::Relaxed);
    assert!(site.ship(&world, &pool, &order, 1).is_err());
    world.left.store(i64::MAX, Ordering::Relaxed);
    let names = now(world.inner.list("", "", 1000)).unwrap().entries;
    assert!(names.iter().any(|entry| entry.name.starts_with("d/")));
    run(&world, &site, &terms(90 * DAY)).unwrap();
    assert_eq!(now(world.inner.list("", "", 1000)).unwrap().entries, names);
}

#[test]
fn a_shipment_under_way_keeps_what_it_sent() {
    under_way();
}

#[test]
fn more_than_was_expected_asks() {
    let mut terms = terms(0);
    terms.confirmed = false;
    let mut plan = Plan { bytes: 20, total: 100, ..Plan::default() };
    assert_eq!(plan.brake(&terms), Ok(()));
    plan.bytes = 21;
    let refused = PruneError::TooMuch { bytes: 21, total: 100, forecast: None };
    assert_eq!(plan.brake(&terms), Err(refused));
    (plan.bytes, terms.forecast) = (20, Some(9));
    assert!(plan.brake(&terms).is_err());
    terms.forecast = Some(10);
    assert_eq!(plan.brake(&terms), Ok(()));
    (plan.bytes, terms.confirmed) = (90, true);
    assert_eq!(plan.brake(&terms), Ok(()));
}
