//! What of an open pool never changes: its disks, keys, and the arithmetic of places.

use std::cell::Cell;
use std::fmt;

use futures_util::lock::Mutex;
use keelhold_chunk::IdKey;
use keelhold_chunk::cut::CutParams;

use crate::buffer::AlignedBuf;
use crate::device::latch::Latched;
use crate::device::{Device, DeviceError};
use crate::error::ReadError;
use crate::format::{ChecksumKey, Place, Zones};
use crate::mutants::{Mutant, Mutants};
use crate::seal::DataKey;
use crate::units::{BLOCK, BLOCK_U64, DiskId, PoolId};

/// Containers are numbered disk by disk: this many bits count the slots of one.
const SLOT_BITS: u32 = 20;

/// One disk of an open pool.
pub(super) struct Disk<D> {
    pub(super) id: DiskId,
    pub(super) device: Latched<D>,
    pub(super) zones: Zones,
    /// A write has ended that no flush begun afterwards covers.
    pub(super) dirty: Cell<bool>,
    pub(super) flushing: Mutex<()>,
    pub(super) mutants: Mutants,
    /// Bytes of writes under way: new runs go where there are fewest.
    pub(super) in_flight: Cell<u64>,
}

pub(super) struct Fixed {
    pub(super) pool: PoolId,
    pub(super) secret: [u8; 32],
    /// Of labels' followers that belong to no container: superblocks, journal, container headers.
    pub(super) key: ChecksumKey,
    pub(super) id_key: IdKey,
    pub(super) cut: CutParams,
    pub(super) index_secret: [u8; 32],
    /// What runs and journal entries are sealed under, in an encrypted pool.
    pub(super) seal: Option<DataKey>,
    pub(super) container_len: u64,
    pub(super) journal_len: u64,
}

/// Number of the container in slot `slot` of the disk with index `disk`.
pub(super) fn container_number(disk: usize, slot: u64) -> u32 {
    assert!(slot < 1 << SLOT_BITS && disk < 1 << (32 - SLOT_BITS));
    (disk as u32) << SLOT_BITS | slot as u32
}

/// Disk index and slot of a container.
pub(super) fn container_slot(container: u32) -> (usize, u64) {
    ((container >> SLOT_BITS) as usize, u64::from(container & ((1 << SLOT_BITS) - 1)))
}

impl Fixed {
    /// Checksum key of the runs of a container's generation.
    pub(super) fn run_key(&self, salt: &[u8; 16]) -> ChecksumKey {
        ChecksumKey::new(&self.secret, salt)
    }

    pub(super) fn container_blocks(&self) -> u32 {
        (self.container_len / BLOCK_U64) as u32
    }

    /// Largest journal entry: four of them always fit beside what two checkpoints still need.
    pub(super) fn entry_limit(&self) -> u64 {
        self.journal_len / 8
    }
}

impl<D: Device> Disk<D> {
    pub(super) fn place(&self, offset: u64) -> Place {
        Place { disk: self.id, offset }
    }

    /// Byte offset of a block inside a container.
    pub(super) fn offset(&self, container: u32, block: u16) -> u64 {
        self.zones.container(container_slot(container).1) + u64::from(block) * BLOCK_U64
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
        let (result, buf) = self.device.read(offset, buf).await;
        match result {
            Ok(()) => Ok(buf),
            Err(source) => Err(ReadError::Device { disk: self.id, source }),
        }
    }

    /// Writes and marks the disk as in need of a flush.
    pub(super) async fn write(&self, offset: u64, buf: AlignedBuf) -> Result<(), DeviceError> {
        let covers = self.mutants.keeps(Mutant::FlushCover);
        if !covers {
            self.dirty.set(true);
        }
        let len = buf.len() as u64;
        self.in_flight.set(self.in_flight.get() + len);
        let (result, _buf) = self.device.write(offset, buf).await;
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
        // Somebody else's flush may be the one that covers our writes: it must have ended.
        let _turn = match self.mutants.keeps(Mutant::FlushCover) {
            true => Some(self.flushing.lock().await),
            false => None,
        };
        if !self.dirty.replace(false) {
            return Ok(());
        }
        let result = self.device.flush().await;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn container_numbers_come_apart_again() {
        for (disk, slot) in [(0, 0), (1, 7), (63, (1 << 20) - 1)] {
            assert_eq!(container_slot(container_number(disk, slot)), (disk, slot));
        }
    }
}
