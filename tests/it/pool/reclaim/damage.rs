//! Compaction over damage: what cannot be proved is not moved, and its container stays.

use keelhold_disk::mutants::Mutants;
use keelhold_disk::pool::ReclaimOptions;
use keelhold_disk::units::UnixNanos;
use keelhold_tests::rig::{Files, Machine, Rig, read_point};

use crate::pool::content::noise;
use crate::pool::verdict::{Verdict, chain, ensure};

/// A byte of a live chunk in a sparse container is flipped; then everything is compacted.
pub fn flipped_and_compacted(mutants: Mutants) -> Verdict {
    let mut rig = Rig::new(11, 1, mutants);
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
    let now = UnixNanos(100);
    rig.run(pool.clone().close(now)).map_err(|error| chain(&error))?;
    rig.end();
    let needle = noise(3, 2500)[1000..1032].to_vec();
    let mut images = rig.images();
    let mut bytes = vec![0; images[0].size() as usize];
    images[0].read(0, &mut bytes);
    let at = find(&bytes, &needle).ok_or("the kept file is nowhere on the disk")?;
    images[0].damage(at as u64, |byte| *byte ^= 0x40);
    let mut rig = Rig::over(12, &images, mutants);
    let pool = rig.open().map_err(|error| chain(&error))?;
    rig.run(pool.forget(&gone, now, now)).map_err(|error| chain(&error))?;
    let options = ReclaimOptions { least_dead: 5, confirmed: false };
    let report = rig.run(pool.reclaim(options, now)).map_err(|error| chain(&error))?;
    ensure!(report.containers_compacted > 0, "nothing was compacted: {report:?}");
    ensure!(!report.damaged.is_empty(), "damage was moved and not noticed");
    let newest = pool.newest_point(&one.source).ok_or("the kept point is gone")?;
    let read = rig.run(read_point(&pool, &newest));
    ensure!(read.is_err_and(|error| error.place().is_some()), "damage was read as sound");
    let findings = rig.run(pool.verify(|_, _| {})).findings;
    let touched: Vec<_> = findings.iter().flat_map(|finding| finding.points.clone()).collect();
    ensure!(touched.contains(&newest), "verify does not name the point: {findings:?}");
    Ok(())
}

fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len()).position(|window| window == needle)
}

#[test]
fn what_is_damaged_is_not_moved() {
    flipped_and_compacted(Mutants::default()).unwrap_or_else(|words| panic!("{words}"));
}
