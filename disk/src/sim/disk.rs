//! The handle the engine holds.

use std::fmt;

use super::media::Request;
use super::state::{Outcome, Pending};
use super::world::{DiskIndex, SimWorld};
use crate::buffer::AlignedBuf;
use crate::device::{
    Counters, Device, DeviceError, DeviceFault, DeviceOp, Geometry, Returned, check_range,
};

/// A disk of a [`SimWorld`]. Clones are the same disk; after a crash only a handle opened anew
/// answers.
#[derive(Clone)]
pub struct SimDisk {
    world: SimWorld,
    index: DiskIndex,
    generation: u64,
}

impl SimDisk {
    pub(super) fn new(world: SimWorld, index: DiskIndex, generation: u64) -> Self {
        Self { world, index, generation }
    }

    fn check(&self, op: DeviceOp, offset: u64, len: u64) -> Result<(), DeviceError> {
        let (device_len, alive) = self.world.with(|state| {
            let media = &state.disks[self.index];
            (media.live.size(), media.generation == self.generation)
        });
        if !alive {
            return Err(DeviceError { op, offset, len, fault: DeviceFault::Gone });
        }
        check_range(op, device_len, offset, len)
    }

    async fn run(&self, request: Request) -> Outcome {
        let id = self.world.with(|state| state.start_request(self.index, request));
        Pending::new(self.world.clone(), id).await
    }

    async fn run_with(&self, request: Request) -> Returned {
        let (result, buf) = self.run(request).await;
        (result, buf.expect("a transfer gives its buffer back"))
    }
}

impl Device for SimDisk {
    fn geometry(&self) -> Geometry {
        Geometry {
            len: self.world.with(|state| state.disks[self.index].live.size()),
            block: 512,
            direct: true,
            rotational: Some(false),
            write_cache: Some(true),
            name: format!("sim{}", self.index).into(),
        }
    }

    async fn read(&self, offset: u64, buf: AlignedBuf) -> Returned {
        match self.check(DeviceOp::Read, offset, buf.len() as u64) {
            Ok(()) => self.run_with(Request::Read { offset, buf }).await,
            Err(error) => (Err(error), buf),
        }
    }

    async fn write(&self, offset: u64, buf: AlignedBuf) -> Returned {
        match self.check(DeviceOp::Write, offset, buf.len() as u64) {
            Ok(()) => self.run_with(Request::Write { offset, buf }).await,
            Err(error) => (Err(error), buf),
        }
    }

    async fn flush(&self) -> Result<(), DeviceError> {
        self.check(DeviceOp::Flush, 0, 0)?;
        self.run(Request::Flush).await.0
    }

    async fn discard(&self, offset: u64, len: u64) -> Result<(), DeviceError> {
        self.check(DeviceOp::Discard, offset, len)?;
        self.run(Request::Discard { offset, len }).await.0
    }

    fn counters(&self) -> Counters {
        self.world.counters(self.index)
    }
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimDisk({} of {:?})", self.index, self.world)
    }
}
