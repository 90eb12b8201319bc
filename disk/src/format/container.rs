//! A container is a fixed-size, append-only stretch of a disk: a header block, runs, and once it is
//! sealed a footer that repeats the directories of its runs.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::head::{ChecksumKey, Head, HeadFault, Magic, Place};
use crate::units::{BLOCK, PoolId};

/// What a container holds: chunks, or the pool's own state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Purpose {
    Data = 1,
    State = 2,
}

impl Purpose {
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Data),
            2 => Some(Self::State),
            _ => None,
        }
    }
}

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawHeader {
    head: Head,
    container: U32,
    purpose: u8,
    reserved: [u8; 3],
    salt: [u8; 16],
}

const _: () = assert!(size_of::<RawHeader>() == 104);

/// First block of a container. `sequence` of its head is the generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContainerHeader {
    pub container: u32,
    pub generation: u64,
    pub purpose: Purpose,
    /// Random; goes into the checksum of every run of this generation.
    pub salt: [u8; 16],
}

impl ContainerHeader {
    #[must_use]
    pub fn encode(&self, key: &ChecksumKey, pool: PoolId, place: Place) -> [u8; BLOCK] {
        let mut raw = RawHeader::read_from_bytes(&[0; size_of::<RawHeader>()])
            .expect("size is asserted above");
        raw.container = U32::new(self.container);
        raw.purpose = self.purpose as u8;
        raw.salt = self.salt;
        let mut block = [0; BLOCK];
        block[..size_of::<RawHeader>()].copy_from_slice(raw.as_bytes());
        Head::seal(&mut block, key, Magic::ContainerHeader, pool, place, self.generation);
        block
    }

    pub fn decode(
        block: &[u8],
        key: &ChecksumKey,
        pool: PoolId,
        place: Place,
    ) -> Result<Self, HeadFault> {
        let (head, covered) = Head::open(block, key, Magic::ContainerHeader)?;
        head.expect(pool, place)?;
        let (raw, rest) = RawHeader::read_from_prefix(covered)
            .map_err(|_| HeadFault::Len { found: head.len.get() })?;
        if raw.reserved != [0; 3] || rest.iter().any(|byte| *byte != 0) {
            return Err(HeadFault::Reserved);
        }
        let purpose = Purpose::from_code(raw.purpose).ok_or(HeadFault::Content)?;
        Ok(Self {
            container: raw.container.get(),
            generation: head.sequence(),
            purpose,
            salt: raw.salt,
        })
    }
}

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawFooter {
    head: Head,
    container: U32,
    run_count: U32,
    body_block: U16,
    reserved: [u8; 6],
    body_len: U64,
    body_hash: [u8; 32],
}

const _: () = assert!(size_of::<RawFooter>() == 136);

/// Last block of a sealed container: where the copied directories lie, and their hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContainerFooter {
    pub container: u32,
    pub generation: u64,
    pub run_count: u32,
    /// Block inside the container at which the copies begin.
    pub body_block: u16,
    pub body_len: u64,
    /// BLAKE3 of the copies: headers and directories of all runs, one after another, in order.
    pub body_hash: [u8; 32],
}

impl ContainerFooter {
    #[must_use]
    pub fn encode(&self, key: &ChecksumKey, pool: PoolId, place: Place) -> [u8; BLOCK] {
        let mut raw = RawFooter::read_from_bytes(&[0; size_of::<RawFooter>()])
            .expect("size is asserted above");
        raw.container = U32::new(self.container);
        raw.run_count = U32::new(self.run_count);
        raw.body_block = U16::new(self.body_block);
        raw.body_len = U64::new(self.body_len);
        raw.body_hash = self.body_hash;
        let mut block = [0; BLOCK];
        block[..size_of::<RawFooter>()].copy_from_slice(raw.as_bytes());
        Head::seal(&mut block, key, Magic::ContainerFooter, pool, place, self.generation);
        block
    }

    pub fn decode(
        block: &[u8],
        key: &ChecksumKey,
        pool: PoolId,
        place: Place,
    ) -> Result<Self, HeadFault> {
        let (head, covered) = Head::open(block, key, Magic::ContainerFooter)?;
        head.expect(pool, place)?;
        let (raw, rest) = RawFooter::read_from_prefix(covered)
            .map_err(|_| HeadFault::Len { found: head.len.get() })?;
        if raw.reserved != [0; 6] || rest.iter().any(|byte| *byte != 0) {
            return Err(HeadFault::Reserved);
        }
        Ok(Self {
            container: raw.container.get(),
            generation: head.sequence(),
            run_count: raw.run_count.get(),
            body_block: raw.body_block.get(),
            body_len: raw.body_len.get(),
            body_hash: raw.body_hash,
        })
    }
}

pub(super) fn header_fields() -> super::raw::Fields {
    super::raw::fields!(RawHeader: head, container, purpose, reserved, salt)
}

pub(super) fn footer_fields() -> super::raw::Fields {
    super::raw::fields!(RawFooter: head, container, run_count, body_block, reserved, body_len, body_hash)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::DiskId;

    #[test]
    fn header_and_footer_come_back() {
        let key = ChecksumKey::new(&[1; 32], &[2; 16]);
        let (pool, place) = (PoolId([3; 16]), Place { disk: DiskId([4; 16]), offset: 1 << 20 });
        let header =
            ContainerHeader { container: 5, generation: 6, purpose: Purpose::Data, salt: [7; 16] };
        let block = header.encode(&key, pool, place);
        assert_eq!(ContainerHeader::decode(&block, &key, pool, place), Ok(header));
        let footer = ContainerFooter {
            container: 5,
            generation: 6,
            run_count: 7,
            body_block: 8,
            body_len: 9,
            body_hash: [10; 32],
        };
        let block = footer.encode(&key, pool, place);
        assert_eq!(ContainerFooter::decode(&block, &key, pool, place), Ok(footer));
    }
}
