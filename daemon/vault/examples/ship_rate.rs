//! How fast a shipment fills a directory, beside what the same bytes take without sealing.
//!
//! `ship_rate DIR [MIB] [ROUNDS]`: below DIR, which is emptied again, every round ships `MIB` of noise
//! and puts the sealed objects a second time, plainly; ships as much text and puts what `zstd -1 -T0`
//! makes of it; ships a backlog of many small points. Streams, folders and flushing are the same for all.
//! Medians over the rounds; processor seconds are of all threads and children; memory is what resident
//! memory grew by at its most.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use keelhold_chunk::{ChunkId, IdKey};
use keelhold_vault::chain::{Terms, found};
use keelhold_vault::format::{Class, Codec, pack};
use keelhold_vault::ids::Ids;
use keelhold_vault::keys::{KitSecret, KitShape, MasterKey, Slots};
use keelhold_vault::pack::{SourceChunk, SourceFrame};
use keelhold_vault::ship::{
    Locks, OBJECT_LEN_DEFAULT, Order, ROUND_CHUNKS_DEFAULT, STREAMS_DEFAULT, ShipPoint, Source,
    SourceError, ship,
};
use keelhold_vault::store::{
    Created, DirectoryStore, LIST_MAX, Listing, Store, StoreError, StoreFault, Until,
};
use keelhold_vault::work::Work;
use keelhold_vault::{PointId, PoolId, SourceId, VaultId};
use roaring::RoaringTreemap;
use tokio::task::spawn_blocking;

const MIB: usize = 1 << 20;
const FRAME_LEN: usize = 1 << 20;
/// As many as the pool has in flight.
const FRAMES_AT_A_TIME: usize = 8;

/// The disk is waited for, and work done, on threads for that: as in the daemon.
struct Threads;

impl Work for Threads {
    async fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        spawn_blocking(job).await.expect("jobs end")
    }
}

struct Place(Arc<DirectoryStore>);

impl Place {
    fn open(path: &Path) -> Self {
        fs::create_dir_all(path).expect("a directory");
        Self(Arc::new(DirectoryStore::open(path).expect("a directory")))
    }

    async fn wait<T: Send + 'static, F>(
        &self,
        ask: impl FnOnce(Arc<DirectoryStore>) -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let asked = ask(Arc::clone(&self.0));
        let answer = spawn_blocking(|| asked.now_or_never()).await.expect("the disk answers");
        answer.expect("a directory answers at the first poll")
    }
}

impl Store for Place {
    async fn create(
        &self,
        name: &str,
        bytes: Bytes,
        until: Option<Until>,
    ) -> Result<Created, StoreError> {
        let name = name.to_owned();
        self.wait(move |store| async move { store.create(&name, bytes, until).await }).await
    }

    async fn read(&self, name: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        let name = name.to_owned();
        self.wait(move |store| async move { store.read(&name, range).await }).await
    }

    async fn head(&self, name: &str) -> Result<Option<u64>, StoreError> {
        let name = name.to_owned();
        self.wait(move |store| async move { store.head(&name).await }).await
    }

    async fn list(&self, folder: &str, after: &str, limit: usize) -> Result<Listing, StoreError> {
        let (folder, after) = (folder.to_owned(), after.to_owned());
        self.wait(move |store| async move { store.list(&folder, &after, limit).await }).await
    }

    async fn locked_until(&self, _name: &str) -> Result<Option<Until>, StoreError> {
        Ok(None)
    }

    async fn extend(&self, name: &str, _until: Until) -> Result<(), StoreError> {
        Err(StoreError { name: name.to_owned(), fault: StoreFault::NoLocks })
    }

    async fn delete(&self, name: &str) -> Result<(), StoreError> {
        let name = name.to_owned();
        self.wait(move |store| async move { store.delete(&name).await }).await
    }
}

/// Chunks of equal length in memory, numbered from 1; a point for every so many.
struct Pool {
    bytes: Bytes,
    ids: Vec<ChunkId>,
    chunk_len: usize,
    points: BTreeMap<PointId, RoaringTreemap>,
    is_text: bool,
}

impl Pool {
    fn new(bytes: Bytes, chunk_len: usize, points: usize, is_text: bool) -> Self {
        let key = IdKey::new([9; 32]);
        let ids: Vec<ChunkId> = bytes.chunks(chunk_len).map(|chunk| key.id(chunk)).collect();
        let each = ids.len().div_ceil(points);
        let points = (0..points).map(|point| {
            let (first, end) = ((point * each + 1) as u64, ((point + 1) * each).min(ids.len()));
            let id = blake3::hash(&(point as u64).to_le_bytes());
            let id = id.as_bytes().first_chunk().copied().expect("a hash is longer");
            (PointId(id), (first..=end as u64).collect())
        });
        let points = points.collect();
        Self { bytes, ids, chunk_len, points, is_text }
    }

    fn order(&self) -> Order {
        let point = |(point, reach): (&PointId, &RoaringTreemap)| ShipPoint {
            point: *point,
            source: SourceId([4; 16]),
            is_partial: false,
            class: Class::new(3).expect("a class"),
            at: reach.min().unwrap_or(0) as i64,
            committed_at: reach.min().unwrap_or(0) as i64,
            bytes_source: 5,
            entry_count: 1,
            attributes: b"attributes".to_vec(),
            recipe_number: reach.max().expect("a point has chunks"),
            recipe_digest: [1; 16],
            root: vec![3; 30],
            root_page: reach.max(),
        };
        Order {
            points: self.points.iter().map(point).collect(),
            gone: Vec::new(),
            records: Vec::new(),
            records_are_all: false,
            locks: Locks::default(),
            now: 7,
            witnessed: 7,
            object_len: OBJECT_LEN_DEFAULT,
            streams: STREAMS_DEFAULT,
            round_chunks: ROUND_CHUNKS_DEFAULT,
            creates_only: true,
        }
    }

    fn chunk(&self, number: u64) -> SourceChunk {
        let at = number as usize - 1;
        let len = self.chunk_len.min(self.bytes.len() - at * self.chunk_len);
        SourceChunk { number, id: self.ids[at], kind: 0, len: len as u32 }
    }
}

impl Source for Pool {
    fn pool(&self) -> PoolId {
        PoolId([3; 16])
    }

    async fn reach(&self, point: PointId) -> Result<RoaringTreemap, SourceError> {
        self.points.get(&point).cloned().ok_or(SourceError::Gone)
    }

    async fn ids(&self, numbers: Vec<u64>) -> Result<Vec<(u64, ChunkId)>, SourceError> {
        Ok(numbers.into_iter().map(|number| (number, self.chunk(number).id)).collect())
    }

    /// What does not compress lies in memory as it is; text is compressed now, several frames at a time.
    async fn frames(&self, numbers: Vec<u64>) -> Result<Vec<SourceFrame>, SourceError> {
        let frame = |numbers: &[u64]| {
            let chunks: Vec<SourceChunk> = numbers.iter().map(|at| self.chunk(*at)).collect();
            let from = (numbers[0] as usize - 1) * self.chunk_len;
            let plain_len: u32 = chunks.iter().map(|chunk| chunk.len).sum();
            let plain = self.bytes.slice(from..from + plain_len as usize);
            let is_text = self.is_text;
            async move {
                let (codec, packed) = match is_text {
                    false => (Codec::Raw, plain),
                    true => {
                        let packing = move || pack(&plain, 1);
                        let (codec, packed) = spawn_blocking(packing).await.expect("jobs end");
                        (codec, Bytes::from(packed))
                    }
                };
                SourceFrame { codec, packed, plain_len, chunks }
            }
        };
        let each = FRAME_LEN / self.chunk_len;
        let frames: Vec<_> = numbers
            .chunk_by(|left, right| left + 1 == *right)
            .flat_map(|run| run.chunks(each))
            .map(frame)
            .collect();
        Ok(stream::iter(frames).buffered(FRAMES_AT_A_TIME).collect().await)
    }
}

fn noise(len: usize) -> Bytes {
    let mut bytes = vec![0; len];
    let mut at = blake3::Hasher::new().update(b"noise").finalize_xof();
    at.fill(&mut bytes);
    Bytes::from(bytes)
}

/// Lines of a log: words of a few thousand, numbers, times.
fn text(len: usize) -> Bytes {
    let mut drawn = blake3::Hasher::new().update(b"text").finalize_xof();
    let mut draw = move || {
        let mut bytes = [0; 8];
        drawn.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    };
    let letters = b"etaoinshrdlucmfwypvbgkqjxz";
    let mut words = Vec::new();
    for _ in 0..4096 {
        let len = 3 + draw() % 7;
        let mut letter = || letters[(draw() % 26 * (draw() % 26) / 25) as usize];
        words.push((0..len).map(|_| letter()).collect::<Vec<u8>>());
    }
    let mut bytes = Vec::with_capacity(len + 256);
    while bytes.len() < len {
        let (time, number) = (bytes.len() / 70, draw() % 1_000_000);
        bytes.extend_from_slice(format!("2026-11-23T{time:010} {number} ").as_bytes());
        for _ in 0..8 {
            let at = (draw() % 64) * (draw() % 64);
            bytes.extend_from_slice(&words[at as usize]);
            bytes.push(b' ');
        }
        bytes.push(b'\n');
    }
    bytes.truncate(len);
    Bytes::from(bytes)
}

/// What a stretch of work took.
#[derive(Clone, Copy)]
struct Cost {
    seconds: f64,
    processor: f64,
    grown: u64,
}

/// Seconds of processor time, of this process and the children that ended.
fn processor() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").expect("of this process");
    let behind = stat.rsplit_once(')').expect("a name in brackets").1;
    let fields: Vec<&str> = behind.split_whitespace().collect();
    // utime, stime, cutime, cstime, in hundredths.
    fields[11..15].iter().map(|ticks| ticks.parse::<f64>().expect("a count")).sum::<f64>() / 100.0
}

fn memory(name: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("of this process");
    let line = status.lines().find(|line| line.starts_with(name)).expect("a line of that name");
    line.split_whitespace().nth(1).expect("a count").parse::<u64>().expect("a count") << 10
}

fn measured<T>(work: impl FnOnce() -> T) -> (T, Cost) {
    rustix::fs::sync();
    fs::write("/proc/self/clear_refs", "5").expect("the peak begins anew");
    let (began, before, resident) = (Instant::now(), processor(), memory("VmRSS"));
    let done = work();
    let (seconds, processor) = (began.elapsed().as_secs_f64(), processor() - before);
    (done, Cost { seconds, processor, grown: memory("VmHWM").saturating_sub(resident) })
}

fn drawn(bytes: &mut [u8]) {
    fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(bytes)).expect("random");
}

/// Ships everything into an empty vault; says how many bytes of objects came of it.
async fn shipped(dir: &Path, pool: &Pool) -> u64 {
    let store = Place::open(&dir.join("vault"));
    let master = Arc::new(MasterKey::draw(VaultId([7; 16]), &mut drawn));
    let mut slots = Slots::new(&master);
    let (kit, shape) = (KitSecret::draw(&mut drawn), KitShape::new(1, 1).expect("a shape"));
    slots.set_kit(&master, &kit, shape, 5, &mut drawn);
    let terms = Terms { creates_only: true, until: None };
    let opened = found(&store, &master, &slots, terms, 5, &mut drawn).await.expect("a vault");
    let mut ids = Ids::open(&dir.join("ids")).expect("a directory");
    let order = pool.order();
    let (watch, stop) = (&|_| {}, &|| false);
    let shipped =
        ship(&store, &opened, &mut ids, pool, &order, &Threads, &mut drawn, watch, stop).await;
    let shipped = shipped.expect("shipped");
    assert!(shipped.left_out.is_empty() && shipped.chunks == pool.ids.len() as u64);
    shipped.bytes
}

/// Every object of a vault, as it was sent.
async fn objects(dir: &Path) -> Vec<(String, Bytes)> {
    let store = Place::open(&dir.join("vault"));
    let (mut all, mut after) = (Vec::new(), String::new());
    loop {
        let listing = store.list("", &after, LIST_MAX).await.expect("listed");
        for entry in listing.entries {
            let bytes = store.read(&entry.name, 0..entry.len).await.expect("read");
            after.clone_from(&entry.name);
            all.push((entry.name, bytes));
        }
        if !listing.has_more {
            return all;
        }
    }
}

async fn put(dir: &Path, objects: impl futures_util::Stream<Item = (String, Bytes)>) {
    let store = &Place::open(&dir.join("plain"));
    let creating =
        objects.map(|(name, bytes)| async move { store.create(&name, bytes, None).await });
    let made: Vec<Created> =
        creating.buffer_unordered(STREAMS_DEFAULT).try_collect().await.expect("created");
    assert!(made.iter().all(|made| *made == Created::Made));
}

/// The bytes through `zstd -1 -T0`, put in pieces as long as objects.
async fn put_zstd(dir: &Path, bytes: &Bytes) {
    let mut zstd = Command::new("zstd")
        .args(["-1", "-T0", "-c", "-q"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("zstd is installed");
    let (mut into, mut out) =
        (zstd.stdin.take().expect("piped"), zstd.stdout.take().expect("piped"));
    let bytes = bytes.clone();
    let writing = spawn_blocking(move || into.write_all(&bytes).expect("zstd reads"));
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    let reading = spawn_blocking(move || {
        for number in 0.. {
            let mut piece = Vec::with_capacity(OBJECT_LEN_DEFAULT);
            let limit = OBJECT_LEN_DEFAULT as u64;
            (&mut out).take(limit).read_to_end(&mut piece).expect("zstd writes");
            if piece.is_empty() || sender.blocking_send((number, Bytes::from(piece))).is_err() {
                return;
            }
        }
    });
    let pieces = stream::unfold(receiver, async |mut receiver| {
        let (number, piece): (u64, Bytes) = receiver.recv().await?;
        Some(((format!("d/3/1/{number}"), piece), receiver))
    });
    put(dir, pieces).await;
    writing.await.and(reading.await).expect("both end");
    assert!(zstd.wait().expect("it ends").success());
}

struct Rounds(BTreeMap<&'static str, Vec<Cost>>);

impl Rounds {
    fn note(&mut self, what: &'static str, cost: Cost) {
        println!(
            "{what}: {:.2} s, {:.2} processor s, {} MiB",
            cost.seconds,
            cost.processor,
            cost.grown / MIB as u64
        );
        self.0.entry(what).or_default().push(cost);
    }

    fn median(&self, what: &str) -> Cost {
        let mut costs = self.0[what].clone();
        costs.sort_by(|left, right| left.seconds.total_cmp(&right.seconds));
        costs[costs.len() / 2]
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let dir = PathBuf::from(arguments.get(1).expect("ship_rate DIR [MIB] [ROUNDS]"));
    let number =
        |at: usize, or| arguments.get(at).map_or(or, |text| text.parse().expect("a count"));
    let (mib, rounds) = (number(2, 1024), number(3, 3));
    let (dir, gib) = (dir.join("ship_rate"), mib as f64 / 1024.0);
    let runtime = tokio::runtime::Builder::new_multi_thread().build().expect("a runtime");
    let (noise, text) = (noise(mib * MIB), text(mib * MIB));
    let flat = Pool::new(noise.clone(), 64 << 10, 1, false);
    let backlog = Pool::new(noise, 8 << 10, 20_000.min(mib * 16), false);
    let lines = Pool::new(text.clone(), 64 << 10, 1, true);
    let clear = || {
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).expect("a directory");
    };
    let mut all = Rounds(BTreeMap::new());
    for _ in 0..rounds {
        clear();
        let (_, cost) = measured(|| runtime.block_on(shipped(&dir, &flat)));
        all.note("noise shipped", cost);
        let sealed = runtime.block_on(objects(&dir));
        clear();
        let (_, cost) = measured(|| runtime.block_on(put(&dir, stream::iter(sealed))));
        all.note("noise put", cost);
        clear();
        let (bytes, cost) = measured(|| runtime.block_on(shipped(&dir, &lines)));
        all.note("text shipped", cost);
        println!("text is {:.2} times as long", (mib * MIB) as f64 / bytes as f64);
        clear();
        let (_, cost) = measured(|| runtime.block_on(put_zstd(&dir, &text)));
        all.note("text zstd", cost);
        clear();
        let (_, cost) = measured(|| runtime.block_on(shipped(&dir, &backlog)));
        all.note("backlog shipped", cost);
    }
    let _ = fs::remove_dir_all(&dir);
    println!(
        "\n| what | MiB/s | of the other | processor s/GiB | memory grown, MiB |\n|---|---|---|---|---|"
    );
    for what in ["noise shipped", "noise put", "text shipped", "text zstd", "backlog shipped"] {
        let cost = all.median(what);
        let other = match what {
            "noise shipped" | "backlog shipped" => Some("noise put"),
            "text shipped" => Some("text zstd"),
            _ => None,
        };
        let ratio = other.map_or(String::new(), |other| {
            format!("{:.2}", all.median(other).seconds / cost.seconds)
        });
        let most = all.0[what].iter().map(|cost| cost.grown / MIB as u64).max().unwrap_or(0);
        let (rate, processor) = (mib as f64 / cost.seconds, cost.processor / gib);
        println!("| {what} | {rate:.0} | {ratio} | {processor:.2} | {most} |");
    }
}
