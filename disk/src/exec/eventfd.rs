//! Parking on an eventfd: how a thread without a ring waits, and how any thread ends a park.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::io::Errno;

use super::{Driver, Unpark};

/// Rung from any thread, heard by the one that parks. Clones are the same bell.
#[derive(Clone)]
pub struct Bell {
    fd: Arc<OwnedFd>,
}

impl Bell {
    /// # Errors
    /// What the kernel says if it gives no eventfd.
    pub fn new() -> Result<Self, std::io::Error> {
        let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { fd: Arc::new(fd) })
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Forgets every ring so far.
    pub(crate) fn silence(&self) {
        // Would block: it did not ring. Nothing else can come from an eventfd that is ours.
        let _rung = rustix::io::read(&*self.fd, &mut [0u8; 8]);
    }
}

impl Unpark for Bell {
    fn unpark(&self) {
        // Would block: the count is at its limit, so it rings already. Any count but zero rings.
        let _full = rustix::io::write(&*self.fd, &1u64.to_le_bytes());
    }
}

impl fmt::Debug for Bell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bell")
    }
}

/// The driver where all operations run as work on other threads: nothing to poll, only to be woken.
#[derive(Clone, Debug)]
pub struct BellDriver {
    bell: Bell,
}

impl BellDriver {
    /// # Errors
    /// What the kernel says if it gives no eventfd.
    pub fn new() -> Result<Self, std::io::Error> {
        Ok(Self { bell: Bell::new()? })
    }
}

impl Driver for BellDriver {
    fn poll_io(&mut self) {}

    fn park(&mut self) {
        let mut fds = [PollFd::new(&*self.bell.fd, PollFlags::IN)];
        // Interrupted by a signal: an early return, which the contract of a park allows.
        while let Err(Errno::AGAIN) = poll(&mut fds, None) {}
        self.bell.silence();
    }

    fn unparker(&self) -> Arc<dyn Unpark> {
        Arc::new(self.bell.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_before_the_park_ends_it_and_counts_once() {
        let mut driver = BellDriver::new().unwrap();
        let unparker = driver.unparker();
        unparker.unpark();
        unparker.unpark();
        driver.park();
        let mut fds = [PollFd::new(&*driver.bell.fd, PollFlags::IN)];
        let now = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
        assert_eq!(poll(&mut fds, Some(&now)).unwrap(), 0, "both rings were heard");
    }
}
