//! An ordered walk that reads ahead.
//!
//! [`Walk`] yields every entry below a root in the order of [`keelhold_chunk::entry::path_order`]: a
//! directory right before what is in it, names in byte order. Worker threads list directories and
//! `stat` their children ahead of the reader, always the earliest not yet done in that order, because
//! one `stat` after another of a cold tree waits for the disk each time. Memory is bounded: workers
//! pause while [`WalkOptions::read_ahead`] entries wait to be taken. The names of one directory are
//! held at once, since they have to be sorted; their `stat`s come in blocks.
//!
//! The reader never waits for an idle worker: what it needs next and nobody has begun, it does itself.
//! So a walk also works with no worker at all, and cannot deadlock on its own bound.
//!
//! An entry is first only its identity. Attributes and content are asked on demand
//! ([`Entry::attributes`], [`Entry::open`]): an unchanged tree costs no more than this.

mod branch;
mod decide;
mod names;
mod position;
mod reader;
mod schedule;

use crate::dirs::Dir;
use crate::filesystem::{FileSystem, Mounts};
use crate::identity::{EntryKind, Identity, Stat};
use crate::rules::Rules;
use crate::skipped::{Errno, Skipped};
use branch::Branch;
use decide::Decide;
use reader::Reader;
use rustix::fs::{Mode, OFlags};
use schedule::Schedule;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

#[derive(Debug, Clone)]
pub struct WalkOptions {
    pub excludes: Rules,
    /// Enter other file systems mounted below the root; the kernel's own are never entered.
    pub all_file_systems: bool,
    /// Leave out the content of directories marked by `CACHEDIR.TAG`.
    pub cache_tags: bool,
    /// Follow the lists named `.keelholdignore`.
    pub ignore_files: bool,
    /// Leave out what is marked by `chattr +d`.
    pub no_dump: bool,
    /// Directories never entered, by inode: the pool, the backup's own state.
    pub keep_out: Vec<PathBuf>,
    /// Directories that are as if they were not there, by inode: where source snapshots lie.
    pub own_places: Vec<PathBuf>,
    /// The root is a snapshot of this.
    pub stands_for: Option<StandsFor>,
    pub threads: usize,
    /// Entries that may wait to be taken.
    pub read_ahead: usize,
}

/// The live tree whose snapshot is walked. A snapshot shows what lies *under* a mount, and nothing of
/// another subvolume: the walk ends at both, as it does in the live tree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StandsFor {
    pub device: u64,
    /// What is mounted below the live root, by path from there.
    pub hidden: HashMap<Vec<u8>, Hidden>,
}

/// A mount that a snapshot does not show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hidden {
    pub file_system: String,
    /// What is mounted is this directory or file of the live tree itself, if it is one of its own.
    pub inode: Option<u64>,
}

impl Default for WalkOptions {
    fn default() -> Self {
        Self {
            excludes: Rules::default(),
            all_file_systems: false,
            cache_tags: true,
            ignore_files: true,
            no_dump: true,
            keep_out: Vec::new(),
            own_places: Vec::new(),
            stands_for: None,
            threads: 8,
            read_ahead: 32 << 10,
        }
    }
}

impl WalkOptions {
    /// Everything on the root's file system: what the default leaves out is switched off.
    #[must_use]
    pub fn no_default_excludes(self) -> Self {
        Self { cache_tags: false, ignore_files: false, no_dump: false, ..self }
    }
}

/// Why a walk could not begin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WalkError {
    #[error("{} cannot be opened", path.display())]
    Open { path: PathBuf, source: Errno },
    #[error("{} is not a directory", path.display())]
    NotDirectory { path: PathBuf },
    #[error("{} is a kernel file system ({file_system}), which holds no data to protect", path.display())]
    KernelFileSystem { path: PathBuf, file_system: String },
}

/// What a walk comes across.
#[derive(Debug, Clone)]
pub enum Found {
    Entry(Entry),
    /// Not in the backup, or a directory whose content is not.
    Skipped(Skipped),
}

/// One entry of the tree, as the walk saw it. Cheap to keep and to send to another thread: it can
/// reach the entry again even after the walk has ended.
#[derive(Debug, Clone)]
pub struct Entry {
    dir: Arc<Dir>,
    path: Vec<u8>,
    stat: Stat,
}

impl Entry {
    /// From the root, without a leading `/`; the root is "".
    #[must_use]
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    /// Last component of the path; the root's is "".
    #[must_use]
    pub fn name(&self) -> &[u8] {
        crate::dirs::split(&self.path).1
    }

    #[must_use]
    pub fn stat(&self) -> &Stat {
        &self.stat
    }

    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.stat.identity
    }

    #[must_use]
    pub fn kind(&self) -> EntryKind {
        self.stat.kind()
    }

    /// The directory the entry is in; the root is in itself, under the name "".
    pub(crate) fn dir(&self) -> &Arc<Dir> {
        &self.dir
    }
}

/// A walk in progress. An iterator; dropping it ends its threads.
#[derive(Debug)]
pub struct Walk {
    reader: Reader,
    root: Arc<Dir>,
    file_system: FileSystem,
    threads: Vec<JoinHandle<()>>,
}

impl Walk {
    /// Links in `root` itself are followed: the path was given by whoever configured the source.
    pub fn new(root: &Path, options: WalkOptions) -> Result<Self, WalkError> {
        let path = || root.to_owned();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = match rustix::fs::open(root, flags, Mode::empty()) {
            Err(rustix::io::Errno::NOTDIR) => {
                return Err(WalkError::NotDirectory { path: path() });
            }
            done => done.map_err(|errno| WalkError::Open { path: path(), source: errno.into() })?,
        };
        let opened =
            |errno: rustix::io::Errno| WalkError::Open { path: path(), source: errno.into() };
        let stat = Stat::at(&fd, b"").map_err(opened)?;
        let mounts = Mounts::read();
        let file_system = mounts.file_system(stat.identity.device, &fd);
        if file_system.is_kernel() {
            let file_system = file_system.name;
            return Err(WalkError::KernelFileSystem { path: path(), file_system });
        }
        let root = Dir::root(fd).map_err(opened)?;
        let (thread_count, read_ahead) = (options.threads, options.read_ahead);
        let decide = Decide::new(options, mounts, stat.identity.device);
        let schedule = Arc::new(Schedule::new(decide, read_ahead));
        let branch = Arc::new(Branch::root(root.clone()));
        let entry = Entry { dir: root.clone(), path: Vec::new(), stat };
        let threads = (0..thread_count).map_while(|_| Schedule::spawn(&schedule)).collect();
        Ok(Self { reader: Reader::new(schedule, entry, branch), root, file_system, threads })
    }

    /// The file system the root stands on.
    #[must_use]
    pub fn file_system(&self) -> &FileSystem {
        &self.file_system
    }

    /// Writes out what is dirty on the root's file system. A file whose ctime is older than this call
    /// by more than [`FileSystem::ctime_step`] has no mapped store pending that would move it later.
    pub fn sync(&self) -> Result<(), Errno> {
        let fd = self.root.open()?;
        Ok(rustix::fs::syncfs(&fd)?)
    }

    /// Entries left out by exclusions so far; not counted is what lies below them.
    #[must_use]
    pub fn excluded_count(&self) -> u64 {
        self.reader.schedule().decide.excluded_count.load(Ordering::Relaxed)
    }
}

impl Iterator for Walk {
    type Item = Found;

    fn next(&mut self) -> Option<Found> {
        self.reader.next()
    }
}

impl Drop for Walk {
    fn drop(&mut self) {
        self.reader.schedule().stop();
        for thread in self.threads.drain(..) {
            // A worker's panic was met again by the reader, if it still wanted the result.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests;
