//! Every byte of a small pool flipped, one at a time: found by reading or by the check, or shown to
//! lie where no structure claims it. Never a wrong byte served.

use keelhold_disk::mutants::Mutants;
use keelhold_disk::pool::{Claim, RecordChange};
use keelhold_disk::sim::{Image, Rng};
use keelhold_disk::units::{PointId, UnixNanos};
use keelhold_disk::{OpenError, ReadError};
use keelhold_tests::rig::{Files, Machine, Rig, Shape, SimPool, campaign, read_point};

use super::content::{noise, text};
use super::scrub;
use super::simulation::read_part;
use super::verdict::{Verdict, chain, ensure};

/// A pool nobody has open, and what is in it.
pub struct Still {
    pub disks: Vec<Image>,
    pub points: Vec<(PointId, Files)>,
    pub record: Vec<u8>,
    pub claims: Vec<Claim>,
}

/// The smallest pool there can be: one disk, two points, a record, half of it in the journal. With
/// `large`, enough data that a container is sealed.
pub fn still(seed: u64, large: bool, mutants: Mutants) -> Still {
    let shape = Shape { disk_len: 2 << 20, ..Shape::toy(1) };
    let mut rig = Rig::shaped(seed, shape, mutants);
    let pool = rig.create().unwrap();
    let mut machine = Machine::new(1);
    let mut files = Files::new();
    files.insert("etc/a".into(), noise(seed, 1500));
    files.insert("etc/b".into(), text(seed, 2500));
    files.insert("etc/empty".into(), Vec::new());
    if large {
        files.extend((0..12).map(|n| (format!("var/{n}"), noise(seed + n, 6000))));
    }
    let mut points = Vec::new();
    let record = text(seed, 300);
    rig.run(async {
        let first = machine.backup(&pool, &files, UnixNanos(1)).await.unwrap();
        points.push((first.id, files.clone()));
        let change =
            RecordChange { name: "group/a".into(), expected: None, bytes: Some(record.clone()) };
        pool.write_records(vec![change], UnixNanos(2)).await.unwrap();
        pool.checkpoint(UnixNanos(3)).await.unwrap();
        files.insert("etc/c".into(), noise(seed + 99, 700));
        let second = machine.backup(&pool, &files, UnixNanos(4)).await.unwrap();
        points.push((second.id, files));
    });
    rig.crash();
    let disks = rig.images();
    let mut rig = Rig::over(seed, &disks, mutants);
    let pool = rig.look().unwrap();
    let claims = rig.run(pool.claims());
    Still { disks, points, record, claims }
}

impl Still {
    fn claimed(&self, byte: u64) -> Option<&Claim> {
        self.claims
            .iter()
            .find(|claim| (claim.place.offset..claim.place.offset + claim.len).contains(&byte))
    }

    fn claimed_bytes(&self) -> Vec<u64> {
        let mut bytes: Vec<u64> = self
            .claims
            .iter()
            .flat_map(|claim| claim.place.offset..claim.place.offset + claim.len)
            .collect();
        bytes.sort_unstable();
        bytes.dedup();
        bytes
    }

    /// Opens the damaged disks and reads everything. Gives whether the damage was found.
    pub fn judge(&self, disks: &[Image], mutants: Mutants) -> Verdict<bool> {
        let mut rig = Rig::over(1, disks, mutants);
        let pool = match rig.look() {
            Ok(pool) => pool,
            Err(error) => return opening_names_place(&error).map(|()| true),
        };
        // By the routine: what `verify` finds in one go, scrub finds in its steps.
        let findings = scrub::pass(&mut rig, &pool)?;
        let mut found = !findings.is_empty();
        for finding in &findings {
            names_place(&finding.error)?;
        }
        let record = pool.record("group/a").map(|record| record.bytes.to_vec());
        ensure!(record.as_ref() == Some(&self.record), "a wrong record was served");
        let listed: Vec<PointId> = pool.points().iter().map(|point| point.id).collect();
        let expected: Vec<PointId> = self.points.iter().map(|(id, _)| *id).collect();
        ensure!(listed == expected, "points are {listed:?}");
        for (id, files) in &self.points {
            match rig.run(read_point(&pool, id)) {
                Ok(read) => ensure!(read == *files, "wrong bytes were served"),
                Err(error) => {
                    found = true;
                    names_place(&error)?;
                    let told = findings.iter().any(|finding| finding.points.contains(id));
                    ensure!(
                        told,
                        "{}, and the check does not say that point {id} is touched: {:?}",
                        chain(&error),
                        findings
                    );
                    self.read_parts(&mut rig, &pool, (id, files))?;
                }
            }
        }
        Ok(found)
    }

    /// Where the whole cannot be read, its parts are right or refused.
    fn read_parts(
        &self,
        rig: &mut Rig,
        pool: &SimPool,
        (id, files): (&PointId, &Files),
    ) -> Verdict {
        for (path, content) in files {
            for start in (0..content.len()).step_by(1000) {
                let part = rig.run(read_part(pool, id, path, start as u64, 1000));
                let expected = &content[start..content.len().min(start + 1000)];
                if let Ok(read) = part {
                    ensure!(read.as_deref() == Some(expected), "wrong bytes of {path} served");
                }
            }
        }
        Ok(())
    }
}

fn names_place(error: &ReadError) -> Verdict {
    ensure!(error.place().is_some(), "an error without a place: {}", chain(error));
    Ok(())
}

fn opening_names_place(error: &OpenError) -> Verdict {
    match error {
        OpenError::Read(error) | OpenError::NoCheckpoint(error) => names_place(error),
        other => Err(format!("an error without a place: {}", chain(other))),
    }
}

fn flipped(still: &Still, byte: u64, bit: u64) -> Vec<Image> {
    let mut disks = still.disks.clone();
    disks[0].damage(byte, |value| *value ^= 1 << bit);
    disks
}

/// Flips each of `bytes`; gives the first that was not found, or was found though nobody claims it.
pub fn flip_all(still: &Still, bytes: &[u64], mutants: Mutants) -> Verdict {
    for byte in bytes {
        let claim = still.claimed(*byte);
        let found = still.judge(&flipped(still, *byte, byte % 8), mutants);
        let words = |words: String| format!("byte {byte} ({claim:?}): {words}");
        let found = found.map_err(words)?;
        ensure!(found == claim.is_some(), "byte {byte} ({claim:?}) found: {found}");
    }
    Ok(())
}

#[test]
fn every_flipped_byte_is_found_or_lies_in_space_nobody_claims() {
    let still = still(1, false, Mutants::default());
    let claimed = still.claimed_bytes();
    assert!(claimed.len() <= 256 << 10, "{} bytes are claimed", claimed.len());
    flip_all(&still, &claimed, Mutants::default()).unwrap_or_else(|words| panic!("{words}"));
    let mut rng = Rng::new(1);
    let written: Vec<u64> = still.disks[0].written_blocks().collect();
    let mut free = Vec::new();
    while (free.len() as u64) < campaign(1500) {
        let byte = written[rng.index(written.len())] * 4096 + rng.below(4096);
        if still.claimed(byte).is_none() {
            free.push(byte);
        }
    }
    flip_all(&still, &free, Mutants::default()).unwrap_or_else(|words| panic!("{words}"));
    println!(
        "flipped bytes: {} claimed, all found; {} in unclaimed space, none of them served",
        claimed.len(),
        free.len()
    );
}

#[test]
fn every_flipped_byte_of_a_footer_is_found() {
    let still = still(2, true, Mutants::default());
    let footers: Vec<&Claim> =
        still.claims.iter().filter(|claim| claim.what == "container footer").collect();
    assert!(!footers.is_empty(), "no container was sealed");
    let bytes: Vec<u64> = footers
        .iter()
        .flat_map(|claim| claim.place.offset..claim.place.offset + claim.len)
        .step_by(3)
        .collect();
    flip_all(&still, &bytes, Mutants::default()).unwrap_or_else(|words| panic!("{words}"));
    println!("flipped bytes of footers: {}, all found", bytes.len());
}
