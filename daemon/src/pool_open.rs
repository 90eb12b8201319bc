//! From paths of disks to a running pool thread, and the works on a pool that need no daemon.

use crate::clock::SharedClock;
use crate::failure::{Code, Failure, chain};
use crate::pool_failure::{of_commit, of_create, of_open};
use crate::pool_thread::{Attach, LivePool, PoolHandle, TaskQueue};
use crate::pool_work::ThreadWork;
use crate::state_dir::{DiskPath, DiskPaths};
use keelhold_disk::buffer::BufferPool;
use keelhold_disk::device::backend::{AnyDevice, Backend, Choice};
use keelhold_disk::device::probe::{
    Contents, OpenDiskError, OpenedDisk, contents, create_file, open_disk,
};
use keelhold_disk::exec::{Executor, Fifo, Spawner};
use keelhold_disk::mutants::Mutants;
use keelhold_disk::pool::{
    ContentKeys, CreateOptions, DiskState, Entropy, INDEX_BUDGET, Inspector, LabelFound,
    OutsideReport, RUN_BUFFER_LEN, Surroundings, read_label,
};
use keelhold_disk::seal::WrappingKey;
use keelhold_disk::units::{DiskId, PoolId, UnixNanos};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::process::{Resource, Rlimit, setrlimit};
use std::future::Future;
use std::io;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::sync::oneshot;

/// Runs being put together or on their way to the disks: enough to keep several disks busy.
const RUN_MEMORY: usize = 8 * RUN_BUFFER_LEN;

/// So much of each end of a half-made file must be zeroes.
const BLANK_LEN: u64 = 256 << 10;
const IN_USE_WAIT: std::time::Duration = std::time::Duration::from_secs(5);

/// A disk somebody named, with the size it is to be made with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskSpec {
    pub path: PathBuf,
    pub create_len: Option<u64>,
}

/// A disk of an opened pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundDisk {
    pub id: DiskId,
    pub path: PathBuf,
}

struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&mut self, bytes: &mut [u8]) {
        // Ids and salts without randomness would be worse than no daemon.
        getrandom::fill(bytes).expect("the kernel gives random bytes");
    }
}

fn of_disk(error: &OpenDiskError) -> Failure {
    let code = match error {
        OpenDiskError::Missing { .. } => Code::DiskMissing,
        OpenDiskError::Exists { .. } => Code::DiskOccupied,
        OpenDiskError::InUse { .. } | OpenDiskError::Mounted { .. } => Code::DiskBusy,
        _ => Code::DiskUnusable,
    };
    Failure::of(code, error)
}

/// Opens a disk. The kernel may still be ending the transfers of a daemon that was just killed, and
/// holds its disks until then; so a disk in use is asked for again for a while.
fn open_patiently(path: &Path) -> Result<OpenedDisk, Failure> {
    let began = std::time::Instant::now();
    loop {
        match open_disk(path) {
            Err(OpenDiskError::InUse { .. }) if began.elapsed() < IN_USE_WAIT => {
                std::thread::sleep(IN_USE_WAIT / 100);
            }
            opened => return opened.map_err(|error| of_disk(&error)),
        }
    }
}

/// What a thread that owns a pool works with.
pub struct Bench {
    /// What an encrypted pool is locked with.
    pub key: Option<WrappingKey>,
    /// Chunks up to which the index is in memory.
    pub index_budget: u64,
    backend: Backend<ThreadWork>,
    work: ThreadWork,
    spawner: Spawner,
}

impl std::fmt::Debug for Bench {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Bench")
    }
}

/// Runs `job` on this thread with everything a pool needs around it.
pub fn on_bench<F, Fut, T>(workers: usize, key: Option<WrappingKey>, job: F) -> Result<T, Failure>
where
    F: FnOnce(Bench) -> Fut,
    Fut: Future<Output = Result<T, Failure>>,
{
    if key.is_some() {
        keep_out_of_core_dumps();
    }
    let work = ThreadWork::start(workers).map_err(|error| Failure::of(Code::Internal, &error))?;
    let (backend, why_not) = Backend::new(Choice::Best, work.clone())
        .map_err(|error| Failure::of(Code::Internal, &error))?;
    if let Some(why) = why_not {
        let why = chain(&why);
        tracing::warn!(why, "no io_uring here, disks are reached by pread and pwrite");
    }
    let mut executor = Executor::new(backend.driver(), Fifo);
    let spawner = executor.spawner();
    let bench = Bench { key, index_budget: INDEX_BUDGET, backend, work, spawner };
    executor.run_until(job(bench))
}

/// Keys are in memory from now on: a dump of it would bring them to a disk.
fn keep_out_of_core_dumps() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    if let Err(error) = setrlimit(Resource::Core, none) {
        tracing::warn!(error = chain(&error), "core dumps cannot be switched off");
    }
}

fn attach(backend: &Backend<ThreadWork>, disk: OpenedDisk) -> AnyDevice<ThreadWork> {
    if !disk.geometry().direct {
        let disk = disk.geometry().name.to_string();
        tracing::warn!(disk, "direct I/O refused by the file system, written through its cache");
    }
    backend.attach(disk)
}

impl Bench {
    fn surroundings(&self) -> Surroundings<ThreadWork> {
        Surroundings {
            work: self.work.clone(),
            spawner: self.spawner.clone(),
            entropy: Box::new(SystemEntropy),
            buffers: BufferPool::new(RUN_MEMORY),
            mutants: Mutants::default(),
            index_budget: self.index_budget,
            key: self.key.clone(),
        }
    }

    fn attach(&self, disk: OpenedDisk) -> AnyDevice<ThreadWork> {
        attach(&self.backend, disk)
    }

    fn open_disks(&self, paths: &[PathBuf]) -> Result<Vec<AnyDevice<ThreadWork>>, Failure> {
        paths.iter().map(|path| Ok(self.attach(open_patiently(path)?))).collect()
    }

    /// Those of the disks that can be opened and carry a label of the pool: one that is away, or
    /// was overwritten, is no reason to stop backing up, and the pool says whether it can do without.
    async fn disks_there(
        &self,
        paths: &[PathBuf],
        pool: Option<&str>,
    ) -> Result<Vec<AnyDevice<ThreadWork>>, Failure> {
        let (mut devices, mut others, mut failure) = (Vec::new(), Vec::new(), None);
        for path in paths {
            let shown = path.display();
            let device = match open_patiently(path) {
                Ok(disk) => self.attach(disk),
                Err(found) if matches!(found.code, Code::DiskMissing | Code::DiskUnusable) => {
                    tracing::error!(path = %shown, why = found.message, "a disk is missing");
                    failure = failure.or(Some(found));
                    continue;
                }
                Err(found) => return Err(found),
            };
            let ours = match read_label(&device).await {
                Ok(LabelFound::Ours(label)) => {
                    pool.is_none_or(|pool| label.pool.to_string() == pool)
                }
                _ => false,
            };
            if ours {
                devices.push(device);
            } else {
                tracing::error!(path = %shown, "no disk of the pool is here any more");
                others.push(device);
            }
        }
        match failure {
            Some(failure) if devices.is_empty() && others.is_empty() => Err(failure),
            // What they are instead is said by whoever opens them.
            _ if devices.is_empty() => Ok(others),
            _ => Ok(devices),
        }
    }

    /// Formats a new pool over disks that carry nothing.
    pub async fn create(
        &self,
        specs: &[DiskSpec],
        options: CreateOptions,
        clock: &SharedClock,
    ) -> Result<(PoolId, Vec<FoundDisk>), Failure> {
        let mut devices = Vec::new();
        let mut made = MadeFiles::default();
        for spec in specs {
            let device = self.attach(open_or_make(spec, &mut made)?);
            if spec.create_len.is_none() {
                refuse_contents(&spec.path, &device).await?;
            }
            devices.push(device);
        }
        let created =
            LivePool::create(devices.clone(), self.surroundings(), options, clock.now()).await;
        let pool = created.map_err(|error| of_create(&error))?;
        let id = pool.id();
        pool.close(clock.now()).await.map_err(|error| of_commit(&error))?;
        made.keep();
        let paths: Vec<PathBuf> = specs.iter().map(|spec| spec.path.clone()).collect();
        Ok((id, found(&devices, &paths).await?))
    }

    /// Who the disks are, a check that they belong to one pool, and which of it are not among them.
    pub async fn identify(
        &self,
        paths: &[PathBuf],
    ) -> Result<(PoolId, Vec<FoundDisk>, Vec<DiskId>), Failure> {
        let devices = self.open_disks(paths)?;
        let pool = LivePool::open_read_only(devices.clone(), self.surroundings()).await;
        let pool = pool.map_err(|error| of_open(&error))?;
        let mut members = pool.status().disks;
        members.retain(|disk| disk.state != DiskState::Retired);
        let mut found = found(&devices, paths).await?;
        found.retain(|found| members.iter().any(|disk| disk.id == found.id));
        members.retain(|disk| disk.geometry.is_none());
        Ok((pool.id(), found, members.into_iter().map(|disk| disk.id).collect()))
    }

    /// Opens the pool, this one if its id is given. No time is told to it here: what passed while it
    /// was closed, nobody witnessed.
    pub async fn open(&self, paths: &[PathBuf], pool: Option<&str>) -> Result<LivePool, Failure> {
        let devices = self.disks_there(paths, pool).await?;
        let pool = LivePool::open(devices, self.surroundings(), UnixNanos(i64::MIN)).await;
        pool.map_err(|error| of_open(&error))
    }

    pub async fn open_read_only(&self, paths: &[PathBuf]) -> Result<LivePool, Failure> {
        let devices = self.open_disks(paths)?;
        let pool = LivePool::open_read_only(devices, self.surroundings()).await;
        pool.map_err(|error| of_open(&error))
    }

    /// What can be proved of an encrypted pool without its key.
    pub async fn verify_outside(
        &self,
        paths: &[PathBuf],
        progress: impl FnMut(u64, u64),
    ) -> Result<(PoolId, OutsideReport), Failure> {
        let devices = self.open_disks(paths)?;
        let report = LivePool::verify_outside(devices, self.surroundings(), progress).await;
        report.map_err(|error| of_open(&error))
    }

    /// The disks as they are found, damaged or not.
    pub async fn inspector(
        &self,
        paths: &[PathBuf],
    ) -> Result<Inspector<AnyDevice<ThreadWork>, ThreadWork>, Failure> {
        let devices = self.open_disks(paths)?;
        Ok(Inspector::look(devices, self.surroundings()).await)
    }
}

/// Files made for a pool that did not come to be are taken away again.
#[derive(Debug, Default)]
pub struct MadeFiles {
    paths: Vec<PathBuf>,
}

impl MadeFiles {
    /// A file that was made, and is not needed after all.
    pub fn remove(path: PathBuf) {
        drop(Self { paths: vec![path] });
    }

    /// As long as this lives the file may still be needed, and then not.
    pub fn take_back(&mut self, path: PathBuf) {
        self.paths = vec![path];
    }

    /// They belong to a pool now.
    pub fn keep(&mut self) {
        self.paths.clear();
    }
}

impl Drop for MadeFiles {
    fn drop(&mut self) {
        for path in &self.paths {
            if let Err(error) = std::fs::remove_file(path) {
                tracing::warn!(error = chain(&error), "a file made for the pool stays");
            }
        }
    }
}

async fn refuse_contents(path: &Path, device: &AnyDevice<ThreadWork>) -> Result<(), Failure> {
    let path = path.display();
    let occupied = |what: String| Err(Failure::new(Code::DiskOccupied, what));
    match read_label(device).await.map_err(|error| of_open(&error))? {
        LabelFound::Ours(label) => {
            let id = label.disk;
            occupied(format!("{path} is disk {id} of Keelhold pool {}", label.pool))
        }
        LabelFound::Damaged { .. } => {
            occupied(format!("{path} carries the damaged label of a Keelhold pool"))
        }
        LabelFound::None => match look(device).await? {
            Contents::Empty => Ok(()),
            Contents::Known(what) => occupied(format!("{path} carries {what}")),
            Contents::Unknown => occupied(format!("{path} is not empty")),
        },
    }
}

async fn look(device: &AnyDevice<ThreadWork>) -> Result<Contents, Failure> {
    contents(device).await.map_err(|error| Failure::of(Code::DiskUnusable, &error))
}

/// Whether a disk may join a pool that is open: it is empty, or left the pool. One on which joining was
/// `begun` before and stopped by the end of a daemon may carry half a label.
pub async fn refuse_joining(
    pool: &LivePool,
    path: &Path,
    device: &AnyDevice<ThreadWork>,
    begun: bool,
) -> Result<(), Failure> {
    let is_member = |id: DiskId| {
        let disks = pool.status().disks;
        disks.iter().any(|disk| disk.id == id && disk.state != DiskState::Retired)
    };
    match read_label(device).await.map_err(|error| of_open(&error))? {
        LabelFound::Ours(label) if label.pool == pool.id() && !is_member(label.disk) => Ok(()),
        LabelFound::Damaged { .. } if begun => Ok(()),
        LabelFound::None if begun && matches!(look(device).await?, Contents::Unknown) => Ok(()),
        _ => refuse_contents(path, device).await,
    }
}

/// A disk that may join, and whether its file was made for it.
#[derive(Debug)]
pub struct Candidate {
    pub disk: OpenedDisk,
    made: MadeFiles,
}

impl Candidate {
    /// Opens the disk, or makes its file; one that was half made by a daemon that was stopped is
    /// made anew. Waits for the kernel: not for a thread that must not.
    pub fn open(spec: &DiskSpec, half_made: bool) -> Result<Self, Failure> {
        if half_made && is_blank(&spec.path).unwrap_or(false) {
            MadeFiles::remove(spec.path.clone());
        }
        let mut made = MadeFiles::default();
        let disk = open_or_make(spec, &mut made)?;
        Ok(Self { disk, made })
    }

    /// The disk, and what takes a file that was made for it away again unless it is told to stay.
    #[must_use]
    pub fn split(self) -> (OpenedDisk, MadeFiles) {
        (self.disk, self.made)
    }
}

/// Whether a file has nothing but zeroes at its two ends.
fn is_blank(path: &Path) -> std::io::Result<bool> {
    use std::os::unix::fs::FileExt as _;
    let file = std::fs::File::open(path)?;
    let len = file.metadata()?.len();
    let mut end = vec![0; usize::try_from(len.min(BLANK_LEN)).unwrap_or(0)];
    for offset in [0, len.saturating_sub(BLANK_LEN)] {
        file.read_exact_at(&mut end, offset)?;
        if end.iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn open_or_make(spec: &DiskSpec, made: &mut MadeFiles) -> Result<OpenedDisk, Failure> {
    let Some(len) = spec.create_len else {
        return open_patiently(&spec.path).map_err(|failure| match failure.code {
            Code::DiskMissing => failure.hint("give it a size to make a file: PATH:10GiB"),
            _ => failure,
        });
    };
    let disk = create_file(&spec.path, len).map_err(|error| of_disk(&error))?;
    made.paths.push(spec.path.clone());
    Ok(disk)
}

async fn found(
    devices: &[AnyDevice<ThreadWork>],
    paths: &[PathBuf],
) -> Result<Vec<FoundDisk>, Failure> {
    let mut disks = Vec::new();
    for (device, path) in devices.iter().zip(paths) {
        if let LabelFound::Ours(label) =
            read_label(device).await.map_err(|error| of_open(&error))?
        {
            let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
            disks.push(FoundDisk { id: label.disk, path });
        }
    }
    Ok(disks)
}

/// Room for the records of a large appliance; memory is taken as it is written.
const STAND_IN_LEN: u64 = 1 << 30;

/// A pool with its thread.
#[derive(Debug)]
pub struct RunningPool {
    pub handle: PoolHandle,
    pub thread: JoinHandle<()>,
}

/// What a pool may take.
#[derive(Debug, Clone, Copy)]
pub struct PoolSizes {
    /// Threads that hash, compress, seal and verify.
    pub workers: usize,
    /// Chunks up to which the index is in memory.
    pub index_budget: u64,
}

/// Options of a pool that cuts and names chunks as an adopted appliance did.
pub fn with_content_keys(keys: Option<([u8; 32], Vec<u8>)>) -> Result<CreateOptions, Failure> {
    let Some((id_key, cut)) = keys else { return Ok(CreateOptions::default()) };
    let options = ContentKeys { id_key, cut }.into_options(CreateOptions::default());
    options.map_err(|error| Failure::of(Code::VaultDamaged, &error))
}

/// A pool in memory, for an appliance that was adopted and has no disks yet: records are in it, and
/// nothing that was backed up. It is gone with the daemon.
pub async fn start_stand_in(
    options: CreateOptions,
    clock: SharedClock,
) -> Result<RunningPool, Failure> {
    let broken = |error: io::Error| Failure::of(Code::Internal, &error);
    let memory = memfd_create("keelhold", MemfdFlags::CLOEXEC);
    let memory = memory.map_err(|errno| broken(errno.into()))?;
    ftruncate(&memory, STAND_IN_LEN).map_err(|errno| broken(errno.into()))?;
    let path = PathBuf::from(format!("/proc/self/fd/{}", memory.as_raw_fd()));
    let (at, made_at) = (path.clone(), Arc::clone(&clock));
    let make = move || {
        on_bench(1, None, async |bench: Bench| {
            bench.create(&[DiskSpec { path: at, create_len: None }], options, &made_at).await
        })
    };
    let made = tokio::task::spawn_blocking(make).await;
    let (pool, disks) = made.map_err(|error| Failure::of(Code::Internal, &error))??;
    let disk = |disk: &FoundDisk| DiskPath { id: disk.id.to_string(), path: path.clone() };
    let disks = disks.iter().map(disk).collect();
    let paths = DiskPaths { pool: pool.to_string(), disks, joining: None };
    let sizes = PoolSizes { workers: 1, index_budget: INDEX_BUDGET };
    let started = start(paths, sizes, None, clock).await;
    // The pool has it open by now.
    drop(memory);
    started
}

/// Opens the pool on a thread of its own, which ends when the last handle is gone.
pub async fn start(
    disks: DiskPaths,
    sizes: PoolSizes,
    key: Option<WrappingKey>,
    clock: SharedClock,
) -> Result<RunningPool, Failure> {
    let (opened, open) = oneshot::channel();
    let (handle, queue) = PoolHandle::channel(clock);
    let thread = std::thread::Builder::new()
        .name("pool".into())
        .spawn(move || {
            // Neither half of the pool's state nor a half-done request may outlive a panic here.
            let guard = AbortOnPanic;
            own_pool(&disks, (sizes, key), queue, opened);
            std::mem::forget(guard);
        })
        .map_err(|error| Failure::of(Code::Internal, &error))?;
    let gone = |_| Failure::new(Code::Internal, "the pool's thread ended before the pool was open");
    open.await.map_err(gone)??;
    Ok(RunningPool { handle, thread })
}

struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        std::process::abort();
    }
}

fn own_pool(
    disks: &DiskPaths,
    (sizes, key): (PoolSizes, Option<WrappingKey>),
    queue: TaskQueue,
    opened: oneshot::Sender<Result<(), Failure>>,
) {
    let mut opened = Some(opened);
    let ended = on_bench(sizes.workers, key, async |bench: Bench| {
        let bench = Bench { index_budget: sizes.index_budget, ..bench };
        let pool = bench.open(&disks.to_open(), Some(&disks.pool)).await?;
        let time = Arc::clone(&queue.time);
        time.begin(pool.witnessed());
        if let Some(opened) = opened.take() {
            let _ = opened.send(Ok(()));
        }
        let (backend, spawner) = (bench.backend.clone(), bench.spawner.clone());
        let attach: Attach = Rc::new(move |disk| attach(&backend, disk));
        queue.serve(&pool, &attach, &spawner).await;
        pool.close(time.now()).await.map_err(|error| of_commit(&error))
    });
    match (ended, opened) {
        (Err(failure), Some(opened)) => drop(opened.send(Err(failure))),
        (Err(failure), None) => {
            tracing::error!(error = failure.message, "the pool could not be closed in order");
        }
        (Ok(()), _) => {}
    }
}
