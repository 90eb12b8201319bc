//! The live root, its subvolume, and the place for snapshots at the top of it.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use keelhold_tree::btrfs;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::{NoSnapshot, PLACE};

/// A tree's root on btrfs, found without trusting a path twice.
#[derive(Debug)]
pub(super) struct LiveRoot {
    pub(super) fd: OwnedFd,
    /// Without links.
    pub(super) path: PathBuf,
    pub(super) device: u64,
    pub(super) inode: u64,
    /// The top of the subvolume.
    pub(super) top: PathBuf,
    pub(super) top_fd: OwnedFd,
    pub(super) below_top: PathBuf,
}

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

impl LiveRoot {
    pub(super) fn find(fd: OwnedFd) -> Result<Self, NoSnapshot> {
        let asked = |errno: Errno| NoSnapshot::Root(errno.into());
        let path = std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()))
            .map_err(NoSnapshot::Root)?;
        let stat = rustix::fs::fstat(&fd).map_err(asked)?;
        for top in path.ancestors() {
            let top_fd = rustix::fs::open(top, DIRECTORY | OFlags::NOFOLLOW, Mode::empty());
            let top_fd = top_fd.map_err(|_| NoSnapshot::NoTop)?;
            if rustix::fs::fstat(&top_fd).map_err(asked)?.st_dev != stat.st_dev {
                break;
            }
            if btrfs::is_subvolume(&top_fd).map_err(asked)? {
                let below_top = path.strip_prefix(top).map_err(|_| NoSnapshot::NoTop)?.to_owned();
                let (top, device, inode) = (top.to_owned(), stat.st_dev, stat.st_ino);
                return Ok(Self { fd, path, device, inode, top, top_fd, below_top });
            }
        }
        // A directory of a subvolume that is mounted elsewhere: only tops can be frozen.
        Err(NoSnapshot::NoTop)
    }
}

/// Opens the place for snapshots at the top of a subvolume. It must be the agent's own and closed to
/// others: then nobody else puts anything there.
pub(super) fn open_place(top: &OwnedFd, make: bool) -> io::Result<OwnedFd> {
    if make {
        match rustix::fs::mkdirat(top, PLACE, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    let place = rustix::fs::openat(top, PLACE, DIRECTORY | OFlags::NOFOLLOW, Mode::empty())?;
    let (stat, top) = (rustix::fs::fstat(&place)?, rustix::fs::fstat(top)?);
    let own = stat.st_uid == rustix::process::geteuid().as_raw();
    if !own || stat.st_mode & 0o077 != 0 || stat.st_dev != top.st_dev {
        let text = "it is there and is not a directory of the agent's alone";
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
    }
    Ok(place)
}

/// The top of a subvolume by its path, if what stands there is that subvolume still.
pub(super) fn open_top(top: &Path, id: u64) -> Option<OwnedFd> {
    let fd = rustix::fs::open(top, DIRECTORY | OFlags::NOFOLLOW, Mode::empty()).ok()?;
    let same = btrfs::is_subvolume(&fd).ok()? && btrfs::subvolume_id(&fd).ok()? == id;
    same.then_some(fd)
}
