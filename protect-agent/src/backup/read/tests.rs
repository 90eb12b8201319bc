use super::*;
use keelhold_chunk::IdKey;
use keelhold_chunk::cut::{ContentCutter, CutParams, Cutter};
use keelhold_tree::filesystem::FileSystem;
use keelhold_tree::{Found, Walk, WalkOptions};
use std::fs;
use std::path::Path;

use crate::backup::DataReads;
use crate::shortcut::Synced;

/// Settings of tests: small chunks, and a flush long after whatever is read.
pub(in crate::backup) fn settings(tree: &Path) -> Settings {
    let params = CutParams { min: 2 << 10, average: 8 << 10, max: 32 << 10, seed: [1; 32] };
    let device = std::os::unix::fs::MetadataExt::dev(&fs::metadata(tree).unwrap());
    let at = keelhold_chunk::Timestamp { secs: 1 << 33, nanos: 0 };
    let file_system = FileSystem { name: "ext4".to_owned() };
    Settings {
        view: crate::backup::view::View::default(),
        id_key: IdKey::new([2; 32]),
        cutter: Cutter::Content(ContentCutter::new(&params).unwrap()),
        inline_max: 100,
        synced: Synced { device, file_system, at },
        reads: DataReads::by_ring(),
    }
}

pub(in crate::backup) fn wanted(tree: &Path, name: &str) -> Wanted {
    let walk = Walk::new(tree, WalkOptions { threads: 0, ..WalkOptions::default() }).unwrap();
    for found in walk {
        if let Found::Entry(entry) = found
            && entry.path() == name.as_bytes()
        {
            return Wanted { entry, unchanged_digest: None, group: None };
        }
    }
    panic!("{name} is not in the tree");
}

fn parts(outcome: Outcome) -> (Facts, ReadContent) {
    match outcome {
        Outcome::Entry { facts, content } => (facts, content),
        Outcome::Skipped(note) => panic!("{note:?}"),
    }
}

#[test]
fn a_file_that_keeps_still_is_trusted_and_one_that_moves_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    fs::write(&path, vec![7; 50_000]).unwrap();
    let (settings, wanted) = (settings(dir.path()), wanted(dir.path(), "file"));
    let (facts, _) = parts(read_file(&settings, &wanted));
    assert!(facts.record.trusted && facts.note.is_none());
    assert_eq!((facts.size, facts.bytes_read), (50_000, 50_000));

    // It grows between the two looks: read again, and in the end taken as it was read.
    let attempt = Attempt::begin(&settings, &wanted).unwrap();
    fs::write(&path, vec![8; 60_000]).unwrap();
    assert!(attempt.end(false).is_none());
    let attempt = Attempt::begin(&settings, &wanted).unwrap();
    fs::write(&path, vec![9; 10]).unwrap();
    let taken = attempt.end(true).unwrap();
    assert_eq!(taken.attributes.kind, Kind::File { size: 60_000 });
    assert_eq!(taken.note.unwrap().reason, SkipReason::ChangedWhileRead);
}

#[test]
fn what_vanished_or_was_replaced_is_skipped() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    fs::write(&path, b"x").unwrap();
    let (settings, wanted) = (settings(dir.path()), wanted(dir.path(), "file"));
    fs::remove_file(&path).unwrap();
    let reason = |outcome: Outcome| match outcome {
        Outcome::Skipped(note) => note.reason,
        Outcome::Entry { facts, .. } => panic!("{facts:?}"),
    };
    assert_eq!(reason(read(&settings, &wanted).outcome), SkipReason::Vanished);
    fs::create_dir(&path).unwrap();
    assert_eq!(reason(read(&settings, &wanted).outcome), SkipReason::Vanished);
    fs::remove_dir(&path).unwrap();
    std::os::unix::fs::symlink("elsewhere", &path).unwrap();
    assert_eq!(reason(read(&settings, &wanted).outcome), SkipReason::Vanished);
}

/// A directory must be in the point even when it is gone: what is in it was found already.
#[test]
fn a_directory_that_vanished_still_stands() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("sub")).unwrap();
    let (settings, wanted) = (settings(dir.path()), wanted(dir.path(), "sub"));
    fs::remove_dir(dir.path().join("sub")).unwrap();
    let (facts, _) = parts(read(&settings, &wanted).outcome);
    assert!(!facts.record.trusted);
    assert_eq!(facts.note.unwrap().reason, SkipReason::Vanished);
    assert!(Attributes::from_bytes(&facts.attributes).unwrap().is_directory());
}

#[test]
fn content_has_the_form_that_fits_it() {
    let dir = tempfile::tempdir().unwrap();
    let (write, at) =
        (|name: &str, bytes: &[u8]| fs::write(dir.path().join(name), bytes), dir.path());
    write("empty", b"").unwrap();
    write("tiny", &[1; 100]).unwrap();
    write("small", &[1; 101]).unwrap();
    fs::File::create(at.join("hole")).unwrap().set_len(50).unwrap();
    let settings = settings(at);
    let content = |name: &str| parts(read(&settings, &wanted(at, name)).outcome).1;
    assert!(matches!(content("empty"), ReadContent::None));
    assert!(matches!(content("tiny"), ReadContent::Inline(bytes) if bytes.len() == 100));
    let small = content("small");
    let ReadContent::Parts(parts) = &small else { panic!("{small:?}") };
    assert!(matches!(&parts[..], [Part::Chunk { bytes, .. }] if bytes.len() == 101));
    // A file system without holes shows data.
    let hole = content("hole");
    assert!(
        matches!(&hole, ReadContent::Parts(parts) if matches!(parts[..], [Part::Hole { len: 50 }]))
            || matches!(&hole, ReadContent::Inline(bytes) if bytes.len() == 50),
        "{hole:?}"
    );
}

#[test]
fn the_digest_tells_content_and_attributes_apart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    fs::write(&path, [1; 3_000]).unwrap();
    let settings = settings(dir.path());
    let digest = || parts(read(&settings, &wanted(dir.path(), "file")).outcome).0.record.digest;
    let first = digest();
    assert_eq!(first, digest());
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(&path, mode).unwrap();
    let second = digest();
    assert_ne!(first, second);
    let wrong = Wanted { unchanged_digest: Some(first), ..wanted(dir.path(), "file") };
    assert!(parts(read(&settings, &wrong).outcome).0.shortcut_wrong);
    let right = Wanted { unchanged_digest: Some(second), ..wanted(dir.path(), "file") };
    assert!(!parts(read(&settings, &right).outcome).0.shortcut_wrong);
}
