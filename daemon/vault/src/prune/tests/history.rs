//! Random histories.

use std::collections::BTreeSet;

use super::*;
use crate::ship::ShipError;
use crate::units::PointId;

struct History {
    world: World,
    site: Site,
    pool: Pool,
    truth: Truth,
    gone: BTreeSet<PointId>,
    seed: u64,
    witnessed: i64,
    deleted: usize,
}

impl History {
    fn new(seed: u64) -> Self {
        let world = World::new();
        let (site, pool) = (Site::found(&world), Pool::new(POOL));
        let mut truth = Truth::default();
        truth.note(5, &site.opened);
        let gone = BTreeSet::new();
        Self { world, site, pool, truth, gone, seed, witnessed: 5, deleted: 0 }
    }

    /// Ships what the pool has and retention has not let go; `left` ends it after so many requests.
    fn ship(&mut self, now_is: i64, left: i64) {
        let mut order = self.pool.order();
        order.points.retain(|point| !self.gone.contains(&point.point));
        order.gone = self.gone.iter().copied().collect();
        // The clock may be wrong; what was witnessed never goes back.
        (order.now, order.witnessed) = (now_is, self.witnessed);
        self.world.left.store(left, Ordering::Relaxed);
        let shipped = self.site.ship(&self.world, &self.pool, &order, self.seed);
        self.world.left.store(i64::MAX, Ordering::Relaxed);
        if let Err(error) = shipped {
            assert!(left < i64::MAX, "seed {}: {error}", self.seed);
            assert!(!matches!(error, ShipError::Answer { .. }), "seed {}: {error}", self.seed);
            self.site.reopen(&self.world);
        }
        self.truth.note(self.witnessed, &self.site.opened);
    }

    fn repack(&mut self, left: i64) {
        self.world.left.store(left, Ordering::Relaxed);
        let (world, at) = (&self.world, self.witnessed);
        let ran = crate::repack::tests::once(world, &mut self.site, &self.pool, at);
        self.world.left.store(i64::MAX, Ordering::Relaxed);
        if let Err(error) = ran {
            assert!(left < i64::MAX, "seed {}: {error}", self.seed);
            self.site.reopen(&self.world);
        }
        self.truth.note(self.witnessed, &self.site.opened);
    }

    fn prune(&mut self, left: i64) {
        self.world.left.store(left, Ordering::Relaxed);
        let ran = run(&self.world, &self.site, &terms(self.witnessed));
        self.world.left.store(i64::MAX, Ordering::Relaxed);
        match ran {
            Ok(pruned) => self.deleted += pruned.deleted.len(),
            Err(error) => assert!(left < i64::MAX, "seed {}: {error}", self.seed),
        }
        self.truth.assert_whole(&self.world, &self.site, &self.pool, self.witnessed);
    }

    fn step(&mut self, random: &mut impl Random) {
        let [what, amount, telling] = random.array();
        let clock = self.witnessed - i64::from(amount % 40) * DAY * i64::from(what % 2);
        self.witnessed += i64::from(amount % 5) * DAY + 1;
        *self.world.telling.lock().unwrap() = match telling % 4 {
            0 => Telling::Hides(2 + u64::from(telling % 5)),
            1 => Telling::Invents,
            _ => Telling::Truth,
        };
        let left = if what & 0x40 == 0 { i64::MAX } else { i64::from(amount % 48) };
        match what % 7 {
            0..=2 => {
                let tag = self.seed << 16 | u64::from(amount) << 8 | self.pool.next;
                self.pool.back_up(tag, usize::from(amount % 12) + 1, 1);
                self.ship(clock, left);
            }
            3 => {
                let points: Vec<PointId> = self.pool.points.keys().copied().collect();
                let half = points.into_iter().filter(|point| point.0[0] % 3 == amount % 3);
                self.gone.extend(half);
                self.ship(clock, left);
            }
            4 => self.repack(left),
            _ => self.prune(left),
        }
    }
}

pub(super) fn histories(count: u64) {
    let mut deleted = 0;
    for seed in 0..count {
        let mut history = History::new(seed);
        let mut random = seeded(seed);
        for _ in 0..24 {
            history.step(&mut random);
        }
        history.witnessed += DAY;
        history.prune(i64::MAX);
        deleted += history.deleted;
    }
    assert!(deleted as u64 > 2 * count, "{deleted}");
    println!("{count} histories, {deleted} objects and manifests deleted");
}

#[test]
fn no_held_manifest_loses_a_chunk() {
    histories(200);
}
