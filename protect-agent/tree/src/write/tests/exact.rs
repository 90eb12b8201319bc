//! What comes back is what was there.

use super::*;
use crate::scratch::{copy, is_root};
use crate::torture;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;

#[test]
fn a_torture_tree_comes_back_exactly() {
    if !is_root() {
        println!("not root: modes nobody may read, devices and foreign owners are not covered");
        return;
    }
    let scratch = Scratch::new();
    let (from, to) = (scratch.path("from"), scratch.path("to"));
    let made = torture::make(&from, 7).unwrap();
    println!("{} entries, left out: {:?}", made.entry_count, made.left_out);
    assert!(made.entry_count > 5_000);
    for (name, threads) in [("one", 1), ("eight", 8)] {
        let to = to.join(name);
        let report = copy(&from, &to, WriteOptions::default(), threads);
        assert_eq!(report.unwritten, []);
        let written = report.files + report.directories + report.links + report.others;
        assert_eq!(written, made.entry_count as u64 + 1);
        assert_equal(&from, &to);
    }
}

/// What only root may do is named as skipped, and the rest is exact: the same test run once more as
/// somebody else.
#[test]
fn what_linux_forbids_is_skipped_by_name() {
    if !is_root() {
        return without_privileges();
    }
    let executable = std::env::current_exe().unwrap();
    let mut command = std::process::Command::new(executable);
    command.args(["--exact", "write::tests::exact::what_linux_forbids_is_skipped_by_name"]);
    match command.arg("--nocapture").uid(65_534).gid(65_534).output() {
        Ok(output) => {
            println!("{}", String::from_utf8_lossy(&output.stdout));
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        Err(error) => println!("not covered: this program cannot be run by others: {error}"),
    }
}

fn without_privileges() {
    let scratch = Scratch::new();
    let mut writer = TreeWriter::create(&scratch.path("to"), WriteOptions::default()).unwrap();
    writer.place(b"", directory());
    let foreign = Attributes { uid: 1, gid: 1, ..entry(Kind::File { size: 1 }, 0o6755) };
    put(&mut writer, "a-foreign", foreign, "x");
    let device = Kind::CharDevice { major: 1, minor: 3 };
    put(&mut writer, "b-device", entry(device, 0o600), "");
    put(&mut writer, "c-fifo", entry(Kind::Fifo, 0o611), "");
    let noted = Attributes {
        xattrs: vec![xattr("trusted.note", b"x"), xattr("user.note", b"y")],
        ..file("content")
    };
    put(&mut writer, "d-noted", noted, "content");
    put(&mut writer, "e-setuid", entry(Kind::File { size: 0 }, 0o4711), "");
    let closed = entry(Kind::Directory, 0o000);
    put(&mut writer, "f-closed", closed, "");
    put(&mut writer, "f-closed/in", file("in"), "in");
    let report = writer.finish();
    assert_eq!(report.failed().count(), 0, "{report:?}");
    let skipped = reasons(&report);
    let paths: Vec<&str> = skipped.iter().map(|(path, _)| &path[..]).collect();
    assert_eq!(paths, ["a-foreign", "a-foreign", "b-device", "d-noted"], "{skipped:?}");
    let mode = |name: &str| scratch.path(name).symlink_metadata().unwrap().mode() & 0o7777;
    // Setuid of another owner would lend this one's rights.
    assert_eq!(mode("to/a-foreign"), 0o755);
    assert_eq!(mode("to/c-fifo"), 0o611);
    assert_eq!(mode("to/e-setuid"), 0o4711);
    assert_eq!(mode("to/f-closed"), 0o000);
    fs::set_permissions(scratch.path("to/f-closed"), fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(fs::read(scratch.path("to/f-closed/in")).unwrap(), b"in");
    // A directory that may not be read is skipped by the walk, not fatal to it.
    scratch.fill(&["from/closed/x", "from/open/y"]);
    let closed = scratch.path("from/closed");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o300)).unwrap();
    let walk = crate::Walk::new(&scratch.path("from"), crate::WalkOptions::default()).unwrap();
    let (mut entries, mut skipped) = (0, Vec::new());
    for found in walk {
        match found {
            crate::Found::Entry(_) => entries += 1,
            crate::Found::Skipped(skip) => skipped.push(skip),
        }
    }
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!((entries, skipped.len()), (4, 1));
    assert_eq!(skipped[0].path, b"closed");
    println!("as another user: {} skipped by name", report.unwritten.len());
}

#[test]
fn options_leave_out_what_lends_rights() {
    let scratch = Scratch::new();
    let options = WriteOptions {
        owners: false,
        devices: false,
        privileged_modes: false,
        privileged_xattrs: false,
        ..WriteOptions::default()
    };
    let mut writer = TreeWriter::create(&scratch.path("to"), options).unwrap();
    let foreign = Attributes { uid: 1234, ..entry(Kind::File { size: 0 }, 0o4755) };
    put(&mut writer, "a", foreign, "");
    put(&mut writer, "b", entry(Kind::BlockDevice { major: 8, minor: 0 }, 0o600), "");
    let capable = Attributes { xattrs: vec![xattr("security.note", b"x")], ..file("") };
    put(&mut writer, "c", capable, "");
    let report = writer.finish();
    assert!(report.is_complete());
    let paths: Vec<String> = reasons(&report).into_iter().map(|(path, _)| path).collect();
    assert_eq!(paths, ["a", "b", "c"]);
    let metadata = fs::metadata(scratch.path("to/a")).unwrap();
    assert_eq!(metadata.mode() & 0o7777, 0o755);
    assert_ne!(metadata.uid(), 1234);
    assert_eq!(names(&scratch.path("to")), ["a", "c"]);
}

/// A target inside a directory that hands group and ACL down: nothing of that reaches the tree.
#[test]
fn nothing_is_inherited_from_where_the_target_stands() {
    let scratch = Scratch::new();
    scratch.fill(&["outer/", "from/a/b", "from/c"]);
    let outer = scratch.path("outer");
    let mut acl = 2u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in [
        (1u16, 7u16, u32::MAX),
        (2, 7, 1000),
        (4, 5, u32::MAX),
        (0x10, 7, u32::MAX),
        (0x20, 0, u32::MAX),
    ] {
        acl.extend_from_slice(&tag.to_le_bytes());
        acl.extend_from_slice(&permissions.to_le_bytes());
        acl.extend_from_slice(&id.to_le_bytes());
    }
    let flags = rustix::fs::XattrFlags::empty();
    let set = rustix::fs::setxattr(&outer, "system.posix_acl_default", &acl, flags);
    if set.is_err() || !is_root() {
        println!("no ACLs here, or no right to give away a group: not covered");
        return;
    }
    std::os::unix::fs::chown(&outer, None, Some(4321)).unwrap();
    fs::set_permissions(&outer, fs::Permissions::from_mode(0o2775)).unwrap();
    let report = copy(&scratch.path("from"), &outer.join("new"), WriteOptions::default(), 2);
    assert_eq!(report.unwritten, []);
    assert_equal(&scratch.path("from"), &outer.join("new"));
    // The same into an existing directory that hands them down itself.
    let report = copy(&scratch.path("from"), &outer, clashing(OnClash::Skip), 2);
    assert_eq!(report.unwritten, []);
    for name in ["a", "c"] {
        let existing = crate::listing::Listing::of(&outer).unwrap();
        let wanted = crate::listing::Listing::of(&scratch.path("from")).unwrap();
        assert_eq!(existing.entries[name.as_bytes()], wanted.entries[name.as_bytes()]);
    }
}

#[test]
fn chosen_paths_come_without_their_parents() {
    let scratch = Scratch::new();
    let mut writer = TreeWriter::create(&scratch.path("x/y/to"), WriteOptions::default()).unwrap();
    put(&mut writer, "a/b/c", file("1"), "1");
    put(&mut writer, "a/b/d/e", file("2"), "2");
    put(&mut writer, "a/f", directory(), "");
    put(&mut writer, "a-b", file("3"), "3");
    let report = writer.finish();
    assert_eq!(report.unwritten, []);
    assert_eq!(fs::read(scratch.path("x/y/to/a/b/d/e")).unwrap(), b"2");
    let metadata = fs::metadata(scratch.path("x/y/to/a/b")).unwrap();
    assert_eq!(metadata.mode() & 0o777, 0o700);
    assert_eq!(fs::metadata(scratch.path("x/y/to/a/f")).unwrap().mtime(), 1_000_000_000);
}

/// Whoever of a group comes first makes the inode; if that fails, the next one does.
#[test]
fn a_link_group_survives_its_first_name() {
    let scratch = Scratch::new();
    scratch.fill(&["to/a"]);
    let group = Some(keelhold_chunk::LinkGroup { device: 1, inode: 2 });
    let linked = || Attributes { link_group: group, ..file("shared") };
    let mut writer = TreeWriter::create(&scratch.path("to"), clashing(OnClash::Skip)).unwrap();
    for name in ["a", "b", "c"] {
        put(&mut writer, name, linked(), "shared");
    }
    let report = writer.finish();
    let a = ("a".to_owned(), UnwrittenReason::Exists.to_string());
    assert_eq!(reasons(&report), [a]);
    assert_eq!(fs::read(scratch.path("to/a")).unwrap(), b"to/a");
    let inode = |name: &str| fs::metadata(scratch.path(name)).unwrap().ino();
    assert_eq!(inode("to/b"), inode("to/c"));
    assert_eq!((report.files, report.links), (1, 1));
}

#[test]
fn many_threads_make_one_inode_of_a_group() {
    let scratch = Scratch::new();
    let mut writer = TreeWriter::create(&scratch.path("to"), WriteOptions::default()).unwrap();
    let group = Some(keelhold_chunk::LinkGroup { device: 1, inode: 2 });
    let mut places = Vec::new();
    for number in 0..64 {
        let attributes = Attributes { link_group: group, ..file("shared") };
        let path = format!("{number:02}/name");
        places.extend(writer.place(path.as_bytes(), attributes));
    }
    std::thread::scope(|scope| {
        for place in places {
            scope.spawn(move || {
                if let Created::Content(file) = place.create() {
                    file.write_at(0, b"shared").unwrap();
                    assert!(file.finish());
                }
            });
        }
    });
    let report = writer.finish();
    assert_eq!(report.unwritten, []);
    assert_eq!((report.files, report.links), (1, 63));
    assert_eq!(fs::metadata(scratch.path("to/00/name")).unwrap().nlink(), 64);
}

#[test]
fn what_is_not_finished_does_not_stay() {
    let scratch = Scratch::new();
    let mut writer = TreeWriter::create(&scratch.path("to"), WriteOptions::default()).unwrap();
    let group = Some(keelhold_chunk::LinkGroup { device: 1, inode: 2 });
    let linked = || Attributes { link_group: group, ..file("whole") };
    let Created::Content(half) = writer.place(b"a", linked()).unwrap().create() else {
        panic!("no file")
    };
    half.write_at(0, b"ha").unwrap();
    put(&mut writer, "b", linked(), "");
    put(&mut writer, "c", file("whole"), "whole");
    drop(half);
    let report = writer.finish();
    let unfinished = UnwrittenReason::Unfinished.to_string();
    assert_eq!(
        reasons(&report),
        [("a".to_owned(), unfinished.clone()), ("b".to_owned(), unfinished)]
    );
    assert!(!report.is_complete());
    assert_eq!(names(&scratch.path("to")), ["c"]);
}
