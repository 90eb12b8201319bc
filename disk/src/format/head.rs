//! The first bytes of every structure, and the checksum over it.

use std::fmt;

use thiserror::Error;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::units::{DiskId, PoolId};

/// What a structure is. Zero is no kind, so zeroed blocks are never valid.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Magic {
    Label = 0x424c_484b,
    Superblock = 0x4253_484b,
    JournalEntry = 0x454a_484b,
    ContainerHeader = 0x4843_484b,
    Run = 0x4e52_484b,
    ContainerFooter = 0x4643_484b,
}

/// Where a structure lies: a disk and a byte offset on it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Place {
    pub disk: DiskId,
    pub offset: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "disk {} at byte {}", self.disk, self.offset)
    }
}

/// Key of a structure's checksum: made from the pool's secret and a salt, so that bytes somebody
/// backed up, even an image of another pool or of this one, cannot pass as a structure of ours.
#[derive(Clone)]
pub struct ChecksumKey([u8; 32]);

impl ChecksumKey {
    #[must_use]
    pub fn new(secret: &[u8; 32], salt: &[u8; 16]) -> Self {
        let mut material = [0; 48];
        material[..32].copy_from_slice(secret);
        material[32..].copy_from_slice(salt);
        Self(blake3::derive_key("keelhold 2026 structure checksum", &material))
    }

    /// For labels only: the secret is inside them.
    #[must_use]
    pub fn public() -> Self {
        Self::new(&[0; 32], &[0; 16])
    }

    fn checksum(&self, bytes: &[u8]) -> [u8; 16] {
        let mut checksum = [0; 16];
        checksum.copy_from_slice(&blake3::keyed_hash(&self.0, bytes).as_bytes()[..16]);
        checksum
    }
}

impl fmt::Debug for ChecksumKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChecksumKey(secret)")
    }
}

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Debug)]
#[repr(C)]
pub struct Head {
    /// Keyed BLAKE3, first 16 bytes, over everything after this field up to `len`.
    pub checksum: [u8; 16],
    pub magic: U32,
    pub version: U16,
    pub reserved: U16,
    pub pool: [u8; 16],
    pub disk: [u8; 16],
    pub offset: U64,
    /// Bytes the checksum covers, this head included.
    pub len: U32,
    pub reserved2: U32,
    /// What it counts depends on the kind: checkpoint, journal entry, generation, run.
    pub sequence: U64,
}

const _: () = assert!(size_of::<Head>() == 80);
const CHECKSUM_LEN: usize = 16;

/// Why bytes are not the structure that was looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum HeadFault {
    #[error("no structure of this kind (found {found:#010x})")]
    Magic { found: u32 },
    #[error("format version {found}, this program reads {}", super::VERSION)]
    Version { found: u16 },
    #[error("length {found} is impossible")]
    Len { found: u32 },
    #[error("checksum does not match")]
    Checksum,
    #[error("belongs to another pool ({found})")]
    Pool { found: PoolId },
    #[error("written for disk {} byte {}", .found.disk, .found.offset)]
    Misplaced { found: Place },
    #[error("reserved bytes are not zero")]
    Reserved,
    #[error("content is impossible though the checksum matches")]
    Content,
    #[error("sealed, and no key was given")]
    Sealed,
    #[error("sealed bytes were altered or belong elsewhere")]
    Unsealable,
}

/// A structure that is not what it should be, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{what} on {place}: {fault}")]
pub struct Fault {
    pub what: &'static str,
    pub place: Place,
    #[source]
    pub fault: HeadFault,
}

impl Head {
    pub const LEN: usize = size_of::<Head>();

    /// Fills the head of `bytes` (whole structure, head first) and computes its checksum.
    pub fn seal(
        bytes: &mut [u8],
        key: &ChecksumKey,
        magic: Magic,
        pool: PoolId,
        place: Place,
        sequence: u64,
    ) {
        assert!(bytes.len() >= Self::LEN && u32::try_from(bytes.len()).is_ok());
        let mut head = Self {
            checksum: [0; 16],
            magic: U32::new(magic as u32),
            version: U16::new(super::VERSION),
            reserved: U16::ZERO,
            pool: pool.0,
            disk: place.disk.0,
            offset: U64::new(place.offset),
            len: U32::new(bytes.len() as u32),
            reserved2: U32::ZERO,
            sequence: U64::new(sequence),
        };
        bytes[..Self::LEN].copy_from_slice(head.as_bytes());
        head.checksum = key.checksum(&bytes[CHECKSUM_LEN..]);
        bytes[..CHECKSUM_LEN].copy_from_slice(&head.checksum);
    }

    /// The head alone, believed by nobody yet: how long the structure says it is.
    pub fn peek(bytes: &[u8], magic: Magic) -> Result<Self, HeadFault> {
        let Ok((head, _)) = Self::read_from_prefix(bytes) else {
            return Err(HeadFault::Len { found: bytes.len() as u32 });
        };
        if head.magic.get() != magic as u32 {
            return Err(HeadFault::Magic { found: head.magic.get() });
        }
        if head.version.get() != super::VERSION {
            return Err(HeadFault::Version { found: head.version.get() });
        }
        if (head.len.get() as usize) < Self::LEN {
            return Err(HeadFault::Len { found: head.len.get() });
        }
        Ok(head)
    }

    /// Verifies that `bytes` begin with the structure `magic`; gives its head and the bytes the
    /// checksum covers.
    pub fn open<'a>(
        bytes: &'a [u8],
        key: &ChecksumKey,
        magic: Magic,
    ) -> Result<(Self, &'a [u8]), HeadFault> {
        let head = Self::peek(bytes, magic)?;
        let len = head.len.get() as usize;
        if bytes.len() < len {
            return Err(HeadFault::Len { found: head.len.get() });
        }
        if head.checksum != key.checksum(&bytes[CHECKSUM_LEN..len]) {
            return Err(HeadFault::Checksum);
        }
        if head.reserved != U16::ZERO || head.reserved2 != U32::ZERO {
            return Err(HeadFault::Reserved);
        }
        Ok((head, &bytes[..len]))
    }

    /// Verifies that the structure was written by `pool` for `place`.
    pub fn expect(&self, pool: PoolId, place: Place) -> Result<(), HeadFault> {
        if self.pool != pool.0 {
            return Err(HeadFault::Pool { found: PoolId(self.pool) });
        }
        let found = Place { disk: DiskId(self.disk), offset: self.offset.get() };
        if found != place {
            return Err(HeadFault::Misplaced { found });
        }
        Ok(())
    }

    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.sequence.get()
    }
}

pub(super) fn fields() -> super::raw::Fields {
    super::raw::fields!(Head: checksum, magic, version, reserved, pool, disk, offset, len, reserved2, sequence)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> Place {
        Place { disk: DiskId([2; 16]), offset: 8192 }
    }

    fn sealed(key: &ChecksumKey) -> Vec<u8> {
        let mut bytes = vec![7; 300];
        Head::seal(&mut bytes, key, Magic::Run, PoolId([1; 16]), place(), 9);
        bytes
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let key = ChecksumKey::new(&[3; 32], &[4; 16]);
        let bytes = sealed(&key);
        let (head, covered) = Head::open(&bytes, &key, Magic::Run).unwrap();
        assert_eq!((head.sequence(), covered.len()), (9, 300));
        assert_eq!(head.expect(PoolId([1; 16]), place()), Ok(()));
        for bit in 0..bytes.len() * 8 {
            let mut other = bytes.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(Head::open(&other, &key, Magic::Run).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn another_secret_place_or_pool_is_not_believed() {
        let key = ChecksumKey::new(&[3; 32], &[4; 16]);
        let bytes = sealed(&key);
        let other_salt = ChecksumKey::new(&[3; 32], &[5; 16]);
        assert_eq!(Head::open(&bytes, &other_salt, Magic::Run).err(), Some(HeadFault::Checksum));
        let (head, _) = Head::open(&bytes, &key, Magic::Run).unwrap();
        let elsewhere = Place { offset: 4096, ..place() };
        assert!(matches!(
            head.expect(PoolId([1; 16]), elsewhere),
            Err(HeadFault::Misplaced { .. })
        ));
        assert!(matches!(head.expect(PoolId([9; 16]), place()), Err(HeadFault::Pool { .. })));
    }
}
