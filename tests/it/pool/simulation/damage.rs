//! Damage that no second copy mends. It is done to copies of the disks, so that the life goes on
//! without it: whatever is served from them is right, or an error that says where.

use keelhold_disk::device::DeviceOp;
use keelhold_disk::mutants::Mutants;
use keelhold_disk::sim::{Fault, FaultRule, When};
use keelhold_disk::{OpenError, ReadError};
use keelhold_tests::rig::{Files, Machine, Rig, SimPool, read_point};

use super::model::Model;
use super::tally::Tally;
use super::world::Life;
use crate::pool::content::change_tree;
use crate::pool::verdict::{Verdict, chain, ensure};

const FAULTS: [(DeviceOp, Fault); 6] = [
    (DeviceOp::Read, Fault::BitRot),
    (DeviceOp::Read, Fault::LatentSector),
    (DeviceOp::Read, Fault::StaleRead),
    (DeviceOp::Write, Fault::LostWrite),
    (DeviceOp::Write, Fault::MisdirectedWrite),
    (DeviceOp::Read, Fault::Vanish),
];

/// Adds what struck in this world to the tally.
pub fn count_faults(rig: &Rig, tally: &mut Tally) {
    for ((op, fault), times) in rig.world.faults_struck() {
        let known = tally.faults.get(&format!("{op} {fault}")).copied().unwrap_or(0);
        // The world counts from its beginning: what the tally has is not added again.
        tally.fault(format!("{op} {fault}"), times.saturating_sub(known));
    }
}

pub fn episode(life: &mut Life, mutants: Mutants) -> Verdict {
    let (op, fault) = FAULTS[life.rng.index(FAULTS.len())];
    life.tally.count("episode of damage");
    let seed = life.rng.next_u64();
    life.rig.world.note(seed);
    let mut rig = Rig::over(seed, &life.rig.images(), mutants);
    let disk = life.rng.index(rig.disks.len());
    let when = match (op, fault) {
        // Only what was written since the power came can come back as it was before.
        (_, Fault::StaleRead) => When::Chance(300_000),
        // During the opening, or behind it.
        (DeviceOp::Write, _) => When::Nth(life.rng.below(14)),
        _ => When::Nth(life.rng.below(60)),
    };
    rig.world.add_fault(FaultRule::new(disk, op, when, fault));
    let mut tally = Tally::default();
    let verdict = suffer(&mut rig, life, fault, &mut tally);
    count_faults(&rig, &mut tally);
    life.tally.add(&tally);
    verdict.map_err(|words| format!("{} by a {op} of disk {disk}, {when:?}: {words}", fault.name()))
}

fn suffer(rig: &mut Rig, life: &mut Life, fault: Fault, tally: &mut Tally) -> Verdict {
    let pool = match rig.open() {
        Ok(pool) => pool,
        Err(error) => return refused(&error, fault, tally),
    };
    read_all(rig, &pool, &life.model, fault, tally)?;
    let Some(point) = life.model.points.last() else {
        return Ok(());
    };
    let mut machine = Machine::new(point.source.0[0]);
    let basis = life.model.newest(point.source).map(|point| (point.id, point.files.clone()));
    machine.basis = basis;
    let mut files = point.files.clone();
    change_tree(&mut files, &mut life.rng, 1500);
    let now = rig.now();
    let backup = rig.run(machine.backup(&pool, &files, now));
    match &backup {
        Ok(point) => read(rig, &pool, (&point.id, &files), fault, tally)?,
        Err(_) => tally.outcome("backup refused"),
    }
    if fault == Fault::StaleRead || life.rng.below(3) == 0 {
        let report = rig.run(pool.verify(|_, _| {}));
        for finding in &report.findings {
            names_place(&finding.error)?;
        }
    }
    // What a lost write did is seen when nothing is cached any more.
    rig.crash();
    let pool = match rig.open() {
        Ok(pool) => pool,
        Err(error) => return refused(&error, fault, tally),
    };
    let there = pool.points();
    for point in &life.model.points {
        let found = there.iter().any(|found| found.id == point.id);
        ensure!(found, "point {} is gone without a word", point.at);
    }
    if let Ok(point) = backup {
        ensure!(there.iter().any(|found| found.id == point.id), "the new point is gone");
        read(rig, &pool, (&point.id, &files), fault, tally)?;
    }
    read_all(rig, &pool, &life.model, fault, tally)
}

fn read_all(
    rig: &mut Rig,
    pool: &SimPool,
    model: &Model,
    fault: Fault,
    tally: &mut Tally,
) -> Verdict {
    for point in model.points.iter().rev().take(2) {
        read(rig, pool, (&point.id, &point.files), fault, tally)?;
    }
    Ok(())
}

/// Right bytes or an error, and one that says where.
fn read(
    rig: &mut Rig,
    pool: &SimPool,
    (id, files): (&keelhold_disk::units::PointId, &Files),
    _fault: Fault,
    tally: &mut Tally,
) -> Verdict {
    match rig.run(read_point(pool, id)) {
        Ok(read) => {
            ensure!(read == *files, "wrong bytes were served");
            tally.outcome("read right");
            Ok(())
        }
        Err(error) => {
            tally.outcome("read refused");
            names_place(&error)
        }
    }
}

fn refused(error: &OpenError, _fault: Fault, tally: &mut Tally) -> Verdict {
    tally.outcome("opening refused");
    match error {
        OpenError::Read(error) | OpenError::NoCheckpoint(error) => names_place(error),
        OpenError::Device { .. } | OpenError::Commit(_) => Ok(()),
        other => Err(format!("one fault, and the pool says: {}", chain(other))),
    }
}

/// Every error names a disk, and what is damaged names the byte.
fn names_place(error: &ReadError) -> Verdict {
    let named = error.place().is_some() || matches!(error, ReadError::Device { .. });
    ensure!(named, "an error without a place: {}", chain(error));
    Ok(())
}
