//! A tree as a sorted map, and how an agent would describe the way from one to the next.

use std::collections::BTreeMap;

use keelhold_chunk::entry::{Kind, LinkGroup, Xattr};
use keelhold_chunk::{Attributes, ChunkId};

use super::{Dice, attributes, test_key};
use crate::tree::{Item, NewContent, ResolvedExtent};
use crate::units::ChunkNumber;

/// Paths with `/` as 0, which sorts as trees do.
pub type Model = BTreeMap<Vec<u8>, ModelEntry>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelEntry {
    pub path: Vec<u8>,
    pub attributes: Attributes,
    pub content: ModelContent,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelContent {
    None,
    Inline(Vec<u8>),
    Extents(Vec<ResolvedExtent>),
}

impl ModelContent {
    pub fn len(&self) -> u64 {
        match self {
            Self::None => 0,
            Self::Inline(bytes) => bytes.len() as u64,
            Self::Extents(parts) => parts
                .iter()
                .map(|part| match part {
                    ResolvedExtent::Chunk { len, .. } => u64::from(*len),
                    ResolvedExtent::Hole(len) => *len,
                })
                .sum(),
        }
    }

    pub fn to_new(&self) -> NewContent {
        match self {
            Self::None => NewContent::None,
            Self::Inline(bytes) => NewContent::Inline(bytes.clone()),
            Self::Extents(parts) => NewContent::Extents(parts.clone()),
        }
    }
}

impl ModelEntry {
    pub fn to_item(&self, content: NewContent) -> Item {
        Item::Entry { path: self.path.clone(), attributes: self.attributes.to_bytes(), content }
    }
}

fn key(path: &[u8]) -> Vec<u8> {
    path.iter().map(|byte| if *byte == b'/' { 0 } else { *byte }).collect()
}

fn insert(model: &mut Model, path: Vec<u8>, attributes: Attributes, content: ModelContent) {
    model.insert(key(&path), ModelEntry { path, attributes, content });
}

/// A small number space, so that files share chunks, and runs, so that there are spans.
fn random_parts(dice: &mut Dice) -> Vec<ResolvedExtent> {
    let (mut parts, id_key) = (Vec::new(), test_key());
    let pieces = if dice.one_in(60) { 40 + dice.below(900) } else { 1 + dice.below(4) };
    for _ in 0..pieces {
        if dice.one_in(5) {
            parts.push(ResolvedExtent::Hole(1 + dice.below(1 << 40)));
        }
        let first = dice.below(20_000);
        for number in first..=first + if dice.one_in(30) { dice.below(600) } else { 0 } {
            let id = id_key.id(&number.to_le_bytes());
            let len = 1 + (number % 65_536) as u32;
            parts.push(ResolvedExtent::Chunk { number: ChunkNumber(number), id, len });
        }
    }
    parts
}

fn random_content(dice: &mut Dice) -> ModelContent {
    match dice.below(10) {
        0 => ModelContent::None,
        1 => ModelContent::Inline(vec![dice.next() as u8; 1 + dice.below(4096) as usize]),
        2..5 => ModelContent::Inline(vec![dice.next() as u8; 1 + dice.below(90) as usize]),
        _ => ModelContent::Extents(random_parts(dice)),
    }
}

fn random_attributes(dice: &mut Dice, kind: Kind) -> Attributes {
    let mut found = attributes(kind);
    found.mtime.nanos = dice.below(1_000_000_000) as u32;
    if dice.one_in(20) {
        let len_max = if dice.one_in(30) { 40_000 } else { 60 };
        let value = vec![7; dice.below(len_max) as usize];
        found.xattrs.push(Xattr { name: b"user.note".to_vec(), value });
    }
    if dice.one_in(20) {
        found.link_group = Some(LinkGroup { device: 3, inode: dice.below(100) });
    }
    found
}

fn random_name(dice: &mut Dice) -> Vec<u8> {
    let mut name = format!("{:x}", dice.below(1 << 20)).into_bytes();
    match dice.below(12) {
        0 => name.insert(0, b'-'),
        1 => name.push(0xff),
        2 => name.extend_from_slice(&[b'n'; 120]),
        _ => {}
    }
    name
}

fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    match directory.is_empty() {
        true => name.to_vec(),
        false => [directory, b"/", name].concat(),
    }
}

/// A new file, directory, link or device in a directory chosen at random, or behind everything.
fn add_entry(model: &mut Model, directories: &mut Vec<Vec<u8>>, dice: &mut Dice) {
    let mut path = join(&dice.pick(directories).clone(), &random_name(dice));
    if dice.one_in(20) {
        path = [&[0xff; 9][..], &random_name(dice)].concat();
    }
    if model.contains_key(&key(&path)) {
        path.extend_from_slice(b".more");
    }
    if model.contains_key(&key(&path)) || path.len() > 3_000 {
        return;
    }
    match dice.below(12) {
        0 | 1 => {
            directories.push(path.clone());
            let kind = random_attributes(dice, Kind::Directory);
            insert(model, path, kind, ModelContent::None);
        }
        2 => {
            let target = vec![b't'; 1 + dice.below(100) as usize];
            let kind = random_attributes(dice, Kind::Symlink { target });
            insert(model, path, kind, ModelContent::None);
        }
        _ => {
            let content = random_content(dice);
            let kind = random_attributes(dice, Kind::File { size: content.len() });
            insert(model, path, kind, content);
        }
    }
}

pub fn random_model(dice: &mut Dice, entries: u64) -> Model {
    let mut model = Model::new();
    insert(&mut model, Vec::new(), attributes(Kind::Directory), ModelContent::None);
    let mut directories = vec![Vec::new()];
    for _ in 1..entries {
        add_entry(&mut model, &mut directories, dice);
    }
    model
}

fn directories_of(model: &Model) -> Vec<Vec<u8>> {
    let directories = model.values().filter(|entry| entry.attributes.is_directory());
    directories.map(|entry| entry.path.clone()).collect()
}

fn below(model: &Model, path: &[u8]) -> Vec<Vec<u8>> {
    let prefix = join(path, b"");
    let all = model.iter().filter(|(_, entry)| {
        entry.path == path || (!path.is_empty() && entry.path.starts_with(&prefix))
    });
    all.map(|(key, _)| key.clone()).collect()
}

/// A stretch of entries goes, as far as no entry loses its parent: what page boundaries like least.
fn delete_stretch(model: &mut Model, dice: &mut Dice) {
    let start = 1 + dice.below(model.len() as u64) as usize;
    let goes: Vec<Vec<u8>> =
        model.keys().skip(start).take(dice.below(60) as usize).cloned().collect();
    for gone in goes {
        let path = match model.get(&gone) {
            Some(entry) => entry.path.clone(),
            None => continue,
        };
        for key in below(model, &path) {
            model.remove(&key);
        }
    }
}

/// One thing that happens to a tree between two backups.
pub fn edit(model: &mut Model, dice: &mut Dice) {
    let paths: Vec<Vec<u8>> = model.values().skip(1).map(|entry| entry.path.clone()).collect();
    if paths.is_empty() || dice.one_in(4) {
        let mut directories = directories_of(model);
        (0..=dice.below(3)).for_each(|_| add_entry(model, &mut directories, dice));
        return;
    }
    let path = dice.pick(&paths).clone();
    if dice.one_in(8) {
        return delete_stretch(model, dice);
    }
    match dice.below(4) {
        0 => {
            for key in below(model, &path) {
                model.remove(&key);
            }
        }
        1 => rename(model, &path, dice),
        2 => {
            let entry = model.get_mut(&key(&path)).unwrap();
            entry.attributes = random_attributes(dice, entry.attributes.kind.clone());
        }
        _ => {
            let entry = model.get_mut(&key(&path)).unwrap();
            if let Kind::File { .. } = entry.attributes.kind {
                entry.content = random_content(dice);
                let kind = Kind::File { size: entry.content.len() };
                entry.attributes = random_attributes(dice, kind);
            }
        }
    }
}

fn rename(model: &mut Model, from: &[u8], dice: &mut Dice) {
    let directories = directories_of(model);
    let into = dice.pick(&directories).clone();
    let to = join(&into, &random_name(dice));
    let is_inside = into == from || into.starts_with(&join(from, b""));
    if is_inside || model.contains_key(&key(&to)) {
        return;
    }
    for old_key in below(model, from) {
        let mut entry = model.remove(&old_key).unwrap();
        entry.path = [&to, &entry.path[from.len()..]].concat();
        model.insert(key(&entry.path), entry);
    }
}

fn content_mark(content: &ModelContent) -> ChunkId {
    let mut bytes = Vec::new();
    match content {
        ModelContent::None => {}
        ModelContent::Inline(inline) => bytes.clone_from(inline),
        ModelContent::Extents(parts) => parts.iter().for_each(|part| match part {
            ResolvedExtent::Chunk { number, .. } => bytes.extend(number.0.to_le_bytes()),
            ResolvedExtent::Hole(len) => bytes.extend((u64::MAX - len).to_le_bytes()),
        }),
    }
    test_key().id(&bytes)
}

/// A model that is no tree would blame the code for its own faults.
pub fn assert_sound(model: &Model) {
    for entry in model.values().skip(1) {
        let end = entry.path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
        let parent = model.get(&key(&entry.path[..end]));
        assert!(parent.is_some_and(|parent| parent.attributes.is_directory()));
    }
}

/// What an agent says about the way from `old` to `new`, in one of its many forms.
pub fn items_between(old: &Model, new: &Model, dice: &mut Dice) -> Vec<Item> {
    let ordinals: BTreeMap<&Vec<u8>, u64> = old.keys().zip(0..).collect();
    let marks = old.values().map(|entry| content_mark(&entry.content));
    let holders: BTreeMap<ChunkId, u64> = marks.zip(0..).collect();
    let mut items = Vec::new();
    for (key, entry) in new {
        let known = ordinals.get(key).filter(|_| old[key] == *entry);
        if let Some(first) = known
            && !dice.one_in(50)
        {
            match items.last_mut() {
                Some(Item::Same { first: start, count }) if *start + *count == *first => {
                    if dice.one_in(300) {
                        items.push(Item::Same { first: *first, count: 1 });
                    } else {
                        *count += 1;
                    }
                }
                _ => items.push(Item::Same { first: *first, count: 1 }),
            }
            continue;
        }
        let held = dice.one_in(2).then(|| holders.get(&content_mark(&entry.content))).flatten();
        let content = match held {
            Some(ordinal) => NewContent::Basis { ordinal: *ordinal },
            None => entry.content.to_new(),
        };
        items.push(entry.to_item(content));
    }
    items
}
