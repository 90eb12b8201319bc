//! Opening what is there.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::geometry::{block_geometry, file_geometry};
use super::{OpenDiskError, OpenedDisk, mounts};
use crate::buffer::AlignedBuf;
use crate::units::{BLOCK, BLOCK_U64};

/// Opens `path` for the pool alone.
///
/// # Errors
/// If it is not there, not a disk or file, mounted or otherwise in use, or cannot be opened.
pub fn open_disk(path: &Path) -> Result<OpenedDisk, OpenDiskError> {
    let stat = rustix::fs::stat(path).map_err(|errno| match errno {
        Errno::NOENT | Errno::NOTDIR => OpenDiskError::Missing { path: path.to_owned() },
        errno => OpenDiskError::io(path, errno),
    })?;
    // Asked before opening: opening a pipe would wait, opening a tape would wind it.
    let (is_block, exclusive) = match FileType::from_raw_mode(stat.st_mode) {
        FileType::BlockDevice => (true, OFlags::EXCL),
        FileType::RegularFile => (false, OFlags::empty()),
        _ => {
            return Err(OpenDiskError::WrongKind { path: path.to_owned() });
        }
    };
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOCTTY | exclusive;
    let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| match errno {
        Errno::BUSY => in_use(path, stat.st_rdev),
        errno => OpenDiskError::io(path, errno),
    })?;
    let opened = rustix::fs::fstat(&fd).map_err(|errno| OpenDiskError::io(path, errno))?;
    if FileType::from_raw_mode(opened.st_mode).is_block_device() != is_block {
        // Exchanged between the question and the opening.
        return Err(OpenDiskError::WrongKind { path: path.to_owned() });
    }
    lock(path, &fd, is_block)?;
    finish(path, fd, is_block)
}

/// From an open and locked file to a disk.
pub(super) fn finish(
    path: &Path,
    fd: OwnedFd,
    is_block: bool,
) -> Result<OpenedDisk, OpenDiskError> {
    let direct = pass_by_cache(&fd).map_err(|errno| OpenDiskError::io(path, errno))?;
    let geometry = if is_block {
        block_geometry(path, &fd, direct)?
    } else {
        file_geometry(path, &fd, direct)?
    };
    if u64::from(geometry.block) > BLOCK_U64 {
        let block = geometry.block;
        return Err(OpenDiskError::BlockTooLarge { path: path.to_owned(), block });
    }
    Ok(OpenedDisk { fd, geometry, discards: is_block })
}

/// Switches to direct I/O if the file system really does it: some refuse the flag, some take it and
/// refuse the transfers.
fn pass_by_cache(fd: &OwnedFd) -> Result<bool, Errno> {
    let flags = rustix::fs::fcntl_getfl(fd)?;
    match rustix::fs::fcntl_setfl(fd, flags | OFlags::DIRECT) {
        Ok(()) => {}
        Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(false),
        Err(errno) => return Err(errno),
    }
    let mut block = AlignedBuf::zeroed(BLOCK);
    if let Err(Errno::INVAL | Errno::OPNOTSUPP) = rustix::io::pread(fd, &mut block[..], 0) {
        rustix::fs::fcntl_setfl(fd, flags)?;
        return Ok(false);
    }
    // Any other answer, a bad sector too, says nothing about the way.
    Ok(true)
}

fn in_use(path: &Path, device: u64) -> OpenDiskError {
    match mounts::mounted_at(device) {
        Some(at) => OpenDiskError::Mounted { path: path.to_owned(), at },
        None => OpenDiskError::InUse { path: path.to_owned() },
    }
}

/// A second daemon, or a second pool of the same daemon, must not get the file too.
pub(super) fn lock(path: &Path, fd: &OwnedFd, is_block: bool) -> Result<(), OpenDiskError> {
    match rustix::fs::flock(fd, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(()),
        // `O_EXCL` holds a block device already; the lock only tells udev to leave it alone, and
        // udev may be looking at it just now.
        Err(_) if is_block => Ok(()),
        Err(Errno::WOULDBLOCK) => Err(OpenDiskError::InUse { path: path.to_owned() }),
        Err(errno) => Err(OpenDiskError::io(path, errno)),
    }
}
