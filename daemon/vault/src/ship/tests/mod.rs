//! Shipments from a pool in memory, and a look at everything that is in the vault afterwards.

mod faults;
mod figures;
mod kills;
#[cfg(feature = "mutants")]
mod mutants;
mod store;
mod twice;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use keelhold_chunk::{ChunkId, IdKey};
use roaring::RoaringTreemap;

use super::*;
use crate::chain::{self, Terms, Unlock};
use crate::format::{
    Class, ClearObject, Leaf, Name, ObjectKey, ObjectRef, Place, Point, RecordEntry, RecordWhat,
    pack,
};
use crate::keys::{MasterKey, Slots};
use crate::pack::{SourceChunk, SourceFrame};
use crate::random::{Random, seeded};
use crate::testing::{POOL, master, now, slots};
use crate::units::SourceId;
use crate::work::InPlace;
use store::{Kept, Plan, TestStore, Turns};

pub(crate) const TERMS: Terms = Terms { creates_only: true, until: None };
/// Small, so that a shipment is many objects.
pub(crate) const OBJECT_LEN: usize = 256 << 10;

/// A pool: chunks by number, and points that need some of them.
#[derive(Clone)]
pub(crate) struct Pool {
    pub pool: PoolId,
    pub chunks: BTreeMap<u64, (ChunkId, u8, Vec<u8>)>,
    pub points: BTreeMap<PointId, (RoaringTreemap, ShipPoint)>,
    pub lost: BTreeSet<u64>,
    pub next: u64,
    /// Bytes of frames that were given away and are still held.
    pub held: Arc<AtomicU64>,
    pub asked_frames: Arc<AtomicU64>,
}

/// Bytes that say when they are gone.
struct Counted(Vec<u8>, Arc<AtomicU64>);

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.1.fetch_sub(self.0.len() as u64, Ordering::Relaxed);
    }
}

pub(crate) fn id_key() -> IdKey {
    IdKey::new([9; 32])
}

impl Pool {
    pub fn new(pool: PoolId) -> Self {
        Self {
            pool,
            chunks: BTreeMap::new(),
            points: BTreeMap::new(),
            lost: BTreeSet::new(),
            next: 1,
            held: Arc::default(),
            asked_frames: Arc::default(),
        }
    }

    fn add(&mut self, kind: u8, bytes: Vec<u8>) -> u64 {
        let number = self.next;
        self.next += 1;
        self.chunks.insert(number, (id_key().id(&bytes), kind, bytes));
        number
    }

    /// A backup of so many new chunks, which shares some with the points before it.
    pub fn back_up(&mut self, seed: u64, count: usize, class: u8) -> ShipPoint {
        let mut random = seeded(seed);
        let mut reach = RoaringTreemap::new();
        for (others, _) in self.points.values() {
            reach.extend(others.iter().filter(|number| number % 3 == seed % 3));
        }
        let mut root_page = 0;
        for at in 0..count {
            let kind = [0, 0, 0, 0, 0, 0, 1, 2][at % 8];
            let [low, high]: [u8; 2] = random.array();
            let mut bytes = vec![0; 2000 + usize::from(low) * 64 + usize::from(high)];
            random.fill(&mut bytes);
            if at % 5 == 0 {
                let half = bytes.len() / 2;
                bytes[half..].fill(b'k');
            }
            let number = self.add(kind, bytes);
            reach.insert(number);
            root_page = number;
        }
        let recipe_number = self.add(4, random.array::<100>().to_vec());
        reach.insert(recipe_number);
        let at = recipe_number as i64;
        let point = ShipPoint {
            point: PointId(random.array()),
            source: SourceId([4; 16]),
            is_partial: false,
            class: Class::new(class).unwrap(),
            at,
            committed_at: at,
            bytes_source: 5,
            entry_count: count as u64,
            attributes: b"attributes".to_vec(),
            recipe_number,
            recipe_digest: random.array(),
            root: vec![3; 30],
            root_page: (count > 0).then_some(root_page),
        };
        self.points.insert(point.point, (reach, point.clone()));
        point
    }

    pub fn order(&self) -> Order {
        Order {
            points: self.points.values().map(|(_, point)| point.clone()).collect(),
            gone: Vec::new(),
            records: Vec::new(),
            records_are_all: false,
            locks: Locks::default(),
            now: 7,
            witnessed: 7,
            object_len: OBJECT_LEN,
            streams: 2,
            round_chunks: ROUND_CHUNKS_DEFAULT,
            creates_only: true,
        }
    }

    fn frame(&self, numbers: &[u64]) -> SourceFrame {
        let (mut plain, mut chunks) = (Vec::new(), Vec::new());
        for number in numbers {
            let (id, kind, bytes) = &self.chunks[number];
            plain.extend_from_slice(bytes);
            let len = bytes.len() as u32;
            chunks.push(SourceChunk { number: *number, id: *id, kind: *kind, len });
        }
        let (codec, packed) = pack(&plain, 1);
        self.held.fetch_add(packed.len() as u64, Ordering::Relaxed);
        let packed = Bytes::from_owner(Counted(packed, Arc::clone(&self.held)));
        SourceFrame { codec, packed, plain_len: plain.len() as u32, chunks }
    }

    fn lost_of(&self, numbers: &[u64]) -> Result<(), SourceError> {
        let lost: Vec<_> = numbers.iter().filter(|number| self.lost.contains(number)).collect();
        match lost.first() {
            Some(first) => Err(SourceError::Lost { first: **first, count: lost.len() as u64 }),
            None => Ok(()),
        }
    }
}

impl Source for Pool {
    fn pool(&self) -> PoolId {
        self.pool
    }

    async fn reach(&self, point: PointId) -> Result<RoaringTreemap, SourceError> {
        self.points.get(&point).map(|(reach, _)| reach.clone()).ok_or(SourceError::Gone)
    }

    async fn ids(&self, numbers: Vec<u64>) -> Result<Vec<(u64, ChunkId)>, SourceError> {
        Ok(numbers.into_iter().map(|number| (number, self.chunks[&number].0)).collect())
    }

    async fn frames(&self, numbers: Vec<u64>) -> Result<Vec<SourceFrame>, SourceError> {
        self.lost_of(&numbers)?;
        self.asked_frames.fetch_add(numbers.len() as u64, Ordering::Relaxed);
        let same = |left: &u64, right: &u64| {
            let kind = |number: &u64| self.chunks[number].1;
            kind(left) == kind(right)
        };
        let groups = numbers.chunk_by(same).flat_map(|group| group.chunks(4));
        Ok(groups.map(|group| self.frame(group)).collect())
    }
}

/// A vault and the appliance's directory beside it.
pub(crate) struct Site {
    pub master: Arc<MasterKey>,
    pub slots: Slots,
    pub dir: tempfile::TempDir,
    pub opened: Opened,
    /// Makes the random bytes of every shipment others: ids that come twice are the end of everything.
    pub shipments: u64,
}

impl Site {
    pub fn found(store: &impl Store) -> Self {
        let master = master();
        let (slots, _) = slots(&master, 2);
        let opened = now(chain::found(store, &master, &slots, TERMS, 5, &mut seeded(3))).unwrap();
        Self { master, slots, dir: tempfile::tempdir().unwrap(), opened, shipments: 0 }
    }

    pub fn reopen(&mut self, store: &impl Store) {
        self.opened = now(chain::open(store, Unlock::Master(&self.master), None)).unwrap();
    }

    pub fn ids(&self) -> Ids {
        Ids::open(&self.dir.path().join("ids")).unwrap()
    }

    pub fn forget_everything(&self) {
        std::fs::remove_dir_all(self.dir.path().join("ids")).unwrap();
    }

    pub fn random(&mut self, seed: u64) -> impl Random + Send + use<> {
        self.shipments += 1;
        seeded(seed << 20 | self.shipments)
    }

    /// Polls a shipment so many times; `None`: it was killed before it ended.
    pub fn ship_over(
        &mut self,
        store: &TestStore<'_>,
        (pool, order): (&Pool, &Order),
        seed: u64,
        polls: usize,
        stop: &(dyn Fn() -> bool + Sync),
    ) -> Option<Result<Shipped, ShipError>> {
        let (mut ids, mut random) = (self.ids(), self.random(seed));
        let opened = self.opened.clone();
        let watch = &|_| {};
        let shipping =
            ship(store, &opened, &mut ids, pool, order, &InPlace, &mut random, watch, stop);
        let mut shipping = pin!(is_send(shipping));
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..polls {
            if let Poll::Ready(ended) = shipping.as_mut().poll(&mut context) {
                return Some(ended);
            }
        }
        None
    }

    /// One shipment over a store that never waits.
    pub fn ship(
        &mut self,
        store: &impl Kept,
        pool: &Pool,
        order: &Order,
        seed: u64,
    ) -> Result<Shipped, ShipError> {
        let ended = self.ship_over(&store.kept(), (pool, order), seed, 1, &|| false);
        let shipped = ended.expect("this store never waits")?;
        self.opened = shipped.opened.clone();
        Ok(shipped)
    }
}

fn is_send<T: Send>(value: T) -> T {
    value
}

/// Reads the vault as a stranger with the key: what it has of a pool, each byte compared.
pub(crate) struct Reader<'a, S> {
    store: &'a S,
    master: &'a MasterKey,
    frames: HashMap<(ObjectRef, u32), Vec<u8>>,
}

impl<'a, S: Store> Reader<'a, S> {
    pub fn new(store: &'a S, master: &'a MasterKey) -> Self {
        Self { store, master, frames: HashMap::new() }
    }

    fn frame(&mut self, object: &ObjectRef, place: &crate::format::FramePlace) -> Vec<u8> {
        let (store, master) = (self.store, self.master);
        let plain = self.frames.entry((*object, place.index)).or_insert_with(|| {
            let stored = now(store.read(&Name::of(object).to_string(), place.range())).unwrap();
            ObjectKey::new(master, object).open_frame(place, &stored).unwrap()
        });
        plain.clone()
    }

    fn at(&mut self, place: &Place) -> Vec<u8> {
        let plain = self.frame(&place.object, &place.frame);
        plain[place.start as usize..(place.start + place.len) as usize].to_vec()
    }

    pub fn check_point(&mut self, view: &crate::format::Manifest, pool: &Pool, row: &Point) {
        let (reach, point) = &pool.points[&row.point];
        assert_eq!(row.recipe_digest, point.recipe_digest);
        assert_eq!(self.at(&row.recipe), pool.chunks[&point.recipe_number].2, "recipe");
        let root = row.root_page.map(|place| self.at(&place));
        assert_eq!(root, point.root_page.map(|number| pool.chunks[&number].2.clone()), "root page");
        let mut leaves: HashMap<(ObjectRef, u32), Leaf> = HashMap::new();
        for number in reach {
            let places: Vec<_> =
                view.leaves_of(pool.pool, number).map(|(o, l)| (*o, l.frame)).collect();
            let found = places.iter().find_map(|(object, frame)| {
                let leaf = leaves
                    .entry((*object, frame.index))
                    .or_insert_with(|| Leaf::from_bytes(&self.frame(object, frame)).unwrap());
                leaf.find(number).map(|(entry, place)| (entry.id, place))
            });
            let (id, place) = found.unwrap_or_else(|| panic!("chunk {number} is not in the index"));
            let (expected, _, bytes) = &pool.chunks[&number];
            assert_eq!(id, *expected.as_bytes(), "id of chunk {number}");
            assert_eq!(self.at(&place), *bytes, "bytes of chunk {number}");
        }
    }
}

/// Opens the vault anew and reads every chunk of every point of this pool; gives the points.
pub(crate) fn check(store: &impl Store, site: &Site, pool: &Pool) -> BTreeSet<PointId> {
    let opened = now(chain::open(store, Unlock::Master(&site.master), None)).unwrap();
    let mut reader = Reader::new(store, &site.master);
    let own = opened.view.points.iter().filter(|row| row.pool == pool.pool);
    own.map(|row| {
        reader.check_point(&opened.view, pool, row);
        row.point
    })
    .collect()
}

pub(crate) fn all_points(pool: &Pool) -> BTreeSet<PointId> {
    pool.points.keys().copied().collect()
}

/// How often each chunk is stored, in objects that are named or not, and the bytes of those objects.
pub(crate) fn stored(store: &impl Store, master: &MasterKey) -> (HashMap<[u8; 32], usize>, u64) {
    let (mut count, mut bytes) = (HashMap::new(), 0);
    for folder in ["d/", "p/"] {
        for entry in now(store.list(folder, "", 1000)).unwrap().entries {
            let object = now(store.read(&entry.name, 0..entry.len)).unwrap();
            bytes += entry.len;
            let Ok(clear) = ClearObject::read(&object) else { continue };
            let Ok(directory) = clear.directory(master, &object) else { continue };
            for chunk in directory.chunks {
                *count.entry(chunk.id).or_insert(0) += 1;
            }
        }
    }
    (count, bytes)
}

pub(crate) fn record(name: &str, version: u64) -> RecordEntry {
    let (name, value) = (name.to_owned(), vec![version as u8; 40]);
    RecordEntry { name, what: RecordWhat::Record, version, value }
}
