//! What the kernel knows about a disk.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, SeekFrom, StatxFlags};

use super::OpenDiskError;
use crate::device::Geometry;
use crate::units::BLOCK_U64;

pub(super) fn block_geometry(
    path: &Path,
    fd: &OwnedFd,
    direct: bool,
) -> Result<Geometry, OpenDiskError> {
    let failed = |errno| OpenDiskError::io(path, errno);
    let len = rustix::fs::seek(fd, SeekFrom::End(0)).map_err(failed)?;
    let block = rustix::fs::ioctl_blksszget(fd).map_err(failed)?;
    let device = rustix::fs::fstat(fd).map_err(failed)?.st_rdev;
    let queue = queue_of(device);
    Ok(Geometry {
        rotational: queue.as_deref().and_then(|queue| queue_fact(queue, "rotational", "1")),
        write_cache: queue
            .as_deref()
            .and_then(|queue| queue_fact(queue, "write_cache", "write back")),
        ..geometry(path, len, block, direct)
    })
}

pub(super) fn file_geometry(
    path: &Path,
    fd: &OwnedFd,
    direct: bool,
) -> Result<Geometry, OpenDiskError> {
    let asked = StatxFlags::SIZE | StatxFlags::DIOALIGN;
    let stat = rustix::fs::statx(fd, c"", AtFlags::EMPTY_PATH, asked)
        .map_err(|errno| OpenDiskError::io(path, errno))?;
    let told = stat.stx_mask & StatxFlags::DIOALIGN.bits() != 0 && stat.stx_dio_offset_align > 0;
    // Where the file system does not tell, a block: what no file system refuses.
    let block = if told { stat.stx_dio_offset_align } else { 4096 };
    let device = rustix::fs::makedev(stat.stx_dev_major, stat.stx_dev_minor);
    let queue = queue_of(device);
    Ok(Geometry {
        rotational: queue.as_deref().and_then(|queue| queue_fact(queue, "rotational", "1")),
        // Unknown: a file's flush goes through a file system's own order.
        write_cache: None,
        ..geometry(path, stat.stx_size, block, direct)
    })
}

fn geometry(path: &Path, len: u64, block: u32, direct: bool) -> Geometry {
    Geometry {
        len: len - len % BLOCK_U64,
        block,
        direct,
        rotational: None,
        write_cache: None,
        name: path.display().to_string().into(),
    }
}

/// Where the kernel describes the queue of a disk; a partition has that of its disk.
fn queue_of(device: u64) -> Option<PathBuf> {
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let disk = PathBuf::from(format!("/sys/dev/block/{major}:{minor}"));
    [disk.join("queue"), disk.join("../queue")].into_iter().find(|queue| queue.is_dir())
}

fn queue_fact(queue: &Path, name: &str, yes: &str) -> Option<bool> {
    let text = fs::read_to_string(queue.join(name)).ok()?;
    Some(text.trim() == yes)
}
