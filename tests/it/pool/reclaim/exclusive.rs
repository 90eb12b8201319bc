//! What deleting points would free, against what a naive count of whole sets says.

use std::collections::BTreeMap;

use keelhold_disk::mutants::Mutants;
use keelhold_disk::pool::ReclaimOptions;
use keelhold_disk::sim::Rng;
use keelhold_disk::units::{PointId, SourceId, UnixNanos};
use keelhold_tests::rig::{Files, Machine, Rig, SimPool, campaign};
use roaring::RoaringTreemap;

use crate::pool::content::{change_tree, some_tree};

/// What only points in the trash need, in the same way.
fn naive_trash(rig: &mut Rig, pool: &SimPool, sources: &[SourceId]) -> u64 {
    let mut trash = RoaringTreemap::new();
    let mut kept = RoaringTreemap::new();
    for point in pool.points() {
        let set = rig.run(pool.walk_reach(&point.id)).unwrap();
        match point.trashed_until {
            Some(_) => trash |= set,
            None => kept |= set,
        }
    }
    for state in sources.iter().filter_map(|source| pool.working_state(source)) {
        kept |= rig.run(pool.walk_reach(&state.id)).unwrap();
    }
    pool.stored_len(&(trash - kept))
}

/// What each listed point alone needs: every set whole, each held against all others.
fn naive(rig: &mut Rig, pool: &SimPool, sources: &[SourceId]) -> BTreeMap<PointId, u64> {
    let mut holders: Vec<(Option<PointId>, RoaringTreemap)> = Vec::new();
    for point in pool.points().iter().filter(|point| point.trashed_until.is_none()) {
        holders.push((Some(point.id), rig.run(pool.walk_reach(&point.id)).unwrap()));
    }
    for state in sources.iter().filter_map(|source| pool.working_state(source)) {
        holders.push((None, rig.run(pool.walk_reach(&state.id)).unwrap()));
    }
    let mut exclusive = BTreeMap::new();
    for (at, (point, own)) in holders.iter().enumerate() {
        let Some(point) = point else { continue };
        let mut own = own.clone();
        for (other, (_, set)) in holders.iter().enumerate() {
            if other != at {
                own -= set;
            }
        }
        exclusive.insert(*point, pool.stored_len(&own));
    }
    exclusive
}

#[test]
fn the_pool_says_what_a_naive_count_says() {
    for seed in 0..campaign(12) {
        println!("seed {seed}");
        let mut rng = Rng::new(seed);
        let mut rig = Rig::new(seed, 2, Mutants::default());
        let mut pool = rig.create().unwrap();
        let mut machines = [1, 2, 3].map(Machine::new);
        let sources = machines.clone().map(|machine| machine.source);
        let mut trees: [Files; 3] = [0, 1, 2].map(|n| some_tree(seed + n, 6, 3000));
        for round in 0..60i64 {
            let (now, at) = (UnixNanos(round * 10 + 1), rng.index(3));
            match rng.below(9) {
                0..4 => {
                    if rng.below(5) == 0 {
                        trees[at] = trees[rng.index(3)].clone();
                    }
                    change_tree(&mut trees[at], &mut rng, 3000);
                    let commit = keelhold_disk::pool::CommitPoint {
                        working: rng.below(6) == 0,
                        at: now,
                        ..Default::default()
                    };
                    // The basis may have left the pool.
                    let known = machines[at].basis.as_ref().is_some_and(|(id, _)| {
                        pool.point(id).is_some()
                            || pool.working_state(&sources[at]).is_some_and(|of| of.id == *id)
                    });
                    if !known {
                        machines[at].basis = None;
                    }
                    let tree = trees[at].clone();
                    rig.run(machines[at].backup_as(&pool, &tree, commit, now)).unwrap();
                }
                4..6 => {
                    let points = pool.points();
                    let listed: Vec<PointId> = points
                        .iter()
                        .filter(|point| point.trashed_until.is_none())
                        .map(|point| point.id)
                        .collect();
                    if let Some(point) = listed.get(rng.index(listed.len().max(1))) {
                        let until = UnixNanos(now.0 + rng.below(200) as i64);
                        // What the forecast says of one point is what its list entry says.
                        let forecast = pool.forecast(&[*point], 25);
                        let source = pool.point(point).unwrap().source;
                        assert_eq!(forecast.exclusive_len, pool.exclusive(&source)[point]);
                        assert_eq!(forecast.exclusive_len, pool.exclusive_len(&[*point]));
                        rig.run(pool.forget(&[*point], until, now)).unwrap();
                    }
                }
                6 => {
                    let trashed = pool.points().into_iter().find(|point| {
                        point.trashed_until.is_some_and(|until| until > pool.witnessed())
                    });
                    if let Some(point) = trashed {
                        rig.run(pool.undo_forget(&point.id, UnixNanos(0))).unwrap();
                    }
                }
                7 => {
                    rig.run(pool.reclaim(ReclaimOptions::default(), now)).unwrap();
                }
                _ => {
                    rig.crash();
                    pool = rig.open().unwrap();
                }
            }
            if rng.below(3) == 0 {
                let mut found = BTreeMap::new();
                sources.iter().for_each(|source| found.extend(pool.exclusive(source)));
                assert_eq!(found, naive(&mut rig, &pool, &sources), "round {round}");
                assert_eq!(pool.trash_len(), naive_trash(&mut rig, &pool, &sources));
                rig.run(pool.audit_sets()).unwrap();
            }
        }
    }
}
