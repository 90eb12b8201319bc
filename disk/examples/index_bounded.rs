//! Fills a pool in a file with tiny chunks, more than the index may keep in memory, and prints what
//! that takes: memory at every million, reads of a look-up at the end. Fails above 64 MiB of index at
//! 20 million chunks, or the like of it, and where look-ups read more than they should.
//!
//! A chunk is 64 bytes, so that 20 million of them fit a few GiB. The file is removed at the end.
//!
//! `cargo run --release -p keelhold-disk --example index_bounded [MILLIONS [FILE [BUDGET]]]`

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use bytes::Bytes;
use keelhold_chunk::IdKey;
use keelhold_disk::buffer::BufferPool;
use keelhold_disk::device::backend::{AnyDevice, Backend, Choice};
use keelhold_disk::device::probe::create_file;
use keelhold_disk::device::{Counters, Device as _};
use keelhold_disk::exec::{Executor, Fifo, Spawner};
use keelhold_disk::format::Codec;
use keelhold_disk::mutants::Mutants;
use keelhold_disk::pool::{
    BeginSession, CreateOptions, Entropy, INDEX_BUDGET, IncomingFrame, Pool, RUN_BUFFER_LEN,
    Surroundings,
};
use keelhold_disk::units::{ChunkRef, DomainId, SessionId, SourceId, UnixNanos};
use keelhold_disk::work::InPlace;

const MILLION: u64 = 1_000_000;
/// At 20 million chunks these are 64 MiB.
const LIMIT: f64 = 3.355;
const CHUNK_LEN: usize = 64;
const FRAME_CHUNKS: u64 = 4000;
const NOW: UnixNanos = UnixNanos(1);

type FilePool = Pool<AnyDevice<InPlace>, InPlace>;

/// Words of a counter: what is drawn here must only differ.
struct Counted(u64);

impl Entropy for Counted {
    fn fill(&mut self, bytes: &mut [u8]) {
        for part in bytes.chunks_mut(8) {
            self.0 += 1;
            part.copy_from_slice(&mixed(self.0).to_le_bytes()[..part.len()]);
        }
    }
}

struct Place {
    device: AnyDevice<InPlace>,
    spawner: Spawner,
    budget: u64,
}

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let millions = args.next().map_or(20, |text| text.parse().expect("millions: a number"));
    let file = args.next().map_or_else(|| std::env::temp_dir().join("index.disk"), PathBuf::from);
    let budget = args.next().map_or(INDEX_BUDGET, |text| text.parse().expect("budget: a number"));
    let len = (millions * 400 * MILLION + (4 << 30)).next_multiple_of(1 << 20);
    let (backend, _) = Backend::new(Choice::Best, InPlace).expect("a way to the disk");
    let mut executor = Executor::new(backend.driver(), Fifo);
    let device = backend.attach(create_file(&file, len).expect("room for the disk"));
    let place = Place { device, spawner: executor.spawner(), budget };
    let good = executor.run_until(place.run(millions));
    std::fs::remove_file(&file).expect("the disk goes away");
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

impl Place {
    fn surroundings(&self, seed: u64) -> Surroundings<InPlace> {
        Surroundings {
            work: InPlace,
            spawner: self.spawner.clone(),
            entropy: Box::new(Counted(seed << 32)),
            buffers: BufferPool::new(10 * RUN_BUFFER_LEN),
            mutants: Mutants::default(),
            index_budget: self.budget,
            key: None,
        }
    }

    async fn run(&self, millions: u64) -> bool {
        let resident = memory("VmRSS");
        let devices = vec![self.device.clone()];
        let made = Pool::create(devices, self.surroundings(1), CreateOptions::default(), NOW).await;
        let pool = made.expect("a pool");
        println!("| chunks | index MiB | bytes a chunk | VmRSS MiB | longest frame s | s |");
        println!("|---|---|---|---|---|---|");
        let session = begin(&pool).await;
        let (key, mut worst) = (pool.id_key(), 0f64);
        for million in 0..millions {
            let began = Instant::now();
            let mut longest = 0f64;
            for frame in 0..MILLION / FRAME_CHUNKS {
                let before = Instant::now();
                store(&pool, session, &key, million * MILLION + frame * FRAME_CHUNKS).await;
                longest = longest.max(before.elapsed().as_secs_f64());
            }
            let status = pool.status();
            let per_chunk = status.index_bytes as f64 / status.chunks as f64;
            let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
            println!(
                "| {} | {:.1} | {per_chunk:.2} | {:.1} | {longest:.2} | {:.1} |",
                status.chunks,
                mib(status.index_bytes),
                mib(memory("VmRSS") - resident),
                began.elapsed().as_secs_f64(),
            );
            worst = if million + 1 == millions { per_chunk } else { worst };
        }
        pool.park(session, NOW).await.expect("a parked session");
        pool.close(NOW).await.expect("a closed pool");
        let opened = Instant::now();
        let open = Pool::open(vec![self.device.clone()], self.surroundings(2), NOW).await;
        let pool = open.expect("the pool again");
        println!("opened in {:.1} s", opened.elapsed().as_secs_f64());
        let reads = self.look_up(&pool, millions * MILLION).await;
        let status = pool.status();
        println!("index: {} bytes, limit {LIMIT} a chunk", status.index_bytes);
        reads && worst.max(status.index_bytes as f64 / status.chunks as f64) <= LIMIT
    }

    /// Prints reads per look-up; whether they are as few as they should be.
    async fn look_up(&self, pool: &FilePool, count: u64) -> bool {
        let (session, key) = (begin(pool).await, pool.id_key());
        let absent: Vec<u64> = (0..100_000).map(|n| count + n).collect();
        let single: Vec<u64> = (0..2_000).map(|n| mixed(n) % count).collect();
        let stream: Vec<u64> = (0..100_000).map(|n| count / 2 + n).collect();
        let mut good = true;
        for (name, asked, there, most) in [
            ("absent", absent, false, 0.01),
            ("present, far apart", single, true, 4.0),
            ("present, in a stream", stream, true, 0.02),
        ] {
            let before: Counters = self.device.counters();
            let began = Instant::now();
            for part in asked.chunks(1000) {
                let chunks: Vec<ChunkRef> = part.iter().map(|n| chunk(&key, *n).0).collect();
                let have = pool.offer(session, &chunks).await.expect("an answer");
                assert!(have.iter().all(|have| *have == there), "{name}: wrong answers");
            }
            let seconds = began.elapsed().as_secs_f64();
            let read = self.device.counters().reads - before.reads;
            let per = read as f64 / asked.len() as f64;
            println!("{name}: {per:.4} reads, {:.1} µs each", seconds * 1e6 / asked.len() as f64);
            good &= per <= most;
        }
        good
    }
}

async fn begin(pool: &FilePool) -> SessionId {
    let (source, domain) = (SourceId([1; 16]), DomainId([1; 16]));
    let request = BeginSession { source, domain, basis: None, lease_until: UnixNanos(1 << 60) };
    pool.begin(request, NOW).await.expect("a session")
}

async fn store(pool: &FilePool, session: SessionId, key: &IdKey, first: u64) {
    let (mut plain, mut chunks) = (Vec::new(), Vec::new());
    for number in first..first + FRAME_CHUNKS {
        let (chunk, bytes) = chunk(key, number);
        plain.extend_from_slice(&bytes);
        chunks.push(chunk);
    }
    let have = pool.offer(session, &chunks).await.expect("an answer");
    assert!(have.iter().all(|have| !have), "nobody stored these");
    let plain_len = plain.len() as u32;
    let frame = IncomingFrame { codec: Codec::Raw, plain_len, stored: Bytes::from(plain), chunks };
    let frame = pool.verify_frame(frame).await.expect("a sound frame");
    pool.place_frame(session, frame).await.expect("room for a frame");
}

fn chunk(key: &IdKey, number: u64) -> (ChunkRef, [u8; CHUNK_LEN]) {
    let mut bytes = [0; CHUNK_LEN];
    for (at, part) in bytes.chunks_mut(8).enumerate() {
        part.copy_from_slice(&mixed(number * 8 + at as u64).to_le_bytes());
    }
    (ChunkRef { id: key.id(&bytes), len: CHUNK_LEN as u32 }, bytes)
}

fn mixed(value: u64) -> u64 {
    let mixed = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// A line of `/proc/self/status`, in bytes.
fn memory(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(name));
    let kibibytes = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kibibytes.map_or(0, |kibibytes| kibibytes << 10)
}
