//! Snapshots of btrfs subvolumes: made, recognised, removed.
//!
//! Through directory descriptors and the file system's own calls: no path is resolved twice, and no
//! other program is needed.

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The root directory of every subvolume.
const SUBVOLUME_INODE: u64 = 256;
/// What stands in a snapshot where another subvolume was.
const EMPTY_SUBVOLUME_INODE: u64 = 2;
const MAGIC: u64 = 0x9123_683e;
/// Longest name a call takes here.
const NAME_LEN_MAX: usize = 255;

/// Whether `fd` is the root directory of a subvolume.
pub fn is_subvolume(fd: impl AsFd) -> rustix::io::Result<bool> {
    Ok(is_btrfs(&fd)? && rustix::fs::fstat(&fd)?.st_ino == SUBVOLUME_INODE)
}

pub fn is_btrfs(fd: impl AsFd) -> rustix::io::Result<bool> {
    Ok(rustix::fs::fstatfs(fd)?.f_type as u64 & 0xffff_ffff == MAGIC)
}

/// Names one subvolume of one file system for as long as both exist: the file system's id mixed with
/// the subvolume's number, which is never given twice.
pub fn subvolume_id(fd: impl AsFd) -> rustix::io::Result<u64> {
    Ok(rustix::fs::fstatvfs(fd)?.f_fsid)
}

/// The inode number of a place where a snapshot holds nothing because another subvolume was there.
pub(crate) fn is_empty_subvolume(inode: u64) -> bool {
    inode == EMPTY_SUBVOLUME_INODE
}

/// Makes a read-only snapshot of the subvolume whose root is `subvolume`, as `name` in `place`.
pub fn snapshot(
    subvolume: BorrowedFd<'_>,
    place: BorrowedFd<'_>,
    name: &str,
) -> rustix::io::Result<()> {
    calls::snapshot_read_only(place, subvolume, checked(name)?)
}

/// Opens a snapshot that [`snapshot`] made. Anything that is not the read-only root of a subvolume is
/// refused.
pub fn open_snapshot(place: BorrowedFd<'_>, name: &str) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(place, checked(name)?, flags, Mode::empty())?;
    // Root may write everywhere but where nobody may.
    let written = rustix::fs::accessat(&fd, ".", rustix::fs::Access::WRITE_OK, AtFlags::empty());
    let read_only = written == Err(Errno::ROFS);
    if is_subvolume(&fd)? && read_only { Ok(fd) } else { Err(Errno::INVAL) }
}

/// Removes the snapshot `name` in `place`, whatever is in it. The caller has made sure whose it is.
pub fn remove_snapshot(place: BorrowedFd<'_>, name: &str) -> rustix::io::Result<()> {
    calls::destroy(place, checked(name)?)
}

fn checked(name: &str) -> rustix::io::Result<&str> {
    let fits = !name.is_empty() && name.len() <= NAME_LEN_MAX;
    let plain = name != "." && name != ".." && !name.contains(['/', '\0']);
    if fits && plain { Ok(name) } else { Err(Errno::INVAL) }
}

#[expect(unsafe_code, reason = "the calls of btrfs are ioctls")]
mod calls {
    use rustix::io::Result;
    use rustix::ioctl::{Opcode, Setter, ioctl, opcode};
    use std::os::fd::{AsRawFd, BorrowedFd};

    /// `struct btrfs_ioctl_vol_args` and its second version: linux/btrfs.h.
    type Arguments = [u8; 4096];

    const GROUP: u8 = 0x94;
    const SNAP_DESTROY: Opcode = opcode::write::<Arguments>(GROUP, 15);
    const SNAP_CREATE_V2: Opcode = opcode::write::<Arguments>(GROUP, 23);
    const READ_ONLY: u64 = 1 << 1;

    pub(super) fn snapshot_read_only(
        place: BorrowedFd<'_>,
        subvolume: BorrowedFd<'_>,
        name: &str,
    ) -> Result<()> {
        // fd s64, transid u64, flags u64, unused u64 × 4, name. The kernel's own byte order is not
        // asked for by name here: everything this runs on is little-endian, as the formats are.
        let mut arguments = [0; 4096];
        let fd = i64::from(subvolume.as_raw_fd());
        arguments[..8].copy_from_slice(&fd.to_le_bytes());
        arguments[16..24].copy_from_slice(&READ_ONLY.to_le_bytes());
        arguments[56..56 + name.len()].copy_from_slice(name.as_bytes());
        // SAFETY: the call reads 4096 bytes of exactly this layout, and the name ends with a zero.
        unsafe { ioctl(place, Setter::<SNAP_CREATE_V2, Arguments>::new(arguments)) }
    }

    pub(super) fn destroy(place: BorrowedFd<'_>, name: &str) -> Result<()> {
        // fd s64, which this call does not look at, then the name.
        let mut arguments = [0; 4096];
        arguments[8..8 + name.len()].copy_from_slice(name.as_bytes());
        // SAFETY: the call reads 4096 bytes of exactly this layout, and the name ends with a zero.
        unsafe { ioctl(place, Setter::<SNAP_DESTROY, Arguments>::new(arguments)) }
    }
}
