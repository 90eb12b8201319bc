//! Which way a pool thread reaches its disks: a ring where the kernel gives one, else threads.

use std::sync::Arc;

use super::pread::PreadDevice;
use super::probe::OpenedDisk;
use super::uring::{Ring, RingError, UringDevice};
use super::{Counters, Device, DeviceError, Geometry, Returned};
use crate::buffer::AlignedBuf;
use crate::exec::{BellDriver, Driver, Unpark};
use crate::work::Work;

/// Operations that a pool thread keeps in the kernel at most.
pub const DEPTH: u32 = 64;

/// What the operator wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// A ring if there can be one.
    #[default]
    Best,
    /// Threads, though there might be a ring.
    Threads,
}

/// The way in, for one thread. `jobs` are where operations run when there is no ring.
#[derive(Clone, Debug)]
pub struct Backend<W> {
    way: Way,
    jobs: W,
}

#[derive(Clone, Debug)]
enum Way {
    Ring(Ring),
    Threads(BellDriver),
}

/// Neither way is open.
#[derive(Debug, thiserror::Error)]
#[error("the kernel gives no eventfd to wait on")]
pub struct NoBackend(#[source] std::io::Error);

impl<W: Work> Backend<W> {
    /// The best way this kernel allows, and why it is not a ring where one was wanted: to be said
    /// aloud. To be called on the thread that will run the executor.
    ///
    /// # Errors
    /// If the kernel gives not even an eventfd.
    pub fn new(choice: Choice, jobs: W) -> Result<(Self, Option<RingError>), NoBackend> {
        let why_not = match choice {
            Choice::Best => match Ring::new(DEPTH) {
                Ok(ring) => {
                    return Ok((Self { way: Way::Ring(ring), jobs }, None));
                }
                Err(error) => Some(error),
            },
            Choice::Threads => None,
        };
        let driver = BellDriver::new().map_err(NoBackend)?;
        Ok((Self { way: Way::Threads(driver), jobs }, why_not))
    }

    #[must_use]
    pub fn attach(&self, disk: OpenedDisk) -> AnyDevice<W> {
        match &self.way {
            Way::Ring(ring) => AnyDevice::Uring(ring.attach(disk)),
            Way::Threads(_) => AnyDevice::Pread(PreadDevice::new(disk, self.jobs.clone())),
        }
    }

    /// What the executor of this thread waits on.
    #[must_use]
    pub fn driver(&self) -> AnyDriver {
        AnyDriver(self.way.clone())
    }

    /// For people: how disks are reached.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self.way {
            Way::Ring(_) => "io_uring",
            Way::Threads(_) => "pread/pwrite",
        }
    }
}

#[derive(Clone, Debug)]
pub struct AnyDriver(Way);

impl Driver for AnyDriver {
    fn poll_io(&mut self) {
        match &mut self.0 {
            Way::Ring(ring) => ring.poll_io(),
            Way::Threads(driver) => driver.poll_io(),
        }
    }

    fn park(&mut self) {
        match &mut self.0 {
            Way::Ring(ring) => ring.park(),
            Way::Threads(driver) => driver.park(),
        }
    }

    fn unparker(&self) -> Arc<dyn Unpark> {
        match &self.0 {
            Way::Ring(ring) => ring.unparker(),
            Way::Threads(driver) => driver.unparker(),
        }
    }
}

/// A real disk, whichever way it is reached.
#[derive(Clone, Debug)]
pub enum AnyDevice<W> {
    Uring(UringDevice),
    Pread(PreadDevice<W>),
}

impl<W: Work> Device for AnyDevice<W> {
    fn geometry(&self) -> Geometry {
        match self {
            Self::Uring(device) => device.geometry(),
            Self::Pread(device) => device.geometry(),
        }
    }

    async fn read(&self, offset: u64, buf: AlignedBuf) -> Returned {
        match self {
            Self::Uring(device) => device.read(offset, buf).await,
            Self::Pread(device) => device.read(offset, buf).await,
        }
    }

    async fn write(&self, offset: u64, buf: AlignedBuf) -> Returned {
        match self {
            Self::Uring(device) => device.write(offset, buf).await,
            Self::Pread(device) => device.write(offset, buf).await,
        }
    }

    async fn flush(&self) -> Result<(), DeviceError> {
        match self {
            Self::Uring(device) => device.flush().await,
            Self::Pread(device) => device.flush().await,
        }
    }

    async fn discard(&self, offset: u64, len: u64) -> Result<(), DeviceError> {
        match self {
            Self::Uring(device) => device.discard(offset, len).await,
            Self::Pread(device) => device.discard(offset, len).await,
        }
    }

    fn counters(&self) -> Counters {
        match self {
            Self::Uring(device) => device.counters(),
            Self::Pread(device) => device.counters(),
        }
    }
}
