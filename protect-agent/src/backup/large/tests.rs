use super::*;
use crate::backup::budget::Budget;
use crate::backup::read::tests::{settings, wanted};
use keelhold_tree::EntryKind;
use std::fs;
use std::io::Write;
use std::path::Path;

const LEN: usize = 12 << 20;

fn begin(dir: &Path) -> Large {
    let permit = Budget::new(1).take(1).unwrap();
    start(Arc::new(settings(dir)), wanted(dir, "file"), Some(permit)).unwrap()
}

/// Content put together again, and the end.
fn drain(mut large: Large) -> (Vec<u8>, Facts) {
    let mut content = Vec::new();
    loop {
        match large.pieces.blocking_recv().unwrap() {
            Piece::Gone(note) => panic!("{note:?}"),
            Piece::End(facts) => return (content, *facts),
            Piece::Parts(parts) => {
                for part in parts {
                    match part {
                        Part::Chunk { bytes, .. } => content.extend_from_slice(&bytes),
                        Part::Known { .. } => panic!("read, and not remembered"),
                        Part::Hole { len } => content.resize(content.len() + len as usize, 0),
                    }
                }
            }
        }
    }
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len as u32)
        .flat_map(|number| (number.wrapping_mul(2_654_435_761)).to_le_bytes())
        .take(len)
        .collect()
}

#[test]
fn a_large_file_comes_in_pieces_and_is_cut_as_if_it_were_one() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = pattern(LEN);
    fs::write(dir.path().join("file"), &bytes).unwrap();
    let (content, facts) = drain(begin(dir.path()));
    assert!(content == bytes);
    assert!(facts.record.trusted && facts.note.is_none());
    assert_eq!(facts.record.identity.kind, EntryKind::File);

    let settings = settings(dir.path());
    let mut large = begin(dir.path());
    let mut lengths = Vec::new();
    while let Some(Piece::Parts(parts)) = large.pieces.blocking_recv() {
        for part in parts {
            let Part::Chunk { bytes, .. } = part else { panic!("no holes here") };
            lengths.push(bytes.len());
        }
    }
    assert_eq!(lengths, settings.cutter.lengths(&bytes).collect::<Vec<_>>());
}

/// The thread stands still when nobody takes its pieces, so the change comes in the middle for sure.
#[test]
fn a_large_file_that_changes_in_the_middle_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    fs::write(&path, pattern(LEN)).unwrap();
    let mut large = begin(dir.path());
    let first = large.pieces.blocking_recv().unwrap();
    assert!(matches!(first, Piece::Parts(_)));
    fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"more").unwrap();
    let (content, facts) = drain(large);
    assert!(facts.size > content.len() as u64, "the first piece was taken before");
    assert_eq!(facts.note.unwrap().reason, SkipReason::ChangedWhileRead);
    assert!(!facts.record.trusted);
}

#[test]
fn a_large_file_that_shrinks_ends_where_it_ends() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    fs::write(&path, pattern(LEN)).unwrap();
    let mut large = begin(dir.path());
    // The first piece is here: the file was open, and much of it is not read yet.
    let first = large.pieces.blocking_recv().unwrap();
    assert!(matches!(first, Piece::Parts(_)));
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(8 << 20).unwrap();
    let (rest, facts) = drain(large);
    assert!(rest.len() < LEN && facts.size <= 8 << 20);
    assert_eq!(facts.note.unwrap().reason, SkipReason::ChangedWhileRead);
}

#[test]
fn holes_are_kept_and_none_follows_another() {
    let dir = tempfile::tempdir().unwrap();
    let file = fs::File::create(dir.path().join("file")).unwrap();
    file.set_len(1 << 40).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &pattern(9_000), 1 << 30).unwrap();
    let mut large = begin(dir.path());
    let mut parts = Vec::new();
    let facts = loop {
        match large.pieces.blocking_recv().unwrap() {
            Piece::Parts(more) => parts.extend(more),
            Piece::End(facts) => break facts,
            Piece::Gone(note) => panic!("{note:?}"),
        }
    };
    let is_hole = |part: &Part| matches!(part, Part::Hole { .. });
    assert!(!parts.windows(2).any(|pair| is_hole(&pair[0]) && is_hole(&pair[1])));
    assert_eq!(facts.size, 1 << 40);
    assert!(facts.bytes_read < 1 << 20);
}

#[test]
fn what_is_gone_is_said_instead_of_opened() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    fs::write(&path, b"x").unwrap();
    let wanted = wanted(dir.path(), "file");
    fs::remove_file(&path).unwrap();
    let permit = Budget::new(1).take(1).unwrap();
    let mut large = start(Arc::new(settings(dir.path())), wanted, Some(permit)).unwrap();
    let first = large.pieces.blocking_recv().unwrap();
    assert!(matches!(first, Piece::Gone(note) if note.reason == SkipReason::Vanished));
}
