//! Entries as long as they may be.

use keelhold_chunk::entry::{Kind, PATH_LEN_MAX, Xattr};

use crate::tree::testing::{MemoryStore, attributes, block_on, build};
use crate::tree::{INLINE_LEN_MAX, Item, NewContent, PAGE_LEN_MAX, TreeReader};

/// `count` directories one inside the other, the last with as long a path as there may be.
fn deep(first: char) -> Vec<Vec<u8>> {
    let name = |fill: char| String::from(fill).repeat(255);
    let mut path = name(first);
    let mut paths = vec![path.clone().into_bytes()];
    while path.len() + 256 <= PATH_LEN_MAX {
        path = format!("{path}/{}", name('d'));
        paths.push(path.clone().into_bytes());
    }
    paths
}

#[test]
fn the_longest_paths_make_a_tree() {
    let store = MemoryStore::default();
    let chains = ('a'..='p').map(deep);
    let paths: Vec<Vec<u8>> = [Vec::new()].into_iter().chain(chains.flatten()).collect();
    let directory = attributes(Kind::Directory).to_bytes();
    let items = paths.iter().map(|path| Item::Entry {
        path: path.clone(),
        attributes: directory.clone(),
        content: NewContent::None,
    });
    let (root, _) = build(&store, None, items).unwrap();
    println!("{} entries, level {}", root.entry_count, root.level);
    assert!(root.level <= 6);
    let reader = TreeReader::new(&store, root);
    for (path, ordinal) in paths.iter().zip(0..).step_by(97) {
        let found = block_on(reader.find(path)).unwrap().unwrap();
        assert_eq!((found.0, &found.1.path), (ordinal, path));
    }
    assert_eq!(block_on(reader.list_dir(b"", None, 100)).unwrap().len(), 16);
}

#[test]
fn the_longest_attributes_make_a_tree() {
    let store = MemoryStore::default();
    let mut largest = attributes(Kind::File { size: INLINE_LEN_MAX as u64 });
    let value = vec![7; 65_000];
    let names = (0..8).map(|n| format!("user.{n}").into_bytes());
    largest.xattrs = names.map(|name| Xattr { name, value: value.clone() }).collect();
    let root = attributes(Kind::Directory).to_bytes();
    let root = Item::Entry { path: Vec::new(), attributes: root, content: NewContent::None };
    let files = (0..12).map(|n| Item::Entry {
        path: format!("{n:02}").into_bytes(),
        attributes: largest.to_bytes(),
        content: NewContent::Inline(vec![n; INLINE_LEN_MAX]),
    });
    let (root, _) = build(&store, None, [root].into_iter().chain(files)).unwrap();
    assert!(store.numbers().iter().all(|number| store.page(*number).len() < PAGE_LEN_MAX));
    let reader = TreeReader::new(&store, root);
    for n in 0..12u8 {
        let found = block_on(reader.find(format!("{n:02}").as_bytes())).unwrap().unwrap();
        assert_eq!(found.1.attributes, largest);
    }
}
