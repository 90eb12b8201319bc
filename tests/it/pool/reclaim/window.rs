//! A chunk is given up while somebody looks it up: tried at every moment of a reclaim.

use futures_util::future::join;
use keelhold_disk::mutants::Mutants;
use keelhold_disk::pool::ReclaimOptions;
use keelhold_disk::sim::Image;
use keelhold_disk::units::UnixNanos;
use keelhold_tests::rig::{Files, Machine, Rig, read_point};

use crate::pool::content::noise;
use crate::pool::verdict::{Verdict, chain, ensure};

/// Virtual time between two moments: a fraction of what a read takes.
const STEP_NANOS: u64 = 15_000;
const MOMENTS: u64 = 500;

/// A pool in which one point is due to be dropped, and nothing of it is needed otherwise.
fn stage(mutants: Mutants) -> Verdict<(Vec<Image>, Files)> {
    let mut rig = Rig::new(21, 1, mutants);
    let pool = rig.create().map_err(|error| chain(&error))?;
    let mut machine = Machine::new(1);
    // All of it stands in the entries: no chunk is offered, and the first look-up is for a page.
    let old: Files = (0..40).map(|n| (format!("f{n}"), noise(n, 60))).collect();
    let due = rig.run(machine.backup(&pool, &old, UnixNanos(1))).map_err(|error| chain(&error))?;
    // Fills the container.
    let full: Files = (0..12).map(|n| (format!("f{n}"), noise(90 + n, 4000))).collect();
    let filler = rig.run(Machine::new(2).backup(&pool, &full, UnixNanos(1)));
    let filler = filler.map_err(|error| chain(&error))?;
    let kept: Files = (0..6).map(|n| (format!("kept/{n}"), noise(77 + n, 4000))).collect();
    rig.run(machine.backup(&pool, &kept, UnixNanos(2))).map_err(|error| chain(&error))?;
    let now = UnixNanos(3);
    rig.run(pool.forget(&[due.id, filler.id], now, now)).map_err(|error| chain(&error))?;
    rig.run(pool.close(now)).map_err(|error| chain(&error))?;
    rig.end();
    Ok((rig.images(), old))
}

/// Gives in how many of the moments the chunks were reused.
pub fn every_moment(mutants: Mutants) -> Verdict<u64> {
    let (images, old) = stage(mutants)?;
    let (mut reused, mut freed) = (0, 0);
    for moment in 0..MOMENTS {
        let mut rig = Rig::over(moment, &images, mutants);
        let pool = rig.open().map_err(|error| chain(&error))?;
        let (now, mut machine) = (UnixNanos(9), Machine::new(1));
        let delay = rig.world.sleep(moment * STEP_NANOS);
        let (report, point) = rig.run(join(pool.reclaim(ReclaimOptions::default(), now), async {
            delay.await;
            machine.backup(&pool, &old, now).await
        }));
        let report = report.map_err(|error| chain(&error))?;
        let point = point.map_err(|error| format!("moment {moment}: {}", chain(&error)))?;
        let read = rig.run(read_point(&pool, &point.id));
        let read = read.map_err(|error| format!("moment {moment}: {}", chain(&error)))?;
        ensure!(read == old, "moment {moment}: other bytes");
        freed += u64::from(report.containers_freed > 0);
        reused += u64::from(report.containers_freed == 0);
    }
    ensure!(freed > 10 && reused > 10, "{freed} freed, {reused} reused: the moments miss it");
    Ok(reused)
}

#[test]
fn a_chunk_given_up_while_it_is_looked_up_is_asked_for_again() {
    let reused = every_moment(Mutants::default()).unwrap_or_else(|words| panic!("{words}"));
    println!("{MOMENTS} moments, in {reused} of them the old chunks lived on");
}
