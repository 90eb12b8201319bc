//! Why a path cannot be a disk of the pool.

use std::io;
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum OpenDiskError {
    #[error("{} does not exist", path.display())]
    Missing { path: PathBuf },
    #[error("{} is neither a block device nor a file", path.display())]
    WrongKind { path: PathBuf },
    #[error("{} is mounted at {}", path.display(), at.display())]
    Mounted { path: PathBuf, at: PathBuf },
    #[error("{} is in use by another program", path.display())]
    InUse { path: PathBuf },
    #[error("{} already exists", path.display())]
    Exists { path: PathBuf },
    #[error("{} has blocks of {block} bytes, more than the pool can write at once", path.display())]
    BlockTooLarge { path: PathBuf, block: u32 },
    #[error("there is no room for the {len} bytes of {}", path.display())]
    NoRoom { path: PathBuf, len: u64 },
    #[error("the file system of {} cannot reserve space for a file", path.display())]
    CannotReserve { path: PathBuf },
    #[error("{len} bytes are not a whole number of blocks above zero")]
    BadLength { len: u64 },
    #[error("{} cannot be opened as a disk", path.display())]
    Io { path: PathBuf, source: io::Error },
}

impl OpenDiskError {
    pub(super) fn io(path: &std::path::Path, errno: rustix::io::Errno) -> Self {
        Self::Io { path: path.to_owned(), source: errno.into() }
    }
}
