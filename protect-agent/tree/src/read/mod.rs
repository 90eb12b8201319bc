//! What an entry holds, read when somebody wants it.
//!
//! A walk says what *was* there. Here the entry is asked again, and the answer carries the identity it
//! belongs to: attributes are read between two equal `stat`s, and a file is open from the first to the
//! last byte with a `stat` before and after ([`OpenFile::finish`]).

use crate::attributes;
use crate::dirs::open_quietly;
use crate::identity::{EntryKind, Stat};
use crate::skipped::SkippedReason;
use crate::walk::Entry;
use keelhold_chunk::Attributes;
use rustix::fs::{OFlags, SeekFrom};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// An entry that keeps changing while its attributes are read is given up after this many tries.
const TRIES: usize = 5;

/// Part of a file that has data; what lies between extents is a hole and reads as zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Extent {
    pub offset: u64,
    pub len: u64,
}

impl Extent {
    #[must_use]
    pub fn end(self) -> u64 {
        self.offset + self.len
    }
}

impl Entry {
    /// Everything but the content, with the `stat` it belongs to: usually the one the walk saw.
    pub fn attributes(&self) -> Result<(Stat, Attributes), SkippedReason> {
        let dir = self
            .dir()
            .open()
            .map_err(|errno| SkippedReason::unless_vanished(errno, SkippedReason::Open))?;
        let mut before = *self.stat();
        for _ in 0..TRIES {
            let read = attributes::read(&before, dir.as_fd(), self.name());
            let after = Stat::at(&dir, self.name())
                .map_err(|errno| SkippedReason::unless_vanished(errno, SkippedReason::Stat))?;
            if after == before {
                return Ok((after, read?));
            }
            before = after;
        }
        Err(SkippedReason::Changed)
    }

    /// Opens a file for reading. What stands there now must be a regular file; that it is still the
    /// one the walk saw is for the caller to compare ([`OpenFile::stat`]).
    pub fn open(&self) -> Result<OpenFile, SkippedReason> {
        let failed = |errno| match errno {
            // O_NOFOLLOW: a link has taken the file's place.
            Errno::LOOP => SkippedReason::Changed,
            errno => SkippedReason::unless_vanished(errno, SkippedReason::Open),
        };
        let dir = self.dir().open().map_err(failed)?;
        // Were the file swapped for a fifo, opening must not wait for a writer.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let fd = open_quietly(&dir, self.name(), flags).map_err(failed)?;
        let stat = Stat::at(&fd, b"").map_err(|errno| SkippedReason::Stat(errno.into()))?;
        if stat.kind() != EntryKind::File {
            return Err(SkippedReason::Changed);
        }
        Ok(OpenFile { fd, stat })
    }
}

/// A regular file, open for reading.
#[derive(Debug)]
pub struct OpenFile {
    fd: OwnedFd,
    stat: Stat,
}

impl OpenFile {
    /// As of the moment it was opened.
    #[must_use]
    pub fn stat(&self) -> &Stat {
        &self.stat
    }

    pub fn attributes(&self) -> Result<Attributes, SkippedReason> {
        attributes::read_open(&self.stat, self.fd.as_fd())
    }

    /// The first data at or behind `offset`, below the size the file had when it was opened; None if
    /// only hole is left. A file system that knows no holes shows one extent.
    pub fn next_extent(&self, offset: u64) -> Result<Option<Extent>, SkippedReason> {
        next_extent(self.fd.as_fd(), self.stat.identity.size, offset)
            .map_err(|errno| SkippedReason::Content { offset, errno: errno.into() })
    }

    /// All of them. For files with very many extents [`OpenFile::next_extent`] needs no memory.
    pub fn extents(&self) -> Result<Vec<Extent>, SkippedReason> {
        let mut extents = Vec::new();
        let mut offset = 0;
        while let Some(extent) = self.next_extent(offset)? {
            offset = extent.end();
            extents.push(extent);
        }
        Ok(extents)
    }

    /// Fills `buffer` from `offset`; less than its length only where the file has become shorter.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, SkippedReason> {
        let mut filled = 0;
        while filled < buffer.len() {
            let at = offset + filled as u64;
            match rustix::io::pread(&self.fd, &mut buffer[filled..], at) {
                Ok(0) => break,
                Ok(len) => filled += len,
                Err(Errno::INTR) => {}
                Err(errno) => {
                    return Err(SkippedReason::Content { offset: at, errno: errno.into() });
                }
            }
        }
        Ok(filled)
    }

    /// Whether what was read is one state of the file: nothing about it moved since it was opened.
    pub fn finish(self) -> Result<Stat, SkippedReason> {
        let after = Stat::at(&self.fd, b"").map_err(|errno| SkippedReason::Stat(errno.into()))?;
        if after.identity == self.stat.identity { Ok(after) } else { Err(SkippedReason::Changed) }
    }

    /// For reads by other means (io_uring).
    #[must_use]
    pub fn into_parts(self) -> (OwnedFd, Stat) {
        (self.fd, self.stat)
    }

    /// The way back from [`OpenFile::into_parts`].
    #[must_use]
    pub fn from_parts(fd: OwnedFd, stat: Stat) -> Self {
        Self { fd, stat }
    }
}

impl AsFd for OpenFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

pub(crate) fn next_extent(
    fd: BorrowedFd<'_>,
    size: u64,
    offset: u64,
) -> rustix::io::Result<Option<Extent>> {
    if offset >= size {
        return Ok(None);
    }
    let start = match rustix::fs::seek(fd, SeekFrom::Data(offset)) {
        Ok(start) => start,
        Err(Errno::NXIO) => return Ok(None),
        Err(Errno::INVAL) => {
            return Ok(Some(Extent { offset, len: size - offset }));
        }
        Err(errno) => return Err(errno),
    };
    if start >= size {
        return Ok(None);
    }
    let end = match rustix::fs::seek(fd, SeekFrom::Hole(start)) {
        Ok(end) => end.min(size),
        // Shorter than it was: the `stat` after reading says so.
        Err(Errno::NXIO) => size,
        Err(errno) => return Err(errno),
    };
    Ok(Some(Extent { offset: start, len: end.max(start) - start }))
}

#[cfg(test)]
mod tests;
