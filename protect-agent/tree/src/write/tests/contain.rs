//! Nothing outside the target is written, whatever the entries say and whatever stands there.

use super::*;
use crate::listing::Listing;
use std::fs;
use std::os::unix::fs::symlink as link;
use std::sync::atomic::{AtomicBool, Ordering};

/// A target and, beside it, what must not change.
fn surroundings() -> (Scratch, Listing) {
    let scratch = Scratch::new();
    scratch.fill(&["outside/dir/file", "outside/file", "outside/empty/", "to/"]);
    let listing = Listing::of(&scratch.path("outside")).unwrap();
    (scratch, listing)
}

fn assert_untouched(scratch: &Scratch, before: &Listing) {
    let after = Listing::of(&scratch.path("outside")).unwrap();
    assert_eq!(before.differences(&after), []);
}

#[test]
fn paths_that_lead_out_are_refused() {
    let (scratch, before) = surroundings();
    let mut writer = TreeWriter::create(&scratch.path("to"), WriteOptions::default()).unwrap();
    let paths = ["../outside/file", "/etc/x", "a/../../outside/file", ".", "..", "a//b", "a\0b"];
    for path in paths {
        put(&mut writer, path, file("x"), "x");
        put(&mut writer, path, directory(), "");
    }
    let long = "x".repeat(256);
    put(&mut writer, &long, file("x"), "x");
    let report = writer.finish();
    let unsound = UnwrittenReason::UnsoundPath.to_string();
    assert_eq!(report.unwritten.len(), 15);
    assert!(reasons(&report).into_iter().all(|(_, reason)| reason == unsound));
    assert_eq!(names(&scratch.path("to")), [""; 0]);
    assert_untouched(&scratch, &before);
}

#[test]
fn order_is_demanded() {
    let (scratch, before) = surroundings();
    let mut writer = TreeWriter::create(&scratch.path("to"), WriteOptions::default()).unwrap();
    put(&mut writer, "b", file("first"), "first");
    put(&mut writer, "a", file("x"), "x");
    put(&mut writer, "b", file("second"), "second");
    writer.place(b"", directory());
    let report = writer.finish();
    let late = UnwrittenReason::OutOfOrder.to_string();
    let expected = ["", "a", "b"].map(|path| (path.to_owned(), late.clone()));
    assert_eq!(reasons(&report), expected);
    assert_eq!(fs::read(scratch.path("to/b")).unwrap(), b"first");
    assert_untouched(&scratch, &before);
}

/// An entry is made as a link, and later entries pretend it is a directory or a file.
#[test]
fn links_of_the_tree_itself_are_no_ways() {
    let (scratch, before) = surroundings();
    let mut writer = TreeWriter::create(&scratch.path("to"), WriteOptions::default()).unwrap();
    put(&mut writer, "a", symlink("../outside"), "");
    put(&mut writer, "a/file", file("x"), "x");
    put(&mut writer, "a/dir/file", file("x"), "x");
    put(&mut writer, "b", symlink("/etc"), "");
    put(&mut writer, "b/new", directory(), "");
    let group = Some(keelhold_chunk::LinkGroup { device: 0, inode: 0 });
    let linked = |attributes| Attributes { link_group: group, ..attributes };
    put(&mut writer, "c", linked(symlink("../outside/file")), "");
    put(&mut writer, "d", linked(file("x")), "x");
    let report = writer.finish();
    assert!(!report.is_complete());
    // The second name of the link is the link, not what it points to.
    let target = fs::read_link(scratch.path("to/d")).unwrap();
    assert_eq!(target, Path::new("../outside/file"));
    assert_eq!(names(&scratch.path("to")), ["a", "b", "c", "d"]);
    assert_untouched(&scratch, &before);
}

/// Links planted in the target, under every policy.
#[test]
fn links_in_the_target_are_no_ways() {
    for on_clash in [OnClash::Skip, OnClash::Copy, OnClash::Overwrite] {
        let (scratch, before) = surroundings();
        link("../outside", scratch.path("to/dir")).unwrap();
        link("../outside/file", scratch.path("to/file")).unwrap();
        link("../outside/not-there", scratch.path("to/new")).unwrap();
        link("../../outside/empty", scratch.path("to/zz")).unwrap();
        let mut writer = TreeWriter::create(&scratch.path("to"), clashing(on_clash)).unwrap();
        writer.place(b"", directory());
        put(&mut writer, "dir", entry(Kind::Directory, 0o777), "");
        put(&mut writer, "dir/dir", entry(Kind::Directory, 0o777), "");
        put(&mut writer, "dir/dir/file", file("x"), "x");
        put(&mut writer, "dir/file", file("x"), "x");
        let noted = Attributes { xattrs: vec![xattr("user.note", b"x")], ..file("x") };
        let place = writer.place(b"file", noted.clone()).unwrap();
        assert!(place.existing().is_none());
        drop(place);
        put(&mut writer, "new", noted, "x");
        // Never came as an entry, so it would be entered or made.
        put(&mut writer, "zz/file", file("x"), "x");
        drop(writer.finish());
        assert_untouched(&scratch, &before);
    }
}

/// The first name of a link group now stands for an inode from outside: nothing is linked to that, or
/// its mode and owner would be set through the new name next time.
#[test]
fn only_inodes_made_here_are_linked_to() {
    let (scratch, before) = surroundings();
    let mut writer = TreeWriter::create(&scratch.path("to"), WriteOptions::default()).unwrap();
    let group = |inode| Some(keelhold_chunk::LinkGroup { device: 0, inode });
    for (name, inode) in [("a", 1), ("b", 2)] {
        let attributes = Attributes { link_group: group(inode), ..file("made") };
        put(&mut writer, name, attributes, "made");
    }
    fs::rename(scratch.path("outside/file"), scratch.path("to/a")).unwrap();
    fs::remove_file(scratch.path("to/b")).unwrap();
    link("../outside/dir/file", scratch.path("to/b")).unwrap();
    for (name, inode) in [("c", 1), ("d", 2)] {
        let attributes = Attributes { link_group: group(inode), ..file("made") };
        put(&mut writer, name, attributes, "made");
    }
    let report = writer.finish();
    let swapped = UnwrittenReason::Swapped.to_string();
    let expected = ["c", "d"].map(|name| (name.to_owned(), swapped.clone()));
    assert_eq!(reasons(&report), expected);
    fs::rename(scratch.path("to/a"), scratch.path("outside/file")).unwrap();
    let after = Listing::of(&scratch.path("outside")).unwrap();
    assert_eq!(before.entries[&b"file"[..]], after.entries[&b"file"[..]]);
}

/// A directory of the target is moved away and another put in its place while entries wait for it.
#[test]
fn a_directory_put_in_anothers_place_is_not_written_to() {
    let (scratch, before) = surroundings();
    let mut writer = TreeWriter::create(&scratch.path("to"), WriteOptions::default()).unwrap();
    put(&mut writer, "a", entry(Kind::Directory, 0o777), "");
    let place = writer.place(b"a/file", file("x")).unwrap();
    // So many others that the descriptor of the first is closed.
    for number in 0..2 * crate::dirs::OPEN_MAX {
        put(&mut writer, &format!("b/{number:04}"), directory(), "");
    }
    fs::rename(scratch.path("to/a"), scratch.path("to/moved")).unwrap();
    fs::rename(scratch.path("outside/dir"), scratch.path("to/a")).unwrap();
    drop(place.create());
    let report = writer.finish();
    assert!(!report.is_complete());
    fs::rename(scratch.path("to/a"), scratch.path("outside/dir")).unwrap();
    let after = Listing::of(&scratch.path("outside")).unwrap();
    for path in [&b"dir/file"[..], b"dir"] {
        assert_eq!(before.entries[path].mode, after.entries[path].mode);
        assert_eq!(before.entries[path].content, after.entries[path].content);
    }
    assert_eq!(names(&scratch.path("outside/dir")), ["file"]);
}

#[test]
fn a_restore_root_is_never_left() {
    let (scratch, before) = surroundings();
    link("../outside", scratch.path("to/link")).unwrap();
    let root = fs::File::open(scratch.path("to")).unwrap();
    let create = |path: &str| {
        TreeWriter::create_beneath(&root, path.as_bytes(), WriteOptions::default()).map(|_| ())
    };
    assert!(matches!(create("../x"), Err(WriteError::Unsound { .. })));
    assert!(matches!(create("/x"), Err(WriteError::Unsound { .. })));
    assert!(matches!(create("link"), Err(WriteError::Open { .. })));
    assert!(matches!(create("link/x"), Err(WriteError::Open { .. })));
    assert_eq!(create("deep/er"), Ok(()));
    assert_eq!(names(&scratch.path("to/deep")), ["er"]);
    assert_untouched(&scratch, &before);
}

/// Somebody who may write to the target exchanges a directory and a link to the outside all the time.
/// What is checked is that nothing outside changes; how often the restore notices is up to the
/// scheduler.
#[test]
fn a_race_with_links_is_lost_by_nobody_outside() {
    for on_clash in [OnClash::Skip, OnClash::Copy, OnClash::Overwrite] {
        let (scratch, before) = surroundings();
        scratch.fill(&["to/a/", "to/b/"]);
        link("../outside", scratch.path("to/swap")).unwrap();
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for name in ["a", "b"] {
                let (stop, scratch) = (&stop, &scratch);
                scope.spawn(move || {
                    let flags = rustix::fs::RenameFlags::EXCHANGE;
                    let dir = fs::File::open(scratch.path("to")).unwrap();
                    while !stop.load(Ordering::Relaxed) {
                        let _ = rustix::fs::renameat_with(&dir, name, &dir, "swap", flags);
                    }
                });
            }
            for _ in 0..60 {
                restore_into_a_race(&scratch, on_clash);
            }
            stop.store(true, Ordering::Relaxed);
        });
        assert_untouched(&scratch, &before);
    }
}

fn restore_into_a_race(scratch: &Scratch, on_clash: OnClash) {
    let mut writer = TreeWriter::create(&scratch.path("to"), clashing(on_clash)).unwrap();
    for dir in ["a", "b"] {
        put(&mut writer, dir, entry(Kind::Directory, 0o777), "");
        put(&mut writer, &format!("{dir}/dir"), entry(Kind::Directory, 0o777), "");
        put(&mut writer, &format!("{dir}/dir/file"), entry(Kind::File { size: 1 }, 0o666), "x");
        put(&mut writer, &format!("{dir}/file"), entry(Kind::File { size: 1 }, 0o666), "x");
        put(&mut writer, &format!("{dir}/fifo"), entry(Kind::Fifo, 0o666), "");
        put(&mut writer, &format!("{dir}/link"), symlink("../outside/file"), "");
    }
    drop(writer.finish());
}
