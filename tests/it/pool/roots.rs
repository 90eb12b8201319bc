//! Superblocks, journal and state that are each sound and do not belong together: what a disk gives
//! that lost a write, or that was not answering for a moment.

use keelhold_disk::OpenError;
use keelhold_disk::format::{ChecksumKey, Place};
use keelhold_disk::mutants::Mutants;
use keelhold_disk::pool::{RecordChange, inspect_disk};
use keelhold_disk::sim::Image;
use keelhold_disk::units::UnixNanos;
use keelhold_tests::rig::{Rig, SimPool};

use super::verdict::{Verdict, chain, ensure};

async fn write(pool: &SimPool, value: u64) {
    let bytes = Some(value.to_le_bytes().to_vec());
    let change = RecordChange { name: "value".into(), expected: None, bytes };
    pool.write_records(vec![change], UnixNanos(value as i64)).await.unwrap();
}

fn value(pool: &SimPool) -> Option<u64> {
    let bytes = pool.record("value")?.bytes.to_vec();
    Some(u64::from_le_bytes(bytes.try_into().ok()?))
}

/// A pool in which the value went up to `count`, and the disks as each left them.
fn values(seed: u64, count: u64, checkpoints: bool, mutants: Mutants) -> (Rig, Vec<Image>) {
    let mut rig = Rig::new(seed, 1, mutants);
    let pool = rig.create().unwrap();
    let mut disks = Vec::new();
    for n in 1..=count {
        rig.run(write(&pool, n));
        if checkpoints {
            rig.run(pool.checkpoint(UnixNanos(n as i64))).unwrap();
        }
        disks.push(rig.images().remove(0));
    }
    rig.crash();
    (rig, disks)
}

/// Offsets of the two copies of the newest journal entry but `back`.
fn entry(rig: &mut Rig, back: usize) -> [u64; 2] {
    let disk = rig.world.disk(rig.disks[0]);
    let report = rig.run(inspect_disk(&disk)).unwrap();
    [0, 1].map(|zone| {
        let mut entries: Vec<(u64, u64)> = report
            .journal
            .iter()
            .filter(|(of, ..)| *of == zone)
            .map(|(_, offset, entry)| (entry.header.sequence, *offset))
            .collect();
        entries.sort_unstable();
        entries[entries.len() - 1 - back].1
    })
}

/// An announced entry damaged in both copies, with a later one behind it: never taken for a torn
/// tail.
pub fn hole(mutants: Mutants) -> Verdict {
    let (mut rig, _) = values(1, 3, false, mutants);
    let places = entry(&mut rig, 1);
    let mut disks = rig.images();
    places.iter().for_each(|place| disks[0].damage(place + 130, |byte| *byte ^= 1));
    let mut rig = Rig::over(2, &disks, mutants);
    match rig.open() {
        Err(OpenError::JournalHole { .. }) => Ok(()),
        Err(error) => Err(format!("a hole is reported as {}", chain(&error))),
        Ok(pool) => Err(format!("a hole is passed over, the value is {:?}", value(&pool))),
    }
}

/// Neither copy of an announced entry answers: that is no end of the journal.
pub fn silence(mutants: Mutants) -> Verdict {
    let (mut rig, _) = values(1, 3, false, mutants);
    let places = entry(&mut rig, 0);
    let disks = rig.images();
    let mut deaf = Rig::over(2, &disks, mutants);
    places.iter().for_each(|place| deaf.world.spoil(0, *place));
    if let Ok(pool) = deaf.open() {
        return Err(format!("an unreadable entry counts as none, the value is {:?}", value(&pool)));
    }
    let pool = Rig::over(3, &disks, mutants).open().map_err(|error| chain(&error))?;
    ensure!(value(&pool) == Some(3), "the value is {:?}", value(&pool));
    Ok(())
}

/// An entry that one opening passed over, because its copy did not answer, stays void for ever.
pub fn passed_over(mutants: Mutants) -> Verdict {
    let (mut rig, _) = values(1, 3, false, mutants);
    let [front, back] = entry(&mut rig, 0);
    let mut disks = rig.images();
    // As torn as a crash would leave it: nobody was told of it.
    disks[0].damage(back + 130, |byte| *byte ^= 1);
    let mut deaf = Rig::over(2, &disks, mutants);
    deaf.world.spoil(0, front);
    let pool = deaf.open().map_err(|error| chain(&error))?;
    ensure!(value(&pool) == Some(2), "at first the value is {:?}", value(&pool));
    drop(pool);
    deaf.crash();
    let disks = deaf.images();
    let pool = Rig::over(3, &disks, mutants).open().map_err(|error| chain(&error))?;
    ensure!(value(&pool) == Some(2), "later the value is {:?}", value(&pool));
    Ok(())
}

/// One superblock of a higher sequence, sound in itself, decides nothing.
pub fn lone_superblock(mutants: Mutants) -> Verdict {
    let (mut rig, _) = values(1, 3, true, mutants);
    let disk = rig.world.disk(rig.disks[0]);
    let report = rig.run(inspect_disk(&disk)).unwrap();
    let (offset, found) = &report.superblocks[2];
    let mut superblock = found.clone().unwrap();
    superblock.sequence += 1;
    superblock.root.clear();
    let key = ChecksumKey::new(&report.label.secret, &[0; 16]);
    let place = Place { disk: report.label.disk, offset: *offset };
    let block = superblock.encode(&key, report.label.pool, place);
    let mut disks = rig.images();
    disks[0].write(*offset, &block);
    let pool = Rig::over(2, &disks, mutants).open().map_err(|error| chain(&error))?;
    ensure!(value(&pool) == Some(3), "the value is {:?}", value(&pool));
    Ok(())
}

/// Slots, rings and superblocks as they were at an earlier moment, one at a time: every one of them
/// was sound then. Gives the number of cases.
pub fn stale_stretches(mutants: Mutants) -> Verdict<u64> {
    let (mut rig, past) = values(4, 24, true, mutants);
    let disk = rig.world.disk(rig.disks[0]);
    let zones = rig.run(inspect_disk(&disk)).unwrap().label.zones;
    let now = rig.images().remove(0);
    let mut stretches: Vec<(u64, u64)> = zones.superblocks().map(|offset| (offset, 4096)).into();
    stretches.extend(zones.journals().map(|offset| (offset, zones.journal_len)));
    let slots = (0..zones.container_count).map(|slot| zones.container(slot));
    stretches.extend(slots.map(|offset| (offset, zones.container_len)));
    let mut cases = 0;
    for (offset, len) in stretches {
        let mut stretch = vec![0; len as usize];
        let mut seen = vec![0; len as usize];
        now.read(offset, &mut seen);
        for earlier in &past {
            earlier.read(offset, &mut stretch);
            if stretch == seen {
                continue;
            }
            seen.copy_from_slice(&stretch);
            let mut disk = now.clone();
            disk.write(offset, &stretch);
            cases += 1;
            let opened = Rig::over(5, &[disk], mutants).open();
            let pool = opened.map_err(|error| format!("stale at {offset}: {}", chain(&error)))?;
            let found = value(&pool);
            ensure!(found == Some(24), "stale at {offset}: the value is {found:?}");
        }
    }
    Ok(cases)
}

#[test]
fn what_does_not_belong_together_is_not_believed() {
    let none = Mutants::default();
    for check in [hole, silence, passed_over, lone_superblock] {
        check(none).unwrap_or_else(|words| panic!("{words}"));
    }
    let cases = stale_stretches(none).unwrap_or_else(|words| panic!("{words}"));
    println!("stretches of a disk as they were earlier: {cases} cases, none believed");
    assert!(cases >= 50, "{cases}");
}
