//! Writes a small vault into a directory, for readers that know VAULT.md and nothing of this crate:
//!
//! `write_vault OUT TREE...` makes `OUT/vault` with a point for each tree, `OUT/passphrase` and
//! `OUT/share-1` … `share-3`, two of which open it.
//!
//! The first manifest is full, the number behind it void, every further one a difference. The points
//! behind the first are those of another pool: what they share with it lies there under old numbers.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures_util::FutureExt;
use keelhold_chunk::entry::{Attributes, Kind, LinkGroup, Timestamp, path_order};
use keelhold_chunk::{ChunkId, IdKey, Writer};
use keelhold_disk::format::Recipe;
use keelhold_disk::tree::{
    INLINE_LEN_MAX, Item, NewContent, PageKind, PageRef, PageStore, ResolvedExtent, TreeBuilder,
    TreeRoot,
};
use keelhold_disk::units::ChunkNumber;
use keelhold_vault::format::{
    Class, ClearManifest, Codec, Index, Leaf, LeafEntry, LeafFrame, LeafPlace, Lock, Manifest,
    Name, ObjectChunk, ObjectKind, ObjectRef, Parent, Place, PlainFrame, Point, RecordEntry,
    RecordObject, RecordWhat, SealedObject, Shape, encode_records, pack,
};
use keelhold_vault::keys::{KdfParams, KitSecret, KitShape, MasterKey, Passphrase, Slots};
use keelhold_vault::store::{DirectoryStore, Settled, Store, settle};
use keelhold_vault::{ManifestNumber, ObjectId, PointId, PoolId, SourceId, VaultId, kit};

const CHUNK_LEN: usize = 16 << 10;
const FRAME_LEN: usize = 128 << 10;
const OBJECT_LEN: usize = 1 << 20;
const LEAF_ENTRIES: usize = 100;
const MIB: usize = 1 << 20;
const ID_KEY: [u8; 32] = [0x4b; 32];
const SOURCE: SourceId = SourceId([0x50; 16]);
const PASSPHRASE: &str = "correct horse battery staple";
const BEGIN: i64 = 1_790_000_000_000_000_000;
const HOUR: i64 = 3_600_000_000_000;

fn random(bytes: &mut [u8]) {
    File::open("/dev/urandom").and_then(|mut file| file.read_exact(bytes)).expect("random bytes");
}

/// Chunks of a pool, each with the kind it was stored as first.
struct Pool {
    id: PoolId,
    key: IdKey,
    chunks: RefCell<Vec<(ChunkId, u8, Vec<u8>)>>,
    numbers: RefCell<BTreeMap<ChunkId, u64>>,
}

impl Pool {
    fn new(id: u8) -> Self {
        let (chunks, numbers) = (RefCell::default(), RefCell::default());
        Self { id: PoolId([id; 16]), key: IdKey::new(ID_KEY), chunks, numbers }
    }

    fn keep(&self, kind: u8, bytes: Vec<u8>) -> (u64, ChunkId) {
        let id = self.key.id(&bytes);
        let mut chunks = self.chunks.borrow_mut();
        let next = chunks.len() as u64;
        let number = *self.numbers.borrow_mut().entry(id).or_insert(next);
        if number == next {
            chunks.push((id, kind, bytes));
        }
        (number, id)
    }
}

impl PageStore for Pool {
    type Error = Infallible;

    async fn get(&self, page: PageRef, _: PageKind) -> Result<Bytes, Infallible> {
        Ok(Bytes::from(self.chunks.borrow()[page.number.0 as usize].2.clone()))
    }

    async fn put(&self, kind: PageKind, bytes: Vec<u8>) -> Result<PageRef, Infallible> {
        let kind = match kind {
            PageKind::Entries => 1,
            PageKind::Inner => 2,
            PageKind::Content => 3,
        };
        let (number, id) = self.keep(kind, bytes);
        Ok(PageRef { number: ChunkNumber(number), digest: self.key.span_digest([&id]) })
    }
}

fn walk(root: &Path, path: &Path, found: &mut Vec<PathBuf>) {
    found.push(path.strip_prefix(root).expect("below the root").to_owned());
    if fs::symlink_metadata(path).expect("metadata").is_dir() {
        for entry in fs::read_dir(path).expect("a directory") {
            walk(root, &entry.expect("an entry").path(), found);
        }
    }
}

fn attributes(path: &Path) -> Attributes {
    let meta = fs::symlink_metadata(path).expect("metadata");
    let of = meta.file_type();
    let kind = if of.is_dir() {
        Kind::Directory
    } else if of.is_symlink() {
        Kind::Symlink { target: fs::read_link(path).expect("a link").as_os_str().as_bytes().into() }
    } else if of.is_fifo() {
        Kind::Fifo
    } else {
        Kind::File { size: meta.len() }
    };
    let group = LinkGroup { device: meta.dev(), inode: meta.ino() };
    Attributes {
        link_group: (!of.is_dir() && meta.nlink() > 1).then_some(group),
        kind,
        mode: (meta.mode() & 0o7777) as u16,
        uid: meta.uid(),
        gid: meta.gid(),
        mtime: Timestamp { secs: meta.mtime(), nanos: meta.mtime_nsec() as u32 },
        xattrs: Vec::new(),
    }
}

fn content(pool: &Pool, bytes: &[u8]) -> NewContent {
    match bytes.len() {
        0 => NewContent::None,
        1..=INLINE_LEN_MAX => NewContent::Inline(bytes.to_vec()),
        _ => NewContent::Extents(
            bytes
                .chunks(CHUNK_LEN)
                .map(|chunk| {
                    if chunk.iter().all(|byte| *byte == 0) {
                        return ResolvedExtent::Hole(chunk.len() as u64);
                    }
                    let (number, id) = pool.keep(0, chunk.to_vec());
                    let (number, len) = (ChunkNumber(number), chunk.len() as u32);
                    ResolvedExtent::Chunk { number, id, len }
                })
                .collect(),
        ),
    }
}

fn back_up(pool: &Pool, tree: &Path) -> TreeRoot {
    let mut paths = Vec::new();
    walk(tree, tree, &mut paths);
    let bytes = |path: &PathBuf| path.as_os_str().as_bytes().to_vec();
    paths.sort_by(|left, right| path_order(&bytes(left), &bytes(right)));
    let mut builder = TreeBuilder::new(pool, IdKey::new(ID_KEY), None);
    for path in paths {
        let own = attributes(&tree.join(&path));
        let content = match own.kind {
            Kind::File { .. } => content(pool, &fs::read(tree.join(&path)).expect("a file")),
            _ => NewContent::None,
        };
        let item = Item::Entry { path: bytes(&path), attributes: own.to_bytes(), content };
        builder.push(item).now_or_never().expect("nothing waits").expect("a sound tree");
    }
    builder.finish().now_or_never().expect("nothing waits").expect("a sound tree").0
}

struct Writing {
    store: DirectoryStore,
    master: MasterKey,
    slots: Slots,
    shipment: ManifestNumber,
    /// Where the chunks of a content lie.
    places: BTreeMap<ChunkId, Place>,
}

impl Writing {
    fn create(&self, name: &str, bytes: Vec<u8>) {
        let bytes = Bytes::from(bytes);
        let settled = settle(&self.store, name, &bytes, None).now_or_never();
        assert_eq!(settled.expect("a directory does not wait").expect("written"), Settled::Ours);
    }

    fn seal(
        &self,
        kind: ObjectKind,
        pool: PoolId,
        frames: &[PlainFrame],
        chunks: &[ObjectChunk],
    ) -> SealedObject {
        let class = if kind.has_chunks() { Class::new(2).expect("a class") } else { Class::ZERO };
        let shape = Shape { kind, class, shipment: self.shipment, pool, pad_to: MIB };
        let sealed = SealedObject::seal(&self.master, &shape, frames.to_vec(), chunks, &mut random);
        self.create(&Name::of(&sealed.object).to_string(), sealed.bytes.clone());
        sealed
    }

    /// Everything of the pool whose content is not in the vault yet.
    fn ship(&mut self, pool: &Pool, wanted: fn(u8) -> bool, kind: ObjectKind) {
        let all = pool.chunks.borrow();
        let mut new = (0..)
            .zip(all.iter())
            .filter(|(_, (id, of, _))| wanted(*of) && !self.places.contains_key(id));
        let mut placed = Vec::new();
        loop {
            let (mut frames, mut chunks, mut stored) = (Vec::new(), Vec::new(), 0);
            while stored < OBJECT_LEN {
                let mut plain = Vec::new();
                while plain.len() < FRAME_LEN
                    && let Some((number, (id, kind, bytes))) = new.next()
                {
                    let (start, len) = (plain.len() as u32, bytes.len() as u32);
                    let (id, frame) = (*id.as_bytes(), frames.len() as u16);
                    chunks.push(ObjectChunk { number, id, len, frame, kind: *kind, start });
                    plain.extend_from_slice(bytes);
                }
                if plain.is_empty() {
                    break;
                }
                let (codec, packed) = pack(&plain, 1);
                stored += packed.len();
                frames.push(PlainFrame { codec, plain_len: plain.len() as u32, packed });
            }
            if frames.is_empty() {
                break;
            }
            let sealed = self.seal(kind, pool.id, &frames, &chunks);
            for ObjectChunk { id, len, frame, start, .. } in chunks {
                let frame = sealed.frames[usize::from(frame)];
                let place = Place { object: sealed.object, frame, start, len };
                placed.push((ChunkId::from_bytes(id), place));
            }
        }
        self.places.extend(placed);
    }

    fn leaf(&self, pool: PoolId, entries: &[(u64, ChunkId, u8)]) -> Leaf {
        let (mut objects, mut frames): (Vec<ObjectRef>, Vec<LeafFrame>) = (vec![], vec![]);
        let mut rows = Vec::new();
        for (number, id, kind) in entries {
            let place = self.places[id];
            let object = objects.iter().position(|other| *other == place.object);
            let object = object.unwrap_or_else(|| {
                objects.push(place.object);
                objects.len() - 1
            });
            let own = LeafFrame { object: object as u16, place: place.frame };
            let frame = frames.iter().position(|other| *other == own);
            let frame = frame.unwrap_or_else(|| {
                frames.push(own);
                frames.len() - 1
            }) as u16;
            let (id, start, len) = (*id.as_bytes(), place.start, place.len);
            rows.push(LeafEntry { number: *number, id, frame, kind: *kind, start, len });
        }
        Leaf { pool, objects, frames, entries: rows }
    }

    fn index(&self, pool: &Pool, numbers: std::ops::Range<usize>) -> Index {
        let all = pool.chunks.borrow();
        let entries: Vec<_> =
            numbers.map(|number| (number as u64, all[number].0, all[number].1)).collect();
        let (mut frames, mut ranges) = (Vec::new(), Vec::new());
        for part in entries.chunks(LEAF_ENTRIES) {
            let leaf = self.leaf(pool.id, part);
            let plain = leaf.to_bytes();
            let (codec, packed) = pack(&plain, 3);
            frames.push(PlainFrame { codec, plain_len: plain.len() as u32, packed });
            ranges.push(leaf.range().expect("a leaf has entries"));
        }
        let sealed = self.seal(ObjectKind::Index, PoolId([0; 16]), &frames, &[]);
        let places = ranges.into_iter().zip(sealed.frames);
        let leaf = |((first, last), frame)| LeafPlace { pool: pool.id, first, last, frame };
        let (object, rank) = (sealed.object, self.shipment.0);
        Index { object, rank, leaves: places.map(leaf).collect() }
    }

    fn records(&self, entries: &[RecordEntry]) -> RecordObject {
        let plain = encode_records(entries);
        let frame = |plain: &Vec<u8>| {
            let (codec, packed) = pack(plain, 3);
            PlainFrame { codec, plain_len: plain.len() as u32, packed }
        };
        let frames: Vec<PlainFrame> = plain.iter().map(frame).collect();
        let object = self.seal(ObjectKind::Records, PoolId([0; 16]), &frames, &[]).object;
        RecordObject { object, frame_count: frames.len() as u32, rank: self.shipment.0 }
    }

    fn point(&mut self, pool: &Pool, root: &TreeRoot, at: i64) -> Point {
        let point = PointId::draw_for(self.shipment);
        let attributes = br#"{"consistency":"file-system","tags":["daily"]}"#.to_vec();
        let mut writer = Writer::new();
        root.encode(&mut writer);
        let recipe = Recipe {
            pool: pool.id,
            point,
            source: SOURCE,
            at,
            root: writer.finish(),
            delta: Vec::new(),
            extra: vec![2],
            attributes: attributes.clone(),
        };
        let (recipe_number, id) = pool.keep(4, recipe.to_bytes());
        self.ship(pool, |kind| kind == 0, ObjectKind::Data);
        self.ship(pool, |kind| kind != 0, ObjectKind::Pages);
        let page_id = |page: PageRef| pool.chunks.borrow()[page.number.0 as usize].0;
        Point {
            point,
            source: SOURCE,
            pool: pool.id,
            is_partial: false,
            class: Class::new(2).expect("a class"),
            at,
            committed_at: at + 1_500_000_000,
            recipe_number,
            recipe_digest: *pool.key.span_digest([&id]).as_bytes(),
            bytes_source: root.byte_count,
            entry_count: root.entry_count,
            root: recipe.root,
            attributes,
            recipe: self.places[&id],
            root_page: root.page.map(|page| self.places[&page_id(page)]),
        }
    }

    fn commit(&mut self, full: &Manifest, base: Option<(&Manifest, Parent)>) -> Parent {
        let manifest = base.map_or_else(|| full.clone(), |(base, is)| full.difference(base, is));
        let sealed = manifest.seal(&self.slots, &self.master, &mut random);
        let parent = ClearManifest::read(&sealed).expect("what was sealed is read").as_parent();
        self.create(&Name::Manifest(full.number).to_string(), sealed);
        parent
    }
}

trait DrawFor {
    fn draw_for(number: ManifestNumber) -> Self;
}

impl DrawFor for PointId {
    /// An id that differs from the others, and the same in every run.
    fn draw_for(number: ManifestNumber) -> Self {
        Self([0xc0 ^ number.0 as u8; 16])
    }
}

/// An id as names of records have it.
fn text(id: [u8; 16]) -> String {
    ObjectId(id).to_string()
}

fn record(name: String, value: &str) -> RecordEntry {
    RecordEntry { name, what: RecordWhat::Record, version: 1, value: value.into() }
}

/// What the first shipment tells, and what a later one changes of it.
fn records(number: u64, point: PointId) -> Vec<RecordEntry> {
    let job = |version: u64| RecordEntry {
        name: "jobs".into(),
        what: RecordWhat::SeriesEntry,
        version,
        value: format!("{{\"job\":{version}}}").into(),
    };
    let note = record(format!("note/{}", text(point.0)), &format!("\"shipped with {number}\""));
    if number > 1 {
        let bare = |name: &str, what, version| RecordEntry {
            name: name.into(),
            what,
            version,
            value: Vec::new(),
        };
        let removed = bare("group/old", RecordWhat::Removed, 2);
        let trimmed = bare("jobs", RecordWhat::SeriesTrimmed, number - 1);
        return vec![note, removed, job(number), trimmed];
    }
    let hex: String = ID_KEY.iter().map(|byte| format!("{byte:02x}")).collect();
    let (machine, source) = (text([0x33; 16]), text(SOURCE.0));
    vec![
        record("content-keys".into(), &format!("{{\"id_key_hex\":\"{hex}\",\"cut_hex\":\"00\"}}")),
        record(format!("machine/{machine}"), r#"{"name":"m"}"#),
        record(
            format!("source/{source}"),
            &format!("{{\"machine\":\"{machine}\",\"name\":\"t\"}}"),
        ),
        record("group/old".into(), "{}"),
        note,
        job(1),
    ]
}

fn open(out: &Path) -> Writing {
    fs::create_dir_all(out.join("vault")).expect("a directory");
    let vault = VaultId::draw(&mut random);
    let master = MasterKey::draw(vault, &mut random);
    let mut slots = Slots::new(&master);
    // As little as is allowed: these secrets are in the source.
    let params = KdfParams::new(8 << 10, 1, 2).expect("within bounds");
    let passphrase = Passphrase::new(PASSPHRASE).expect("long enough");
    slots.set_passphrase(&master, &passphrase, params, BEGIN, &mut random).expect("memory");
    let (secret, shape) = (KitSecret::draw(&mut random), KitShape::new(2, 3).expect("a kit"));
    slots.set_kit(&master, &secret, shape, BEGIN, &mut random);
    fs::write(out.join("passphrase"), format!("{PASSPHRASE}\n")).expect("written");
    for share in kit::split(&secret, vault, shape, &mut random) {
        let text = format!("A share of a recovery kit\n\n{}", *kit::print(&share));
        fs::write(out.join(format!("share-{}", share.number)), text).expect("written");
    }
    let store = DirectoryStore::open(&out.join("vault")).expect("a directory");
    Writing { store, master, slots, shipment: ManifestNumber(1), places: BTreeMap::new() }
}

fn main() {
    let mut args = std::env::args_os().skip(1).map(PathBuf::from);
    let out = args.next().expect("write_vault OUT TREE...");
    let mut writing = open(&out);
    let pools = [Pool::new(0xa1), Pool::new(0xa2)];
    let mut indexed = [0, 0];
    let mut full: Option<Manifest> = None;
    let (mut parent, mut base): (Option<Parent>, Option<(Manifest, Parent)>) = (None, None);
    for (round, tree) in args.enumerate() {
        // Number 2 is used up by somebody's garbage.
        let number = if round == 0 { 1 } else { round as u64 + 2 };
        writing.shipment = ManifestNumber(number);
        if round == 1 {
            let name = Name::Manifest(ManifestNumber(2)).to_string();
            writing.create(&name, b"KHVM, or so somebody says".to_vec());
        }
        let own = usize::from(round > 0);
        let (pool, at) = (&pools[own], BEGIN + HOUR * round as i64);
        let root = back_up(pool, &tree);
        let point = writing.point(pool, &root, at);
        let count = pool.chunks.borrow().len();
        let index = writing.index(pool, indexed[own]..count);
        indexed[own] = count;
        let records = writing.records(&records(number, point.point));
        let lock = Lock { class: point.class, until: 0 };
        let before = full.take();
        let (mut points, mut indexes, mut record_objects) =
            before.map_or_else(Default::default, |old| (old.points, old.indexes, old.records));
        points.push(point);
        points.sort_by_key(|point: &Point| point.point);
        indexes.push(index);
        record_objects.push(records);
        let now = Manifest {
            number: writing.shipment,
            parent,
            base: None,
            made_at: at + HOUR / 2,
            witnessed: at + HOUR / 2,
            points,
            gone_points: Vec::new(),
            gone_objects: Vec::new(),
            indexes,
            records: record_objects,
            locks: vec![lock],
        };
        let is = writing.commit(&now, base.as_ref().map(|(base, is)| (base, *is)));
        parent = Some(is);
        base.get_or_insert_with(|| (now.clone(), is));
        println!("manifest {number}: {} chunks of pool {}", count, pool.id.0[0]);
        full = Some(now);
    }
    let codecs: BTreeSet<u8> = writing.places.values().map(|p| p.frame.codec as u8).collect();
    assert!(codecs.contains(&(Codec::Zstd as u8)), "something is compressed");
    let listed =
        writing.store.list("", "", 1000).now_or_never().expect("no waiting").expect("listed");
    println!("{} objects", listed.entries.len());
}
