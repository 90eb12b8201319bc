//! What a change costs, counted in pages.

use keelhold_chunk::entry::Kind;

use crate::tree::testing::{MemoryStore, attributes, block_on, build, test_key};
use crate::tree::{Item, NewContent, ResolvedExtent, TreeReader, TreeRoot};
use crate::units::ChunkNumber;

const PER_DIRECTORY: u64 = 100;

fn path_of(ordinal: u64) -> Vec<u8> {
    if ordinal == 0 {
        return Vec::new();
    }
    let (directory, place) = ((ordinal - 1) / PER_DIRECTORY, (ordinal - 1) % PER_DIRECTORY);
    let directory = format!("usr/share/package-{directory:06}");
    match place {
        0 => directory.into_bytes(),
        place => format!("{directory}/file-{place:03}.conf").into_bytes(),
    }
}

fn directory(path: &[u8]) -> Item {
    Item::Entry {
        path: path.to_vec(),
        attributes: attributes(Kind::Directory).to_bytes(),
        content: NewContent::None,
    }
}

fn file(path: Vec<u8>, number: u64) -> Item {
    let id = test_key().id(&number.to_le_bytes());
    let len = 1 + (number % 30_000) as u32;
    let mut attributes = attributes(Kind::File { size: u64::from(len) });
    attributes.mtime.nanos = (number * 7_919 % 1_000_000_000) as u32;
    let parts = vec![ResolvedExtent::Chunk { number: ChunkNumber(number), id, len }];
    Item::Entry { path, attributes: attributes.to_bytes(), content: NewContent::Extents(parts) }
}

/// Root, `usr`, `usr/share`, then directories of 99 files: entry n of `path_of` has ordinal n + 2.
fn tree(store: &MemoryStore, entries: u64) -> TreeRoot {
    let heads = [directory(b""), directory(b"usr"), directory(b"usr/share")];
    let others = (1..entries - 2).map(|n| match (n - 1) % PER_DIRECTORY {
        0 => directory(&path_of(n)),
        _ => file(path_of(n), n),
    });
    build(store, None, heads.into_iter().chain(others)).unwrap().0
}

#[test]
fn an_unchanged_tree_costs_nothing() {
    let store = MemoryStore::default();
    let root = tree(&store, 200_000);
    assert_eq!(root.entry_count, 200_000);
    store.reset_counts();
    let whole = [Item::Same { first: 0, count: 200_000 }];
    let pieces = (0..200_000)
        .step_by(777)
        .map(|first| Item::Same { first, count: 777.min(200_000 - first) });
    for items in [whole.to_vec(), pieces.collect()] {
        let (same, change) = build(&store, Some(root), items).unwrap();
        assert_eq!((same, change.is_empty()), (root, true));
        assert_eq!((store.reads.get(), store.puts.get()), (0, 0));
    }
}

#[test]
fn one_changed_file_rewrites_the_pages_above_it() {
    let store = MemoryStore::default();
    let root = tree(&store, 200_000);
    let depth = u64::from(root.level) + 1;
    assert_eq!(depth, 3);
    let mut split = 0;
    for changed in (1..199_990).step_by(9_973).filter(|n| (n - 1) % PER_DIRECTORY != 0) {
        let ordinal = changed + 2;
        let items = [
            Item::Same { first: 0, count: ordinal },
            file(path_of(changed), (1 << 30) + changed),
            Item::Same { first: ordinal + 1, count: root.entry_count - ordinal - 1 },
        ];
        store.reset_counts();
        let (_, change) = build(&store, Some(root), items).unwrap();
        assert!(store.stored.get() <= depth + 1, "{} pages stored", store.stored.get());
        assert!(store.reads.get() <= depth + 1, "{} pages read", store.reads.get());
        assert!(store.stored_len.get() < 160 << 10, "{} bytes", store.stored_len.get());
        split += u64::from(store.stored.get() > depth);
        assert_eq!(change.added.total(), store.stored.get() + 1);
        assert!(change.removed.total() <= depth + 2);
    }
    assert!(split <= 2, "{split} of 20 changes moved a cut");
}

#[test]
fn inserting_and_deleting_touch_the_neighbourhood_only() {
    let store = MemoryStore::default();
    let root = tree(&store, 100_000);
    let depth = u64::from(root.level) + 1;
    for ordinal in (1_000..99_000).step_by(7_001) {
        let mut path = path_of(ordinal - 3);
        path.extend_from_slice(b".orig");
        let rest = root.entry_count - ordinal;
        let is_directory = (ordinal - 4) % PER_DIRECTORY == 0;
        let inserted = vec![
            Item::Same { first: 0, count: ordinal },
            if is_directory { directory(&path) } else { file(path, 1 << 31) },
            Item::Same { first: ordinal, count: rest },
        ];
        let deleted = vec![
            Item::Same { first: 0, count: ordinal },
            Item::Same { first: ordinal + 1, count: rest - 1 },
        ];
        for (items, is_sound) in [(inserted, !is_directory), (deleted, true)] {
            store.reset_counts();
            let done = build(&store, Some(root), items);
            if !is_sound || done.is_err() {
                continue;
            }
            assert!(store.stored.get() <= depth + 2, "{} pages stored", store.stored.get());
            assert!(store.reads.get() <= depth + 3, "{} pages read", store.reads.get());
        }
    }
}

#[test]
fn a_path_among_a_million_is_three_reads_away() {
    let store = MemoryStore::default();
    let root = tree(&store, 1_000_000);
    for n in (1..999_990).step_by(99_991) {
        store.reset_counts();
        let found = block_on(TreeReader::new(&store, root).find(&path_of(n))).unwrap();
        assert_eq!(found.map(|(ordinal, _)| ordinal), Some(n + 2));
        assert!(store.reads.get() <= 3, "{} reads", store.reads.get());
    }
    let lens: Vec<usize> = store.numbers().into_iter().map(|n| store.page(n).len()).collect();
    let (sum, longest) = (lens.iter().sum::<usize>(), lens.iter().max().copied().unwrap_or(0));
    println!("{} pages, {} bytes an entry, longest {longest}", lens.len(), sum / 1_000_000);
    assert!(longest < 64 << 10);
}

#[test]
fn listing_a_directory_skips_what_is_below() {
    let store = MemoryStore::default();
    let root = tree(&store, 200_000);
    let reader = TreeReader::new(&store, root);
    store.reset_counts();
    let found = block_on(reader.list_dir(b"usr/share", None, 50)).unwrap();
    assert_eq!(found.len(), 50);
    assert!(store.reads.get() <= 60, "{} reads", store.reads.get());
    store.reset_counts();
    let found = block_on(reader.list_dir(b"usr/share/package-000900", None, 1_000)).unwrap();
    assert_eq!(found.len(), 99);
    assert!(store.reads.get() <= 10, "{} reads", store.reads.get());
}

#[test]
fn a_scan_reads_every_page_once_and_one_ahead() {
    let store = MemoryStore::default();
    let root = tree(&store, 100_000);
    let pages = store.numbers().len() as u64;
    store.reset_counts();
    let reader = TreeReader::new(&store, root);
    let mut scan = reader.scan(0);
    assert!(block_on(scan.next()).unwrap().is_some());
    assert_eq!(store.reads.get(), u64::from(root.level) + 2);
    while block_on(scan.next()).unwrap().is_some() {}
    assert_eq!(store.reads.get(), pages);
}
