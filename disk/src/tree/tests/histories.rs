//! Seeded histories of a tree against a plain model.

use std::collections::BTreeMap;

use crate::sets::{RefCounts, SetDelta};
use crate::tree::cut::CutRules;
use crate::tree::testing::{
    Dice, MemoryStore, Model, ModelContent, ModelEntry, assert_sound, block_on, build_cut, edit,
    items_between, random_model,
};
use crate::tree::{Content, Entry, Extent, ResolvedExtent, TreeReader, TreeRoot};

fn items_of(model: &Model) -> impl Iterator<Item = crate::tree::Item> + '_ {
    model.values().map(|entry| entry.to_item(entry.content.to_new()))
}

/// Numbers of data chunks and holes, one by one.
fn flatten(model: &ModelContent) -> Vec<Result<u64, u64>> {
    let ModelContent::Extents(parts) = model else {
        return Vec::new();
    };
    let mut flat: Vec<Result<u64, u64>> = Vec::new();
    for part in parts {
        match (part, flat.last_mut()) {
            (ResolvedExtent::Hole(len), Some(Err(before))) => *before += len,
            (ResolvedExtent::Hole(len), _) => flat.push(Err(*len)),
            (ResolvedExtent::Chunk { number, .. }, _) => flat.push(Ok(number.0)),
        }
    }
    flat
}

async fn check_entry(reader: &TreeReader<&MemoryStore>, found: &Entry, expected: &ModelEntry) {
    assert_eq!(found.path, expected.path);
    assert_eq!(found.attributes, expected.attributes);
    match (&found.content, &expected.content) {
        (Content::None, ModelContent::None) => {}
        (Content::Inline(found), ModelContent::Inline(expected)) => assert_eq!(found, expected),
        (Content::Extents(_) | Content::Pages(_), ModelContent::Extents(_)) => {
            let mut extents = reader.extents(found);
            let (mut flat, mut at) = (Vec::new(), 0);
            while let Some((start, extent)) = extents.next().await.unwrap() {
                assert_eq!(start, at);
                at += extent.len();
                match extent {
                    Extent::Hole { len } => flat.push(Err(len)),
                    Extent::Span { first, count, .. } => {
                        flat.extend((first.0..first.0 + u64::from(count)).map(Ok));
                    }
                }
            }
            assert_eq!((flat, at), (flatten(&expected.content), found.size()));
        }
        (found, expected) => panic!("{found:?} where {expected:?} was put"),
    }
}

fn check_reading(store: &MemoryStore, root: TreeRoot, model: &Model, dice: &mut Dice) {
    let reader = TreeReader::new(store, root);
    block_on(async {
        let (mut scan, mut expected) = (reader.scan(0), model.values().zip(0..));
        while let Some((ordinal, entry)) = scan.next().await.unwrap() {
            let (model_entry, place) = expected.next().unwrap();
            assert_eq!(ordinal, place);
            check_entry(&reader, &entry, model_entry).await;
        }
        assert!(expected.next().is_none());
        assert_eq!(root.entry_count, model.len() as u64);
        assert_eq!(root.byte_count, model.values().map(|e| e.attributes.size()).sum::<u64>());
        let directories = model.values().filter(|entry| entry.attributes.is_directory()).count();
        assert_eq!(root.directory_count, directories as u64);
        for _ in 0..30 {
            check_one(&reader, model, dice).await;
        }
    });
}

async fn check_one(reader: &TreeReader<&MemoryStore>, model: &Model, dice: &mut Dice) {
    let ordinal = dice.below(model.len() as u64);
    let expected = model.values().nth(ordinal as usize).unwrap();
    let found = reader.find(&expected.path).await.unwrap().unwrap();
    assert_eq!(found.0, ordinal);
    check_entry(reader, &found.1, expected).await;
    assert_eq!(reader.entry(ordinal).await.unwrap(), Some(found.1));
    let absent = [&expected.path[..], b"\x01"].concat();
    assert_eq!(reader.find(&absent).await.unwrap(), None);
    let mut scan = reader.scan_from_path(&absent).await.unwrap();
    let next = scan.next().await.unwrap().map(|(ordinal, _)| ordinal);
    let key: Vec<u8> = absent.iter().map(|b| if *b == b'/' { 0 } else { *b }).collect();
    let place = model.range(..key).count() as u64;
    assert_eq!(next, (place < model.len() as u64).then_some(place));
    check_listing(reader, model, &expected.path, dice).await;
}

async fn check_listing(
    reader: &TreeReader<&MemoryStore>,
    model: &Model,
    path: &[u8],
    dice: &mut Dice,
) {
    let prefix = if path.is_empty() { Vec::new() } else { [path, b"/"].concat() };
    let children = model.values().map(|entry| entry.path.clone()).filter(|other| {
        other
            .strip_prefix(&prefix[..])
            .is_some_and(|rest| !rest.is_empty() && !rest.contains(&b'/'))
    });
    let limit = 1 + dice.below(20) as usize;
    let mut listed: Vec<Vec<u8>> = Vec::new();
    loop {
        let after = listed.last().map(Vec::as_slice);
        let page = reader.list_dir(path, after, limit).await.unwrap();
        let is_last = page.len() < limit;
        listed.extend(page.into_iter().map(|(_, entry)| entry.path));
        if is_last {
            break;
        }
    }
    assert_eq!(listed, children.collect::<Vec<_>>());
}

/// References of the data chunks, counted without any page.
fn data_refs(model: &Model) -> BTreeMap<u64, u64> {
    let mut refs = BTreeMap::new();
    for number in model.values().flat_map(|entry| flatten(&entry.content)).flatten() {
        *refs.entry(number).or_insert(0) += 1;
    }
    refs
}

fn check_refs(store: &MemoryStore, root: TreeRoot, model: &Model) -> RefCounts {
    let refs = block_on(TreeReader::new(store, root).walk_refs()).unwrap();
    let data: BTreeMap<u64, u64> = refs.iter().filter(|(number, _)| *number < 1 << 36).collect();
    assert_eq!(data, data_refs(model));
    refs
}

fn history(seed: u64, entries: u64, steps: u64, rules: CutRules) {
    println!("seed {seed}, {entries} entries");
    let mut dice = Dice(seed);
    let store = MemoryStore::default();
    let mut model = random_model(&mut dice, entries);
    let (mut root, change) = build_cut(&store, None, items_of(&model), rules).unwrap();
    assert!(change.removed.is_empty());
    let mut refs = check_refs(&store, root, &model);
    assert_eq!(change.added, refs);
    check_reading(&store, root, &model, &mut dice);
    for _ in 0..steps {
        let mut next = model.clone();
        let edits = if dice.one_in(6) { 0 } else { 1 + dice.below(12) };
        (0..edits).for_each(|_| edit(&mut next, &mut dice));
        assert_sound(&next);
        let items = items_between(&model, &next, &mut dice);
        let before = refs.clone();
        store.reset_counts();
        let (next_root, change) = build_cut(&store, Some(root), items, rules).unwrap();
        let delta = refs.apply(&change).unwrap();
        assert_eq!(refs, check_refs(&store, next_root, &next));
        assert_eq!(delta, SetDelta::between(before.set(), refs.set()));
        // The same entries make the same tree, however it was told.
        let from_nothing = build_cut(&store, None, items_of(&next), rules).unwrap();
        assert_eq!(from_nothing.0, next_root);
        if model == next {
            assert_eq!((next_root, change.is_empty()), (root, true));
        }
        (root, model) = (next_root, next);
        check_reading(&store, root, &model, &mut dice);
    }
}

#[test]
fn small_trees_follow_their_model() {
    for seed in 0..40 {
        history(seed, 1 + seed * 3, 12, CutRules::STANDARD);
    }
}

#[test]
fn trees_of_many_levels_follow_their_model() {
    for seed in 100..160 {
        history(seed, 20 + (seed - 100) * 12, 12, CutRules::TINY);
    }
}

#[test]
fn large_trees_follow_their_model() {
    for seed in 1000..1003 {
        history(seed, 4_000, 5, CutRules::STANDARD);
    }
}
