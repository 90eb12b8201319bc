//! What a checkpoint carries only to save work is lost: it is made again, and nothing else is.

use std::collections::BTreeMap;

use keelhold_disk::mutants::Mutants;
use keelhold_disk::pool::{Claim, ReclaimOptions};
use keelhold_disk::sim::{Image, Rng};
use keelhold_disk::units::{PointId, UnixNanos};
use keelhold_tests::rig::{Files, Machine, Rig, Shape, SimPool, campaign, read_point};

use super::content::{change_tree, noise, some_tree};
use super::outgoing;

struct Still {
    images: Vec<Image>,
    points: BTreeMap<PointId, Files>,
    runs: Vec<Claim>,
    disk: keelhold_disk::units::DiskId,
    /// Containers that hold data.
    containers: u64,
}

/// A pool with a past: points forgotten, containers compacted, a journal behind the checkpoint.
fn still(seed: u64) -> Still {
    let shape = Shape { disk_len: 8 << 20, ..Shape::toy(1) };
    let mut rig = Rig::shaped(seed, shape, Mutants::default());
    let pool = rig.create().unwrap();
    let mut rng = Rng::new(seed);
    let mut points = BTreeMap::new();
    let mut trees: Vec<Files> = (0..3).map(|n| some_tree(seed * 3 + n, 14, 4000)).collect();
    let mut machines = [1, 2, 3].map(Machine::new);
    for round in 0..24i64 {
        let at = rng.index(3);
        change_tree(&mut trees[at], &mut rng, 4000);
        let now = UnixNanos(round + 1);
        let point = rig.run(machines[at].backup(&pool, &trees[at], now)).unwrap();
        points.insert(point.id, trees[at].clone());
        if round % 8 == 7 {
            let bases: Vec<PointId> =
                machines.iter().filter_map(|of| of.basis.as_ref()).map(|(id, _)| *id).collect();
            let gone: Vec<PointId> =
                points.keys().filter(|id| !bases.contains(id)).take(4).copied().collect();
            gone.iter().for_each(|id| drop(points.remove(id)));
            rig.run(pool.forget(&gone, now, now)).unwrap();
            let options = ReclaimOptions { least_dead: 5, confirmed: false };
            rig.run(pool.reclaim(options, now)).unwrap();
        }
    }
    rig.run(pool.checkpoint(UnixNanos(50))).unwrap();
    // The journal tells of one more.
    let files = some_tree(seed + 77, 5, 3000);
    let point = rig.run(machines[0].backup(&pool, &files, UnixNanos(60))).unwrap();
    points.insert(point.id, files);
    rest(rig, pool, points)
}

/// A pool of many containers, nothing in its journal.
fn wide(seed: u64) -> Still {
    let mut rig = Rig::shaped(seed, Shape::toy(1), Mutants::default());
    let pool = rig.create().unwrap();
    let (mut machine, mut points) = (Machine::new(1), BTreeMap::new());
    for round in 0..60u64 {
        let files: Files =
            (0..8).map(|n| (format!("f{n}"), noise(seed << 20 | round << 8 | n, 6000))).collect();
        let point = rig.run(machine.backup(&pool, &files, UnixNanos(round as i64 + 1))).unwrap();
        points.insert(point.id, files);
    }
    rig.run(pool.checkpoint(UnixNanos(90))).unwrap();
    rest(rig, pool, points)
}

fn rest(mut rig: Rig, pool: SimPool, points: BTreeMap<PointId, Files>) -> Still {
    let runs = rig.run(pool.state_runs());
    let status = pool.status();
    let (containers, disk) = (status.containers_data, status.disks[0].id);
    rig.crash();
    Still { images: rig.images(), points, runs, disk, containers }
}

/// Zeros over every copy of what is called so.
fn erase(still: &Still, what: &str) -> Vec<Image> {
    let mut images = still.images.clone();
    let chosen: Vec<&Claim> = still.runs.iter().filter(|claim| claim.what == what).collect();
    assert!(chosen.len() >= 2, "{what}: {} runs", chosen.len());
    for claim in chosen {
        assert_eq!(claim.place.disk, still.disk);
        images[0].write(claim.place.offset, &vec![0; claim.len as usize]);
    }
    images
}

fn everything_is_there(rig: &mut Rig, still: &Still) {
    let pool = rig.open().unwrap();
    for (point, files) in &still.points {
        assert_eq!(rig.run(read_point(&pool, point)).unwrap(), *files);
    }
    rig.run(pool.audit_sets()).unwrap();
    outgoing::reaches_agree(rig, &pool).unwrap();
    // What was made again is saved: the next opening needs nothing of it.
    let files = some_tree(5, 4, 2000);
    rig.run(Machine::new(3).backup(&pool, &files, UnixNanos(90))).unwrap();
    rig.run(pool.close(UnixNanos(91))).unwrap();
    rig.end();
    let pool = rig.open().unwrap();
    rig.run(pool.audit_sets()).unwrap();
    assert!(rig.run(pool.verify(|_, _| {})).findings.is_empty());
}

/// Reads of an opening that writes nothing, and the chunks it finds.
fn look(seed: u64, images: &[Image]) -> (u64, u64) {
    let mut rig = Rig::over(seed, images, Mutants::default());
    let pool = rig.look().unwrap();
    (rig.world.counters(rig.disks[0]).reads, pool.status().chunks)
}

#[test]
fn an_erased_index_is_made_again_from_directories() {
    for seed in 0..campaign(8) {
        println!("seed {seed}");
        let still = still(seed);
        let erased = erase(&still, "index");
        let ((_, sound), (_, chunks)) = (look(seed, &still.images), look(seed, &erased));
        // What compaction left behind in containers that live on may be found again, too.
        assert!(chunks >= sound, "{chunks} of {sound} chunks were found");
        let mut rig = Rig::over(seed, &erased, Mutants::default());
        everything_is_there(&mut rig, &still);
    }
}

#[test]
fn making_an_index_again_reads_directories_and_nothing_else() {
    for seed in 0..3 {
        let still = wide(seed);
        let erased = erase(&still, "index");
        let ((sound_reads, sound), (reads, chunks)) =
            (look(seed, &still.images), look(seed, &erased));
        assert_eq!(chunks, sound, "seed {seed}");
        println!(
            "seed {seed}, {chunks} chunks in {} containers: opened in {sound_reads} reads with the \
             index, in {reads} reads without it",
            still.containers
        );
        // A footer, in two reads, lists the directories of a container; the last ones have none and
        // are read run by run, each with one read. Their frames would be some 500 reads.
        let most = sound_reads + 2 * still.containers + 32;
        assert!(still.containers >= 40, "{} containers", still.containers);
        assert!(reads >= sound_reads + still.containers, "nothing was read");
        assert!(reads <= most, "{reads} reads, {most} would do");
        let mut rig = Rig::over(seed, &erased, Mutants::default());
        everything_is_there(&mut rig, &still);
    }
}

#[test]
fn erased_steps_are_made_again_from_trees() {
    for seed in 0..campaign(8) {
        println!("seed {seed}");
        let still = still(seed);
        let mut rig = Rig::over(seed, &erase(&still, "steps"), Mutants::default());
        everything_is_there(&mut rig, &still);
    }
}
