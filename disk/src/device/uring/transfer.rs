//! One operation as the ring sees it: what to submit, and what a completion means.

use std::os::fd::RawFd;

use io_uring::{opcode, squeue, types};
use nix::errno::Errno;
use nix::libc;

use super::DeviceFault;
use crate::buffer::AlignedBuf;
use crate::units::BLOCK;

/// The kernel moves a little less than 2 GiB at once; longer transfers take several submissions.
const LONGEST: usize = 1 << 30;

/// How often the kernel may say "not now" before that is the answer. It costs nothing to ask again,
/// because then nothing was done.
const PATIENCE: u32 = 16;

pub(super) enum Request {
    Read { offset: u64, buf: AlignedBuf },
    Write { offset: u64, buf: AlignedBuf },
    Flush,
    Discard { offset: u64, len: u64 },
}

pub(super) struct Transfer {
    request: Request,
    /// Bytes moved so far, whole blocks.
    done: usize,
    refusals: u32,
}

pub(super) enum Step {
    /// Submit what is left.
    Again,
    Ended(Result<(), DeviceFault>),
}

impl Transfer {
    pub(super) fn new(request: Request) -> Self {
        Self { request, done: 0, refusals: 0 }
    }

    pub(super) fn into_buf(self) -> Option<AlignedBuf> {
        match self.request {
            Request::Read { buf, .. } | Request::Write { buf, .. } => Some(buf),
            Request::Flush | Request::Discard { .. } => None,
        }
    }

    /// What to submit next, on the ring's own file `slot` if it has one.
    pub(super) fn entry(&mut self, slot: Option<u32>, fd: RawFd) -> squeue::Entry {
        let done = self.done;
        let slot = slot.and_then(|slot| RawFd::try_from(slot).ok());
        let file = types::Fd(slot.unwrap_or(fd));
        let entry = match &mut self.request {
            Request::Read { offset, buf } => {
                let rest = &mut buf[done..];
                let len = part_len(rest.len());
                opcode::Read::new(file, rest.as_mut_ptr(), len)
                    .offset(*offset + done as u64)
                    .build()
            }
            Request::Write { offset, buf } => {
                let rest = &buf[done..];
                let len = part_len(rest.len());
                opcode::Write::new(file, rest.as_ptr(), len).offset(*offset + done as u64).build()
            }
            Request::Flush => opcode::Fsync::new(file).flags(types::FsyncFlags::DATASYNC).build(),
            Request::Discard { offset, len } => opcode::Fallocate::new(file, *len)
                .offset(*offset)
                .mode(libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE)
                .build(),
        };
        if slot.is_some() { entry.flags(squeue::Flags::FIXED_FILE) } else { entry }
    }

    pub(super) fn advance(&mut self, result: i32) -> Step {
        if let Ok(moved) = usize::try_from(result) {
            return self.moved(moved);
        }
        let errno = Errno::from_raw(result.saturating_neg());
        let again = matches!(errno, Errno::EINTR | Errno::EAGAIN) && self.refusals < PATIENCE;
        // A flush is never asked for twice: the second answer could hide what the first one knew.
        if again && !matches!(self.request, Request::Flush) {
            self.refusals += 1;
            return Step::Again;
        }
        Step::Ended(match (&self.request, errno) {
            // Discarding is advice, and this device does not take it.
            (Request::Discard { .. }, Errno::EOPNOTSUPP) => Ok(()),
            _ => Err(DeviceFault::Os(errno)),
        })
    }

    fn moved(&mut self, moved: usize) -> Step {
        let (Request::Read { buf, .. } | Request::Write { buf, .. }) = &self.request else {
            return Step::Ended(Ok(()));
        };
        let reached = self.done + moved;
        if reached >= buf.len() {
            return Step::Ended(Ok(()));
        }
        // Go on from the last whole block: a direct transfer must begin at one, and moving some
        // bytes of a block twice moves the same bytes.
        let whole = reached - reached % BLOCK;
        if whole == self.done {
            return Step::Ended(Err(DeviceFault::Short { done: reached as u64 }));
        }
        self.done = whole;
        Step::Again
    }
}

fn part_len(rest: usize) -> u32 {
    u32::try_from(rest.min(LONGEST)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(blocks: usize) -> Transfer {
        Transfer::new(Request::Write { offset: 0, buf: AlignedBuf::zeroed(blocks * BLOCK) })
    }

    #[test]
    fn a_short_transfer_goes_on_from_the_last_whole_block() {
        let mut transfer = write(3);
        assert!(matches!(transfer.advance(5000), Step::Again));
        assert_eq!(transfer.done, BLOCK);
        assert!(matches!(transfer.advance(2 * 4096), Step::Ended(Ok(()))));
    }

    #[test]
    fn no_progress_is_an_error() {
        let ended = write(2).advance(0);
        assert!(matches!(ended, Step::Ended(Err(DeviceFault::Short { done: 0 }))));
        let ended = write(2).advance(512);
        assert!(matches!(ended, Step::Ended(Err(DeviceFault::Short { done: 512 }))));
    }

    #[test]
    fn patience_ends_and_a_flush_has_none() {
        let mut transfer = write(1);
        for _ in 0..PATIENCE {
            assert!(matches!(transfer.advance(-(Errno::EAGAIN as i32)), Step::Again));
        }
        let refused = Step::Ended(Err(DeviceFault::Os(Errno::EAGAIN)));
        assert!(same(&transfer.advance(-(Errno::EAGAIN as i32)), &refused));
        let mut flush = Transfer::new(Request::Flush);
        assert!(same(&flush.advance(-(Errno::EAGAIN as i32)), &refused));
    }

    fn same(left: &Step, right: &Step) -> bool {
        match (left, right) {
            (Step::Again, Step::Again) => true,
            (Step::Ended(left), Step::Ended(right)) => left == right,
            _ => false,
        }
    }
}
