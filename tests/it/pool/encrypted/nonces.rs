//! No key meets a nonce twice: everything sealed that ever stood on the disks is gathered, over
//! crashes at any moment and roots that come back from the past, and no two different things may
//! have been sealed under the same key and nonce.

use std::collections::HashMap;

use keelhold_disk::format::{
    ChecksumKey, ClearDirectory, ContainerHeader, Label, Magic, Place, SealedEntry,
};
use keelhold_disk::mutants::Mutants;
use keelhold_disk::pool::RecordChange;
use keelhold_disk::sim::{Image, Rng};
use keelhold_disk::units::{BLOCK, UnixNanos};
use keelhold_tests::rig::{Machine, Rig, campaign, wrapping_key};

use crate::pool::content::some_tree;
use crate::pool::verdict::{Verdict, ensure};

/// What makes a key and a nonce, as FORMAT.md has it: beside the data key, which is always the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Used {
    Frame { salt: [u8; 16], index: usize },
    Table { salt: [u8; 16] },
    Entry { salt: [u8; 16], epoch: u64, sequence: u64, position: u64 },
}

/// Everything sealed that was seen, by the hash of its sealed bytes.
#[derive(Default)]
struct Seen {
    uses: HashMap<Used, [u8; 32]>,
    /// Entries of one epoch and sequence with different bodies: only the salt tells them apart.
    entries: HashMap<(u64, u64), [u8; 32]>,
    entries_again: u64,
}

impl Seen {
    fn note(&mut self, used: Used, sealed: &[u8]) -> Verdict {
        let hash = *blake3::hash(sealed).as_bytes();
        if let Used::Entry { epoch, sequence, .. } = used {
            let before = self.entries.insert((epoch, sequence), hash);
            self.entries_again += u64::from(before.is_some_and(|before| before != hash));
        }
        let before = self.uses.insert(used.clone(), hash);
        ensure!(before.is_none_or(|before| before == hash), "sealed twice: {used:?}");
        Ok(())
    }

    fn gather(&mut self, image: &Image) -> Verdict {
        let disk = image.to_buf();
        let label = Label::decode(&disk[..BLOCK], 0).map_err(|error| error.to_string())?;
        let zones = label.zones;
        for start in zones.journals() {
            for offset in (start..start + zones.journal_len).step_by(BLOCK) {
                self.entry(&label, &disk, offset)?;
            }
        }
        for slot in 0..zones.container_count {
            self.container(&label, &disk, zones.container(slot))?;
        }
        Ok(())
    }

    fn entry(&mut self, label: &Label, disk: &[u8], offset: u64) -> Verdict {
        let key = ChecksumKey::new(&label.secret, &[0; 16]);
        let bytes = &disk[offset as usize..];
        let place = Place { disk: label.disk, offset };
        let Ok(len) = SealedEntry::peek_len(bytes) else { return Ok(()) };
        let Ok((entry, _)) = SealedEntry::decode(bytes, &key, label.pool, place) else {
            return Ok(());
        };
        let body = &bytes[128..len];
        let salt = body[..16].try_into().expect("a sealed body begins with its salt");
        let header = entry.header;
        let (epoch, sequence, position) = (header.epoch, header.sequence, header.position);
        self.note(Used::Entry { salt, epoch, sequence, position }, &body[16..])
    }

    fn container(&mut self, label: &Label, disk: &[u8], start: u64) -> Verdict {
        let key = ChecksumKey::new(&label.secret, &[0; 16]);
        let at = |offset| Place { disk: label.disk, offset };
        let block = &disk[start as usize..start as usize + BLOCK];
        let Ok(header) = ContainerHeader::decode(block, &key, label.pool, at(start)) else {
            return Ok(());
        };
        let key = ChecksumKey::new(&label.secret, &header.salt);
        let end = start + label.zones.container_len;
        for offset in (start..end).step_by(BLOCK).skip(1) {
            let run = &disk[offset as usize..end as usize];
            if run[16..20] != (Magic::Run as u32).to_le_bytes() {
                continue;
            }
            let Ok(directory) = ClearDirectory::decode(run, &key, label.pool, at(offset)) else {
                continue;
            };
            let salt = directory.header.salt;
            let tables = 152 + 48 * directory.frames.len();
            let first = directory.frames.first().map_or(tables, |frame| frame.offset as usize);
            self.note(Used::Table { salt }, &run[tables..first])?;
            for (index, frame) in directory.frames.iter().enumerate() {
                let stored = &run[frame.offset as usize..][..frame.stored_len as usize];
                // One that a crash tore is not what was sealed.
                if *blake3::hash(stored).as_bytes() == frame.hash {
                    self.note(Used::Frame { salt, index }, stored)?;
                }
            }
        }
        Ok(())
    }
}

/// A pool that crashes again and again, and now and then finds its disks as they were long ago.
fn life(seed: u64, mutants: Mutants) -> Verdict<Seen> {
    let mut rng = Rng::new(seed);
    let mut rig = Rig::new(seed, 1, mutants);
    rig.key = Some(wrapping_key());
    let mut pool = rig.create().map_err(|error| error.to_string())?;
    let (mut seen, mut past) = (Seen::default(), rig.images());
    let mut machine = Machine::new(1);
    for round in 0..24 {
        let files = some_tree(rng.next_u64(), 3, 2000);
        let now = UnixNanos(round);
        let work = async {
            let bytes = Some(files.keys().cloned().collect::<String>().into_bytes());
            let change = RecordChange { name: "value".into(), expected: None, bytes };
            let _ = pool.write_records(vec![change], now).await;
            let _ = machine.backup(&pool, &files, now).await;
            let _ = pool.checkpoint(now).await;
        };
        let _stopped = rig.run_at_most(1 + rng.below(40_000_000), work);
        rig.images().iter().try_for_each(|image| seen.gather(image))?;
        rig.crash();
        rig.images().iter().try_for_each(|image| seen.gather(image))?;
        if rng.below(4) == 0 {
            // Another world: its chance is not that of the one before.
            rig = Rig::over(rng.next_u64(), &past, mutants);
            machine.basis = None;
        } else if rng.below(4) == 0 {
            past = rig.images();
        }
        machine.basis = None;
        pool = rig.open().map_err(|error| error.to_string())?;
    }
    Ok(seen)
}

/// The check, also for mutants.
pub fn nonces(mutants: Mutants) -> Verdict {
    let (mut uses, mut again) = (0, 0);
    for seed in 0..campaign(4) {
        let seen = life(seed, mutants)?;
        uses += seen.uses.len();
        again += seen.entries_again;
    }
    println!("{uses} sealings, none under a key and nonce of another; {again} entries came again");
    ensure!(uses > 500, "{uses} sealings prove little");
    ensure!(again > 0, "no entry came again under its epoch and sequence");
    Ok(())
}

#[test]
fn no_key_meets_a_nonce_twice() {
    nonces(Mutants::default()).unwrap_or_else(|words| panic!("{words}"));
}
