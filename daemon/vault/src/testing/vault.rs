//! A small writer of vaults that follows VAULT.md, section 9, rules 1 and 7 to 9.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use keelhold_chunk::entry::{Kind, Timestamp};
use keelhold_chunk::{Attributes, ChunkId, IdKey, Writer};
use keelhold_disk::tree::{
    Item, NewContent, PageKind, PageRef, PageStore, ResolvedExtent, TreeBuilder, TreeRoot,
};
use keelhold_disk::units::ChunkNumber;

use super::{POOL, master, now, slots};
use crate::chain::{Opened, Terms, commit, found};
use crate::format::{
    Class, Index, Leaf, LeafEntry, LeafFrame, LeafPlace, ObjectChunk, ObjectKind, ObjectRef, Place,
    PlainFrame, Point, RecordEntry, RecordObject, SealedObject, Shape, encode_records, pack,
};
use crate::random::Random;
use crate::store::{Created, Store};
use crate::units::{ManifestNumber, PointId, PoolId, SourceId};

pub(crate) const ID_KEY: [u8; 32] = [0x5a; 32];
pub(crate) const TERMS: Terms = Terms { creates_only: true, until: None };

/// Chunks as a pool would have them, numbered as they come.
pub(crate) struct Chunks {
    pub key: IdKey,
    pub next: u64,
    all: BTreeMap<u64, (u8, ChunkId, Bytes)>,
    numbers: HashMap<ChunkId, u64>,
    shipped: BTreeMap<u64, Place>,
    /// Numbers of chunks that are said to lie somewhere, and do not.
    pub pretended: BTreeMap<u64, ChunkId>,
}

/// How a shipment is packed.
#[derive(Clone, Copy)]
pub(crate) struct Packing {
    pub object_len: usize,
    pub frame_len: usize,
    pub leaf_len: usize,
    pub pad_to: usize,
}

pub(crate) const SMALL: Packing =
    Packing { object_len: 24 << 10, frame_len: 8 << 10, leaf_len: 16, pad_to: 64 };
pub(crate) const USUAL: Packing =
    Packing { object_len: 32 << 20, frame_len: 256 << 10, leaf_len: 4096, pad_to: 1 << 20 };

impl Default for Chunks {
    fn default() -> Self {
        Self {
            key: IdKey::new(ID_KEY),
            next: 1,
            all: BTreeMap::new(),
            numbers: HashMap::new(),
            shipped: BTreeMap::new(),
            pretended: BTreeMap::new(),
        }
    }
}

impl Chunks {
    pub fn put(&mut self, kind: u8, bytes: Bytes) -> (u64, ChunkId) {
        let id = self.key.id(&bytes);
        let number = *self.numbers.entry(id).or_insert_with(|| {
            self.all.insert(self.next, (kind, id, bytes));
            self.next += 1;
            self.next - 1
        });
        (number, id)
    }

    pub fn get(&self, number: u64) -> (ChunkId, Bytes) {
        let (_, id, bytes) = &self.all[&number];
        (*id, bytes.clone())
    }

    /// The content of a file, cut into chunks of one length; zeros become holes.
    pub fn content(&mut self, bytes: &[u8], chunk_len: usize) -> NewContent {
        if bytes.is_empty() {
            return NewContent::None;
        }
        if bytes.len() < 40 {
            return NewContent::Inline(bytes.to_vec());
        }
        let extents = bytes.chunks(chunk_len).map(|chunk| {
            if chunk.iter().all(|byte| *byte == 0) {
                return ResolvedExtent::Hole(chunk.len() as u64);
            }
            let (number, id) = self.put(0, Bytes::copy_from_slice(chunk));
            ResolvedExtent::Chunk { number: ChunkNumber(number), id, len: chunk.len() as u32 }
        });
        NewContent::Extents(extents.collect())
    }
}

/// Where a tree's pages go.
struct Sink<'a>(&'a RefCell<Chunks>);

impl PageStore for Sink<'_> {
    type Error = ();

    async fn get(&self, page: PageRef, _: PageKind) -> Result<Bytes, ()> {
        Ok(self.0.borrow().get(page.number.0).1)
    }

    async fn put(&self, kind: PageKind, bytes: Vec<u8>) -> Result<PageRef, ()> {
        let kind = match kind {
            PageKind::Entries => 1,
            PageKind::Inner => 2,
            PageKind::Content => 3,
        };
        let mut chunks = self.0.borrow_mut();
        let (number, id) = chunks.put(kind, bytes.into());
        Ok(PageRef { number: ChunkNumber(number), digest: chunks.key.span_digest([&id]) })
    }
}

fn attributes(kind: Kind) -> Vec<u8> {
    let mtime = Timestamp { secs: 1_790_000_000, nanos: 5 };
    let (uid, gid, link_group, xattrs) = (1000, 1000, None, Vec::new());
    Attributes { kind, mode: 0o644, uid, gid, mtime, link_group, xattrs }.to_bytes()
}

pub(crate) fn directory(path: &[u8]) -> Item {
    let attributes = attributes(Kind::Directory);
    Item::Entry { path: path.to_vec(), attributes, content: NewContent::None }
}

pub(crate) fn file(path: &[u8], size: u64, content: NewContent) -> Item {
    Item::Entry { path: path.to_vec(), attributes: attributes(Kind::File { size }), content }
}

pub(crate) fn tree(chunks: &RefCell<Chunks>, items: impl IntoIterator<Item = Item>) -> TreeRoot {
    now(async {
        let mut builder = TreeBuilder::new(Sink(chunks), IdKey::new(ID_KEY), None);
        for item in items {
            builder.push(item).await.unwrap();
        }
        builder.finish().await.unwrap().0
    })
}

/// The object that is sent, and where its chunks lie.
fn seal_chunks(
    numbers: &[u64],
    chunks: &Chunks,
    shape: &Shape,
    packing: Packing,
    random: &mut impl Random,
) -> Vec<(SealedObject, Vec<(u64, ObjectChunk)>)> {
    let mut sealed = Vec::new();
    let mut rest = numbers;
    while !rest.is_empty() {
        let (mut frames, mut rows, mut len) = (Vec::new(), Vec::new(), 0);
        while !rest.is_empty() && len < packing.object_len {
            let mut plain = Vec::new();
            while let [number, others @ ..] = rest
                && plain.len() < packing.frame_len
            {
                let (kind, id, bytes) = &chunks.all[number];
                rows.push(ObjectChunk {
                    number: *number,
                    id: *id.as_bytes(),
                    len: bytes.len() as u32,
                    frame: frames.len() as u16,
                    kind: *kind,
                    start: plain.len() as u32,
                });
                plain.extend_from_slice(bytes);
                rest = others;
            }
            let (codec, packed) = pack(&plain, 1);
            len += packed.len();
            frames.push(PlainFrame { codec, plain_len: plain.len() as u32, packed });
        }
        let object = SealedObject::seal(&master(), shape, frames.clone(), &rows, random);
        sealed.push((object, rows.into_iter().map(|row| (row.number, row)).collect()));
    }
    sealed
}

/// A shipment: everything the points need that is not there yet, then a manifest.
pub(crate) struct Shipment<'a> {
    pub chunks: &'a RefCell<Chunks>,
    pub points: Vec<(PointId, TreeRoot)>,
    pub records: Vec<RecordEntry>,
    pub packing: Packing,
}

pub(crate) fn founded(store: &impl Store, random: &mut (impl Random + Send)) -> Opened {
    let master = master();
    now(found(store, &master, &slots(&master, 2).0, TERMS, 7, random)).unwrap()
}

pub(crate) fn ship(
    store: &impl Store,
    opened: &Opened,
    shipment: Shipment<'_>,
    random: &mut (impl Random + Send),
) -> Opened {
    let Shipment { chunks, points, records, packing } = shipment;
    let mut chunks = chunks.borrow_mut();
    let recipes: Vec<(u64, ChunkId)> = points
        .iter()
        .map(|(point, _)| chunks.put(4, Bytes::from(format!("recipe of {point}"))))
        .collect();
    let number = opened.next;
    let send = |object: &SealedObject| {
        let name = crate::read::name_of(&object.object);
        let bytes = Bytes::from(object.bytes.clone());
        assert_eq!(now(store.create(&name, bytes, None)).unwrap(), Created::Made);
    };
    let new: Vec<u64> =
        chunks.all.keys().copied().filter(|number| !chunks.shipped.contains_key(number)).collect();
    let of = |kinds: &[u8]| -> Vec<u64> {
        new.iter().copied().filter(|number| kinds.contains(&chunks.all[number].0)).collect()
    };
    // Inner pages behind each other, in front of what they lead to.
    let pages = [of(&[2]), of(&[1, 3]), of(&[4])].concat();
    let mut placed = BTreeMap::new();
    for (kind, numbers) in [(ObjectKind::Data, of(&[0])), (ObjectKind::Pages, pages)] {
        let class = Class::new(1).unwrap();
        let shape = Shape { kind, class, shipment: number, pool: POOL, pad_to: packing.pad_to };
        for (object, rows) in seal_chunks(&numbers, &chunks, &shape, packing, random) {
            send(&object);
            for (number, row) in rows {
                let frame = object.frames[usize::from(row.frame)];
                let (start, len) = (row.start, row.len);
                placed.insert(number, Place { object: object.object, frame, start, len });
            }
        }
    }
    let entries: Vec<(u64, ChunkId, u8, Place)> = (placed.iter())
        .map(|(number, place)| (*number, chunks.all[number].1, chunks.all[number].0, *place))
        .chain(pretended(&chunks, number))
        .collect();
    let index = index_of(entries, number, packing, random);
    if let Some((object, _)) = &index {
        send(object);
    }
    chunks.shipped.extend(placed);
    chunks.pretended.clear();
    let mut next = (*opened.view).clone();
    next.indexes.extend(index.map(|(_, index)| index));
    if !records.is_empty() {
        let frames: Vec<PlainFrame> =
            encode_records(&records).iter().map(|plain| frame(plain)).collect();
        let object = SealedObject::seal(
            &master(),
            &bare(ObjectKind::Records, number),
            frames.clone(),
            &[],
            random,
        );
        send(&object);
        let (object, frame_count) = (object.object, frames.len() as u32);
        next.records.push(RecordObject { object, frame_count, rank: number.0 });
    }
    for ((point, root), (recipe, id)) in points.into_iter().zip(recipes) {
        let mut encoded = Writer::new();
        root.encode(&mut encoded);
        next.points.push(Point {
            point,
            source: SourceId([4; 16]),
            pool: POOL,
            is_partial: false,
            class: Class::new(1).unwrap(),
            at: 5,
            committed_at: 6,
            recipe_number: recipe,
            recipe_digest: *chunks.key.span_digest([&id]).as_bytes(),
            bytes_source: root.byte_count,
            entry_count: root.entry_count,
            root: encoded.finish(),
            attributes: b"{}".to_vec(),
            recipe: chunks.shipped[&recipe],
            root_page: root.page.map(|page| chunks.shipped[&page.number.0]),
        });
    }
    next.points.sort_by_key(|point| point.point);
    now(commit(store, opened, &next, &opened.slots, TERMS, random)).unwrap()
}

fn frame(plain: &[u8]) -> PlainFrame {
    let (codec, packed) = pack(plain, 1);
    PlainFrame { codec, plain_len: plain.len() as u32, packed }
}

fn bare(kind: ObjectKind, shipment: ManifestNumber) -> Shape {
    Shape { kind, class: Class::ZERO, shipment, pool: PoolId([0; 16]), pad_to: 64 }
}

/// Entries that lead into an object nobody wrote.
fn pretended(
    chunks: &Chunks,
    shipment: ManifestNumber,
) -> impl Iterator<Item = (u64, ChunkId, u8, Place)> + '_ {
    let (codec, class) = (crate::format::Codec::Raw, Class::new(1).unwrap());
    let object = ObjectRef {
        object: crate::units::ObjectId([9; 16]),
        shipment,
        check: [0; 16],
        len: 32 << 20,
        kind: ObjectKind::Data,
        class,
    };
    let frame = crate::format::FramePlace {
        index: 0,
        offset: 4096,
        stored_len: 1 << 20,
        plain_len: 1 << 20,
        codec,
    };
    let place = Place { object, frame, start: 0, len: 1000 };
    chunks.pretended.iter().map(move |(number, id)| (*number, *id, 0, place))
}

fn index_of(
    mut entries: Vec<(u64, ChunkId, u8, Place)>,
    shipment: ManifestNumber,
    packing: Packing,
    random: &mut impl Random,
) -> Option<(SealedObject, Index)> {
    entries.sort_by_key(|(number, ..)| *number);
    let leaves: Vec<Leaf> = entries.chunks(packing.leaf_len).map(leaf_of).collect();
    let frames: Vec<PlainFrame> = leaves.iter().map(|leaf| frame(&leaf.to_bytes())).collect();
    if frames.is_empty() {
        return None;
    }
    let shape = bare(ObjectKind::Index, shipment);
    let object = SealedObject::seal(&master(), &shape, frames.clone(), &[], random);
    let place = |(leaf, frame): (&Leaf, &crate::format::FramePlace)| {
        let (first, last) = leaf.range().unwrap();
        LeafPlace { pool: leaf.pool, first, last, frame: *frame }
    };
    let leaves = leaves.iter().zip(&object.frames).map(place).collect();
    let index = Index { object: object.object, rank: shipment.0, leaves };
    Some((object, index))
}

fn leaf_of(entries: &[(u64, ChunkId, u8, Place)]) -> Leaf {
    let objects: BTreeSet<ObjectRef> = entries.iter().map(|entry| entry.3.object).collect();
    let objects: Vec<ObjectRef> = objects.into_iter().collect();
    let mut frames: Vec<LeafFrame> = Vec::new();
    let mut rows = HashMap::new();
    let mut leaf_entries = Vec::new();
    for (number, id, kind, place) in entries {
        let row = *rows.entry((place.object.object, place.frame.index)).or_insert_with(|| {
            let object = objects.binary_search(&place.object).unwrap() as u16;
            frames.push(LeafFrame { object, place: place.frame });
            frames.len() as u16 - 1
        });
        let (start, len, id) = (place.start, place.len, *id.as_bytes());
        leaf_entries.push(LeafEntry { number: *number, id, frame: row, kind: *kind, start, len });
    }
    Leaf { pool: POOL, objects, frames, entries: leaf_entries }
}

/// A reader of everything, with the id key.
pub(crate) fn reader<S: Store>(store: &Arc<S>, opened: &Opened) -> crate::read::VaultReader<S> {
    let (master, view) = (Arc::clone(&opened.master), Arc::clone(&opened.view));
    crate::read::VaultReader::new(Arc::clone(store), master, view, Some(IdKey::new(ID_KEY)))
}
