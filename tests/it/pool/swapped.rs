//! Directories that are wrong and sealed right, as a bug of ours would write them: two numbers, ids
//! or rows exchanged, lengths shifted, other bytes under a good hash. Whole files and reads of 4 KiB
//! give the right bytes or an error.

use keelhold_disk::format::{ChecksumKey, Codec, ContainerHeader, Directory, Label, Place};
use keelhold_disk::mutants::Mutants;
use keelhold_disk::pool::inspect_disk;
use keelhold_disk::sim::{Image, Rng};
use keelhold_disk::units::{BLOCK, BLOCK_U64, PointId, UnixNanos};
use keelhold_tests::rig::{Files, Machine, Rig, campaign, read_point};

use super::content::{noise, text};
use super::simulation::read_part;
use super::verdict::{Verdict, chain, ensure};

#[derive(Debug, Clone, Copy)]
enum Wrong {
    Numbers,
    Ids,
    Rows,
    Lens,
    FrameBytes,
}

const WRONGS: [Wrong; 5] =
    [Wrong::Numbers, Wrong::Ids, Wrong::Rows, Wrong::Lens, Wrong::FrameBytes];

struct Target {
    disks: Vec<Image>,
    point: PointId,
    files: Files,
    label: Label,
    /// Places of directories that hold chunks.
    runs: Vec<u64>,
}

/// A pool with a few runs. When it was closed the index comes out of its checkpoint, otherwise out
/// of the very directories that are wrong.
fn target(closed: bool) -> Target {
    // With its index in memory: a bounded one makes a checkpoint before there is anything to be wrong.
    let mut rig = Rig::new(6, 1, Mutants::default());
    let pool = rig.create().unwrap();
    let mut files = Files::new();
    files.extend((0..8).map(|n| (format!("a/{n}"), noise(n, 9000))));
    files.extend((0..4).map(|n| (format!("b/{n}"), text(n, 7000))));
    let mut machine = Machine::new(1);
    let point = rig.run(machine.backup(&pool, &files, UnixNanos(1))).unwrap().id;
    let claims = rig.run(pool.claims());
    if closed {
        rig.run(pool.close(UnixNanos(2))).unwrap();
    }
    rig.crash();
    let disk = rig.world.disk(rig.disks[0]);
    let label = rig.run(inspect_disk(&disk)).unwrap().label;
    let mut target = Target { disks: rig.images(), point, files, label, runs: Vec::new() };
    for claim in claims.iter().filter(|claim| claim.what == "run directory") {
        let (directory, _) = target.directory(claim.place.offset);
        if directory.chunks.len() > 1 {
            target.runs.push(claim.place.offset);
        }
    }
    target
}

impl Target {
    /// The directory of the run at this byte, and the key it is sealed with.
    fn directory(&self, offset: u64) -> (Directory, ChecksumKey) {
        let zones = &self.label.zones;
        let slot = (offset - zones.container(0)) / zones.container_len;
        let start = zones.container(slot);
        let mut bytes = vec![0; zones.container_len as usize];
        self.disks[0].read(start, &mut bytes);
        let key = ChecksumKey::new(&self.label.secret, &[0; 16]);
        let place = |offset| Place { disk: self.label.disk, offset };
        let header =
            ContainerHeader::decode(&bytes[..BLOCK], &key, self.label.pool, place(start)).unwrap();
        let key = ChecksumKey::new(&self.label.secret, &header.salt);
        let run = &bytes[(offset - start) as usize..];
        (Directory::decode(run, &key, self.label.pool, place(offset)).unwrap(), key)
    }

    /// The disks with one directory made wrong; `None` if this choice changes nothing.
    fn spoil(&self, wrong: Wrong, rng: &mut Rng) -> Option<Vec<Image>> {
        let offset = self.runs[rng.index(self.runs.len())];
        let (mut directory, key) = self.directory(offset);
        let whole = (directory.header.run_len as usize).next_multiple_of(BLOCK);
        let mut run = vec![0; whole];
        self.disks[0].read(offset, &mut run);
        let count = directory.chunks.len();
        let (left, right) = (rng.index(count), rng.index(count));
        let (one, other) = (directory.chunks[left], directory.chunks[right]);
        match wrong {
            Wrong::Numbers => {
                directory.chunks[left].number = other.number;
                directory.chunks[right].number = one.number;
            }
            Wrong::Ids => {
                directory.chunks[left].id = other.id;
                directory.chunks[right].id = one.id;
            }
            Wrong::Rows => {
                (directory.chunks[left].number, directory.chunks[left].id) =
                    (other.number, other.id);
                (directory.chunks[right].number, directory.chunks[right].id) = (one.number, one.id);
            }
            Wrong::Lens => {
                let next = directory.chunks.get(left + 1)?;
                if next.frame != one.frame {
                    return None;
                }
                directory.chunks[left].len -= 1;
                directory.chunks[left + 1].len += 1;
            }
            Wrong::FrameBytes => {
                let frame = &mut directory.frames[usize::from(one.frame)];
                if frame.codec != Codec::Raw {
                    return None;
                }
                let stored = frame.offset as usize..(frame.offset + frame.stored_len) as usize;
                run[stored.start + rng.index(stored.len())] ^= 1;
                frame.hash = *blake3::hash(&run[stored]).as_bytes();
            }
        }
        let place = Place { disk: self.label.disk, offset };
        let bytes = directory.encode(&key, self.label.pool, place);
        run[..bytes.len()].copy_from_slice(&bytes);
        let mut disks = self.disks.clone();
        disks[0].write(offset, &run);
        let changed = (offset / BLOCK_U64..).take(whole / BLOCK).any(|block| {
            let (mut before, mut after) = ([0; BLOCK], [0; BLOCK]);
            self.disks[0].read(block * BLOCK_U64, &mut before);
            disks[0].read(block * BLOCK_U64, &mut after);
            before != after
        });
        changed.then_some(disks)
    }

    /// Whether anything was refused; wrong bytes are a bad verdict.
    fn judge(&self, disks: &[Image], mutants: Mutants) -> Verdict<bool> {
        let mut rig = Rig::over(1, disks, mutants);
        let Ok(pool) = rig.look() else {
            return Ok(true);
        };
        let mut refused = false;
        for (path, content) in &self.files {
            for start in (0..content.len()).step_by(4096) {
                let read = rig.run(read_part(&pool, &self.point, path, start as u64, 4096));
                let expected = &content[start..content.len().min(start + 4096)];
                match read {
                    Ok(read) => ensure!(
                        read.as_deref() == Some(expected),
                        "4 KiB of {path} from {start}: wrong bytes served"
                    ),
                    Err(error) => {
                        refused = true;
                        ensure!(error.is_corruption(), "{}", chain(&error));
                    }
                }
            }
        }
        match rig.run(read_point(&pool, &self.point)) {
            Ok(files) => ensure!(files == self.files, "whole files: wrong bytes served"),
            Err(_) => refused = true,
        }
        let report = rig.run(pool.verify(|_, _| {}));
        Ok(refused || !report.findings.is_empty())
    }
}

/// `cases` wrong directories; gives how many were found.
pub fn exchange(cases: u64, mutants: Mutants) -> Verdict<u64> {
    let targets = [target(true), target(false)];
    let mut rng = Rng::new(5);
    let mut done = 0;
    while done < cases {
        let wrong = WRONGS[done as usize % WRONGS.len()];
        let target = &targets[rng.index(2)];
        let Some(disks) = target.spoil(wrong, &mut rng) else {
            continue;
        };
        let found = target.judge(&disks, mutants).map_err(|words| format!("{wrong:?}: {words}"))?;
        ensure!(found, "{wrong:?}: nobody noticed");
        done += 1;
    }
    Ok(done)
}

#[test]
fn exchanged_numbers_under_valid_checksums_serve_no_wrong_byte() {
    let found = exchange(campaign(500), Mutants::default());
    let found = found.unwrap_or_else(|words| panic!("{words}"));
    println!("directories wrong and sealed right: {found} cases, all refused, 0 wrong bytes");
}
