//! Names that are taken.

use super::*;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink as link};

fn tree(writer: &mut TreeWriter) {
    writer.place(b"", directory());
    put(writer, "dir", entry(Kind::Directory, 0o711), "");
    put(writer, "dir/file", file("new"), "new");
    put(writer, "dir/fresh", file("fresh"), "fresh");
    put(writer, "file", file("new"), "new");
    put(writer, "link", symlink("new"), "");
    put(writer, "was-file", directory(), "");
    put(writer, "was-file/in", file("in"), "in");
    put(writer, "was-full", file("new"), "new");
    put(writer, "was-link", directory(), "");
    put(writer, "was-link/in", file("in"), "in");
}

fn there() -> Scratch {
    let scratch = Scratch::new();
    scratch.fill(&["to/dir/file", "to/file", "to/was-file", "to/was-full/x", "aside/in"]);
    link("old", scratch.path("to/link")).unwrap();
    link("../aside", scratch.path("to/was-link")).unwrap();
    scratch
}

fn read(scratch: &Scratch, path: &str) -> String {
    fs::read_to_string(scratch.path(path)).unwrap()
}

#[test]
fn a_target_that_is_not_empty_is_refused() {
    let scratch = there();
    let error = TreeWriter::create(&scratch.path("to"), WriteOptions::default()).unwrap_err();
    assert!(matches!(error, WriteError::NotEmpty { .. }));
    let error = TreeWriter::create(&scratch.path("to/file"), WriteOptions::default()).unwrap_err();
    assert!(matches!(error, WriteError::Open { .. }));
    let error = TreeWriter::create(&scratch.path("to/file/x"), WriteOptions::default());
    assert!(matches!(error.unwrap_err(), WriteError::Create { .. }));
}

#[test]
fn skip_leaves_what_is_there() {
    let scratch = there();
    let mut writer = TreeWriter::create(&scratch.path("to"), clashing(OnClash::Skip)).unwrap();
    tree(&mut writer);
    let report = writer.finish();
    let exists = UnwrittenReason::Exists.to_string();
    let missing = UnwrittenReason::DirectoryMissing.to_string();
    let skipped: Vec<(String, String)> = [
        ("dir/file", &exists),
        ("file", &exists),
        ("link", &exists),
        ("was-file", &exists),
        ("was-file/in", &missing),
        ("was-full", &exists),
        ("was-link", &exists),
        ("was-link/in", &missing),
    ]
    .map(|(path, reason)| (path.to_owned(), reason.clone()))
    .to_vec();
    assert_eq!(reasons(&report), skipped);
    assert_eq!(read(&scratch, "to/dir/file"), "to/dir/file");
    assert_eq!(read(&scratch, "to/dir/fresh"), "fresh");
    assert_eq!(read(&scratch, "aside/in"), "aside/in");
    // A directory that was there keeps its own mode.
    assert_ne!(fs::metadata(scratch.path("to/dir")).unwrap().mode() & 0o777, 0o711);
}

#[test]
fn copy_puts_the_new_beside_the_old() {
    let scratch = there();
    for round in ["", "-2"] {
        let mut writer = TreeWriter::create(&scratch.path("to"), clashing(OnClash::Copy)).unwrap();
        tree(&mut writer);
        let report = writer.finish();
        assert_eq!(report.unwritten, [], "round {round:?}");
        assert_eq!(read(&scratch, &format!("to/file.restored{round}")), "new");
        assert_eq!(read(&scratch, &format!("to/was-full.restored{round}")), "new");
    }
    assert_eq!(read(&scratch, "to/was-link.restored/in"), "in");
    assert_eq!(read(&scratch, "to/file"), "to/file");
    assert_eq!(read(&scratch, "aside/in"), "aside/in");
    assert_eq!(fs::read_link(scratch.path("to/link")).unwrap(), Path::new("old"));
}

#[test]
fn overwrite_takes_the_place_but_removes_no_tree() {
    let scratch = there();
    fs::hard_link(scratch.path("to/file"), scratch.path("aside/other-name")).unwrap();
    let mut writer = TreeWriter::create(&scratch.path("to"), clashing(OnClash::Overwrite)).unwrap();
    tree(&mut writer);
    let report = writer.finish();
    let in_the_way = UnwrittenReason::DirectoryInTheWay.to_string();
    assert_eq!(reasons(&report), [("was-full".to_owned(), in_the_way)]);
    assert_eq!(read(&scratch, "to/file"), "new");
    assert_eq!(read(&scratch, "to/dir/file"), "new");
    assert_eq!(read(&scratch, "to/was-file/in"), "in");
    assert_eq!(read(&scratch, "to/was-link/in"), "in");
    assert_eq!(read(&scratch, "to/was-full/x"), "to/was-full/x");
    assert_eq!(fs::read_link(scratch.path("to/link")).unwrap(), Path::new("new"));
    assert_eq!(fs::metadata(scratch.path("to/dir")).unwrap().mode() & 0o777, 0o711);
    // Not through the other name of the old inode, and not through the old link.
    assert_eq!(read(&scratch, "aside/other-name"), "to/file");
    assert_eq!(read(&scratch, "aside/in"), "aside/in");
    let expected = ["dir", "file", "link", "was-file", "was-full", "was-link"];
    assert_eq!(names(&scratch.path("to")), expected);
}

#[test]
fn only_what_differs_is_written() {
    let scratch = Scratch::new();
    scratch.fill(&["to/"]);
    let old: Vec<u8> = [vec![1; 8192], vec![2; 8192], vec![3; 100]].concat();
    fs::write(scratch.path("to/file"), &old).unwrap();
    let inode = fs::metadata(scratch.path("to/file")).unwrap().ino();
    let mut writer = TreeWriter::create(&scratch.path("to"), clashing(OnClash::Overwrite)).unwrap();
    let wanted = Attributes {
        xattrs: vec![xattr("user.note", b"x")],
        ..entry(Kind::File { size: 16_384 }, 0o4750)
    };
    let place = writer.place(b"file", wanted).unwrap();
    let existing = place.existing().unwrap();
    assert_eq!(existing.stat().identity.size, old.len() as u64);
    let Created::Content(file) = place.patch(&existing) else { panic!("no file") };
    file.punch(0, 8192).unwrap();
    file.write_at(8192, &[9; 10]).unwrap();
    assert!(file.finish());
    let report = writer.finish();
    assert_eq!(report.unwritten, []);
    assert_eq!(report.bytes_written, 10);
    let metadata = fs::metadata(scratch.path("to/file")).unwrap();
    assert_eq!((metadata.ino(), metadata.mode() & 0o7777), (inode, 0o4750));
    assert_eq!(metadata.mtime(), 1_000_000_000);
    let content = fs::read(scratch.path("to/file")).unwrap();
    let expected: Vec<u8> = [vec![0; 8192], vec![9; 10], vec![2; 8182]].concat();
    assert!(content == expected);
}

/// An inode that has another name may have it outside the target.
#[test]
fn a_file_with_other_names_is_never_patched() {
    let scratch = Scratch::new();
    scratch.fill(&["to/file"]);
    fs::hard_link(scratch.path("to/file"), scratch.path("outside")).unwrap();
    let mut writer = TreeWriter::create(&scratch.path("to"), clashing(OnClash::Overwrite)).unwrap();
    let place = writer.place(b"file", file("new")).unwrap();
    assert!(place.existing().is_none());
}

#[test]
fn one_tree_over_itself_changes_nothing() {
    let scratch = Scratch::new();
    scratch.fill(&["from/a/b", "from/a/c/d", "from/e"]);
    link("e", scratch.path("from/f")).unwrap();
    fs::hard_link(scratch.path("from/e"), scratch.path("from/g")).unwrap();
    for on_clash in [None, Some(OnClash::Overwrite), Some(OnClash::Skip)] {
        let options = WriteOptions { on_clash, ..WriteOptions::default() };
        crate::scratch::copy(&scratch.path("from"), &scratch.path("to"), options, 2);
        assert_equal(&scratch.path("from"), &scratch.path("to"));
    }
}
