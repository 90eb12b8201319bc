//! Who a disk is: first and last block, never moved, rewritten only when the disk joins or leaves.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::head::{ChecksumKey, Head, HeadFault, Magic, Place};
use crate::units::{BLOCK, BLOCK_U64, DiskId, PoolId};

/// Blocks before the first journal zone: label, two superblocks, the rest reserved.
const FRONT_BLOCKS: u64 = 16;
/// Blocks after the second journal zone: reserved, two superblocks, label.
const BACK_BLOCKS: u64 = 16;

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Raw {
    head: Head,
    secret: [u8; 32],
    disk_index: U16,
    copies: U16,
    reserved: U32,
    created_at: U64,
    disk_len: U64,
    container_len: U64,
    container_count: U64,
    journal_len: U64,
    reserved_tail: [u8; 3936],
}

const _: () = assert!(size_of::<Raw>() == BLOCK);
const _: () = assert!(std::mem::offset_of!(Raw, secret) == 80);
const _: () = assert!(std::mem::offset_of!(Raw, container_len) == 136);

/// Where things lie on one disk. Derived from a label; the same arithmetic for every disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Zones {
    pub disk_len: u64,
    pub container_len: u64,
    pub container_count: u64,
    pub journal_len: u64,
}

impl Zones {
    /// Lays a disk out: as many whole containers as fit between the journals.
    #[must_use]
    pub fn plan(disk_len: u64, container_len: u64, journal_len: u64) -> Option<Self> {
        let fixed = (FRONT_BLOCKS + BACK_BLOCKS) * BLOCK_U64 + 2 * journal_len;
        // Slots are counted in 20 bits; a larger disk wants larger containers.
        let container_count = (disk_len.checked_sub(fixed)? / container_len).min((1 << 20) - 1);
        (container_count > 0).then_some(Self {
            disk_len,
            container_len,
            container_count,
            journal_len,
        })
    }

    fn is_sound(&self) -> bool {
        let aligned = |len: u64| len > 0 && len.is_multiple_of(BLOCK_U64);
        // Run offsets inside a container are kept as 16-bit block counts.
        aligned(self.disk_len)
            && aligned(self.container_len)
            && aligned(self.journal_len)
            && self.container_len / BLOCK_U64 <= 1 << 16
            && self.container_count < 1 << 20
            && self.container_count.checked_mul(self.container_len).is_some_and(|containers| {
                let fixed = (FRONT_BLOCKS + BACK_BLOCKS) * BLOCK_U64;
                self.journal_len
                    .checked_mul(2)
                    .and_then(|journals| journals.checked_add(fixed)?.checked_add(containers))
                    .is_some_and(|end| end <= self.disk_len)
            })
    }

    #[must_use]
    pub fn labels(&self) -> [u64; 2] {
        [0, self.disk_len - BLOCK_U64]
    }

    /// Four copies; the pairs (0, 2) and (1, 3) are written one after the other.
    #[must_use]
    pub fn superblocks(&self) -> [u64; 4] {
        let end = self.disk_len;
        [BLOCK_U64, 2 * BLOCK_U64, end - 3 * BLOCK_U64, end - 2 * BLOCK_U64]
    }

    /// The journal zone near the front and the one near the end.
    #[must_use]
    pub fn journals(&self) -> [u64; 2] {
        let back = self.disk_len - BACK_BLOCKS * BLOCK_U64 - self.journal_len;
        [FRONT_BLOCKS * BLOCK_U64, back]
    }

    #[must_use]
    pub fn container(&self, slot: u64) -> u64 {
        debug_assert!(slot < self.container_count);
        FRONT_BLOCKS * BLOCK_U64 + self.journal_len + slot * self.container_len
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    pub pool: PoolId,
    pub disk: DiskId,
    pub disk_index: u16,
    /// Copies of every container: 1, or 2 on two disks.
    pub copies: u16,
    pub created_at: u64,
    pub zones: Zones,
    /// The pool's checksum secret. In clear: it keeps strangers' bytes from passing as ours, it does
    /// not keep anything secret from who holds the disk.
    pub secret: [u8; 32],
}

impl Label {
    /// The block for one of the label's two places.
    #[must_use]
    pub fn encode(&self, offset: u64) -> [u8; BLOCK] {
        let mut raw = Raw::read_from_bytes(&[0; BLOCK]).expect("size is asserted above");
        raw.secret = self.secret;
        raw.disk_index = U16::new(self.disk_index);
        raw.copies = U16::new(self.copies);
        raw.created_at = U64::new(self.created_at);
        raw.disk_len = U64::new(self.zones.disk_len);
        raw.container_len = U64::new(self.zones.container_len);
        raw.container_count = U64::new(self.zones.container_count);
        raw.journal_len = U64::new(self.zones.journal_len);
        let mut block = [0; BLOCK];
        block.copy_from_slice(raw.as_bytes());
        let place = Place { disk: self.disk, offset };
        let key = ChecksumKey::public();
        Head::seal(&mut block, &key, Magic::Label, self.pool, place, 1);
        block
    }

    pub fn decode(block: &[u8], offset: u64) -> Result<Self, HeadFault> {
        let (head, covered) = Head::open(block, &ChecksumKey::public(), Magic::Label)?;
        let raw =
            Raw::read_from_bytes(covered).map_err(|_| HeadFault::Len { found: head.len.get() })?;
        let disk = DiskId(head.disk);
        let pool = PoolId(head.pool);
        head.expect(pool, Place { disk, offset })?;
        if raw.reserved != U32::ZERO || raw.reserved_tail.iter().any(|byte| *byte != 0) {
            return Err(HeadFault::Reserved);
        }
        let zones = Zones {
            disk_len: raw.disk_len.get(),
            container_len: raw.container_len.get(),
            container_count: raw.container_count.get(),
            journal_len: raw.journal_len.get(),
        };
        if !zones.is_sound() || !(1..=2).contains(&raw.copies.get()) {
            return Err(HeadFault::Content);
        }
        Ok(Self {
            pool,
            disk,
            disk_index: raw.disk_index.get(),
            copies: raw.copies.get(),
            created_at: raw.created_at.get(),
            zones,
            secret: raw.secret,
        })
    }
}

pub(super) fn fields() -> super::raw::Fields {
    super::raw::fields!(Raw: head, secret, disk_index, copies, reserved, created_at, disk_len, container_len, container_count, journal_len, reserved_tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label() -> Label {
        Label {
            pool: PoolId([1; 16]),
            disk: DiskId([2; 16]),
            disk_index: 3,
            copies: 1,
            created_at: 4,
            zones: Zones::plan(64 << 20, 1 << 20, 256 << 10).unwrap(),
            secret: [5; 32],
        }
    }

    #[test]
    fn comes_back_from_both_places_and_only_there() {
        let label = label();
        for offset in label.zones.labels() {
            let block = label.encode(offset);
            assert_eq!(Label::decode(&block, offset), Ok(label.clone()));
            assert!(Label::decode(&block, offset + 4096).is_err());
        }
    }

    #[test]
    fn zones_do_not_overlap_and_end_inside_the_disk() {
        for disk_len in [3 << 20, 8 << 20, (64 << 20) + 4096, 1 << 40] {
            let zones = Zones::plan(disk_len, 256 << 10, 128 << 10).unwrap();
            assert!(zones.is_sound());
            let [front, back] = zones.journals();
            assert!(zones.superblocks()[1] < front);
            assert_eq!(front + zones.journal_len, zones.container(0));
            assert!(zones.container(zones.container_count - 1) + zones.container_len <= back);
            assert!(back + zones.journal_len < zones.superblocks()[2]);
            assert!(zones.superblocks()[3] < zones.labels()[1]);
        }
        assert_eq!(Zones::plan(1 << 20, 1 << 20, 128 << 10), None);
    }
}
