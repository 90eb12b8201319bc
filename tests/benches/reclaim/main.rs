//! Giving space back beside four streams, in a pool of very many chunks.
//!
//! The pool is filled with points of small chunks of noise, a hundredth of all in each. Then, by turns:
//! four streams store noise for a while; one point is forgotten, and the same streams go on while
//! reclaim runs. Streams are compared with themselves in the same round.
//!
//! `cargo bench -p keelhold-tests --bench reclaim -- [MILLIONS [ROUNDS [DIRECTORY]]]`

mod stream;
#[path = "../engine/work.rs"]
mod work;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures_util::future::{Either, join_all, select};
use keelhold_disk::buffer::BufferPool;
use keelhold_disk::device::backend::{AnyDevice, Backend, Choice};
use keelhold_disk::device::probe::create_file;
use keelhold_disk::exec::{Executor, Fifo, Spawner};
use keelhold_disk::mutants::Mutants;
use keelhold_disk::pool::{
    CreateOptions, Entropy, RUN_BUFFER_LEN, ReclaimOptions, ReclaimReport, Surroundings,
};
use keelhold_disk::units::{PointId, UnixNanos};

use stream::{NOW, Pool, Stream};
use work::{ThreadWork, Watch};

const WORKERS: usize = 2;
const POINTS: u64 = 100;
const STREAMS: usize = 4;
const DISK_LEN: u64 = 24 << 30;
/// How long the streams run without a reclaim in each round.
const ALONE: Duration = Duration::from_millis(1_500);

fn main() {
    // `cargo bench` adds a flag of its own.
    let mut args = std::env::args().skip(1).filter(|arg| !arg.starts_with("--"));
    let mut number = |default| args.next().map_or(default, |arg| arg.parse().expect("a number"));
    let (millions, rounds) = (number(10), number(5));
    let directory =
        args.next().map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from);
    let path = directory.join("reclaim-bench.disk");
    // Left behind by a run that was broken off.
    let _absent = std::fs::remove_file(&path);
    run(millions, rounds, &path);
    std::fs::remove_file(&path).expect("the disk goes away");
}

fn run(millions: u64, rounds: u64, path: &Path) {
    let work = ThreadWork::start(WORKERS);
    let (backend, refused) = Backend::new(Choice::Best, work.clone()).expect("a way to the disk");
    if let Some(why) = refused {
        println!("NOT COMPARABLE: no io_uring here: {why}");
    }
    let mut executor = Executor::new(backend.driver(), Fifo);
    let disk = create_file(path, DISK_LEN).expect("room for the disk");
    let bench = Bench {
        device: backend.attach(disk),
        work,
        spawner: executor.spawner(),
        per_point: millions * 1_000_000 / POINTS,
    };
    executor.run_until(bench.run(rounds));
}

struct Bench {
    device: AnyDevice<ThreadWork>,
    work: ThreadWork,
    spawner: Spawner,
    /// Chunks of each point.
    per_point: u64,
}

/// What a stream did in a while, in MiB/s.
fn rates(before: &[u64], after: &[u64], wall: Duration) -> Vec<f64> {
    let rate = |(before, after): (&u64, &u64)| (after - before) as f64 / wall.as_secs_f64();
    before.iter().zip(after).map(rate).map(|bytes| bytes / f64::from(1 << 20)).collect()
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of[of.len() / 2]
}

impl Bench {
    async fn pool(&self) -> Pool {
        let surroundings = Surroundings {
            work: self.work.clone(),
            spawner: self.spawner.clone(),
            entropy: Box::new(SystemEntropy),
            buffers: BufferPool::new(10 * RUN_BUFFER_LEN),
            mutants: Mutants::default(),
            key: None,
            index_budget: keelhold_disk::pool::INDEX_BUDGET,
        };
        let devices = vec![self.device.clone()];
        Pool::create(devices, surroundings, CreateOptions::default(), NOW).await.expect("a pool")
    }

    async fn run(&self, rounds: u64) {
        let pool = self.pool().await;
        let watch = Watch::start();
        let mut points: Vec<PointId> = Vec::new();
        for number in 0..POINTS {
            points.push(stream::small_chunks(&pool, number, self.per_point).await);
        }
        pool.checkpoint(NOW).await.expect("a checkpoint");
        let (status, took) = (pool.status(), watch.stop());
        println!(
            "{} chunks in {} points, {} MiB used, made in {:.0} s",
            status.chunks,
            status.points,
            status.bytes_used >> 20,
            took.wall.as_secs_f64()
        );
        // From the middle of the pool, each with neighbours that stay.
        let mut victims = points.into_iter().skip(POINTS as usize / 3).step_by(3);
        self.decision(&pool, rounds, &mut victims).await;
        self.beside(&pool, rounds, &mut victims).await;
        pool.close(NOW).await.expect("the pool closes");
    }

    /// Nothing else runs: all processor time is the reclaim's.
    async fn decision(
        &self,
        pool: &Pool,
        rounds: u64,
        victims: &mut impl Iterator<Item = PointId>,
    ) {
        let mut cpu = Vec::new();
        for _ in 0..rounds {
            forget(pool, victims).await;
            let watch = Watch::start();
            let report = reclaim(pool).await;
            let took = watch.stop();
            cpu.push(took.cpu.as_secs_f64());
            println!(
                "reclaim alone: {:.3} s of processor time; {report:?}",
                took.cpu.as_secs_f64()
            );
        }
        println!("reclaim alone, median: {:.3} s of processor time", median(cpu));
    }

    async fn beside(&self, pool: &Pool, rounds: u64, victims: &mut impl Iterator<Item = PointId>) {
        let streams: Vec<Stream> = (0..STREAMS).map(Stream::new).collect();
        let moved = || streams.iter().map(Stream::moved).collect::<Vec<u64>>();
        let all = Box::pin(join_all(streams.iter().map(|stream| stream.run(pool, &self.work))));
        let turns = Box::pin(async {
            let (mut together, mut worst) = (Vec::new(), Vec::new());
            for _ in 0..rounds {
                let (began, before) = (Instant::now(), moved());
                while began.elapsed() < ALONE {
                    stream::pause(&self.work).await;
                }
                let alone = rates(&before, &moved(), began.elapsed());
                forget(pool, victims).await;
                let (began, before) = (Instant::now(), moved());
                reclaim(pool).await;
                let took = began.elapsed();
                let beside = rates(&before, &moved(), took);
                let sum = |of: &[f64]| of.iter().sum::<f64>();
                together.push(sum(&beside) / sum(&alone));
                let each = beside.iter().zip(&alone).map(|(beside, alone)| beside / alone);
                worst.push(each.fold(f64::MAX, f64::min));
                println!(
                    "alone {alone:.0?}, beside {beside:.0?} MiB/s for {:.2} s",
                    took.as_secs_f64()
                );
            }
            let (together, worst) = (median(together), median(worst));
            println!("beside a reclaim: together {together:.2}, the slowest {worst:.2} of alone");
        });
        match select(turns, all).await {
            Either::Left(_) => {}
            Either::Right(_) => panic!("streams do not end"),
        }
    }
}

async fn forget(pool: &Pool, victims: &mut impl Iterator<Item = PointId>) {
    let victim = victims.next().expect("points enough");
    pool.forget(&[victim], NOW, UnixNanos(NOW.0 + 1)).await.expect("a point");
}

async fn reclaim(pool: &Pool) -> ReclaimReport {
    let options = ReclaimOptions { least_dead: 25, ..ReclaimOptions::default() };
    pool.reclaim(options, UnixNanos(NOW.0 + 1)).await.expect("a reclaim")
}

struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&mut self, bytes: &mut [u8]) {
        use std::io::Read as _;
        let mut source = std::fs::File::open("/dev/urandom").expect("the kernel's randomness");
        source.read_exact(bytes).expect("the kernel's randomness");
    }
}
