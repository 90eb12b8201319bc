//! Devices without io_uring: every operation is one job of the injected [`Work`], a plain system
//! call on a thread of its own.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;

use nix::errno::Errno;
use rustix::fs::FallocateFlags;

use super::probe::OpenedDisk;
use super::{
    CounterCells, Counters, Device, DeviceError, DeviceFault, DeviceOp, Geometry, Returned,
    check_range,
};
use crate::buffer::AlignedBuf;
use crate::units::BLOCK;
use crate::work::Work;

/// An open disk whose operations run as jobs. Clones are the same disk.
#[derive(Clone)]
pub struct PreadDevice<W> {
    inner: Rc<Inner<W>>,
}

struct Inner<W> {
    // Shared with the jobs, so that the file stays open under those nobody awaits any more.
    fd: Arc<OwnedFd>,
    work: W,
    geometry: Geometry,
    discards: bool,
    counters: CounterCells,
}

impl<W: Work> PreadDevice<W> {
    pub fn new(disk: OpenedDisk, work: W) -> Self {
        let OpenedDisk { fd, geometry, discards } = disk;
        let counters = CounterCells::default();
        let inner = Inner { fd: Arc::new(fd), work, geometry, discards, counters };
        Self { inner: Rc::new(inner) }
    }

    fn check(&self, op: DeviceOp, offset: u64, len: u64) -> Result<(), DeviceError> {
        check_range(op, self.inner.geometry.len, offset, len)
    }
}

impl<W: Work> Device for PreadDevice<W> {
    fn geometry(&self) -> Geometry {
        self.inner.geometry.clone()
    }

    async fn read(&self, offset: u64, mut buf: AlignedBuf) -> Returned {
        let len = buf.len() as u64;
        if let Err(error) = self.check(DeviceOp::Read, offset, len) {
            return (Err(error), buf);
        }
        self.inner.counters.read(len);
        let fd = Arc::clone(&self.inner.fd);
        let job = move || {
            let result = transfer(buf.len(), |done| {
                rustix::io::pread(&*fd, &mut buf[done..], offset + done as u64)
            });
            (result, buf)
        };
        let (result, buf) = self.inner.work.run(job).await;
        (result.map_err(|fault| DeviceError { op: DeviceOp::Read, offset, len, fault }), buf)
    }

    async fn write(&self, offset: u64, buf: AlignedBuf) -> Returned {
        let len = buf.len() as u64;
        if let Err(error) = self.check(DeviceOp::Write, offset, len) {
            return (Err(error), buf);
        }
        self.inner.counters.write(len);
        let fd = Arc::clone(&self.inner.fd);
        let job = move || {
            let result = transfer(buf.len(), |done| {
                rustix::io::pwrite(&*fd, &buf[done..], offset + done as u64)
            });
            (result, buf)
        };
        let (result, buf) = self.inner.work.run(job).await;
        (result.map_err(|fault| DeviceError { op: DeviceOp::Write, offset, len, fault }), buf)
    }

    async fn flush(&self) -> Result<(), DeviceError> {
        self.inner.counters.flush();
        let fd = Arc::clone(&self.inner.fd);
        // Asked once, whatever the answer: a second one could hide what the first one knew.
        let result = self.inner.work.run(move || rustix::fs::fdatasync(&*fd)).await;
        result.map_err(|errno| DeviceError {
            op: DeviceOp::Flush,
            offset: 0,
            len: 0,
            fault: fault_of(errno),
        })
    }

    async fn discard(&self, offset: u64, len: u64) -> Result<(), DeviceError> {
        self.check(DeviceOp::Discard, offset, len)?;
        self.inner.counters.discard();
        if !self.inner.discards || len == 0 {
            return Ok(());
        }
        let fd = Arc::clone(&self.inner.fd);
        let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        let job = move || rustix::fs::fallocate(&*fd, punch, offset, len);
        match self.inner.work.run(job).await {
            // Discarding is advice, and this device does not take it.
            Ok(()) | Err(rustix::io::Errno::OPNOTSUPP) => Ok(()),
            Err(errno) => {
                let fault = fault_of(errno);
                Err(DeviceError { op: DeviceOp::Discard, offset, len, fault })
            }
        }
    }

    fn counters(&self) -> Counters {
        self.inner.counters.get()
    }
}

/// Calls `part` with the bytes done so far until `len` are.
fn transfer(
    len: usize,
    mut part: impl FnMut(usize) -> rustix::io::Result<usize>,
) -> Result<(), DeviceFault> {
    let mut done = 0;
    while done < len {
        let moved = match part(done) {
            Ok(moved) => moved,
            Err(rustix::io::Errno::INTR) => continue,
            Err(errno) => return Err(fault_of(errno)),
        };
        let reached = done + moved;
        // Go on from the last whole block: a direct transfer must begin at one.
        let whole = if reached >= len { len } else { reached - reached % BLOCK };
        if whole == done {
            return Err(DeviceFault::Short { done: reached as u64 });
        }
        done = whole;
    }
    Ok(())
}

fn fault_of(errno: rustix::io::Errno) -> DeviceFault {
    let raw = io::Error::from(errno).raw_os_error().unwrap_or(0);
    DeviceFault::Os(Errno::from_raw(raw))
}

impl<W> fmt::Debug for PreadDevice<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PreadDevice({})", self.inner.geometry.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_parts_go_on_and_no_progress_ends() {
        let mut asked = Vec::new();
        let mut parts = vec![Ok(5000), Err(rustix::io::Errno::INTR), Ok(8192)].into_iter();
        let all = transfer(3 * BLOCK, |done| {
            asked.push(done);
            parts.next().unwrap()
        });
        assert_eq!((all, asked), (Ok(()), vec![0, BLOCK, BLOCK]));
        assert_eq!(transfer(BLOCK, |_| Ok(100)), Err(DeviceFault::Short { done: 100 }));
        let failed = transfer(BLOCK, |_| Err(rustix::io::Errno::IO));
        assert_eq!(failed, Err(DeviceFault::Os(Errno::EIO)));
    }
}
