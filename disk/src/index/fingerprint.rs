//! What stands in the index for an id, and how it spreads over the shards.

use std::fmt;

use keelhold_chunk::ChunkId;

use super::shard::TAG_BITS;

/// 64 bits of keyed BLAKE3 of a chunk id. The index uses the first 34 to 40 of them, checkpoints
/// keep all, so that an index with more shards can be made from them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub u64);

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "~{:016x}", self.0)
    }
}

pub(super) struct Fingerprinter {
    key: [u8; 32],
}

impl Fingerprinter {
    pub fn new(secret: [u8; 32]) -> Self {
        Self { key: blake3::derive_key("keelhold 2026 index fingerprint", &secret) }
    }

    pub fn of(&self, id: &ChunkId) -> Fingerprint {
        let hash = blake3::keyed_hash(&self.key, id.as_bytes());
        let mut first = [0; 8];
        first.copy_from_slice(&hash.as_bytes()[..8]);
        Fingerprint(u64::from_le_bytes(first))
    }
}

/// The first bits of a fingerprint choose the shard, the next ones are its tag there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sharding {
    bits: u32,
}

impl Sharding {
    /// A shard is small enough that growing it is no pause anybody notices (some 100 KiB are moved),
    /// and large enough that 1,024 of them cost nothing in an empty pool.
    const CHUNKS_PER_SHARD: u64 = 1 << 15;
    const BITS_LEAST: u32 = 10;
    const BITS_MOST: u32 = 16;

    pub fn for_chunks(expected: u64) -> Self {
        let wanted = (expected / Self::CHUNKS_PER_SHARD).max(1).ilog2();
        Self { bits: wanted.clamp(Self::BITS_LEAST, Self::BITS_MOST) }
    }

    pub fn count(self) -> usize {
        1 << self.bits
    }

    /// As much of a fingerprint as shard and tag tell.
    pub fn join(self, shard: usize, tag: u32) -> Fingerprint {
        let shard = (shard as u64) << (u64::BITS - self.bits);
        Fingerprint(shard | u64::from(tag) << (u64::BITS - self.bits - TAG_BITS))
    }

    pub fn split(self, fingerprint: Fingerprint) -> (usize, u32) {
        let shard = fingerprint.0 >> (u64::BITS - self.bits);
        let tag = (fingerprint.0 << self.bits) >> (u64::BITS - TAG_BITS);
        (shard as usize, tag as u32)
    }
}

#[cfg(test)]
impl Sharding {
    /// Few shards, so that few chunks fill them as many chunks fill many.
    pub fn of_bits(bits: u32) -> Self {
        Self { bits }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checkpoints hold fingerprints: another derivation would find nothing in them.
    #[test]
    fn a_fingerprint_is_pinned() {
        let id = ChunkId::from_bytes([3; 32]);
        let of = |secret| Fingerprinter::new([secret; 32]).of(&id);
        assert_ne!(of(1), of(2));
        assert_eq!(format!("{:?}", of(1)), "~d441281fb783c0ea");
    }

    #[test]
    fn shard_and_tag_are_neighbouring_bits() {
        let sharding = Sharding::for_chunks(0);
        assert_eq!(sharding.count(), 1024);
        let fingerprint = Fingerprint(0b11_0000_0001 << 54 | 0xabcdef << 30 | 0x3fff_ffff);
        assert_eq!(sharding.split(fingerprint), (0b11_0000_0001, 0xabcdef));
        assert_eq!(sharding.join(0b11_0000_0001, 0xabcdef).0, fingerprint.0 >> 30 << 30);
        assert_eq!(Sharding::for_chunks(1 << 40).count(), 1 << 16);
        assert_eq!(Sharding::for_chunks(1 << 27).count(), 1 << 12);
    }
}
