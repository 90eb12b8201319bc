//! Rows that stand in several structures: which object, and where in it.

use keelhold_cipher::TAG_LEN;
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::codec::Codec;
use super::object::{HEAD_LEN, OBJECT_FRAMES_MAX};
use super::{FRAME_PLAIN_MAX, FormatFault, OBJECT_LEN_MAX, limited};
use crate::units::{ManifestNumber, ObjectId};

/// What an object holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ObjectKind {
    Data = 1,
    Pages = 2,
    Index = 3,
    Records = 4,
}

impl ObjectKind {
    pub(super) fn from_code(code: u8) -> Result<Self, FormatFault> {
        Ok(match code {
            1 => Self::Data,
            2 => Self::Pages,
            3 => Self::Index,
            4 => Self::Records,
            _ => return Err(FormatFault::Content { what: "kind of object" }),
        })
    }

    /// Whether its frames hold chunks.
    #[must_use]
    pub fn has_chunks(self) -> bool {
        matches!(self, Self::Data | Self::Pages)
    }
}

/// How long what is in an object is expected to be needed: 0 … 15.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Class(u8);

impl Class {
    pub const ZERO: Self = Self(0);

    #[must_use]
    pub fn new(class: u8) -> Option<Self> {
        (class < 16).then_some(Self(class))
    }

    #[must_use]
    pub fn code(self) -> u8 {
        self.0
    }

    pub(super) fn from_code(code: u8) -> Result<Self, FormatFault> {
        Self::new(code).ok_or(FormatFault::Content { what: "retention class" })
    }
}

/// An object as it is referred to: enough to name it and to know its head again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectRef {
    pub object: ObjectId,
    pub shipment: ManifestNumber,
    /// `checksum` of its head, which covers the hash of everything behind it.
    pub check: [u8; 16],
    pub len: u32,
    pub kind: ObjectKind,
    pub class: Class,
}

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct RawObjectRow {
    object: [u8; 16],
    shipment: U64,
    check: [u8; 16],
    object_len: U32,
    kind: u8,
    class: u8,
    reserved: [u8; 2],
}

const _: () = assert!(size_of::<RawObjectRow>() == 48);

impl ObjectRef {
    pub(crate) const ROW_LEN: usize = size_of::<RawObjectRow>();

    /// As the row of a table: the local index keeps the same rows as the vault's.
    pub(crate) fn to_row(self) -> [u8; Self::ROW_LEN] {
        zerocopy::transmute!(self.to_raw())
    }

    pub(crate) fn from_row(row: &[u8; Self::ROW_LEN]) -> Result<Self, FormatFault> {
        Self::from_raw(&zerocopy::transmute!(*row))
    }

    pub(super) fn to_raw(self) -> RawObjectRow {
        RawObjectRow {
            object: self.object.0,
            shipment: U64::new(self.shipment.0),
            check: self.check,
            object_len: U32::new(self.len),
            kind: self.kind as u8,
            class: self.class.0,
            reserved: [0; 2],
        }
    }

    pub(super) fn from_raw(raw: &RawObjectRow) -> Result<Self, FormatFault> {
        if raw.reserved != [0; 2] {
            return Err(FormatFault::Reserved { what: "an object's row" });
        }
        limited("length of an object", raw.object_len.get().into(), OBJECT_LEN_MAX as u64)?;
        let object = Self {
            object: ObjectId(raw.object),
            shipment: ManifestNumber(raw.shipment.get()),
            check: raw.check,
            len: raw.object_len.get(),
            kind: ObjectKind::from_code(raw.kind)?,
            class: Class::from_code(raw.class)?,
        };
        if !object.kind.has_chunks() && object.class != Class::ZERO {
            return Err(FormatFault::Content { what: "class of index or records" });
        }
        Ok(object)
    }
}

/// Where a frame lies in its object, and what it takes to open it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FramePlace {
    pub index: u32,
    pub offset: u32,
    /// With the tag.
    pub stored_len: u32,
    pub plain_len: u32,
    pub codec: Codec,
}

impl FramePlace {
    /// Bytes of the object to read.
    #[must_use]
    pub fn range(&self) -> std::ops::Range<u64> {
        u64::from(self.offset)..u64::from(self.offset) + u64::from(self.stored_len)
    }

    /// A frame that can be in an object of this length.
    pub(super) fn check(self, object_len: u64) -> Result<Self, FormatFault> {
        limited("length of a frame", self.plain_len.into(), FRAME_PLAIN_MAX as u64)?;
        let lies_inside = self.offset as usize >= HEAD_LEN && self.range().end <= object_len;
        if !lies_inside
            || self.index as usize >= OBJECT_FRAMES_MAX
            || (self.stored_len as usize) < TAG_LEN
        {
            return Err(FormatFault::Content { what: "place of a frame" });
        }
        Ok(self)
    }
}

/// Where a chunk lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub object: ObjectRef,
    pub frame: FramePlace,
    /// Inside the plain frame.
    pub start: u32,
    pub len: u32,
}

#[derive(Clone, Copy, PartialEq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct RawPlaceRow {
    pub object: U32,
    index: U32,
    offset: U32,
    stored_len: U32,
    plain_len: U32,
    start: U32,
    len: U32,
    codec: u8,
    reserved: [u8; 3],
}

const _: () = assert!(size_of::<RawPlaceRow>() == 32);
const NOWHERE: u32 = u32::MAX;

impl RawPlaceRow {
    pub(super) fn nowhere() -> Self {
        let mut raw = Self::read_from_bytes(&[0; 32]).expect("size is asserted above");
        raw.object = U32::new(NOWHERE);
        raw
    }

    pub(super) fn new(object: u32, place: &Place) -> Self {
        Self {
            object: U32::new(object),
            index: U32::new(place.frame.index),
            offset: U32::new(place.frame.offset),
            stored_len: U32::new(place.frame.stored_len),
            plain_len: U32::new(place.frame.plain_len),
            start: U32::new(place.start),
            len: U32::new(place.len),
            codec: place.frame.codec as u8,
            reserved: [0; 3],
        }
    }

    /// `None` for a place that says there is nothing.
    pub(super) fn read(
        &self,
        object: impl FnOnce(u32) -> Result<ObjectRef, FormatFault>,
    ) -> Result<Option<Place>, FormatFault> {
        if *self == Self::nowhere() {
            return Ok(None);
        }
        if self.reserved != [0; 3] {
            return Err(FormatFault::Reserved { what: "a place" });
        }
        let object = object(self.object.get())?;
        let frame = FramePlace {
            index: self.index.get(),
            offset: self.offset.get(),
            stored_len: self.stored_len.get(),
            plain_len: self.plain_len.get(),
            codec: Codec::from_code(self.codec)?,
        };
        let frame = frame.check(object.len.into())?;
        let (start, len) = (self.start.get(), self.len.get());
        inside(start, len, frame.plain_len)?;
        if !object.kind.has_chunks() {
            return Err(FormatFault::Content { what: "place of a chunk" });
        }
        Ok(Some(Place { object, frame, start, len }))
    }
}

/// A chunk that lies whole in its frame.
pub(super) fn inside(start: u32, len: u32, plain_len: u32) -> Result<(), FormatFault> {
    match start.checked_add(len) {
        Some(end) if end <= plain_len => Ok(()),
        _ => Err(FormatFault::Content { what: "place of a chunk in its frame" }),
    }
}

/// So many rows from the front of `bytes`.
pub(super) fn take_rows<'a, T>(bytes: &mut &'a [u8], count: usize) -> Result<&'a [T], FormatFault>
where
    T: FromBytes + Immutable + KnownLayout + Unaligned,
{
    let found = bytes.len() as u64;
    let (rows, rest) = <[T]>::ref_from_prefix_with_elems(bytes, count)
        .map_err(|_| FormatFault::Len { expected: (count * size_of::<T>()) as u64, found })?;
    *bytes = rest;
    Ok(rows)
}

#[cfg(test)]
pub(super) fn object_fields() -> crate::layout::Fields {
    crate::layout::fields!(RawObjectRow: object, shipment, check, object_len, kind, class, reserved)
}

#[cfg(test)]
pub(super) fn place_fields() -> crate::layout::Fields {
    crate::layout::fields!(RawPlaceRow: object, index, offset, stored_len, plain_len, start, len, codec, reserved)
}
