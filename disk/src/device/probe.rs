//! From a path to an open disk: exclusively, with its geometry, or with the reason why not.
//!
//! A path is a whole block device, a partition, or a preallocated file. Symbolic links are followed
//! (`/dev/disk/by-id/...` are links). What is opened here is nobody else's until it is closed: a
//! block device by `O_EXCL`, which a mount, swap, LVM, md and dm hold too; a file by a lock.

mod create;
mod error;
mod geometry;
mod mounts;
mod open;
mod signature;

use std::os::fd::OwnedFd;

use super::Geometry;
pub use create::create_file;
pub use error::OpenDiskError;
pub use open::open_disk;
pub use signature::{Contents, Signature, contents, recognise};

/// A disk that is ours, ready to be attached to a backend.
#[derive(Debug)]
pub struct OpenedDisk {
    pub(super) fd: OwnedFd,
    pub(super) geometry: Geometry,
    /// Whether discarding gives anything back. Not for files: a hole in a preallocated file is
    /// space that somebody else may take.
    pub(super) discards: bool,
}

impl OpenedDisk {
    #[must_use]
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }
}

#[cfg(test)]
mod tests;
