//! The engine against the device it stands on.
//!
//! One file is made, written through once, and then used by turns: by long transfers of the same
//! ring without an engine, and by a pool. A round is: write and read the device; store noise that is
//! cut at the default sizes, with a commit per GiB; read it back proved; take it out as frames to be
//! shipped; verify everything; the same with files of this machine, which compress. Rates mean
//! something only against the device's in the same round. The machine's part (cutting, naming and
//! compressing) runs on the same processors and is counted in.
//!
//! `cargo bench -p keelhold-tests --bench engine -- [GIB [ROUNDS [DIRECTORY [sealed]]]]`

mod data;
mod machine;
mod raw;
mod table;
mod work;

use std::path::{Path, PathBuf};

use bytes::Bytes;
use keelhold_disk::buffer::BufferPool;
use keelhold_disk::device::backend::{AnyDevice, Backend, Choice};
use keelhold_disk::device::probe::create_file;
use keelhold_disk::device::{Counters, Device as _};
use keelhold_disk::exec::{Executor, Fifo, Spawner};
use keelhold_disk::format::Codec;
use keelhold_disk::mutants::Mutants;
use keelhold_disk::pool::{CreateOptions, Entropy, INDEX_BUDGET, RUN_BUFFER_LEN, Surroundings};
use keelhold_disk::seal::WrappingKey;
use keelhold_disk::units::{PointId, UnixNanos};

use machine::Pool;
use raw::Way;
use table::{Step, Table};
use work::{ThreadWork, Watch};

const GIB: u64 = 1 << 30;
const WORKERS: usize = 2;
const RUN_MEMORY: usize = 10 * RUN_BUFFER_LEN;
/// Files of this machine that are stored, at most.
const FILES_LEN: usize = 768 << 20;

struct Chosen {
    gib: u64,
    rounds: u64,
    directory: PathBuf,
    /// The pools are encrypted.
    sealed: bool,
}

fn main() {
    // `cargo bench` adds a flag of its own.
    let mut args = std::env::args().skip(1).filter(|arg| !arg.starts_with("--"));
    let mut number = |default| args.next().map_or(default, |arg| arg.parse().expect("a number"));
    let (gib, rounds) = (number(1), number(5));
    let directory =
        args.next().map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from);
    let path = directory.join("engine-bench.disk");
    let sealed = args.next().is_some_and(|word| word == "sealed");
    let chosen = Chosen { gib, rounds, directory, sealed };
    // Left behind by a run that was broken off.
    let _absent = std::fs::remove_file(&path);
    run(&chosen, &path);
    std::fs::remove_file(&path).expect("the disk goes away");
}

fn run(chosen: &Chosen, path: &Path) {
    let work = ThreadWork::start(WORKERS);
    let (backend, refused) = Backend::new(Choice::Best, work.clone()).expect("a way to the disk");
    if let Some(why) = refused {
        println!("NOT COMPARABLE: no io_uring here: {why}");
    }
    let mut executor = Executor::new(backend.driver(), Fifo);
    let disk_len = (chosen.gib + 1) * GIB + GIB / 4;
    let disk = create_file(path, disk_len).expect("room for the disk");
    if !disk.geometry().direct {
        println!("NOT COMPARABLE: {} refuses direct I/O", chosen.directory.display());
    }
    let sealed = if chosen.sealed { ", sealed" } else { "" };
    println!("{} GiB by {}, {} rounds{sealed}", chosen.gib, backend.name(), chosen.rounds);
    let bench = Bench {
        device: backend.attach(disk),
        work,
        spawner: executor.spawner(),
        noise: (0..chosen.gib).map(|seed| data::noise(seed + 1, GIB as usize)).collect(),
        files: data::files(Path::new("/usr"), FILES_LEN),
        key: chosen.sealed.then(|| WrappingKey::new([0x5a; 32])),
    };
    let table = executor.run_until(bench.rounds(chosen.rounds, disk_len));
    table.print();
}

struct Bench {
    device: AnyDevice<ThreadWork>,
    work: ThreadWork,
    spawner: Spawner,
    noise: Vec<Bytes>,
    files: Bytes,
    key: Option<WrappingKey>,
}

/// What the device alone did in this round, in MiB/s.
struct Raw {
    write: f64,
    read: f64,
}

impl Bench {
    async fn rounds(&self, rounds: u64, disk_len: u64) -> Table {
        let mut table = Table::default();
        let bufs = BufferPool::new(RUN_MEMORY);
        let mut bufs = raw::buffers(&bufs, &self.noise[0]);
        raw::sequential(&self.device, Way::Write, disk_len, &mut bufs).await;
        for _ in 0..rounds {
            let len = self.noise.len() as u64 * GIB;
            let mut alone = |name, took| {
                let step = Step { name, len, took, raw: 1.0 };
                let raw = step.rate();
                table.add(Step { raw, ..step });
                raw
            };
            let write = raw::sequential(&self.device, Way::Write, len, &mut bufs).await;
            let write = alone("device alone, write", write);
            let read = raw::sequential(&self.device, Way::Read, len, &mut bufs).await;
            let read = alone("device alone, read", read);
            let raw = Raw { write, read };
            self.noise_round(&raw, &mut table).await;
            self.files_round(&raw, &mut table).await;
        }
        table
    }

    async fn pool(&self) -> Pool {
        let surroundings = Surroundings {
            work: self.work.clone(),
            spawner: self.spawner.clone(),
            entropy: Box::new(SystemEntropy),
            buffers: BufferPool::new(RUN_MEMORY),
            mutants: Mutants::default(),
            index_budget: INDEX_BUDGET,
            key: self.key.clone(),
        };
        let options = CreateOptions::default();
        let devices = vec![self.device.clone()];
        Pool::create(devices, surroundings, options, UnixNanos(1)).await.expect("a pool")
    }

    async fn noise_round(&self, raw: &Raw, table: &mut Table) {
        let pool = self.pool().await;
        let len = self.noise.len() as u64 * GIB;
        let (before, watch) = (self.device.counters(), Watch::start());
        let mut points: Vec<PointId> = Vec::new();
        for content in &self.noise {
            points.push(machine::store(&pool, &self.work, content, Codec::Raw).await);
        }
        let took = watch.stop();
        let moved = self.device.counters() - before;
        claim("written", moved.written_bytes, len, moved);
        table.add(Step { name: "noise stored", len, took, raw: raw.write });

        let (before, watch) = (self.device.counters(), Watch::start());
        for (point, content) in points.iter().zip(&self.noise) {
            machine::read_back(&pool, point, content).await;
        }
        let took = watch.stop();
        let moved = self.device.counters() - before;
        claim("read back", moved.read_bytes, len, moved);
        table.add(Step { name: "noise read back, proved", len, took, raw: raw.read });
        let watch = Watch::start();
        for point in &points {
            machine::ship(&pool, point).await;
        }
        let took = watch.stop();
        table.add(Step { name: "noise made ready to be shipped", len, took, raw: raw.read });
        self.verify(&pool, ["noise verified", "noise verified, of plain bytes"], raw, table).await;
        pool.close(UnixNanos(1)).await.expect("the pool closes");
    }

    async fn files_round(&self, raw: &Raw, table: &mut Table) {
        let pool = self.pool().await;
        let len = self.files.len() as u64;
        let watch = Watch::start();
        let point = machine::store(&pool, &self.work, &self.files, Codec::Zstd).await;
        table.add(Step { name: "files stored", len, took: watch.stop(), raw: raw.write });
        let watch = Watch::start();
        machine::read_back(&pool, &point, &self.files).await;
        let took = watch.stop();
        table.add(Step { name: "files read back, proved", len, took, raw: raw.read });
        let watch = Watch::start();
        machine::ship(&pool, &point).await;
        let took = watch.stop();
        table.add(Step { name: "files made ready to be shipped", len, took, raw: raw.read });
        self.verify(&pool, ["files verified", "files verified, of plain bytes"], raw, table).await;
        pool.close(UnixNanos(1)).await.expect("the pool closes");
    }

    async fn verify(&self, pool: &Pool, names: [&'static str; 2], raw: &Raw, table: &mut Table) {
        let (before, watch) = (self.device.counters(), Watch::start());
        let report = pool.verify(|_, _| {}).await;
        let took = watch.stop();
        assert!(report.findings.is_empty(), "{report:?}");
        let moved = self.device.counters() - before;
        claim("verified", moved.read_bytes, report.bytes_stored, moved);
        let [stored, plain] = names;
        table.add(Step { name: stored, len: report.bytes_stored, took, raw: raw.read });
        table.add(Step { name: plain, len: report.bytes_plain, took, raw: raw.read });
    }
}

/// The device must have moved every byte that a step is said to have moved, and not many more.
fn claim(what: &str, moved: u64, claimed: u64, counters: Counters) {
    let share = moved as f64 / claimed as f64;
    println!("{what}: {claimed} bytes claimed, {moved} counted by the device ({share:.4})");
    println!("  {counters:?}");
    assert!(moved >= claimed, "{what}: {moved} bytes moved for {claimed} claimed");
}

struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&mut self, bytes: &mut [u8]) {
        use std::io::Read as _;
        let mut source = std::fs::File::open("/dev/urandom").expect("the kernel's randomness");
        source.read_exact(bytes).expect("the kernel's randomness");
    }
}
