//! Disks that do not belong together: stale ones, halves that were written apart, strangers, twins.

use keelhold_disk::OpenError;
use keelhold_disk::device::DeviceOp;
use keelhold_disk::mutants::Mutants;
use keelhold_disk::pool::RecordChange;
use keelhold_disk::sim::{Fault, FaultRule, Image, When};
use keelhold_disk::units::UnixNanos;
use keelhold_tests::rig::{Rig, campaign, read_point};
use nix::errno::Errno;

use super::Fleet;
use crate::pool::verdict::{Verdict, chain, ensure};

/// A disk that was away while the others went on never decides what the pool is, in whatever order
/// the disks are given.
pub fn stale_never_wins(seed: u64, mutants: Mutants) -> Verdict {
    let disks = 2 + seed as usize % 3;
    let mut fleet = Fleet::new(seed, disks, 2, mutants)?;
    fleet.backup(4)?;
    let all = fleet.rig.disks.clone();
    let gone = seed as usize / 3 % disks;
    let left: Vec<usize> = all.iter().copied().filter(|disk| *disk != gone).collect();
    fleet.reopen_on(&left)?;
    for _ in 0..1 + seed % 3 {
        fleet.backup(3)?;
    }
    let mut back = left;
    back.push(gone);
    if seed.is_multiple_of(2) {
        back.rotate_right(1);
    }
    fleet.reopen_on(&back)?;
    let found: Vec<_> = fleet.pool.points().iter().map(|point| point.id).collect();
    let expected: Vec<_> = fleet.points.iter().map(|(id, _)| *id).collect();
    ensure!(found == expected, "{} of {} points are there", found.len(), expected.len());
    fleet.read_all()?;
    fleet.heal()?;
    fleet.backup(2)?;
    fleet.verify_is_clean()?;
    fleet.read_all()
}

#[test]
fn a_stale_disk_never_wins() {
    for seed in 0..campaign(30) {
        let verdict = stale_never_wins(seed, Mutants::default());
        verdict.unwrap_or_else(|words| panic!("seed {seed}: {words}"));
    }
}

/// Of three disks one fails that has the journal, and the moment something is announced the power
/// goes and the other that had it is lost as well: the journal had moved before.
pub fn journal_follows(seed: u64, mutants: Mutants) -> Verdict {
    let mut fleet = Fleet::new(seed, 3, 2, mutants)?;
    fleet.backup(3)?;
    let failing = seed as usize % 2;
    let op = if seed % 4 < 2 { DeviceOp::Write } else { DeviceOp::Flush };
    let when = When::Nth(seed / 4 % 10);
    let fault = Fault::Error(Errno::EIO);
    fleet.rig.world.add_fault(FaultRule::new(failing, op, when, fault));
    let mut announced = 0u64;
    while fleet.rig.world.faults_struck().is_empty() {
        announced += 1;
        let bytes = Some(announced.to_le_bytes().to_vec());
        let change = RecordChange { name: "value".into(), expected: None, bytes };
        let now = UnixNanos(1 << 40);
        let written = fleet.rig.run(fleet.pool.write_records(vec![change], now));
        written.map_err(|error| format!("record {announced}: {}", chain(&error)))?;
    }
    fleet.rig.world.clear_faults();
    fleet.reopen_on(&[failing, 2])?;
    let found = fleet.pool.record("value").map(|record| record.bytes.to_vec());
    ensure!(found == Some(announced.to_le_bytes().to_vec()), "{found:?}, not {announced}");
    fleet.read_all()
}

#[test]
fn the_journal_moves_before_anything_more_is_announced() {
    for seed in 0..campaign(60) {
        let verdict = journal_follows(seed, Mutants::default());
        verdict.unwrap_or_else(|words| panic!("seed {seed}: {words}"));
    }
}

/// Each half was opened and written without the other: together they are refused, each alone still
/// opens, and nothing was written to either by the attempt.
pub fn split(seed: u64, mutants: Mutants) -> Verdict {
    let mut fleet = Fleet::new(seed, 2, 2, mutants)?;
    fleet.backup(4)?;
    fleet.rig.crash();
    let images = fleet.rig.images();
    let (mut halves, mut points) = (Vec::new(), Vec::new());
    for half in 0..2u64 {
        let image = std::slice::from_ref(&images[half as usize]);
        let mut one = Fleet::over(seed * 2 + half, image, &fleet.points, mutants)?;
        // The halves go on for different lengths, or for the same.
        for _ in 0..=(half * seed % 3) {
            one.backup(2)?;
        }
        one.rig.crash();
        halves.push(one.rig.images().remove(0));
        points.push(one.points);
    }
    if seed.is_multiple_of(2) {
        halves.reverse();
        points.reverse();
    }
    let mut rig = Rig::over(seed, &halves, mutants);
    match rig.open() {
        Err(OpenError::Split { one, other }) => ensure!(one != other, "a disk split from itself"),
        Err(error) => return Err(format!("split halves are refused as {}", chain(&error))),
        Ok(_) => return Err("split halves were put together".into()),
    }
    ensure!(same(&rig.images(), &halves), "a refused opening wrote something");
    for (half, points) in halves.iter().zip(&points) {
        let mut alone = Fleet::over(seed, std::slice::from_ref(half), points, mutants)?;
        alone.read_all()?;
    }
    Ok(())
}

fn same(left: &[Image], right: &[Image]) -> bool {
    left.iter().zip(right).all(|(left, right)| left.to_buf()[..] == right.to_buf()[..])
}

#[test]
fn halves_that_were_written_apart_are_refused() {
    for seed in 0..campaign(20) {
        let verdict = split(seed, Mutants::default());
        verdict.unwrap_or_else(|words| panic!("seed {seed}: {words}"));
    }
}

#[test]
fn strangers_and_twins_are_refused() {
    let mut fleet = Fleet::new(1, 2, 2, Mutants::default()).unwrap();
    fleet.backup(2).unwrap();
    fleet.rig.crash();
    let ours = fleet.rig.images();
    let stranger = Fleet::new(2, 1, 1, Mutants::default()).unwrap().rig.images().remove(0);
    let open = |images: &[Image]| Rig::over(3, images, Mutants::default()).open();
    let foreign = open(&[ours[0].clone(), ours[1].clone(), stranger]);
    assert!(matches!(foreign, Err(OpenError::OtherPool { .. })), "{:?}", foreign.err());
    let twin = open(&[ours[0].clone(), ours[0].clone()]);
    assert!(matches!(twin, Err(OpenError::Twice { .. })), "{:?}", twin.err());
    let swapped =
        Fleet::over(4, &[ours[1].clone(), ours[0].clone()], &fleet.points, Mutants::default());
    swapped.unwrap().read_all().unwrap();
}

/// The power goes at any moment while the pool is opened without one of its disks; then that disk
/// is back. That is no split: nobody was told anything.
#[test]
fn an_opening_that_was_cut_off_splits_nothing() {
    for seed in 0..campaign(60) {
        let mut fleet = Fleet::new(seed, 2, 2, Mutants::default()).unwrap();
        fleet.backup(3).unwrap();
        let all = fleet.rig.disks.clone();
        fleet.rig.crash();
        for turn in 0..3 {
            fleet.rig.disks = vec![all[(seed as usize + turn) % 2]];
            if turn == 1 {
                fleet.rig.disks = all.clone();
            }
            let nanos = 1 + fleet.rig.world.choose(30_000_000);
            fleet.rig.open_at_most(nanos);
            fleet.rig.crash();
        }
        fleet.rig.disks = all;
        match fleet.rig.open() {
            Ok(pool) => {
                for (id, files) in &fleet.points {
                    assert_eq!(
                        fleet.rig.run(read_point(&pool, id)).unwrap(),
                        *files,
                        "seed {seed}"
                    );
                }
            }
            Err(error) => panic!("seed {seed}: {}", chain(&error)),
        }
    }
}
