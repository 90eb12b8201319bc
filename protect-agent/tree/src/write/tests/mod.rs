//! Entries are handed to the writer as a hostile or careless caller could; what a well-meant tree
//! gives is in [`exact`].

mod clash;
mod contain;
mod exact;

use super::*;
use crate::listing::compare;
use crate::scratch::Scratch;
use keelhold_chunk::{Kind, Timestamp, Xattr};

fn assert_equal(left: &Path, right: &Path) {
    let differences = compare(left, right).unwrap();
    let shown: Vec<String> = differences.iter().take(20).map(ToString::to_string).collect();
    assert!(differences.is_empty(), "{} differences: {shown:#?}", differences.len());
}

/// An entry of this process's owner.
fn entry(kind: Kind, mode: u16) -> Attributes {
    Attributes {
        kind,
        mode,
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        mtime: Timestamp { secs: 1_000_000_000, nanos: 5 },
        link_group: None,
        xattrs: Vec::new(),
    }
}

fn directory() -> Attributes {
    entry(Kind::Directory, 0o755)
}

fn file(content: &str) -> Attributes {
    entry(Kind::File { size: content.len() as u64 }, 0o644)
}

fn symlink(target: &str) -> Attributes {
    entry(Kind::Symlink { target: target.into() }, 0o777)
}

fn xattr(name: &str, value: &[u8]) -> Xattr {
    Xattr { name: name.into(), value: value.into() }
}

fn clashing(on_clash: OnClash) -> WriteOptions {
    WriteOptions { on_clash: Some(on_clash), ..WriteOptions::default() }
}

/// Places an entry and, if it wants content, fills it.
fn put(writer: &mut TreeWriter, path: &str, attributes: Attributes, content: &str) {
    let Some(place) = writer.place(path.as_bytes(), attributes) else {
        return;
    };
    if let Created::Content(file) = place.create() {
        file.write_at(0, content.as_bytes()).unwrap();
        file.finish();
    }
}

fn reasons(report: &Report) -> Vec<(String, String)> {
    let shown = |unwritten: &Unwritten| {
        (unwritten.path.escape_ascii().to_string(), unwritten.reason.to_string())
    };
    report.unwritten.iter().map(shown).collect()
}

fn names(path: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(path).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
