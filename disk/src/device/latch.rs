//! After a failed write or flush a disk is fenced: nothing may be written to it until it was opened
//! anew.
//!
//! The kernel tells of a lost write once and then forgets it; a second flush would say ok about
//! bytes that are gone. So the first failure latches:
//!
//! - every later write, flush and discard is refused with [`DeviceFault::Fenced`];
//! - those that were in flight at that moment count as failed, whatever the device says of them;
//! - reads go on, because what was durable before is still the truth.
//!
//! A write whose future was dropped has nobody to tell; whoever drops one gives up the place it
//! wrote to.

use std::cell::RefCell;
use std::rc::Rc;

use super::{Counters, Device, DeviceError, DeviceFault, DeviceOp, Geometry, Returned};
use crate::buffer::AlignedBuf;

/// A device behind a latch that all clones share.
#[derive(Clone, Debug)]
pub struct Latched<D> {
    device: D,
    first_failure: Rc<RefCell<Option<DeviceError>>>,
}

impl<D: Device> Latched<D> {
    pub fn new(device: D) -> Self {
        Self { device, first_failure: Rc::default() }
    }

    /// The failure that fenced the disk.
    #[must_use]
    pub fn fenced_by(&self) -> Option<DeviceError> {
        self.first_failure.borrow().clone()
    }

    /// Fences the disk for a reason found above the device, such as bytes that read back wrong.
    pub fn fence(&self, reason: DeviceError) {
        self.first_failure.borrow_mut().get_or_insert(reason);
    }

    fn refuse_if_fenced(&self, op: DeviceOp, offset: u64, len: u64) -> Result<(), DeviceError> {
        if self.first_failure.borrow().is_some() {
            return Err(DeviceError { op, offset, len, fault: DeviceFault::Fenced });
        }
        Ok(())
    }

    /// What the device said of an operation, seen in the light of what failed meanwhile.
    fn judge(
        &self,
        result: Result<(), DeviceError>,
        op: DeviceOp,
        offset: u64,
        len: u64,
    ) -> Result<(), DeviceError> {
        match result {
            Ok(()) => self.refuse_if_fenced(op, offset, len),
            Err(error) => {
                if error.fences_disk() {
                    self.fence(error.clone());
                }
                Err(error)
            }
        }
    }
}

impl<D: Device> Device for Latched<D> {
    fn geometry(&self) -> Geometry {
        self.device.geometry()
    }

    async fn read(&self, offset: u64, buf: AlignedBuf) -> Returned {
        self.device.read(offset, buf).await
    }

    async fn write(&self, offset: u64, buf: AlignedBuf) -> Returned {
        let len = buf.len() as u64;
        if let Err(error) = self.refuse_if_fenced(DeviceOp::Write, offset, len) {
            return (Err(error), buf);
        }
        let (result, buf) = self.device.write(offset, buf).await;
        (self.judge(result, DeviceOp::Write, offset, len), buf)
    }

    async fn flush(&self) -> Result<(), DeviceError> {
        self.refuse_if_fenced(DeviceOp::Flush, 0, 0)?;
        let result = self.device.flush().await;
        self.judge(result, DeviceOp::Flush, 0, 0)
    }

    async fn discard(&self, offset: u64, len: u64) -> Result<(), DeviceError> {
        self.refuse_if_fenced(DeviceOp::Discard, offset, len)?;
        self.device.discard(offset, len).await
    }

    fn counters(&self) -> Counters {
        self.device.counters()
    }
}
