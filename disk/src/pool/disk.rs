//! One disk of an open pool: what it is to the pool, and its five verbs.

use std::cell::Cell;
use std::fmt;

use futures_util::lock::Mutex;

use crate::buffer::AlignedBuf;
use crate::device::latch::Latched;
use crate::device::{Device, DeviceError, DeviceFault, DeviceOp};
use crate::error::ReadError;
use crate::format::{DiskRow, DiskState, Place, Zones};
use crate::mutants::{Mutant, Mutants};
use crate::units::{BLOCK, BLOCK_U64, DiskId};

/// One disk of an open pool, there or missing.
pub(super) struct Disk<D> {
    /// Position in the superblock's list: never another disk's.
    pub(super) index: usize,
    pub(super) id: DiskId,
    /// None while the disk is missing.
    pub(super) device: Option<Latched<D>>,
    pub(super) zones: Zones,
    pub(super) state: Cell<DiskState>,
    pub(super) left_epoch: Cell<u64>,
    /// No durable root lists it yet.
    pub(super) joining: Cell<bool>,
    /// A write has ended that no flush begun afterwards covers.
    pub(super) dirty: Cell<bool>,
    pub(super) flushing: Mutex<()>,
    pub(super) mutants: Mutants,
    /// Bytes of writes under way: new runs go where there are fewest.
    pub(super) in_flight: Cell<u64>,
    /// Reads under way: a disk that has many is slow, whatever a clock would say.
    pub(super) reading: Cell<u32>,
    pub(super) faults: Faults,
}

/// What went wrong with a disk since the pool was opened, by kind.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// Reads the device refused.
    pub(super) read_errors: Cell<u64>,
    /// Reads that gave other bytes than were written.
    pub(super) mismatches: Cell<u64>,
    /// Failed writes and flushes: the first of them fences the disk.
    pub(super) write_errors: Cell<u64>,
}

/// Counts a read while it is under way, also if it is given up.
struct Reading<'a>(&'a Cell<u32>);

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

fn gone(op: DeviceOp, offset: u64, len: usize) -> DeviceError {
    DeviceError { op, offset, len: len as u64, fault: DeviceFault::Gone }
}

impl<D: Device> Disk<D> {
    pub(super) fn new(
        index: usize,
        row: DiskRow,
        device: Option<D>,
        zones: Zones,
        mutants: Mutants,
    ) -> Self {
        Self {
            index,
            id: row.id,
            device: device.map(Latched::new),
            zones,
            state: Cell::new(row.state),
            left_epoch: Cell::new(row.left_epoch),
            joining: Cell::new(false),
            dirty: Cell::new(false),
            flushing: Mutex::new(()),
            mutants,
            in_flight: Cell::new(0),
            reading: Cell::new(0),
            faults: Faults::default(),
        }
    }

    pub(super) fn row(&self) -> DiskRow {
        DiskRow { id: self.id, state: self.state.get(), left_epoch: self.left_epoch.get() }
    }

    /// Whether it is part of what is written.
    pub(super) fn is_written(&self) -> bool {
        matches!(self.state.get(), DiskState::Online | DiskState::Draining) && self.is_there()
    }

    /// Whether new containers and the journal may be put there.
    pub(super) fn takes_new(&self) -> bool {
        self.state.get() == DiskState::Online && self.is_there() && !self.joining.get()
    }

    /// Whether it can be asked for bytes. One that failed a write still has what was durable.
    pub(super) fn is_there(&self) -> bool {
        self.device.is_some()
    }

    pub(super) fn holds_slot(&self, slot: u32) -> bool {
        self.device.is_none() || u64::from(slot) < self.zones.container_count
    }

    pub(super) fn place(&self, offset: u64) -> Place {
        Place { disk: self.id, offset }
    }

    /// Byte offset of a block inside the container in a slot.
    pub(super) fn offset(&self, slot: u32, block: u16) -> u64 {
        self.zones.container(u64::from(slot)) + u64::from(block) * BLOCK_U64
    }

    /// Reads whole blocks; `len` is rounded up and cut off at the end of the disk.
    pub(super) async fn read(&self, offset: u64, len: usize) -> Result<AlignedBuf, ReadError> {
        self.read_into(offset, AlignedBuf::zeroed(self.whole_blocks(offset, len))).await
    }

    /// `len` rounded up to blocks and cut off at the end of the disk.
    pub(super) fn whole_blocks(&self, offset: u64, len: usize) -> usize {
        let left = self.zones.disk_len.saturating_sub(offset) as usize;
        len.next_multiple_of(BLOCK).min(left)
    }

    /// Fills `buf`, which must end where the disk ends, or before.
    pub(super) async fn read_into(
        &self,
        offset: u64,
        buf: AlignedBuf,
    ) -> Result<AlignedBuf, ReadError> {
        let Some(device) = &self.device else {
            let source = gone(DeviceOp::Read, offset, buf.len());
            return Err(ReadError::Device { disk: self.id, source });
        };
        self.reading.set(self.reading.get() + 1);
        let _reading = Reading(&self.reading);
        let (mut result, mut buf) = device.read(offset, buf).await;
        if result.as_ref().is_err_and(|error| error.fault != DeviceFault::Gone) {
            // Two reads before a verdict: one failure may have been the way and not the medium.
            self.faults.read_errors.set(self.faults.read_errors.get() + 1);
            (result, buf) = device.read(offset, buf).await;
        }
        match result {
            Ok(()) => Ok(buf),
            Err(source) => Err(ReadError::Device { disk: self.id, source }),
        }
    }

    /// Writes and marks the disk as in need of a flush.
    pub(super) async fn write(&self, offset: u64, buf: AlignedBuf) -> Result<(), DeviceError> {
        let Some(device) = &self.device else {
            return Err(gone(DeviceOp::Write, offset, buf.len()));
        };
        let covers = self.mutants.keeps(Mutant::FlushCover);
        if !covers {
            self.dirty.set(true);
        }
        let len = buf.len() as u64;
        self.in_flight.set(self.in_flight.get() + len);
        let (result, _buf) = device.write(offset, buf).await;
        self.in_flight.set(self.in_flight.get() - len);
        if covers {
            // Only now: a flush that began while the write was under way does not cover it.
            self.dirty.set(true);
        }
        result
    }

    /// Flushes if a write has ended since the last flush began. When this returns, every write that
    /// had ended before the call is durable.
    pub(super) async fn flush(&self) -> Result<(), DeviceError> {
        let Some(device) = &self.device else {
            return Err(gone(DeviceOp::Flush, 0, 0));
        };
        // Somebody else's flush may be the one that covers our writes: it must have ended.
        let _turn = match self.mutants.keeps(Mutant::FlushCover) {
            true => Some(self.flushing.lock().await),
            false => None,
        };
        if !self.dirty.replace(false) {
            return Ok(());
        }
        let result = device.flush().await;
        if result.is_err() {
            self.dirty.set(true);
        }
        result
    }
}

impl<D> fmt::Debug for Disk<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Disk({})", self.id)
    }
}
