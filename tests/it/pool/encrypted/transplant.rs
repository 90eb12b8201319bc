//! Somebody who can write to the disks and knows the checksum secret, which stands in every label, moves
//! sealed bytes about. They do not open where they were not sealed.

use keelhold_disk::ReadError;
use keelhold_disk::format::{ChecksumKey, ContainerHeader, Head, HeadFault, Label, Magic, Place};
use keelhold_disk::mutants::Mutants;
use keelhold_disk::sim::Image;
use keelhold_disk::units::{BLOCK, UnixNanos};
use keelhold_tests::rig::{Machine, Rig, wrapping_key};

use crate::pool::content::some_tree;
use crate::pool::verdict::{Verdict, chain, ensure};

/// A pool at rest, and where its data runs lie.
fn at_rest(mutants: Mutants) -> (Image, Label, Vec<u64>) {
    let mut rig = Rig::new(3, 1, mutants);
    rig.key = Some(wrapping_key());
    let pool = rig.create().unwrap();
    rig.run(async {
        for n in 0..3 {
            let mut machine = Machine::new(n);
            let files = some_tree(u64::from(n), 6, 3000);
            machine.backup(&pool, &files, UnixNanos(1)).await.unwrap();
        }
        pool.close(UnixNanos(2)).await.unwrap();
    });
    rig.crash();
    let disk = rig.images().remove(0);
    let mut block = [0; BLOCK];
    disk.read(0, &mut block);
    let label = Label::decode(&block, 0).unwrap();
    let mut rig = Rig::over(1, std::slice::from_ref(&disk), mutants);
    let pool = rig.look().unwrap();
    let claims = rig.run(pool.claims());
    let data = |offset: &u64| purpose_of(&disk, &label, *offset) == Some(1);
    let mut runs: Vec<u64> = claims
        .iter()
        .filter(|claim| claim.what == "run directory")
        .map(|claim| claim.place.offset)
        .filter(data)
        .collect();
    runs.sort_unstable();
    runs.dedup();
    (disk, label, runs)
}

fn container_of(label: &Label, offset: u64) -> u64 {
    let first = label.zones.container(0);
    first + (offset - first) / label.zones.container_len * label.zones.container_len
}

fn header_of(disk: &Image, label: &Label, offset: u64) -> Option<ContainerHeader> {
    let start = container_of(label, offset);
    let mut block = [0; BLOCK];
    disk.read(start, &mut block);
    let key = ChecksumKey::new(&label.secret, &[0; 16]);
    let place = Place { disk: label.disk, offset: start };
    ContainerHeader::decode(&block, &key, label.pool, place).ok()
}

fn purpose_of(disk: &Image, label: &Label, offset: u64) -> Option<u8> {
    header_of(disk, label, offset).map(|header| header.purpose as u8)
}

/// A run brought to the place of another one of its container, with a sound head for that place.
pub fn transplanted(mutants: Mutants) -> Verdict {
    let (disk, label, runs) = at_rest(mutants);
    let mut cases = 0;
    for (from, to) in runs.iter().flat_map(|from| runs.iter().map(move |to| (*from, *to))) {
        if from == to || container_of(&label, from) != container_of(&label, to) {
            continue;
        }
        let mut bytes =
            vec![0; (label.zones.container_len - (from % label.zones.container_len)) as usize];
        disk.read(from, &mut bytes);
        let head = Head::peek(&bytes, Magic::Run).map_err(|error| error.to_string())?;
        let (len, ordinal) = (head.len.get() as usize, head.sequence());
        let run_len = u32::from_le_bytes(bytes[148..152].try_into().expect("four bytes")) as usize;
        let header = header_of(&disk, &label, to).ok_or("a run outside of containers")?;
        let key = ChecksumKey::new(&label.secret, &header.salt);
        let place = Place { disk: label.disk, offset: to };
        Head::seal(&mut bytes[..len], &key, Magic::Run, label.pool, place, ordinal);
        let mut altered = disk.clone();
        // Only what would still be read: a longer one would hide what follows.
        let next = runs.iter().find(|run| **run > to).copied().unwrap_or(u64::MAX);
        if to + run_len as u64 > next {
            continue;
        }
        altered.write(to, &bytes[..run_len]);
        cases += 1;
        let mut rig = Rig::over(1, std::slice::from_ref(&altered), mutants);
        let pool = rig.look().map_err(|error| chain(&error))?;
        let report = rig.run(pool.verify(|_, _| {}));
        let here = report.findings.iter().find(|finding| finding.error.place() == Some(place));
        let error = here.map(|finding| &finding.error);
        let refused = matches!(
            error,
            Some(ReadError::Fault(fault)) if fault.fault == HeadFault::Unsealable
        );
        ensure!(refused, "a run of {from} at {to} is opened: {error:?}");
    }
    println!("runs put in the place of others: {cases}, none opened");
    ensure!(cases > 0, "no two runs in one container");
    Ok(())
}

#[test]
fn a_run_does_not_open_in_the_place_of_another() {
    transplanted(Mutants::default()).unwrap_or_else(|words| panic!("{words}"));
}
