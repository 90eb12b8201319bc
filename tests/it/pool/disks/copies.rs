//! Two copies: one disk less changes nothing for who reads; damage in one copy is found, served
//! around and healed; in both it is told exactly.

use std::collections::BTreeMap;

use keelhold_disk::device::DeviceOp;
use keelhold_disk::mutants::Mutants;
use keelhold_disk::sim::{Fault, FaultRule, Image, Rng, When};
use keelhold_disk::units::{DiskId, PointId};
use keelhold_tests::rig::{Files, Rig, campaign, read_point};
use nix::errno::Errno;

use super::Fleet;
use crate::pool::verdict::{Verdict, chain, ensure};

/// A disk is away: everything is served and taken; it comes back and is brought up to date.
pub fn away_and_back(seed: u64, disks: usize, mutants: Mutants) -> Verdict {
    let mut fleet = Fleet::new(seed, disks, 2, mutants)?;
    for _ in 0..3 {
        fleet.backup(4)?;
    }
    let all: Vec<usize> = fleet.rig.disks.clone();
    let gone = seed as usize % disks;
    let left: Vec<usize> = all.iter().copied().filter(|disk| *disk != gone).collect();
    fleet.reopen_on(&left)?;
    let status = fleet.pool.status();
    ensure!(status.degraded, "a missing disk is no news");
    fleet.read_all()?;
    for _ in 0..3 {
        fleet.backup(4)?;
    }
    fleet.read_all()?;
    fleet.verify_is_clean()?;
    fleet.reopen_on(&all)?;
    fleet.read_all()?;
    fleet.heal()?;
    let status = fleet.pool.status();
    ensure!(status.bytes_single == 0 && !status.degraded, "still degraded: {status:?}");
    fleet.verify_is_clean()?;
    // Any other disk may go now.
    let gone = (gone + 1) % disks;
    let left: Vec<usize> = all.iter().copied().filter(|disk| *disk != gone).collect();
    fleet.reopen_on(&left)?;
    fleet.read_all()
}

#[test]
fn a_disk_that_is_away_is_missed_by_nobody() {
    for seed in 0..campaign(12) {
        let disks = 2 + seed as usize % 3;
        let verdict = away_and_back(seed, disks, Mutants::default());
        verdict.unwrap_or_else(|words| panic!("seed {seed}, {disks} disks: {words}"));
    }
}

/// Any operation of one disk fails, once or from then on, beside two streams: with two copies no
/// session fails.
fn fail_nth(seed: u64, op: DeviceOp, nth: u64, sticky: bool, mutants: Mutants) -> Verdict {
    let mut fleet = Fleet::new(seed, 2 + seed as usize % 2, 2, mutants)?;
    fleet.backup(3)?;
    let disk = seed as usize / 2 % fleet.rig.disks.len();
    let when = if sticky { When::FromNth(nth) } else { When::Nth(nth) };
    fleet.rig.world.add_fault(FaultRule::new(disk, op, when, Fault::Error(Errno::EIO)));
    for _ in 0..3 {
        fleet.backup(3)?;
    }
    fleet.read_all()?;
    fleet.rig.world.clear_faults();
    let all = fleet.rig.disks.clone();
    fleet.reopen_on(&all)?;
    fleet.read_all()?;
    fleet.heal()?;
    fleet.verify_is_clean()?;
    ensure!(!fleet.pool.status().degraded, "still degraded");
    fleet.backup(2)?;
    fleet.read_all()
}

#[test]
fn with_two_copies_no_failing_operation_fails_a_session() {
    let mut cases = 0;
    for op in [DeviceOp::Write, DeviceOp::Flush, DeviceOp::Read] {
        for nth in 0..campaign(25) {
            for sticky in [false, true] {
                let seed = nth * 2 + u64::from(sticky);
                let verdict = fail_nth(seed, op, nth, sticky, Mutants::default());
                verdict.unwrap_or_else(|words| {
                    panic!("{op} {nth} fails, sticky {sticky}, seed {seed}: {words}")
                });
                cases += 1;
            }
        }
    }
    println!("failing operations: {cases} cases, no session failed, all healed");
}

/// Disk, what it is, offset and length.
type Bytes = (usize, &'static str, u64, u64);

/// A pool at rest with two copies of everything, what lies where, and what is in it.
struct Target {
    images: Vec<Image>,
    points: Vec<(PointId, Files)>,
    claims: Vec<Bytes>,
}

fn target(seed: u64, mutants: Mutants) -> Verdict<Target> {
    let mut fleet = Fleet::new(seed, 2 + seed as usize % 2, 2, mutants)?;
    for _ in 0..4 {
        fleet.backup(5)?;
    }
    let all = fleet.rig.disks.clone();
    fleet.reopen_on(&all)?;
    let places: BTreeMap<DiskId, usize> =
        fleet.pool.status().disks.iter().zip(&all).map(|(disk, at)| (disk.id, *at)).collect();
    let claims = fleet.rig.run(fleet.pool.claims());
    let claims = claims
        .into_iter()
        .map(|claim| (places[&claim.place.disk], claim.what, claim.place.offset, claim.len));
    let claims = claims.collect();
    fleet.rig.crash();
    Ok(Target { images: fleet.rig.images(), points: fleet.points, claims })
}

/// Damages one copy of something: verify finds it, reads pass it by, heal mends it. The unhealed
/// pool still gives right bytes.
fn damage_one(target: &Target, seed: u64, mutants: Mutants) -> Verdict<&'static str> {
    let mut rng = Rng::new(seed);
    let (disk, what, offset, len) = target.claims[rng.index(target.claims.len())];
    let mut images = target.images.clone();
    let at = offset + rng.below(len.max(1));
    images[disk].damage(at, |byte| *byte ^= 1 << (seed % 8));
    let named = |words: String| format!("{what} on disk {disk} at {at}: {words}");
    let mut fleet = Fleet::over(seed, &images, &target.points, mutants).map_err(named)?;
    fleet.read_all().map_err(named)?;
    let report = fleet.rig.run(fleet.pool.verify(|_, _| {}));
    // Opening writes superblocks, and behind its checkpoint older state and journal are nobody's.
    let lasting = ["run directory", "frame", "container header", "container footer", "label"];
    let is_state = report.findings.is_empty();
    if is_state && lasting.contains(&what) {
        let opened = fleet.rig.run(fleet.pool.claims());
        let still = opened.iter().any(|claim| {
            claim.what == what
                && claim.place.offset == offset
                && fleet.pool.status().disks[disk].id == claim.place.disk
        });
        ensure!(!still, "{what} on disk {disk} at {at} was not found");
    }
    for finding in &report.findings {
        ensure!(finding.chunks.is_empty(), "{}", named(format!("chunks lost: {finding:?}")));
    }
    fleet.heal().map_err(named)?;
    fleet.verify_is_clean().map_err(named)?;
    let all = fleet.rig.disks.clone();
    for gone in &all {
        let left: Vec<usize> = all.iter().copied().filter(|disk| disk != gone).collect();
        let mut rig = Rig::over(
            seed,
            &left.iter().map(|at| fleet.rig.world.image(*at)).collect::<Vec<_>>(),
            mutants,
        );
        let pool =
            rig.look().map_err(|error| named(format!("without {gone}: {}", chain(&error))))?;
        for (id, files) in &fleet.points {
            let read = rig.run(read_point(&pool, id));
            let read = read.map_err(|error| named(format!("without {gone}: {}", chain(&error))))?;
            ensure!(read == *files, "{}", named("other bytes".into()));
        }
    }
    Ok(if report.findings.is_empty() { "gone with the old root" } else { what })
}

pub fn damages(cases: u64, mutants: Mutants) -> Verdict<BTreeMap<&'static str, u64>> {
    let targets = (0..4).map(|seed| target(seed, mutants)).collect::<Verdict<Vec<_>>>()?;
    let mut found: BTreeMap<&'static str, u64> = BTreeMap::new();
    for seed in 0..cases {
        let kind = damage_one(&targets[seed as usize % targets.len()], seed, mutants);
        *found.entry(kind.map_err(|words| format!("seed {seed}: {words}"))?).or_default() += 1;
    }
    Ok(found)
}

#[test]
fn damage_in_one_copy_is_found_and_healed() {
    let found = damages(campaign(500), Mutants::default());
    println!(
        "damage in one copy: {:?}, all healed",
        found.unwrap_or_else(|words| panic!("{words}"))
    );
}

impl Target {
    fn bytes(&self, (disk, _, offset, len): Bytes) -> Vec<u8> {
        let (start, end) = (offset / 4096 * 4096, (offset + len).next_multiple_of(4096));
        let mut bytes = vec![0; (end - start) as usize];
        self.images[disk].read(start, &mut bytes);
        bytes[(offset - start) as usize..][..len as usize].to_vec()
    }

    /// Frames that lie on two disks, both places of each.
    fn twins(&self) -> Vec<(Bytes, Bytes)> {
        let frames: Vec<Bytes> =
            self.claims.iter().copied().filter(|claim| claim.1 == "frame").collect();
        let mut twins = Vec::new();
        for (at, frame) in frames.iter().enumerate() {
            let content = self.bytes(*frame);
            let same = |other: &&Bytes| other.0 != frame.0 && self.bytes(**other) == content;
            if let Some(other) = frames[at + 1..].iter().find(same) {
                twins.push((*frame, *other));
            }
        }
        twins
    }
}

/// Every frame is damaged, now in one copy, now in the other: each run is healed from that which is
/// sound.
pub fn crosswise(seed: u64, mutants: Mutants) -> Verdict {
    let target = target(seed, mutants)?;
    let mut images = target.images.clone();
    let mut rng = Rng::new(seed);
    for (one, other) in target.twins() {
        let (disk, _, offset, len) = if rng.below(2) == 0 { one } else { other };
        images[disk].damage(offset + rng.below(len), |byte| *byte ^= 4);
    }
    let mut fleet = Fleet::over(seed, &images, &target.points, mutants)?;
    fleet.read_all()?;
    let report = fleet.rig.run(fleet.pool.verify(|_, _| {}));
    ensure!(report.findings.iter().all(|found| found.chunks.is_empty()), "chunks are lost");
    fleet.heal()?;
    fleet.verify_is_clean()?;
    fleet.read_all()
}

#[test]
fn damage_here_and_there_is_healed_run_by_run() {
    for seed in 0..campaign(12) {
        let verdict = crosswise(seed, Mutants::default());
        verdict.unwrap_or_else(|words| panic!("seed {seed}: {words}"));
    }
}

/// The same frame damaged in both copies: told exactly, and nothing else is lost.
#[test]
fn damage_in_both_copies_is_told_exactly() {
    let target = target(3, Mutants::default()).unwrap_or_else(|words| panic!("{words}"));
    let mut cases = 0;
    for (one, other) in target.twins().into_iter().take(campaign(40) as usize) {
        let mut images = target.images.clone();
        images[one.0].damage(one.2 + one.3 / 2, |byte| *byte ^= 1);
        images[other.0].damage(other.2 + other.3 / 3, |byte| *byte ^= 2);
        let Ok(mut fleet) = Fleet::over(1, &images, &target.points, Mutants::default()) else {
            continue;
        };
        let report = fleet.rig.run(fleet.pool.verify(|_, _| {}));
        let lost: Vec<_> =
            report.findings.iter().filter(|found| !found.chunks.is_empty()).collect();
        if lost.is_empty() {
            continue;
        }
        cases += 1;
        for (id, files) in &target.points {
            let told = lost.iter().any(|found| found.points.contains(id));
            match fleet.rig.run(read_point(&fleet.pool, id)) {
                Ok(read) => assert_eq!(read, *files),
                Err(error) => assert!(told, "{} and nobody said so", chain(&error)),
            }
        }
        let healed = fleet.rig.run(fleet.pool.heal()).unwrap();
        assert!(!healed.unhealed.is_empty(), "damage without a sound copy counts as healed");
    }
    assert!(cases > 5, "{cases} cases");
    println!("damage in both copies: {cases} cases told");
}
