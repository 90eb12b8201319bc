//! Making a file that can be a disk: all its space reserved, so that the pool never learns from a
//! write that the file system is full.

use std::fs::File;
use std::path::Path;

use rustix::fs::{FallocateFlags, IFlags, Mode, OFlags};
use rustix::io::Errno;

use super::open::{finish, lock};
use super::{OpenDiskError, OpenedDisk};
use crate::units::BLOCK_U64;

/// Makes a file of `len` reserved bytes and opens it for the pool alone. The file and its name are
/// durable when this returns; when it fails, no file is left behind.
///
/// # Errors
/// If there is something at `path`, no room, or a file system that cannot reserve.
pub fn create_file(path: &Path, len: u64) -> Result<OpenedDisk, OpenDiskError> {
    if len == 0 || !len.is_multiple_of(BLOCK_U64) {
        return Err(OpenDiskError::BadLength { len });
    }
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let mode = Mode::RUSR | Mode::WUSR;
    let fd = rustix::fs::open(path, flags, mode).map_err(|errno| match errno {
        Errno::EXIST => OpenDiskError::Exists { path: path.to_owned() },
        Errno::NOENT | Errno::NOTDIR => OpenDiskError::Missing { path: parent(path).to_owned() },
        errno => OpenDiskError::io(path, errno),
    })?;
    let made = reserve(path, &fd, len).and_then(|()| finish(path, fd, false));
    if made.is_err() {
        // The file is ours, made above. If it cannot be removed, the first error says more.
        let _left_behind = std::fs::remove_file(path);
    }
    made
}

fn reserve(path: &Path, fd: &std::os::fd::OwnedFd, len: u64) -> Result<(), OpenDiskError> {
    lock(path, fd, false)?;
    // On file systems that copy on write, writing in place needs no second space and does not
    // scatter the file. Elsewhere the flag means nothing and is refused. Our own checksums stand in
    // for those the file system leaves out with it.
    if let Ok(attributes) = rustix::fs::ioctl_getflags(fd) {
        let _refused = rustix::fs::ioctl_setflags(fd, attributes | IFlags::NOCOW);
    }
    loop {
        match rustix::fs::fallocate(fd, FallocateFlags::empty(), 0, len) {
            Ok(()) => break,
            Err(Errno::INTR) => {}
            Err(Errno::NOSPC | Errno::FBIG | Errno::DQUOT) => {
                return Err(OpenDiskError::NoRoom { path: path.to_owned(), len });
            }
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
                return Err(OpenDiskError::CannotReserve { path: path.to_owned() });
            }
            Err(errno) => return Err(OpenDiskError::io(path, errno)),
        }
    }
    rustix::fs::fsync(fd).map_err(|errno| OpenDiskError::io(path, errno))?;
    let folder = parent(path);
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|source| OpenDiskError::Io { path: folder.to_owned(), source })
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}
