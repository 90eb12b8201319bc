//! One chunk of the vault as the local index keeps it: everything an index entry for it needs.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::format::{Codec, FramePlace, Leaf, ObjectRef, Place};
use crate::units::PoolId;

/// An entry of the index, with the tables of its leaf resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    pub pool: PoolId,
    pub number: u64,
    pub id: [u8; 32],
    pub kind: u8,
    pub place: Place,
}

/// All entries of a leaf.
pub(crate) fn entries(leaf: &Leaf) -> impl Iterator<Item = Entry> {
    leaf.entries.iter().map(|entry| {
        let frame = &leaf.frames[usize::from(entry.frame)];
        let object = leaf.objects[usize::from(frame.object)];
        let place = Place { object, frame: frame.place, start: entry.start, len: entry.len };
        Entry { pool: leaf.pool, number: entry.number, id: entry.id, kind: entry.kind, place }
    })
}

#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct RawRow {
    pub id: [u8; 32],
    pub number: U64,
    pub object: U32,
    index: U32,
    offset: U32,
    stored_len: U32,
    plain_len: U32,
    start: U32,
    len: U32,
    pub pool: U16,
    codec: u8,
    kind: u8,
}

pub(super) const ROW_LEN: usize = size_of::<RawRow>();
const _: () = assert!(ROW_LEN == 72);

impl RawRow {
    /// `pool` and `object` are rows of the file's tables.
    pub fn new(entry: &Entry, pool: u16, object: u32) -> Self {
        let frame = &entry.place.frame;
        Self {
            id: entry.id,
            number: U64::new(entry.number),
            object: U32::new(object),
            index: U32::new(frame.index),
            offset: U32::new(frame.offset),
            stored_len: U32::new(frame.stored_len),
            plain_len: U32::new(frame.plain_len),
            start: U32::new(entry.place.start),
            len: U32::new(entry.place.len),
            pool: U16::new(pool),
            codec: frame.codec as u8,
            kind: entry.kind,
        }
    }

    /// `None` if the row cannot be: its block was not what was written.
    pub fn entry(&self, pools: &[PoolId], objects: &[ObjectRef]) -> Option<Entry> {
        let codec = match self.codec {
            0 => Codec::Raw,
            2 => Codec::Zstd,
            _ => return None,
        };
        let frame = FramePlace {
            index: self.index.get(),
            offset: self.offset.get(),
            stored_len: self.stored_len.get(),
            plain_len: self.plain_len.get(),
            codec,
        };
        let object = *objects.get(self.object.get() as usize)?;
        Some(Entry {
            pool: *pools.get(usize::from(self.pool.get()))?,
            number: self.number.get(),
            id: self.id,
            kind: self.kind,
            place: Place { object, frame, start: self.start.get(), len: self.len.get() },
        })
    }

    /// The share of its frame's stored bytes.
    pub fn stored_share(&self) -> u64 {
        let (stored, plain) = (u64::from(self.stored_len.get()), u64::from(self.plain_len.get()));
        stored * u64::from(self.len.get()) / plain.max(1)
    }
}
