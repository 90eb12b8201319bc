//! One disk on a ring.

use std::fmt;
use std::os::fd::AsRawFd as _;
use std::rc::Rc;

use super::transfer::Request;
use super::{FileId, Pending, Ring, RingFile};
use crate::buffer::AlignedBuf;
use crate::device::probe::OpenedDisk;
use crate::device::{
    CounterCells, Counters, Device, DeviceError, DeviceFault, DeviceOp, Geometry, Returned,
    check_range,
};

/// An open disk on a [`Ring`]. When the last clone is gone, the disk is closed as soon as its last
/// operation has ended.
#[derive(Clone)]
pub struct UringDevice {
    inner: Rc<Inner>,
}

struct Inner {
    ring: Ring,
    file: FileId,
    geometry: Geometry,
    discards: bool,
    counters: CounterCells,
}

impl Ring {
    /// Takes an open disk over.
    #[must_use]
    pub fn attach(&self, disk: OpenedDisk) -> UringDevice {
        let OpenedDisk { fd, geometry, discards } = disk;
        let state = &mut *self.state.borrow_mut();
        let slot = state.free_slots.pop().filter(|slot| {
            state.ring.submitter().register_files_update(*slot, &[fd.as_raw_fd()]).is_ok()
        });
        let file = state.next_file;
        state.next_file += 1;
        state.files.insert(file, RingFile { fd, slot, closing: false });
        let counters = CounterCells::default();
        let inner = Inner { ring: self.clone(), file, geometry, discards, counters };
        UringDevice { inner: Rc::new(inner) }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let state = &mut *self.ring.state.borrow_mut();
        if let Some(file) = state.files.get_mut(&self.file) {
            file.closing = true;
        }
        state.close_if_unused(self.file);
    }
}

impl UringDevice {
    fn check(&self, op: DeviceOp, offset: u64, len: u64) -> Result<(), DeviceError> {
        check_range(op, self.inner.geometry.len, offset, len)
    }

    async fn run(&self, request: Request) -> (Result<(), DeviceFault>, Option<AlignedBuf>) {
        let ring = self.inner.ring.clone();
        let id = ring.state.borrow_mut().begin(self.inner.file, request);
        Pending { ring, id }.await
    }

    async fn run_with(&self, op: DeviceOp, offset: u64, request: Request) -> Returned {
        let (result, buf) = self.run(request).await;
        let buf = buf.expect("a transfer gives its buffer back");
        let len = buf.len() as u64;
        (result.map_err(|fault| DeviceError { op, offset, len, fault }), buf)
    }
}

impl Device for UringDevice {
    fn geometry(&self) -> Geometry {
        self.inner.geometry.clone()
    }

    async fn read(&self, offset: u64, buf: AlignedBuf) -> Returned {
        if let Err(error) = self.check(DeviceOp::Read, offset, buf.len() as u64) {
            return (Err(error), buf);
        }
        self.inner.counters.read(buf.len() as u64);
        self.run_with(DeviceOp::Read, offset, Request::Read { offset, buf }).await
    }

    async fn write(&self, offset: u64, buf: AlignedBuf) -> Returned {
        if let Err(error) = self.check(DeviceOp::Write, offset, buf.len() as u64) {
            return (Err(error), buf);
        }
        self.inner.counters.write(buf.len() as u64);
        self.run_with(DeviceOp::Write, offset, Request::Write { offset, buf }).await
    }

    async fn flush(&self) -> Result<(), DeviceError> {
        self.inner.counters.flush();
        let (result, _) = self.run(Request::Flush).await;
        result.map_err(|fault| DeviceError { op: DeviceOp::Flush, offset: 0, len: 0, fault })
    }

    async fn discard(&self, offset: u64, len: u64) -> Result<(), DeviceError> {
        self.check(DeviceOp::Discard, offset, len)?;
        self.inner.counters.discard();
        if !self.inner.discards || len == 0 {
            return Ok(());
        }
        let (result, _) = self.run(Request::Discard { offset, len }).await;
        result.map_err(|fault| DeviceError { op: DeviceOp::Discard, offset, len, fault })
    }

    fn counters(&self) -> Counters {
        self.inner.counters.get()
    }
}

impl fmt::Debug for UringDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UringDevice({})", self.inner.geometry.name)
    }
}
