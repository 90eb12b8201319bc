//! The data of a large file, a piece at a time, by io_uring ahead of the taker or by plain calls.

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsFd;

use keelhold_tree::{Errno, Extent, OpenFile, SkippedReason};
use tokio::sync::oneshot;

use super::bounds::{PIECE_COUNT, PIECE_LEN};
use super::ring::{Ring, RingFile};

/// How data of large files is read.
#[derive(Debug, Clone)]
pub struct DataReads {
    ring: Option<Ring>,
}

impl DataReads {
    /// By io_uring if the kernel lets us; says so if it does not.
    #[must_use]
    pub fn by_ring() -> Self {
        match Ring::start() {
            Ok(ring) => Self { ring: Some(ring) },
            Err(error) => {
                tracing::info!(%error, "no io_uring here, large files are read by plain calls");
                Self::by_calls()
            }
        }
    }

    /// By `pread`.
    #[must_use]
    pub fn by_calls() -> Self {
        Self { ring: None }
    }
}

/// A piece, with room in front of it for what was left of the one before.
#[derive(Debug)]
pub(super) struct Piece {
    buffer: Vec<u8>,
    /// The file was shorter than its extent.
    pub(super) short: bool,
    /// Nothing of the extent follows.
    pub(super) last: bool,
}

impl Piece {
    /// How many bytes were read.
    pub(super) fn len(&self, room: usize) -> usize {
        self.buffer.len() - room
    }

    /// What was left over and this piece as one.
    pub(super) fn join(self, room: usize, rest: &[u8]) -> bytes::Bytes {
        let mut buffer = self.buffer;
        let start = room - rest.len();
        buffer[start..room].copy_from_slice(rest);
        bytes::Bytes::from(buffer).slice(start..)
    }
}

/// Reads one extent after the other.
#[derive(Debug)]
pub(super) struct Pieces<'a> {
    file: &'a OpenFile,
    ring: Option<RingFile>,
    room: usize,
    /// The next byte to be asked for, and the end of the extent.
    at: u64,
    end: u64,
    pending: VecDeque<Pending>,
}

#[derive(Debug)]
struct Pending {
    offset: u64,
    len: usize,
    read: oneshot::Receiver<io::Result<Vec<u8>>>,
}

impl<'a> Pieces<'a> {
    /// `room` bytes are kept free in front of each piece.
    pub(super) fn new(file: &'a OpenFile, reads: &DataReads, room: usize) -> Self {
        // A file the ring does not take is read by calls.
        let ring = reads.ring.as_ref().and_then(|ring| ring.open(file.as_fd()).ok());
        Self { file, ring, room, at: 0, end: 0, pending: VecDeque::new() }
    }

    pub(super) fn begin(&mut self, extent: Extent) {
        (self.at, self.end) = (extent.offset, extent.end());
        self.pending.clear();
    }

    /// `None` after the last piece of the extent.
    pub(super) fn next(&mut self) -> Option<Result<Piece, SkippedReason>> {
        match self.ring.take() {
            None => self.call(),
            Some(ring) => {
                while self.pending.len() < PIECE_COUNT && self.at < self.end {
                    let (offset, len) = self.take_next();
                    let mut buffer = Vec::with_capacity(self.room + len);
                    buffer.resize(self.room, 0);
                    let read = ring.read(offset, buffer, len);
                    self.pending.push_back(Pending { offset, len, read });
                }
                self.ring = Some(ring);
                let pending = self.pending.pop_front()?;
                Some(self.wait(pending))
            }
        }
    }

    fn take_next(&mut self) -> (u64, usize) {
        let len = (self.end - self.at).min(PIECE_LEN as u64);
        let offset = self.at;
        self.at += len;
        (offset, len as usize)
    }

    fn wait(&self, pending: Pending) -> Result<Piece, SkippedReason> {
        let Pending { offset, len, read } = pending;
        let result = read.blocking_recv().unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into()));
        let buffer = result.map_err(|error| {
            let errno = rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::IO);
            SkippedReason::Content { offset, errno: Errno(errno) }
        })?;
        let short = buffer.len() < self.room + len;
        let last = self.pending.is_empty() && self.at == self.end;
        Ok(Piece { buffer, short, last })
    }

    fn call(&mut self) -> Option<Result<Piece, SkippedReason>> {
        if self.at == self.end {
            return None;
        }
        let (offset, len) = self.take_next();
        let mut buffer = vec![0; self.room + len];
        Some(self.file.read_at(offset, &mut buffer[self.room..]).map(|filled| {
            buffer.truncate(self.room + filled);
            Piece { buffer, short: filled < len, last: self.at == self.end }
        }))
    }
}
