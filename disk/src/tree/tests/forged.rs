//! Input that lies, and pages that are not what they should be.

use keelhold_chunk::entry::{Kind, path_order};
use keelhold_chunk::{Reader, SpanDigest, Writer};

use crate::tree::cut::CutRules;
use crate::tree::testing::{
    Dice, MemoryStore, StoreFault, attributes, block_on, build, build_cut, edit, items_between,
    random_model, test_key,
};
use crate::tree::{
    BuildError, Content, Item, NewContent, PageRef, ReadError, ResolvedExtent, TreeReader, TreeRoot,
};
use crate::units::ChunkNumber;

fn directory(path: &str) -> Item {
    entry(path, Kind::Directory, NewContent::None)
}

fn entry(path: &str, kind: Kind, content: NewContent) -> Item {
    Item::Entry { path: path.into(), attributes: attributes(kind).to_bytes(), content }
}

fn refusal(
    basis: Option<TreeRoot>,
    store: &MemoryStore,
    items: Vec<Item>,
) -> BuildError<StoreFault> {
    let error = build(store, basis, items).unwrap_err();
    assert!(error.is_input(), "{error:?}");
    error
}

macro_rules! assert_refused {
    ($store:expr, $basis:expr, $items:expr, $pattern:pat) => {
        let error = refusal($basis, $store, $items);
        assert!(matches!(error, $pattern), "{error:?}");
    };
}

#[test]
fn entries_out_of_place_are_refused() {
    let store = &MemoryStore::default();
    let fifo = |path| entry(path, Kind::Fifo, NewContent::None);
    let root = || directory("");
    assert_refused!(store, None, vec![directory("a")], BuildError::NoRoot { .. });
    assert_refused!(store, None, vec![root(), root()], BuildError::Unsorted { .. });
    assert_refused!(store, None, vec![root(), fifo("b"), fifo("a")], BuildError::Unsorted { .. });
    assert_refused!(store, None, vec![root(), fifo("a/b")], BuildError::NoParent { .. });
    let below_a_fifo = vec![root(), fifo("a"), fifo("a/b")];
    assert_refused!(store, None, below_a_fifo, BuildError::NoParent { .. });
    assert_refused!(store, None, vec![fifo(""), fifo("a")], BuildError::NoParent { .. });
    for path in ["/a", "a/", "a//b", "..", "a/../b", "."] {
        assert_refused!(store, None, vec![root(), fifo(path)], BuildError::UnsoundPath { .. });
    }
    let garbage = Item::Entry { path: vec![], attributes: vec![9; 9], content: NewContent::None };
    assert_refused!(store, None, vec![garbage], BuildError::Attributes { .. });
}

#[test]
fn content_that_does_not_fit_is_refused() {
    let store = &MemoryStore::default();
    let file = |size, content| vec![entry("", Kind::File { size }, content)];
    let id = test_key().id(b"");
    let chunk = |number, len| ResolvedExtent::Chunk { number: ChunkNumber(number), id, len };
    let parts = |parts: &[ResolvedExtent]| NewContent::Extents(parts.to_vec());
    for items in [
        file(1, NewContent::None),
        file(0, NewContent::Inline(vec![1])),
        file(3, NewContent::Inline(vec![1; 2])),
        file(11, parts(&[chunk(5, 10)])),
        file(1, parts(&[])),
        vec![entry("", Kind::Directory, parts(&[chunk(5, 10)]))],
        vec![entry("", Kind::Fifo, NewContent::Inline(vec![1]))],
    ] {
        assert_refused!(store, None, items, BuildError::SizeMismatch { .. });
    }
    let unsound = [
        parts(&[ResolvedExtent::Hole(0)]),
        parts(&[chunk(5, 0)]),
        parts(&[chunk(ChunkNumber::LIMIT, 10)]),
        parts(&[chunk(u64::MAX, 10)]),
        parts(&[ResolvedExtent::Hole(u64::MAX), ResolvedExtent::Hole(u64::MAX)]),
    ];
    for content in unsound {
        assert_refused!(store, None, file(10, content), BuildError::UnsoundExtent { .. });
    }
    let too_much = parts(&[ResolvedExtent::Hole(u64::MAX), chunk(5, 10)]);
    assert_refused!(store, None, file(9, too_much), BuildError::TooLarge);
    let long = NewContent::Inline(vec![0; 4097]);
    assert_refused!(store, None, file(4097, long), BuildError::InlineTooLong { len: 4097 });
    assert_refused!(store, None, file(1, NewContent::Streamed), BuildError::NoContent);
    let hole = |path: &str| {
        entry(path, Kind::File { size: u64::MAX }, parts(&[ResolvedExtent::Hole(u64::MAX)]))
    };
    let overflow = vec![directory(""), hole("a"), hole("b")];
    assert_refused!(store, None, overflow, BuildError::TooLarge);
}

#[test]
fn ordinals_out_of_place_are_refused() {
    let store = &MemoryStore::default();
    let names = (0..2_000).map(|n| format!("{n:05}"));
    let items: Vec<Item> =
        [directory("")].into_iter().chain(names.map(|name| directory(&name))).collect();
    let (root, _) = build(store, None, items).unwrap();
    let basis = Some(root);
    let same = |first, count| Item::Same { first, count };
    for items in [
        vec![same(0, 0)],
        vec![same(0, 2_002)],
        vec![same(2_001, 1)],
        vec![same(u64::MAX, 2)],
        vec![same(0, 10), same(9, 1)],
        vec![same(0, 10), directory("00009x"), same(5, 3)],
    ] {
        assert_refused!(store, basis, items, BuildError::Ordinals { .. });
    }
    assert_refused!(store, None, vec![same(0, 1)], BuildError::Ordinals { .. });
    assert_refused!(store, basis, vec![same(1, 1)], BuildError::NoRoot { .. });
    let late = vec![same(0, 1_500), directory("00007")];
    assert_refused!(store, basis, late, BuildError::Unsorted { .. });
    let early = vec![same(0, 5), directory("01000x"), same(900, 100)];
    assert_refused!(store, basis, early, BuildError::Unsorted { .. });
    let content = NewContent::Basis { ordinal: 2_001 };
    let items = vec![entry("", Kind::Directory, content)];
    assert_refused!(store, basis, items, BuildError::NoSuchEntry { .. });
}

#[test]
fn a_directory_that_goes_takes_what_is_in_it_along() {
    let store = &MemoryStore::default();
    let items = vec![directory(""), directory("a"), directory("a/b"), directory("c")];
    let (root, _) = build(store, None, items).unwrap();
    let same = |first, count| Item::Same { first, count };
    let orphan = vec![same(0, 1), same(2, 2)];
    assert_refused!(store, Some(root), orphan, BuildError::NoParent { .. });
    let fifo = entry("a", Kind::Fifo, NewContent::None);
    let below_a_fifo = vec![same(0, 1), fifo, same(2, 2)];
    assert_refused!(store, Some(root), below_a_fifo, BuildError::NoParent { .. });
}

/// Descriptions with faults sown in: refused, or a tree that reads and audits soundly.
#[test]
fn garbled_descriptions_never_make_an_unsound_tree() {
    let mut refused = 0;
    for seed in 0..400 {
        println!("seed {seed}");
        let mut dice = Dice(seed);
        let store = MemoryStore::default();
        let old = random_model(&mut dice, 300);
        let items = old.values().map(|entry| entry.to_item(entry.content.to_new()));
        let (root, change) = build_cut(&store, None, items, CutRules::TINY).unwrap();
        let mut new = old.clone();
        (0..20).for_each(|_| edit(&mut new, &mut dice));
        let mut items = items_between(&old, &new, &mut dice);
        (0..1 + dice.below(2)).for_each(|_| garble(&mut items, &mut dice));
        match build_cut(&store, Some(root), items, CutRules::TINY) {
            Err(error) => {
                assert!(error.is_input(), "{error:?}");
                refused += 1;
            }
            Ok((next, step)) => {
                let mut refs = change.added;
                refs.apply(&step).unwrap();
                let reader = TreeReader::new(&store, next);
                assert_eq!(refs, block_on(reader.walk_refs()).unwrap());
                block_on(assert_sound_tree(&reader));
            }
        }
    }
    println!("{refused} of 400 refused");
    assert!(refused > 100);
}

async fn assert_sound_tree(reader: &TreeReader<&MemoryStore>) {
    let (mut scan, mut above) = (reader.scan(0), Vec::<Vec<u8>>::new());
    let (mut last, mut bytes) = (None::<Vec<u8>>, 0);
    while let Some((_, entry)) = scan.next().await.unwrap() {
        let path = entry.path.clone();
        assert!(last.is_none_or(|last| path_order(&last, &path).is_lt()));
        let parent = path.iter().rposition(|byte| *byte == b'/').map_or(0, |end| end);
        above.retain(|directory| path[..parent].starts_with(directory));
        assert!(path.is_empty() || above.iter().any(|directory| *directory == path[..parent]));
        if entry.attributes.is_directory() {
            above.push(path.clone());
        }
        let (mut extents, mut sum) = (reader.extents(&entry), 0);
        while let Some((_, extent)) = extents.next().await.unwrap() {
            sum += extent.len();
        }
        let inline =
            if let Content::Inline(bytes) = &entry.content { bytes.len() as u64 } else { 0 };
        assert_eq!(sum + inline, entry.size());
        (last, bytes) = (Some(path), bytes + entry.size());
    }
    assert_eq!(bytes, reader.root().byte_count);
}

fn garble(items: &mut Vec<Item>, dice: &mut Dice) {
    let at = dice.below(items.len() as u64) as usize;
    let other = dice.below(items.len() as u64) as usize;
    match dice.below(4) {
        0 => items.swap(at, other),
        1 => drop(items.remove(at)),
        2 => items.insert(other, items[at].clone()),
        _ => match &mut items[at] {
            Item::Same { first, count } => {
                *first = first.wrapping_add(dice.below(3)).wrapping_sub(1);
                *count = count.wrapping_add(dice.below(5)).wrapping_sub(2);
            }
            Item::Entry { path, attributes, content } => match dice.below(3) {
                0 => path.push(dice.next() as u8),
                1 => {
                    let place = dice.below(attributes.len() as u64) as usize;
                    attributes[place] ^= 1 << dice.below(8);
                }
                _ => *content = NewContent::Basis { ordinal: dice.below(400) },
            },
        },
    }
    if items.is_empty() {
        items.push(directory(""));
    }
}

#[test]
fn a_root_with_another_digest_or_other_sums_is_noticed() {
    let mut dice = Dice(5);
    let store = MemoryStore::default();
    let model = random_model(&mut dice, 500);
    let items = model.values().map(|entry| entry.to_item(entry.content.to_new()));
    let (root, _) = build_cut(&store, None, items, CutRules::TINY).unwrap();
    let page = root.page.unwrap();
    let digest = SpanDigest::from_bytes([3; 16]);
    let swapped = TreeRoot { page: Some(PageRef { digest, ..page }), ..root };
    let found = block_on(TreeReader::new(&store, swapped).find(b""));
    assert!(matches!(found, Err(ReadError::Store(StoreFault::Digest))));
    for wrong in [
        TreeRoot { entry_count: root.entry_count + 1, ..root },
        TreeRoot { byte_count: root.byte_count - 1, ..root },
        TreeRoot { level: root.level + 1, ..root },
    ] {
        let found = block_on(TreeReader::new(&store, wrong).find(b""));
        assert!(found.unwrap_err().is_corruption());
    }
    let mut writer = Writer::new();
    root.encode(&mut writer);
    let bytes = writer.finish();
    assert_eq!(TreeRoot::decode(&mut Reader::new(&bytes)), Ok(root));
    assert_eq!(TreeRoot::decode(&mut Reader::new(&[0])), Ok(TreeRoot::default()));
    assert!(TreeRoot::decode(&mut Reader::new(&bytes[..bytes.len() - 1])).is_err());
}

/// Pages written wrong, with digests that fit: reading ends in an error or in other entries, never
/// in a panic and never without an end.
#[test]
fn damaged_pages_are_read_to_an_end() {
    let mut noticed = 0;
    for seed in 0..20 {
        println!("seed {seed}");
        let mut dice = Dice(seed);
        let store = MemoryStore::default();
        let model = random_model(&mut dice, 600);
        let items = model.values().map(|entry| entry.to_item(entry.content.to_new()));
        let (root, _) = build_cut(&store, None, items, CutRules::TINY).unwrap();
        let numbers = store.numbers();
        for _ in 0..60 {
            let number = *dice.pick(&numbers);
            let before = store.forge(number, |bytes| {
                let at = dice.below(bytes.len() as u64) as usize;
                match dice.below(4) {
                    0 => bytes.truncate(at),
                    1 => bytes.push(1),
                    _ => bytes[at] ^= 1 << dice.below(8),
                }
            });
            let walked = block_on(TreeReader::new(&store, root).walk_refs());
            let scanned = block_on(scan_all(&TreeReader::new(&store, root)));
            noticed += u64::from(walked.is_err() || scanned.is_err());
            let whole = Item::Same { first: 0, count: root.entry_count - 1 };
            drop(build_cut(&store, Some(root), [whole], CutRules::TINY));
            store.restore(number, before);
        }
    }
    println!("{noticed} of 1200 noticed");
}

async fn scan_all(reader: &TreeReader<&MemoryStore>) -> Result<u64, ReadError<StoreFault>> {
    let (mut scan, mut count) = (reader.scan(0), 0);
    while let Some((_, entry)) = scan.next().await? {
        let mut extents = reader.extents(&entry);
        while extents.next().await?.is_some() {
            count += 1;
        }
    }
    Ok(count)
}
