//! The merge of walk and basis.

use super::*;
use crate::shortcut::ShortcutStore;
use keelhold_chunk::Timestamp;
use keelhold_tree::Identity;

fn record(inode: u64) -> Record {
    let time = Timestamp { secs: 1, nanos: 1 };
    let (kind, device, size) = (EntryKind::File, 1, 0);
    let identity = Identity { kind, device, inode, size, mtime: time, ctime: time };
    Record { identity, trusted: true, digest: [0; 8] }
}

fn basis(dir: &std::path::Path, paths: &[&str]) -> Basis {
    let store = ShortcutStore::new(dir, "s");
    let open = store.open(None).unwrap();
    let mut writer = open.writer().unwrap();
    for (path, inode) in paths.iter().zip(0..) {
        writer.put(path.as_bytes(), &record(inode)).unwrap();
    }
    open.commit(writer.finish().unwrap(), [1; 16]).unwrap();
    Basis::new(store.open(Some(([1; 16], paths.len() as u64))).unwrap().entries())
}

#[test]
fn entries_meet_their_own_and_no_others() {
    let dir = tempfile::tempdir().unwrap();
    let mut basis = basis(dir.path(), &["", "a", "a/b", "a/c", "a-b", "d"]);
    let mut find = |path: &str| basis.find(path.as_bytes()).map(|(ordinal, _)| ordinal);
    assert_eq!(find(""), Some(0));
    assert_eq!(find("a"), Some(1));
    assert_eq!(find("a/a"), None);
    assert_eq!(find("a/c"), Some(3));
    assert_eq!(find("a/c/x"), None);
    assert_eq!(find("a-a"), None);
    assert_eq!(find("a-b"), Some(4));
    assert_eq!(find("e"), None);
    assert_eq!(find("f"), None);
}

#[test]
fn damage_makes_the_rest_unknown() {
    let dir = tempfile::tempdir().unwrap();
    let names: Vec<String> = (0..9_000).map(|number| format!("file-{number:05}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    drop(basis(dir.path(), &names));
    let file = std::fs::read_dir(dir.path().join("73")).unwrap().flatten();
    let path = file.map(|found| found.path()).find(|path| path.ends_with("entries-1")).unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let store = ShortcutStore::new(dir.path(), "s");
    let mut basis = Basis::new(store.open(Some(([1; 16], 9_000))).unwrap().entries());
    let found: Vec<bool> = names.iter().map(|name| basis.find(name.as_bytes()).is_some()).collect();
    assert!(found[0] && !found[8_999]);
    let known = found.iter().filter(|found| **found).count();
    assert!(found[..known].iter().all(|found| *found), "what is known stands before the damage");
}

#[test]
fn no_basis_knows_nothing() {
    assert!(Basis::new(None).find(b"a").is_none());
}
