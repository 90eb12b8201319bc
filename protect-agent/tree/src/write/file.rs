//! Filling a regular file.

use super::apply::{Before, Onto, apply};
use super::landing::Landing;
use super::place::Place;
use super::report::UnwrittenReason;
use crate::dirs::lock;
use crate::skipped::Errno;
use keelhold_chunk::LinkGroup;
use rustix::fs::{AtFlags, FallocateFlags};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// A file of the target that is being written. Data may come in any order and from several threads;
/// where none comes, a hole remains. Dropped without [`FileWriter::finish`], the file is removed and
/// reported.
#[derive(Debug)]
pub struct FileWriter {
    /// None once finished.
    open: Option<Box<Open>>,
}

#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) fd: Arc<OwnedFd>,
    pub(crate) place: Place,
    pub(crate) landing: Landing,
    pub(crate) before: Before,
    /// The file was there and only what differs is written.
    pub(crate) patched: bool,
    pub(crate) group: Option<LinkGroup>,
    /// Where the file ends at present.
    pub(crate) end: AtomicU64,
    pub(crate) failed: Mutex<Option<UnwrittenReason>>,
}

impl FileWriter {
    pub(crate) fn new(open: Open) -> Self {
        Self { open: Some(Box::new(open)) }
    }

    #[must_use]
    pub fn path(&self) -> &[u8] {
        self.open.as_ref().map_or(b"", |open| open.place.path())
    }

    /// Writes all of `data` at `offset`.
    pub fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), Errno> {
        let Some(open) = &self.open else {
            return Err(Errno(rustix::io::Errno::BADF));
        };
        let mut written = 0;
        while written < data.len() {
            let at = offset + written as u64;
            match rustix::io::pwrite(&open.fd, &data[written..], at) {
                Ok(0) => return Err(open.fail(at, rustix::io::Errno::IO)),
                Ok(len) => written += len,
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(open.fail(at, errno)),
            }
        }
        open.wrote(offset, data.len() as u64);
        Ok(())
    }

    /// Makes a hole of what an existing file ([`Place::patch`]) has there.
    pub fn punch(&self, offset: u64, len: u64) -> Result<(), Errno> {
        let Some(open) = &self.open else {
            return Err(Errno(rustix::io::Errno::BADF));
        };
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        rustix::fs::fallocate(&open.fd, flags, offset, len)
            .map_err(|errno| open.fail(offset, errno))
    }

    /// For writes by other means (io_uring): say here what they wrote.
    pub fn wrote(&self, offset: u64, len: u64) {
        if let Some(open) = &self.open {
            open.wrote(offset, len);
        }
    }

    /// Gives the file its length and attributes and, where it replaces another, its name. False if it
    /// is not in the target; the report says why.
    pub fn finish(mut self) -> bool {
        let Some(mut open) = self.open.take() else {
            return false;
        };
        match open.complete() {
            Ok(()) => true,
            Err(reason) => {
                open.abandon(reason);
                false
            }
        }
    }
}

impl AsFd for FileWriter {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.open {
            Some(open) => open.fd.as_fd(),
            None => rustix::fs::CWD,
        }
    }
}

impl Drop for FileWriter {
    fn drop(&mut self) {
        if let Some(mut open) = self.open.take() {
            open.abandon(UnwrittenReason::Unfinished);
        }
    }
}

impl Open {
    fn wrote(&self, offset: u64, len: u64) {
        self.end.fetch_max(offset + len, Ordering::Relaxed);
        let shared = &self.place.shared;
        shared.count(&shared.counts.bytes_written, len);
    }

    fn fail(&self, offset: u64, errno: rustix::io::Errno) -> Errno {
        let errno = Errno(errno);
        lock(&self.failed).get_or_insert(UnwrittenReason::Write { offset, errno });
        errno
    }

    fn complete(&mut self) -> Result<(), UnwrittenReason> {
        if let Some(reason) = lock(&self.failed).take() {
            return Err(reason);
        }
        let Self { fd, place, landing, before, end, .. } = self;
        let size = place.attributes.size();
        if *end.get_mut() != size {
            rustix::fs::ftruncate(&*fd, size)
                .map_err(|errno| UnwrittenReason::Write { offset: size, errno: errno.into() })?;
        }
        let path = || place.path().to_vec();
        apply(Onto::Open(fd.as_fd()), &place.attributes, *before, &place.shared, path);
        landing.land(place)?;
        place.shared.count(&place.shared.counts.files, 1);
        Ok(())
    }

    /// A file that is not whole must not look like one. One that was there before stays as far as it
    /// got; writing the same entry again mends it.
    fn abandon(&mut self, reason: UnwrittenReason) {
        let reason = lock(&self.failed).take().unwrap_or(reason);
        let shared = &self.place.shared;
        shared.unwritten(self.place.path(), reason);
        if self.patched {
            return;
        }
        self.landing.remove(&self.place);
        for (dir, name) in self.group.map(|group| shared.links.abandon(group)).unwrap_or_default() {
            shared.unwritten(&dir.path_of(&name), UnwrittenReason::Unfinished);
            if let Ok(fd) = dir.open() {
                // If it cannot be removed the report names it all the same.
                let _ = rustix::fs::unlinkat(&fd, &name[..], AtFlags::empty());
            }
        }
    }
}
