//! What a walk enters and what it leaves out.

use super::WalkOptions;
use crate::btrfs;
use crate::dirs::Dir;
use crate::filesystem::Mounts;
use crate::identity::Stat;
use crate::rules::ignore::IgnoreList;
use crate::skipped::SkippedReason;
use rustix::fs::{Mode, OFlags};
use std::collections::HashSet;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Debug)]
pub(crate) struct Decide {
    pub(crate) options: WalkOptions,
    mounts: Mounts,
    keep_out: HashSet<(u64, u64)>,
    own_places: HashSet<(u64, u64)>,
    root_device: u64,
    pub(crate) excluded_count: AtomicU64,
}

impl Decide {
    pub(crate) fn new(options: WalkOptions, mounts: Mounts, root_device: u64) -> Self {
        let live = options.stands_for.as_ref().map(|live| live.device);
        // What is not there cannot be entered.
        let inode = |path: &std::path::PathBuf| {
            rustix::fs::stat(path).ok().map(|stat| (stat.st_dev, stat.st_ino))
        };
        // A snapshot has the same inodes under another device.
        let here =
            |(device, inode)| (if Some(device) == live { root_device } else { device }, inode);
        let inodes = |paths: &[std::path::PathBuf]| -> HashSet<(u64, u64)> {
            paths.iter().filter_map(inode).map(here).collect()
        };
        let (keep_out, own_places) = (inodes(&options.keep_out), inodes(&options.own_places));
        let excluded_count = AtomicU64::new(0);
        Self { options, mounts, keep_out, own_places, root_device, excluded_count }
    }

    /// A place of the backup's own that is as if it were not there.
    pub(crate) fn is_own_place(&self, stat: &Stat) -> bool {
        let identity = &stat.identity;
        !self.own_places.is_empty() && self.own_places.contains(&(identity.device, identity.inode))
    }

    /// In a snapshot: where the live tree has a mount or another subvolume.
    fn border_of_live(&self, parent: &Dir, stat: &Stat, name: &[u8]) -> Option<SkippedReason> {
        let live = self.options.stands_for.as_ref()?;
        let (identity, file_system) = (&stat.identity, String::from("btrfs subvolume"));
        let in_snapshot = identity.device == self.root_device;
        if in_snapshot && stat.is_directory() && btrfs::is_empty_subvolume(identity.inode) {
            return Some(SkippedReason::OtherFileSystem { file_system });
        }
        let named = |path: &Vec<u8>| crate::dirs::split(path).1 == name;
        if !live.hidden.keys().any(named) {
            return None;
        }
        let hidden = live.hidden.get(&parent.path_of(name))?;
        if hidden.inode == Some(identity.inode) {
            return None;
        }
        let file_system = hidden.file_system.clone();
        Some(if crate::filesystem::is_kernel(&file_system) {
            SkippedReason::KernelFileSystem { file_system }
        } else {
            SkippedReason::OtherFileSystem { file_system }
        })
    }

    pub(crate) fn count_excluded(&self, count: usize) {
        self.excluded_count.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// Whether somebody said that `name` is not to be protected. `dir_path` is there if any rule is.
    pub(crate) fn leaves_out(
        &self,
        dir_path: Option<&[u8]>,
        name: &[u8],
        is_directory: bool,
        no_dump: bool,
        ignore: Option<&IgnoreList>,
    ) -> bool {
        if no_dump && self.options.no_dump {
            return true;
        }
        let Some(dir_path) = dir_path else {
            return false;
        };
        let path = crate::dirs::join(dir_path, name);
        self.options.excludes.leave_out(&path, is_directory)
            || ignore.is_some_and(|ignore| ignore.leave_out(&path, is_directory))
    }

    /// Why the walk stops at `name`, if it does.
    ///
    /// Another device is another file system (or a btrfs subvolume, which a snapshot of the parent
    /// does not hold either). A mount of the same device is either a directory mounted over itself, as
    /// a service's sandbox does to make it read-only, and then belongs to the tree; or another
    /// directory of the same file system, which has its own place. The inode in the directory entry
    /// tells the two apart.
    pub(crate) fn border(
        &self,
        parent: &Dir,
        listed_inode: u64,
        stat: &Stat,
        dir: BorrowedFd<'_>,
        name: &[u8],
    ) -> Option<SkippedReason> {
        let identity = &stat.identity;
        if self.keep_out.contains(&(identity.device, identity.inode)) {
            return Some(SkippedReason::KeptOut);
        }
        if let Some(border) = self.border_of_live(parent, stat, name) {
            return Some(border);
        }
        let elsewhere = stat.mount_root && identity.inode != listed_inode;
        let crossed = if stat.is_directory() {
            identity.device != parent.device() || elsewhere
        } else {
            // Overlays show files with devices of the layers below; only a mount is a border there.
            stat.mount_root && identity.device != parent.device()
        };
        if !crossed {
            return None;
        }
        let fd = rustix::fs::openat(
            dir,
            name,
            OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        );
        let file_system = match fd {
            Ok(fd) => self.mounts.file_system(identity.device, &fd),
            Err(_) => self.mounts.file_system(identity.device, dir),
        };
        let kernel = file_system.is_kernel();
        let file_system = file_system.name;
        if kernel {
            Some(SkippedReason::KernelFileSystem { file_system })
        } else if self.options.all_file_systems {
            None
        } else {
            Some(SkippedReason::OtherFileSystem { file_system })
        }
    }
}
