//! A toy pool over simulated disks, and a machine that backs up a tree of small files to it.

mod machine;

use std::collections::BTreeMap;

use keelhold_chunk::cut::CutParams;
use keelhold_disk::exec::Executor;
use keelhold_disk::mutants::Mutants;
use keelhold_disk::pool::{CreateOptions, Entropy, Piece, Surroundings};
use keelhold_disk::sim::{SimDisk, SimDriver, SimWork, SimWorld, sim_executor};
use keelhold_disk::units::{PointId, UnixNanos};
use keelhold_disk::{CreateError, OpenError, Pool, ReadError};

pub use machine::{Machine, tree_bytes};

pub type SimPool = Pool<SimDisk, SimWork>;

/// Files of a tree: path and content. Directories are made as needed.
pub type Files = BTreeMap<String, Vec<u8>>;

/// Smallest container the format allows: an image of a crash then costs little.
pub const CONTAINER_LEN: u64 = 64 << 10;
pub const DISK_LEN: u64 = 8 << 20;

/// Random bytes from the world's seed.
struct WorldEntropy(SimWorld);

impl Entropy for WorldEntropy {
    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            *byte = self.0.choose(256) as u8;
        }
    }
}

/// A world, its disks, and the executor that runs the engine over them.
pub struct Rig {
    pub world: SimWorld,
    pub disks: Vec<usize>,
    pub executor: Executor<SimDriver>,
    pub mutants: Mutants,
}

impl std::fmt::Debug for Rig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Rig(seed {})", self.world.seed())
    }
}

impl Rig {
    #[must_use]
    pub fn new(seed: u64, disk_count: usize, mutants: Mutants) -> Self {
        let world = SimWorld::new(seed);
        let disks = (0..disk_count).map(|_| world.add_disk(DISK_LEN)).collect();
        let executor = sim_executor(&world);
        Self { world, disks, executor, mutants }
    }

    /// Goes on over disks that exist in `world`.
    #[must_use]
    pub fn over(world: SimWorld, disks: Vec<usize>, mutants: Mutants) -> Self {
        let executor = sim_executor(&world);
        Self { world, disks, executor, mutants }
    }

    #[must_use]
    pub fn now(&self) -> UnixNanos {
        UnixNanos(self.world.now() as i64)
    }

    fn devices(&self) -> Vec<SimDisk> {
        self.disks.iter().map(|disk| self.world.disk(*disk)).collect()
    }

    #[must_use]
    pub fn surroundings(&self) -> Surroundings<SimWork> {
        Surroundings {
            work: SimWork::new(&self.world),
            spawner: self.executor.spawner(),
            entropy: Box::new(WorldEntropy(self.world.clone())),
            mutants: self.mutants,
        }
    }

    pub fn create(&mut self) -> Result<SimPool, CreateError> {
        let options = CreateOptions {
            container_len: Some(CONTAINER_LEN),
            journal_len: Some(64 << 10),
            cut: Some(CutParams { min: 256, average: 1024, max: 4096, seed: [7; 32] }),
            id_key: None,
        };
        let (devices, surroundings, now) = (self.devices(), self.surroundings(), self.now());
        self.executor.run_until(Pool::create(devices, surroundings, options, now))
    }

    pub fn open(&mut self) -> Result<SimPool, OpenError> {
        let (devices, surroundings, now) = (self.devices(), self.surroundings(), self.now());
        self.executor.run_until(Pool::open(devices, surroundings, now))
    }

    /// The power goes: everything in memory is gone, of what was not flushed any part.
    pub fn crash(&mut self) {
        self.world.crash();
        self.executor = sim_executor(&self.world);
    }

    pub fn run<F: Future>(&mut self, future: F) -> F::Output {
        self.executor.run_until(future)
    }
}

/// Reads a whole point back: path and content of every file.
pub async fn read_point(pool: &SimPool, point: &PointId) -> Result<Files, ReadError> {
    let reader = pool.reader(point).await?;
    let mut files = Files::new();
    let mut from = 0;
    loop {
        let entries = reader.scan(from, 64).await?;
        let Some((last, _)) = entries.last() else { return Ok(files) };
        from = last + 1;
        for (_, entry) in entries {
            if entry.attributes.is_directory() {
                continue;
            }
            let mut content = Vec::new();
            for piece in reader.read(&entry, 0, u64::MAX).await? {
                match piece {
                    Piece::Data(bytes) => content.extend_from_slice(&bytes),
                    Piece::Hole(len) => content.resize(content.len() + len as usize, 0),
                }
            }
            files.insert(String::from_utf8_lossy(&entry.path).into_owned(), content);
        }
    }
}
