//! The check without the key: no false alarm, also after crashes, and no flipped byte of stored data
//! that it does not find.

use keelhold_disk::ReadError;
use keelhold_disk::mutants::Mutants;
use keelhold_disk::sim::{Image, Rng};
use keelhold_disk::units::UnixNanos;
use keelhold_tests::rig::{Machine, Rig, campaign, wrapping_key};

use crate::pool::content::{change_tree, some_tree};
use crate::pool::verdict::chain;

/// What was found, and what may have been left by a crash.
fn looked(disks: &[Image]) -> [Vec<String>; 2] {
    let mut rig = Rig::over(1, disks, Mutants::default());
    let (_, report) = rig.outside().expect("disks that can be looked at");
    let words = |errors: &[ReadError]| errors.iter().map(|error| chain(error)).collect();
    [words(&report.findings), words(&report.doubtful)]
}

/// A pool with some life behind it.
fn lived(seed: u64, disk_count: usize) -> Rig {
    let mut rng = Rng::new(seed);
    let mut rig = Rig::new(seed, disk_count, Mutants::default());
    rig.key = Some(wrapping_key());
    let mut pool = rig.create().unwrap();
    let mut files = some_tree(seed, 8, 5000);
    for round in 0..6 {
        let mut machine = Machine::new(1);
        change_tree(&mut files, &mut rng, 5000);
        let nanos = 1 + rng.below(60_000_000);
        drop(rig.run_at_most(nanos, machine.backup(&pool, &files, UnixNanos(round))));
        rig.crash();
        let [found, _] = looked(&rig.images());
        assert!(found.is_empty(), "seed {seed}, round {round}: {found:?}");
        pool = rig.open().unwrap();
    }
    let mut machine = Machine::new(2);
    rig.run(async {
        machine.backup(&pool, &some_tree(seed + 1, 30, 6000), UnixNanos(9)).await.unwrap();
        pool.close(UnixNanos(10)).await.unwrap();
    });
    rig.end();
    rig
}

#[test]
fn crashes_are_no_damage_from_outside() {
    for seed in 0..campaign(12) {
        let [found, _] = looked(&lived(seed, 1 + seed as usize % 3).images());
        assert!(found.is_empty(), "seed {seed}: {found:?}");
    }
}

#[test]
fn damage_is_found_without_the_key() {
    let mut rig = lived(2, 1);
    let disks = rig.images();
    let before = rig.outside().unwrap().1;
    let [_, left_by_crashes] = looked(&disks);
    assert!(before.runs > 5 && before.frames > 5 && before.containers > 2, "{before:?}");
    let pool = rig.look().unwrap();
    let claims = rig.run(pool.claims());
    let (mut found, mut missed) = (0, Vec::new());
    let mut rng = Rng::new(9);
    for claim in &claims {
        for _ in 0..campaign(2) {
            let byte = claim.place.offset + rng.below(claim.len);
            let mut altered = disks.clone();
            altered[0].damage(byte, |value| *value ^= 1 << rng.below(8));
            let [sure, doubtful] = looked(&altered);
            match sure.is_empty() && doubtful.len() <= left_by_crashes.len() {
                false => found += 1,
                true => missed.push(claim.what),
            }
        }
    }
    println!("flipped without the key: {found} found, {} missed", missed.len());
    // Where a container has no footer yet, its last run may be what a crash left; only the key tells.
    missed.retain(|what| *what != "run directory" && *what != "journal entry");
    assert!(missed.is_empty(), "missed: {missed:?}");
}
