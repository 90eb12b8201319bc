use super::*;
use crate::shortcut::Record;
use keelhold_chunk::Timestamp;
use keelhold_tree::{EntryKind, Identity};

fn record(inode: u64) -> Record {
    let ctime = Timestamp { secs: inode as i64, nanos: 7 };
    let identity =
        Identity { kind: EntryKind::File, device: 1, inode, size: inode * 3, mtime: ctime, ctime };
    Record { identity, trusted: inode.is_multiple_of(2), digest: inode.to_le_bytes() }
}

fn entry(number: u64) -> (Vec<u8>, Record) {
    (format!("dir/{:03}/file-{number:06}", number / 100).into_bytes(), record(number))
}

fn write(store: &ShortcutStore, basis: u8, numbers: impl Iterator<Item = u64>) -> u64 {
    let open = store.open(None).unwrap();
    let mut writer = open.writer().unwrap();
    let mut count = 0;
    for number in numbers {
        let (path, record) = entry(number);
        writer.put(&path, &record).unwrap();
        count += 1;
    }
    open.commit(writer.finish().unwrap(), [basis; 16]).unwrap();
    count
}

fn files(store: &ShortcutStore) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(&store.dir)
        .unwrap()
        .map(|found| found.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn what_is_written_is_read_for_the_same_basis_only() {
    let dir = tempfile::tempdir().unwrap();
    let store = ShortcutStore::new(dir.path(), "home/ä");
    let count = write(&store, 1, 0..5_000);
    assert!(store.open(Some(([2; 16], count))).unwrap().entries().is_none());
    assert!(store.open(Some(([1; 16], count + 1))).unwrap().entries().is_none());
    assert!(store.open(None).unwrap().entries().is_none());
    let read = store.open(Some(([1; 16], count))).unwrap().entries().unwrap().collect_all();
    assert_eq!(read.unwrap(), (0..5_000).map(entry).collect::<Vec<_>>());
}

#[test]
fn an_unchanged_tree_keeps_its_entries_file() {
    let dir = tempfile::tempdir().unwrap();
    let store = ShortcutStore::new(dir.path(), "home");
    let count = write(&store, 1, 0..3_000);
    let before = files(&store);
    let open = store.open(Some(([1; 16], count))).unwrap();
    let mut writer = open.writer().unwrap();
    writer.same(0, 1_000).unwrap();
    writer.same(1_000, 2_000).unwrap();
    open.commit(writer.finish().unwrap(), [2; 16]).unwrap();
    assert_eq!(files(&store), before);
    assert!(store.open(Some(([2; 16], count))).unwrap().entries().is_some());
}

#[test]
fn a_change_copies_what_stands_around_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = ShortcutStore::new(dir.path(), "home");
    let count = write(&store, 1, 0..3_000);
    let open = store.open(Some(([1; 16], count))).unwrap();
    let mut writer = open.writer().unwrap();
    writer.same(0, 1_500).unwrap();
    let (path, _) = entry(1_500);
    writer.put(&path, &record(9_999)).unwrap();
    writer.same(1_700, 1_300).unwrap();
    open.commit(writer.finish().unwrap(), [2; 16]).unwrap();
    let mut expected: Vec<_> = (0..3_000).map(entry).collect();
    expected[1_500].1 = record(9_999);
    expected.drain(1_501..1_700);
    let open = store.open(Some(([2; 16], expected.len() as u64))).unwrap();
    assert_eq!(open.entries().unwrap().collect_all().unwrap(), expected);
    assert_eq!(files(&store).len(), 2);
}

#[test]
fn a_tree_that_lost_its_end_is_written_anew() {
    let dir = tempfile::tempdir().unwrap();
    let store = ShortcutStore::new(dir.path(), "home");
    let count = write(&store, 1, 0..300);
    let open = store.open(Some(([1; 16], count))).unwrap();
    let mut writer = open.writer().unwrap();
    writer.same(0, 200).unwrap();
    open.commit(writer.finish().unwrap(), [2; 16]).unwrap();
    let entries = store.open(Some(([2; 16], 200))).unwrap().entries().unwrap();
    assert_eq!(entries.collect_all().unwrap(), (0..200).map(entry).collect::<Vec<_>>());
}

/// Every single changed byte is noticed, and no entry behind it is believed.
#[test]
fn damage_ends_the_entries_and_invents_none() {
    let dir = tempfile::tempdir().unwrap();
    let store = ShortcutStore::new(dir.path(), "home");
    let count = write(&store, 1, 0..40);
    let path = store.entries_path(1);
    let whole = fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut other = whole.clone();
        other[at] ^= 0x10;
        fs::write(&path, &other).unwrap();
        let entries = store.open(Some(([1; 16], count))).unwrap().entries().unwrap();
        assert!(entries.collect_all().is_err(), "byte {at}");
    }
    for len in 0..whole.len() {
        let entries = Entries::new(&whole[..len]);
        assert!(entries.collect_all().is_err() || len == 8, "{len}");
    }
}
