//! A toy pool over simulated disks, and a machine that backs up a tree of small files to it.

mod campaign;
mod machine;

use std::collections::BTreeMap;
use std::pin::pin;

use futures_util::future::{Either, select};
use keelhold_chunk::cut::CutParams;
use keelhold_disk::buffer::BufferPool;
use keelhold_disk::exec::Executor;
use keelhold_disk::format::{ChecksumKey, Label, Place, Superblock};
use keelhold_disk::mutants::Mutants;
use keelhold_disk::pool::{
    CreateOptions, Entropy, INDEX_BUDGET, Inspector, OutsideReport, Piece, Section, Surroundings,
    Where,
};
use keelhold_disk::seal::WrappingKey;
use keelhold_disk::sim::{Image, SimDisk, SimDriver, SimWork, SimWorld, sim_executor};
use keelhold_disk::units::{BLOCK, BLOCK_U64, PointId, PoolId, UnixNanos};
use keelhold_disk::{CreateError, OpenError, Pool, ReadError};

pub use campaign::campaign;
pub use machine::{Machine, chunks_of, tree_bytes};

pub type SimPool = Pool<SimDisk, SimWork>;

/// Files of a tree: path and content. Directories are made as needed.
pub type Files = BTreeMap<String, Vec<u8>>;

/// Smallest container the format allows: an image of a crash then costs little.
pub const CONTAINER_LEN: u64 = 64 << 10;
pub const DISK_LEN: u64 = 8 << 20;

/// Size of a toy pool.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub disk_count: usize,
    pub disk_len: u64,
    pub container_len: u64,
    pub journal_len: u64,
    /// Disks every container is written to.
    pub copies: u16,
}

impl Shape {
    #[must_use]
    pub fn toy(disk_count: usize) -> Self {
        Self {
            disk_count,
            disk_len: DISK_LEN,
            container_len: CONTAINER_LEN,
            journal_len: 64 << 10,
            copies: 1,
        }
    }
}

/// Random bytes from the world's seed.
struct WorldEntropy(SimWorld);

impl Entropy for WorldEntropy {
    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            *byte = self.0.choose(256) as u8;
        }
    }
}

/// The key of every encrypted pool here.
#[must_use]
pub fn wrapping_key() -> WrappingKey {
    WrappingKey::new([0x4b; 32])
}

/// Whether a superblock of these disks says so.
fn is_encrypted(images: &[Image]) -> bool {
    let label = |image: &Image| {
        let mut block = [0; BLOCK];
        let places = [0, image.size() - image.size() % BLOCK_U64 - BLOCK_U64];
        places.into_iter().find_map(|offset| {
            image.read(offset, &mut block);
            Label::decode(&block, offset).ok()
        })
    };
    let superblock = |image: &Image| {
        let label = label(image)?;
        let key = ChecksumKey::new(&label.secret, &[0; 16]);
        let mut block = [0; BLOCK];
        label.zones.superblocks().into_iter().find_map(|offset| {
            image.read(offset, &mut block);
            let place = Place { disk: label.disk, offset };
            Superblock::decode(&block, &key, label.pool, place).ok()
        })
    };
    images.iter().find_map(superblock).is_some_and(|superblock| superblock.is_encrypted())
}

/// A world, its disks, and the executor that runs the engine over them.
pub struct Rig {
    pub world: SimWorld,
    pub disks: Vec<usize>,
    pub executor: Executor<SimDriver>,
    pub mutants: Mutants,
    /// The key the pool is, or will be, locked with.
    pub key: Option<WrappingKey>,
    /// Every second pool has an index that does not fit its memory, whatever it is made for.
    pub index_budget: u64,
    shape: Shape,
}

fn index_budget(seed: u64) -> u64 {
    if seed % 2 == 1 { 0 } else { INDEX_BUDGET }
}

impl std::fmt::Debug for Rig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Rig(seed {})", self.world.seed())
    }
}

impl Rig {
    #[must_use]
    pub fn new(seed: u64, disk_count: usize, mutants: Mutants) -> Self {
        Self::shaped(seed, Shape::toy(disk_count), mutants)
    }

    #[must_use]
    pub fn shaped(seed: u64, shape: Shape, mutants: Mutants) -> Self {
        let world = SimWorld::new(seed);
        let disks = (0..shape.disk_count).map(|_| world.add_disk(shape.disk_len)).collect();
        let executor = sim_executor(&world);
        // Every third pool is encrypted, whatever it is made for.
        let key = (seed % 3 == 1).then(wrapping_key);
        let index_budget = index_budget(seed);
        Self { world, disks, executor, mutants, key, index_budget, shape }
    }

    /// A new world whose disks hold these images: everything before is forgotten.
    #[must_use]
    pub fn over(seed: u64, images: &[Image], mutants: Mutants) -> Self {
        let world = SimWorld::new(seed);
        let disks = images.iter().map(|image| world.add_image(image.clone())).collect();
        let executor = sim_executor(&world);
        let key = is_encrypted(images).then(wrapping_key);
        let (index_budget, shape) = (index_budget(seed), Shape::toy(images.len()));
        Self { world, disks, executor, mutants, key, index_budget, shape }
    }

    /// What the disks answer to readers now.
    #[must_use]
    pub fn images(&self) -> Vec<Image> {
        self.disks.iter().map(|disk| self.world.image(*disk)).collect()
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
            buffers: BufferPool::on_heap(64 << 20),
            mutants: self.mutants,
            index_budget: self.index_budget,
            key: self.key.clone(),
        }
    }

    pub fn create(&mut self) -> Result<SimPool, CreateError> {
        self.create_with(self.options())
    }

    /// What every pool here is made with.
    #[must_use]
    pub fn options(&self) -> CreateOptions {
        CreateOptions {
            container_len: Some(self.shape.container_len),
            journal_len: Some(self.shape.journal_len),
            cut: Some(CutParams { min: 256, average: 1024, max: 4096, seed: [7; 32] }),
            id_key: None,
            copies: Some(self.shape.copies),
        }
    }

    pub fn create_with(&mut self, options: CreateOptions) -> Result<SimPool, CreateError> {
        let (devices, surroundings, now) = (self.devices(), self.surroundings(), self.now());
        self.executor.run_until(Pool::create(devices, surroundings, options, now))
    }

    pub fn open(&mut self) -> Result<SimPool, OpenError> {
        let (devices, surroundings, now) = (self.devices(), self.surroundings(), self.now());
        self.executor.run_until(Pool::open(devices, surroundings, now))
    }

    /// Opens without writing.
    pub fn look(&mut self) -> Result<SimPool, OpenError> {
        let (devices, surroundings) = (self.devices(), self.surroundings());
        self.executor.run_until(Pool::open_read_only(devices, surroundings))
    }

    /// Shows what stands at a place.
    pub fn inspect(&mut self, place: &Where) -> Vec<Section> {
        let (devices, surroundings) = (self.devices(), self.surroundings());
        self.executor
            .run_until(async { Inspector::look(devices, surroundings).await.show(place).await })
    }

    /// Looks at an encrypted pool without its key.
    pub fn outside(&mut self) -> Result<(PoolId, OutsideReport), OpenError> {
        let (devices, surroundings) = (self.devices(), self.surroundings());
        let surroundings = Surroundings { key: None, ..surroundings };
        self.executor.run_until(SimPool::verify_outside(devices, surroundings, |_, _| {}))
    }

    /// The power goes: everything in memory is gone, of what was not flushed any part.
    pub fn crash(&mut self) {
        self.world.crash();
        self.executor = sim_executor(&self.world);
    }

    /// The program ends and another may open the disks: what was under way comes to its end first.
    pub fn end(&mut self) {
        let sleep = self.world.sleep(1_000_000_000);
        self.executor.run_until(sleep);
        self.executor = sim_executor(&self.world);
    }

    /// Runs `future`, but no longer than `nanos` of virtual time: then it is dropped where it stands.
    pub fn run_at_most<F: Future>(&mut self, nanos: u64, future: F) -> Option<F::Output> {
        let (sleep, future) = (pin!(self.world.sleep(nanos)), pin!(future));
        match self.executor.run_until(select(sleep, future)) {
            Either::Left(_) => None,
            Either::Right((output, _)) => Some(output),
        }
    }

    /// Begins to open, and is stopped where it stands.
    pub fn open_at_most(&mut self, nanos: u64) {
        let (devices, surroundings, now) = (self.devices(), self.surroundings(), self.now());
        drop(self.run_at_most(nanos, Pool::open(devices, surroundings, now)));
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
        let Some((last, _)) = entries.last() else {
            return Ok(files);
        };
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
