//! Compaction over damage: what cannot be proved is not moved, and its container stays.

use keelhold_disk::mutants::Mutants;
use keelhold_disk::pool::{ReclaimOptions, ReclaimReport};
use keelhold_disk::sim::Image;
use keelhold_disk::units::{PointId, UnixNanos};
use keelhold_tests::rig::{Files, Machine, Rig, SimPool, read_point};

use crate::pool::content::noise;
use crate::pool::verdict::{Verdict, chain, ensure};

const NOW: UnixNanos = UnixNanos(100);
const ALL: ReclaimOptions = ReclaimOptions { least_dead: 5, confirmed: false };

/// A pool in which a container with one flipped byte in a live chunk was compacted as far as it could
/// be.
struct Compacted {
    rig: Rig,
    pool: SimPool,
    kept: PointId,
    /// Position of the disk that has the damage.
    disk: usize,
    report: ReclaimReport,
}

fn compacted(disks: usize, mutants: Mutants) -> Verdict<Compacted> {
    let mut rig = Rig::new(11, disks, mutants);
    let pool = rig.create().map_err(|error| chain(&error))?;
    let (mut one, mut two) = (Machine::new(1), Machine::new(2));
    let (mut kept, mut gone) = (Files::new(), Vec::new());
    for n in 0..6u64 {
        kept.insert(format!("kept/{n}"), noise(n, 2500));
        let point = rig.run(one.backup(&pool, &kept, UnixNanos(1 + n as i64)));
        point.map_err(|error| chain(&error))?;
        let other = Files::from([(format!("gone/{n}"), noise(90 + n, 9000))]);
        let point = rig.run(two.backup(&pool, &other, UnixNanos(1 + n as i64)));
        gone.push(point.map_err(|error| chain(&error))?.id);
    }
    rig.run(pool.clone().close(NOW)).map_err(|error| chain(&error))?;
    rig.end();
    let needle = noise(3, 2500)[1000..1032].to_vec();
    let mut images = rig.images();
    let at = |image: &Image| {
        let mut bytes = vec![0; image.size() as usize];
        image.read(0, &mut bytes);
        find(&bytes, &needle)
    };
    let found = images.iter().enumerate().find_map(|(disk, image)| Some((disk, at(image)?)));
    let (disk, at) = found.ok_or("the kept file is nowhere on the disks")?;
    images[disk].damage(at as u64, |byte| *byte ^= 0x40);
    let mut rig = Rig::over(12, &images, mutants);
    let pool = rig.open().map_err(|error| chain(&error))?;
    rig.run(pool.forget(&gone, NOW, NOW)).map_err(|error| chain(&error))?;
    let report = rig.run(pool.reclaim(ALL, NOW)).map_err(|error| chain(&error))?;
    ensure!(report.containers_compacted > 0, "nothing was compacted: {report:?}");
    let kept = pool.newest_point(&one.source).ok_or("the kept point is gone")?;
    Ok(Compacted { rig, pool, kept, disk, report })
}

/// What is damaged is not moved, and not read as sound.
pub fn flipped_and_compacted(mutants: Mutants) -> Verdict {
    let Compacted { mut rig, pool, kept, report, .. } = compacted(1, mutants)?;
    ensure!(!report.damaged.is_empty(), "damage was moved and not noticed");
    let read = rig.run(read_point(&pool, &kept));
    ensure!(read.is_err_and(|error| error.place().is_some()), "damage was read as sound");
    let findings = rig.run(pool.verify(|_, _| {})).findings;
    let touched: Vec<_> = findings.iter().flat_map(|finding| finding.points.clone()).collect();
    ensure!(touched.contains(&kept), "verify does not name the point: {findings:?}");
    Ok(())
}

fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len()).position(|window| window == needle)
}

#[test]
fn what_is_damaged_is_not_moved() {
    flipped_and_compacted(Mutants::default()).unwrap_or_else(|words| panic!("{words}"));
}

/// The container with the damage stays behind with one run that is needed, is copied with that one
/// alone, and is given up all the same when nothing needs that either.
#[test]
fn a_copy_that_lacks_runs_is_freed() {
    let Compacted { mut rig, pool, disk, .. } = compacted(2, Mutants::default()).unwrap();
    let id = pool.status().disks[disk].id;
    let drained = rig.run(pool.drain_disk(id, NOW)).unwrap();
    assert!(drained.retired && drained.copies_moved > 0, "{drained:?}");
    let faults = |pool: &SimPool| {
        let status = pool.status();
        (status.copies_to_heal, status.disks.iter().map(|disk| disk.mismatches).sum::<u64>())
    };
    for round in 0..2 {
        let before = faults(&pool);
        let points: Vec<PointId> = pool.points().iter().map(|point| point.id).collect();
        rig.run(pool.forget(&points, NOW, NOW)).unwrap();
        let report = rig.run(pool.reclaim(ALL, NOW)).unwrap();
        let status = pool.status();
        println!("round {round}: {report:?}");
        assert_eq!((status.containers_data, status.chunks), (0, 0), "{status:?}");
        assert_eq!(faults(&pool), before, "what lies in a gap counts as a fault");
    }
}
