//! Encrypted pools: what the disks show, which key opens them, and what somebody who writes to the
//! disks can make of them.

mod nonces;
mod outside;
mod transplant;

use keelhold_disk::OpenError;
use keelhold_disk::mutants::Mutants;
use keelhold_disk::pool::RecordChange;
use keelhold_disk::seal::WrappingKey;
use keelhold_disk::sim::{CrashPlan, Image};
use keelhold_disk::units::UnixNanos;
use keelhold_tests::rig::{Files, Machine, Rig, campaign, read_point, wrapping_key};

pub use nonces::nonces;
pub use transplant::transplanted;

use super::content::{noise, some_tree, text};

const MARKER: &[u8] = b"zxqv-nobody-may-read-this-vqxz";

/// A rig whose pool will be encrypted, or not.
fn rig(seed: u64, disk_count: usize, encrypted: bool) -> Rig {
    let mut rig = Rig::new(seed, disk_count, Mutants::default());
    rig.key = encrypted.then(wrapping_key);
    rig
}

fn marker(what: &str) -> String {
    format!("{}{what}", String::from_utf8_lossy(MARKER))
}

fn contains(image: &Image, needle: &[u8]) -> bool {
    image.to_buf().windows(needle.len()).any(|window| window == needle)
}

/// Images of a pool in which everything that can carry a marker does: after a backup, after a
/// checkpoint, after a crash.
fn marked(encrypted: bool) -> (Vec<Image>, Vec<Vec<u8>>) {
    let mut rig = rig(5, 2, encrypted);
    let pool = rig.create().unwrap();
    let secrets = vec![pool.id_key().as_bytes().to_vec(), vec![7; 32]];
    let mut machine = Machine::new(1);
    let mut files = Files::new();
    files.insert(marker("name/file"), marker("inline").into_bytes());
    files.insert("long".into(), [noise(1, 3000), MARKER.to_vec(), noise(2, 3000)].concat());
    files.insert("text".into(), [MARKER, &text(3, 9000)].concat());
    let mut images = Vec::new();
    rig.run(async {
        let bytes = Some(marker("value").into_bytes());
        let change = RecordChange { name: marker("record"), expected: None, bytes };
        pool.write_records(vec![change.clone()], UnixNanos(1)).await.unwrap();
        let commit = keelhold_disk::pool::CommitPoint {
            attributes: marker("attributes").into_bytes(),
            records: vec![RecordChange { name: marker("beside"), ..change }],
            ..Default::default()
        };
        machine.backup_as(&pool, &files, commit, UnixNanos(2)).await.unwrap();
    });
    images.extend(rig.images());
    rig.run(pool.checkpoint(UnixNanos(3))).unwrap();
    images.extend(rig.images());
    rig.crash();
    drop(rig.open().unwrap());
    images.extend(rig.images());
    (images, secrets)
}

#[test]
fn nothing_of_what_is_stored_stands_in_clear() {
    let (images, secrets) = marked(false);
    assert!(images.iter().any(|image| contains(image, MARKER)), "the marker is no marker");
    for secret in &secrets {
        assert!(images.iter().any(|image| contains(image, secret)));
    }
    let (images, secrets) = marked(true);
    for image in &images {
        assert!(!contains(image, MARKER), "the marker stands on a disk");
        for part in MARKER.chunks(10) {
            assert!(!contains(image, part), "a part of the marker stands on a disk");
        }
        for secret in secrets.iter().map(Vec::as_slice).chain([&[0x4b; 32][..]]) {
            assert!(!contains(image, secret), "a secret stands on a disk");
        }
    }
}

#[test]
fn only_its_key_opens_a_pool_and_a_refusal_writes_nothing() {
    for encrypted in [true, false] {
        let mut rig = rig(6, 1, encrypted);
        drop(rig.create().unwrap());
        rig.crash();
        let before: Vec<Vec<u8>> =
            rig.images().iter().map(|image| image.to_buf().to_vec()).collect();
        let mut refused = |key: Option<WrappingKey>| {
            rig.key = key;
            rig.open().expect_err("this key must not open it")
        };
        if encrypted {
            assert!(matches!(refused(None), OpenError::KeyNeeded));
            let wrong = WrappingKey::new([1; 32]);
            assert!(matches!(refused(Some(wrong)), OpenError::WrongKey { number: 1 }));
        } else {
            assert!(matches!(refused(Some(wrapping_key())), OpenError::NotEncrypted));
        }
        let after: Vec<Vec<u8>> =
            rig.images().iter().map(|image| image.to_buf().to_vec()).collect();
        assert!(before == after, "a refusal wrote something");
        rig.key = encrypted.then(wrapping_key);
        assert_eq!(rig.open().unwrap().is_encrypted(), encrypted);
    }
}

/// Two pools under one key file have nothing in common.
#[test]
fn pools_of_one_key_have_keys_of_their_own() {
    let mut one = rig(7, 1, true);
    let mut two = rig(8, 1, true);
    let (first, second) = (one.create().unwrap(), two.create().unwrap());
    assert_ne!(first.id_key().as_bytes(), second.id_key().as_bytes());
}

#[test]
fn after_rotation_the_new_key_opens_it_and_the_old_one_does_not() {
    let mut rig = rig(9, 2, true);
    let pool = rig.create().unwrap();
    let mut machine = Machine::new(1);
    let files = some_tree(3, 12, 4000);
    let new = WrappingKey::new([0x77; 32]);
    let point = rig.run(async {
        let point = machine.backup(&pool, &files, UnixNanos(1)).await.unwrap();
        assert_eq!(pool.rotate_key(&new, UnixNanos(2)).await.unwrap(), Some(2));
        machine.backup(&pool, &files, UnixNanos(3)).await.unwrap();
        point
    });
    assert_eq!(pool.key_number(), 2);
    for round in 0..3 {
        rig.crash();
        rig.key = Some(wrapping_key());
        assert!(matches!(rig.open(), Err(OpenError::WrongKey { number: 2 })), "round {round}");
        rig.key = Some(new.clone());
        let pool = rig.open().unwrap();
        assert_eq!(rig.run(read_point(&pool, &point.id)).unwrap(), files);
        assert!(rig.run(pool.verify(|_, _| {})).findings.is_empty());
        rig.run(pool.checkpoint(UnixNanos(4))).unwrap();
    }
}

/// Wherever the power goes, one of the two keys opens the pool, and never both; once the rotation was
/// announced it is the new one.
#[test]
fn a_crash_while_the_key_is_rotated_leaves_one_key() {
    let mut images = [0, 0];
    for seed in 0..campaign(2) {
        let mut rig = rig(seed, 1 + seed as usize % 2, true);
        let pool = rig.create().unwrap();
        let new = WrappingKey::new([0x77; 32]);
        rig.run(async {
            let mut machine = Machine::new(1);
            machine.backup(&pool, &some_tree(seed, 3, 900), UnixNanos(1)).await.unwrap();
            pool.checkpoint(UnixNanos(2)).await.unwrap();
        });
        rig.world.record();
        rig.run(pool.rotate_key(&new, UnixNanos(3))).unwrap();
        rig.world.mark(1);
        let history = rig.world.take_history().unwrap();
        history.crashes(&CrashPlan { samples: 8, ..CrashPlan::new(seed) }, |image| {
            let opens = [wrapping_key(), new.clone()].map(|key| {
                let mut rig = Rig::over(seed, &image.disks, Mutants::default());
                rig.key = Some(key);
                rig.look().is_ok()
            });
            assert!(opens[0] != opens[1], "seed {seed}, step {}: {opens:?}", image.after);
            assert!(opens[1] || image.mark.is_none(), "an announced rotation is undone");
            images[usize::from(opens[1])] += 1;
        });
    }
    println!("crashes while a key is rotated: {} old key, {} new key", images[0], images[1]);
    assert!(images[0] > 0 && images[1] > 0);
}

#[test]
fn a_pool_says_whether_it_is_encrypted() {
    let mut sealed = rig(10, 1, true);
    let pool = sealed.create().unwrap();
    assert!(pool.is_encrypted() && pool.key_number() == 1);
    let mut plain = rig(10, 1, false);
    let pool = plain.create().unwrap();
    assert!(!pool.is_encrypted() && pool.key_number() == 0);
    let rotated = plain.run(pool.rotate_key(&wrapping_key(), UnixNanos(1)));
    assert_eq!(rotated.unwrap(), None);
}
