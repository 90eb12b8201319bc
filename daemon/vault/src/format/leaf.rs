//! Leaves of the index: where chunks of neighbouring numbers lie. A leaf needs no other table.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::codec::Codec;
use super::object::CHUNK_KIND_MAX;
use super::rows::{FramePlace, ObjectRef, Place, RawObjectRow, inside, take_rows};
use super::{FormatFault, limited};
use crate::units::PoolId;

pub const LEAF_ENTRIES_MAX: usize = 4096;

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawLeafHead {
    pool: [u8; 16],
    object_count: U32,
    frame_count: U32,
    entry_count: U32,
    reserved: U32,
}

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawLeafFrame {
    object: U16,
    codec: u8,
    reserved: u8,
    index: U32,
    offset: U32,
    stored_len: U32,
    plain_len: U32,
}

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawLeafEntry {
    number: U64,
    id: [u8; 32],
    frame: U16,
    kind: u8,
    reserved: u8,
    start: U32,
    len: U32,
}

const _: () = assert!(size_of::<RawLeafHead>() == 32);
const _: () = assert!(size_of::<RawLeafFrame>() == 20 && size_of::<RawLeafEntry>() == 52);

/// A frame that entries of a leaf lie in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeafFrame {
    /// Row of its object in the leaf.
    pub object: u16,
    pub place: FramePlace,
}

/// One chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeafEntry {
    pub number: u64,
    pub id: [u8; 32],
    /// Row of its frame in the leaf.
    pub frame: u16,
    pub kind: u8,
    pub start: u32,
    pub len: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    pub pool: PoolId,
    pub objects: Vec<ObjectRef>,
    pub frames: Vec<LeafFrame>,
    /// Ascending by number.
    pub entries: Vec<LeafEntry>,
}

impl Leaf {
    /// What is said of a chunk, and its place.
    #[must_use]
    pub fn find(&self, number: u64) -> Option<(&LeafEntry, Place)> {
        let found = self.entries.binary_search_by_key(&number, |entry| entry.number).ok()?;
        let entry = &self.entries[found];
        let frame = &self.frames[usize::from(entry.frame)];
        let place = Place {
            object: self.objects[usize::from(frame.object)],
            frame: frame.place,
            start: entry.start,
            len: entry.len,
        };
        Some((entry, place))
    }

    /// Lowest and highest number.
    #[must_use]
    pub fn range(&self) -> Option<(u64, u64)> {
        Some((self.entries.first()?.number, self.entries.last()?.number))
    }

    /// # Panics
    /// If the leaf is none: what is written here is what [`from_bytes`](Self::from_bytes) accepts.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.check().expect("a leaf is sound before it is written");
        let head = RawLeafHead {
            pool: self.pool.0,
            object_count: U32::new(self.objects.len() as u32),
            frame_count: U32::new(self.frames.len() as u32),
            entry_count: U32::new(self.entries.len() as u32),
            reserved: U32::ZERO,
        };
        let mut bytes = head.as_bytes().to_vec();
        for object in &self.objects {
            bytes.extend_from_slice(object.to_raw().as_bytes());
        }
        for frame in &self.frames {
            let row = RawLeafFrame {
                object: U16::new(frame.object),
                codec: frame.place.codec as u8,
                reserved: 0,
                index: U32::new(frame.place.index),
                offset: U32::new(frame.place.offset),
                stored_len: U32::new(frame.place.stored_len),
                plain_len: U32::new(frame.place.plain_len),
            };
            bytes.extend_from_slice(row.as_bytes());
        }
        for entry in &self.entries {
            let row = RawLeafEntry {
                number: U64::new(entry.number),
                id: entry.id,
                frame: U16::new(entry.frame),
                kind: entry.kind,
                reserved: 0,
                start: U32::new(entry.start),
                len: U32::new(entry.len),
            };
            bytes.extend_from_slice(row.as_bytes());
        }
        bytes
    }

    pub fn from_bytes(bytes: &[u8]) -> Result<Self, FormatFault> {
        let mut rest = bytes;
        let head = take_rows::<RawLeafHead>(&mut rest, 1)?[0];
        if head.reserved.get() != 0 {
            return Err(FormatFault::Reserved { what: "a leaf's head" });
        }
        let count = |what, count: U32| limited(what, count.get().into(), LEAF_ENTRIES_MAX as u64);
        let object_count = count("objects of a leaf", head.object_count)?;
        let frame_count = count("frames of a leaf", head.frame_count)?;
        let entry_count = count("entries of a leaf", head.entry_count)?;
        let objects = take_rows::<RawObjectRow>(&mut rest, object_count)?;
        let frames = take_rows::<RawLeafFrame>(&mut rest, frame_count)?;
        let entries = take_rows::<RawLeafEntry>(&mut rest, entry_count)?;
        if !rest.is_empty() {
            return Err(FormatFault::Content { what: "what stands behind a leaf" });
        }
        let leaf = Self {
            pool: PoolId(head.pool),
            objects: objects.iter().map(ObjectRef::from_raw).collect::<Result<_, _>>()?,
            frames: frames.iter().map(frame).collect::<Result<_, _>>()?,
            entries: entries.iter().map(entry).collect::<Result<_, _>>()?,
        };
        leaf.check()?;
        Ok(leaf)
    }

    /// What holds of every leaf, before it is written and after it was read.
    fn check(&self) -> Result<(), FormatFault> {
        let is_bounded =
            self.objects.len() <= LEAF_ENTRIES_MAX && self.frames.len() <= LEAF_ENTRIES_MAX;
        if !is_bounded || !(1..=LEAF_ENTRIES_MAX).contains(&self.entries.len()) {
            return Err(FormatFault::Content { what: "counts of a leaf" });
        }
        for frame in &self.frames {
            let object = self.objects.get(usize::from(frame.object));
            let object = object.ok_or(FormatFault::Content { what: "object of a frame" })?;
            frame.place.check(object.len.into())?;
            if !object.kind.has_chunks() {
                return Err(FormatFault::Content { what: "object of a frame" });
            }
        }
        let ascends = |pair: &[LeafEntry]| pair[0].number < pair[1].number;
        if !self.entries.windows(2).all(ascends) {
            return Err(FormatFault::Content { what: "order of numbers" });
        }
        for entry in &self.entries {
            let frame = self.frames.get(usize::from(entry.frame));
            let frame = frame.ok_or(FormatFault::Content { what: "frame of an entry" })?;
            inside(entry.start, entry.len, frame.place.plain_len)?;
            if entry.kind > CHUNK_KIND_MAX {
                return Err(FormatFault::Content { what: "kind of a chunk" });
            }
        }
        Ok(())
    }
}

fn frame(row: &RawLeafFrame) -> Result<LeafFrame, FormatFault> {
    if row.reserved != 0 {
        return Err(FormatFault::Reserved { what: "a leaf's frame" });
    }
    let place = FramePlace {
        index: row.index.get(),
        offset: row.offset.get(),
        stored_len: row.stored_len.get(),
        plain_len: row.plain_len.get(),
        codec: Codec::from_code(row.codec)?,
    };
    Ok(LeafFrame { object: row.object.get(), place })
}

fn entry(row: &RawLeafEntry) -> Result<LeafEntry, FormatFault> {
    if row.reserved != 0 {
        return Err(FormatFault::Reserved { what: "a leaf's entry" });
    }
    Ok(LeafEntry {
        number: row.number.get(),
        id: row.id,
        frame: row.frame.get(),
        kind: row.kind,
        start: row.start.get(),
        len: row.len.get(),
    })
}

#[cfg(test)]
pub(super) fn documented() -> [(&'static str, crate::layout::Fields); 3] {
    use crate::layout::fields;
    [
        ("LeafHead", fields!(RawLeafHead: pool, object_count, frame_count, entry_count, reserved)),
        (
            "LeafFrame",
            fields!(RawLeafFrame: object, codec, reserved, index, offset, stored_len, plain_len),
        ),
        ("LeafEntry", fields!(RawLeafEntry: number, id, frame, kind, reserved, start, len)),
    ]
}
