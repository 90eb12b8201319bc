//! Source snapshots: the frozen view of a tree while it is read.
//!
//! The ladder has two rungs: a read-only btrfs snapshot of the subvolume that holds the tree's root,
//! and the live tree. A snapshot lies in [`PLACE`] at the top of its subvolume, a directory of the
//! agent's own that no backup shows, and goes with the session. What a killed agent leaves is noted
//! in its state before it is made and removed at the next start: by name and by the number the file
//! system gave it, so nothing of anybody else's is ever removed.

mod leftover;
mod place;

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use keelhold_tree::btrfs;
use keelhold_tree::mount_table;
use keelhold_tree::{Errno, Hidden, StandsFor};
use rustix::thread::{CapabilitySet, capabilities};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::notes::{Notes, fresh_name};
use place::{LiveRoot, open_place};

/// Where snapshots lie, at the top of the subvolume they are of.
pub const PLACE: &str = ".keelhold-snapshots";

/// Why the live tree is read.
#[derive(Debug, Error)]
pub enum NoSnapshot {
    #[error("this machine's agent.toml switches snapshots off")]
    SwitchedOff,
    #[error("the source reaches beyond one file system, and a snapshot does not")]
    AllFileSystems,
    #[error("the file system makes none")]
    FileSystem,
    #[error("the agent may not remove one (it lacks CAP_SYS_ADMIN), so it makes none")]
    NoRight,
    #[error("the tree's root cannot be asked about")]
    Root(#[source] io::Error),
    #[error("the top of the subvolume cannot be reached")]
    NoTop,
    #[error("{} cannot be used", path.display())]
    Place { path: PathBuf, source: io::Error },
    #[error("it cannot be noted in the agent's state")]
    Note(#[source] io::Error),
    #[error("it could not be made: {0}")]
    Make(Errno),
    #[error("it does not hold the tree's root")]
    OtherRoot,
}

/// What is written down of a snapshot before it is made.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Record {
    /// The subvolume's top, in the machine's own bytes, and which subvolume that was.
    top: Vec<u8>,
    top_id: u64,
    /// Known once it is there.
    snapshot_id: Option<u64>,
}

/// Makes snapshots and knows those that are in use.
#[derive(Debug, Clone)]
pub struct Snapshots {
    enabled: bool,
    notes: Notes,
    in_use: Arc<Mutex<BTreeSet<String>>>,
}

impl Snapshots {
    /// `notes` outlive the agent.
    #[must_use]
    pub fn new(enabled: bool, notes: Notes) -> Self {
        Self { enabled, notes, in_use: Arc::default() }
    }

    /// Freezes the tree whose root is `root`. `flush` is called right before, on the live tree.
    pub fn take<E>(
        &self,
        root: &Path,
        all_file_systems: bool,
        flush: impl FnOnce(&OwnedFd) -> Result<(), E>,
    ) -> Result<Result<SourceSnapshot, NoSnapshot>, E> {
        let live = match self.look(root, all_file_systems) {
            Ok(live) => live,
            Err(why) => return Ok(Err(why)),
        };
        self.sweep();
        flush(&live.fd)?;
        Ok(self.make(live))
    }

    fn look(&self, root: &Path, all_file_systems: bool) -> Result<LiveRoot, NoSnapshot> {
        if !self.enabled {
            return Err(NoSnapshot::SwitchedOff);
        }
        let fd = std::fs::File::open(root).map_err(NoSnapshot::Root)?;
        if !btrfs::is_btrfs(&fd).map_err(|errno| NoSnapshot::Root(errno.into()))? {
            return Err(NoSnapshot::FileSystem);
        }
        if all_file_systems {
            return Err(NoSnapshot::AllFileSystems);
        }
        let may = capabilities(None).map_err(|errno| NoSnapshot::Root(errno.into()))?;
        if !may.effective.contains(CapabilitySet::SYS_ADMIN) {
            return Err(NoSnapshot::NoRight);
        }
        LiveRoot::find(fd.into())
    }

    fn make(&self, live: LiveRoot) -> Result<SourceSnapshot, NoSnapshot> {
        let place_path = live.top.join(PLACE);
        let unusable = |source| NoSnapshot::Place { path: place_path.clone(), source };
        let place = open_place(&live.top_fd, true).map_err(unusable)?;
        let name = fresh_name("snapshot-").map_err(NoSnapshot::Note)?;
        let made = |errno| NoSnapshot::Make(Errno(errno));
        let top_id = btrfs::subvolume_id(&live.top_fd).map_err(made)?;
        let top = live.top.as_os_str().as_bytes().to_vec();
        let mut record = Record { top, top_id, snapshot_id: None };
        self.in_use().insert(name.clone());
        // From here on dropping it takes away whatever is there.
        let mut snapshot = SourceSnapshot {
            owner: self.clone(),
            place,
            root: place_path.join(&name).join(&live.below_top),
            name,
            device: 0,
            stands_for: StandsFor { device: live.device, hidden: hidden(&live) },
            live_place: place_path,
        };
        self.notes.put(&snapshot.name, &record).map_err(NoSnapshot::Note)?;
        let (top_fd, place) = (live.top_fd.as_fd(), snapshot.place.as_fd());
        btrfs::snapshot(top_fd, place, &snapshot.name).map_err(made)?;
        let opened = btrfs::open_snapshot(place, &snapshot.name).map_err(made)?;
        record.snapshot_id = Some(btrfs::subvolume_id(&opened).map_err(made)?);
        self.notes.put(&snapshot.name, &record).map_err(NoSnapshot::Note)?;
        snapshot.device = rustix::fs::fstat(&opened).map_err(made)?.st_dev;
        let root = std::fs::symlink_metadata(&snapshot.root).map_err(NoSnapshot::Root)?;
        if (root.dev(), root.ino()) != (snapshot.device, live.inode) {
            return Err(NoSnapshot::OtherRoot);
        }
        Ok(snapshot)
    }

    fn in_use(&self) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
        self.in_use.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is mounted below the live root.
fn hidden(live: &LiveRoot) -> HashMap<Vec<u8>, Hidden> {
    let mounts = mount_table::read();
    let below = mount_table::below(&mounts, &live.path);
    below
        .map(|(mount, path)| {
            // Only of this file system can it be a part of the tree; others may not even answer.
            let may_be_own = mount.file_system == "btrfs";
            let point = Path::new(std::ffi::OsStr::from_bytes(&mount.point));
            let stat = may_be_own.then(|| std::fs::symlink_metadata(point).ok()).flatten();
            let own = stat.filter(|stat| stat.dev() == live.device);
            let inode = own.map(|stat| stat.ino());
            (path.to_vec(), Hidden { file_system: mount.file_system.clone(), inode })
        })
        .collect()
}

/// A snapshot in use. Removed when dropped.
#[derive(Debug)]
pub struct SourceSnapshot {
    owner: Snapshots,
    place: OwnedFd,
    name: String,
    /// The tree's root in it.
    root: PathBuf,
    device: u64,
    stands_for: StandsFor,
    live_place: PathBuf,
}

impl SourceSnapshot {
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    #[must_use]
    pub fn device(&self) -> u64 {
        self.device
    }

    #[must_use]
    pub fn stands_for(&self) -> &StandsFor {
        &self.stands_for
    }

    /// Where snapshots lie in the live tree.
    #[must_use]
    pub fn live_place(&self) -> &Path {
        &self.live_place
    }
}

impl Drop for SourceSnapshot {
    fn drop(&mut self) {
        let removed = btrfs::remove_snapshot(self.place.as_fd(), &self.name);
        match removed {
            Ok(()) | Err(rustix::io::Errno::NOENT) => {
                // A note of what is not there is put away at the next start.
                let _ = self.owner.notes.remove(&self.name);
            }
            Err(errno) => {
                let error = Errno(errno).to_string();
                tracing::warn!(name = self.name, error, "a source snapshot is not removed yet");
            }
        }
        self.owner.in_use().remove(&self.name);
    }
}

#[cfg(test)]
pub(crate) mod tests;
