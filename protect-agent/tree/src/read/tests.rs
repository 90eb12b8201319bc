use super::*;
use crate::scratch::Scratch;
use crate::{Found, Walk, WalkOptions};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

fn entry(root: &Path, path: &str) -> Entry {
    let entries = Walk::new(root, WalkOptions::default()).unwrap();
    let wanted = |found: Found| match found {
        Found::Entry(entry) if entry.path() == path.as_bytes() => Some(entry),
        _ => None,
    };
    entries.into_iter().find_map(wanted).unwrap()
}

#[test]
fn a_file_that_moves_while_it_is_read_is_told() {
    let scratch = Scratch::new();
    scratch.fill(&["still", "moves"]);
    let still = entry(&scratch.path(""), "still").open().unwrap();
    let moves = entry(&scratch.path(""), "moves").open().unwrap();
    fs::write(scratch.path("moves"), "longer than before").unwrap();
    assert!(still.finish().is_ok());
    assert_eq!(moves.finish(), Err(SkippedReason::Changed));
}

#[test]
fn what_took_a_files_place_is_not_read() {
    let scratch = Scratch::new();
    scratch.fill(&["link", "fifo", "directory", "gone", "secret"]);
    let entries = ["link", "fifo", "directory", "gone"].map(|name| entry(&scratch.path(""), name));
    for name in ["link", "fifo", "directory", "gone"] {
        fs::remove_file(scratch.path(name)).unwrap();
    }
    symlink("secret", scratch.path("link")).unwrap();
    let mode = rustix::fs::Mode::RWXU;
    let kind = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, scratch.path("fifo"), kind, mode, 0).unwrap();
    fs::create_dir(scratch.path("directory")).unwrap();
    let outcomes = entries.map(|entry| entry.open().map(|_| ()).unwrap_err());
    use SkippedReason::{Changed, Vanished};
    assert_eq!(outcomes, [Changed, Changed, Changed, Vanished]);
}

#[test]
fn attributes_belong_to_the_state_they_are_returned_with() {
    let scratch = Scratch::new();
    scratch.fill(&["file"]);
    let seen = entry(&scratch.path(""), "file");
    fs::write(scratch.path("file"), "another length").unwrap();
    let (stat, attributes) = seen.attributes().unwrap();
    assert_ne!(stat, *seen.stat());
    assert_eq!(attributes.size(), 14);
    assert_eq!(attributes.mtime, stat.identity.mtime);
    assert_eq!(attributes.link_group, None);
}

#[test]
fn names_of_one_inode_share_a_group() {
    let scratch = Scratch::new();
    scratch.fill(&["a", "c"]);
    fs::hard_link(scratch.path("a"), scratch.path("b")).unwrap();
    let group = |name| entry(&scratch.path(""), name).attributes().unwrap().1.link_group;
    assert!(group("a").is_some());
    assert_eq!(group("a"), group("b"));
    assert_eq!(group("c"), None);
}

#[test]
fn holes_are_seen_where_they_are() {
    let scratch = Scratch::new();
    let file = fs::File::create(scratch.path("file")).unwrap();
    file.set_len(10 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[1; 4096], 1 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[2; 1], (10 << 20) - 1).unwrap();
    let open = entry(&scratch.path(""), "file").open().unwrap();
    let extents = open.extents().unwrap();
    let total: u64 = extents.iter().map(|extent| extent.len).sum();
    if extents.len() == 1 {
        println!("this file system knows no holes: not covered");
        return;
    }
    assert_eq!(extents.first().unwrap().offset, 1 << 20);
    assert_eq!(extents.last().unwrap().end(), 10 << 20);
    assert!(total <= 128 << 10);
    assert_eq!(open.next_extent(10 << 20), Ok(None));
    // Reading beyond the end is short and no error.
    assert_eq!(open.read_at((10 << 20) - 1, &mut [0; 10]), Ok(1));
}
