//! Records and series of the daemon, as frames of record objects hold them.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::rows::take_rows;
use super::{FRAME_PLAIN_MAX, FormatFault, limited};

const NAME_LEN_MAX: usize = 256;
const VALUE_LEN_MAX: usize = 1 << 20;

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawRecordHead {
    name_len: U16,
    what: u8,
    reserved: u8,
    value_len: U32,
    version: U64,
}

const _: () = assert!(size_of::<RawRecordHead>() == 16);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum RecordWhat {
    Record = 1,
    Removed = 2,
    SeriesEntry = 3,
    SeriesTrimmed = 4,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordEntry {
    pub name: String,
    pub what: RecordWhat,
    /// Of the record; number of the entry; first entry of the series that stays.
    pub version: u64,
    pub value: Vec<u8>,
}

impl RecordEntry {
    fn byte_len(&self) -> usize {
        size_of::<RawRecordHead>() + self.name.len() + self.value.len()
    }

    fn check(&self) -> Result<(), FormatFault> {
        let has_value = matches!(self.what, RecordWhat::Record | RecordWhat::SeriesEntry);
        if self.name.is_empty() || (!has_value && !self.value.is_empty()) {
            return Err(FormatFault::Content { what: "a record" });
        }
        limited("name of a record", self.name.len() as u64, NAME_LEN_MAX as u64)?;
        limited("value of a record", self.value.len() as u64, VALUE_LEN_MAX as u64)?;
        Ok(())
    }
}

/// The plain content of as many frames as it takes, none of them longer than a frame may be.
///
/// # Panics
/// If a name or value is longer than the pool itself would take.
#[must_use]
pub fn encode_records(entries: &[RecordEntry]) -> Vec<Vec<u8>> {
    let mut frames: Vec<Vec<u8>> = Vec::new();
    for entry in entries {
        entry.check().expect("records are bounded where they are made");
        let fits = |frame: &Vec<u8>| frame.len() + entry.byte_len() <= FRAME_PLAIN_MAX;
        if !frames.last().is_some_and(fits) {
            frames.push(Vec::new());
        }
        let frame = frames.last_mut().expect("one was pushed");
        let head = RawRecordHead {
            name_len: U16::new(entry.name.len() as u16),
            what: entry.what as u8,
            reserved: 0,
            value_len: U32::new(entry.value.len() as u32),
            version: U64::new(entry.version),
        };
        frame.extend_from_slice(head.as_bytes());
        frame.extend_from_slice(entry.name.as_bytes());
        frame.extend_from_slice(&entry.value);
    }
    frames
}

/// The entries of one plain frame.
pub fn decode_records(plain: &[u8]) -> Result<Vec<RecordEntry>, FormatFault> {
    let (mut rest, mut entries) = (plain, Vec::new());
    while !rest.is_empty() {
        let head = take_rows::<RawRecordHead>(&mut rest, 1)?[0];
        if head.reserved != 0 {
            return Err(FormatFault::Reserved { what: "a record's head" });
        }
        let name_len =
            limited("name of a record", head.name_len.get().into(), NAME_LEN_MAX as u64)?;
        let value_len =
            limited("value of a record", head.value_len.get().into(), VALUE_LEN_MAX as u64)?;
        let name = std::str::from_utf8(take_rows::<u8>(&mut rest, name_len)?)
            .map_err(|_| FormatFault::Content { what: "name of a record" })?;
        let value = take_rows::<u8>(&mut rest, value_len)?;
        let what = match head.what {
            1 => RecordWhat::Record,
            2 => RecordWhat::Removed,
            3 => RecordWhat::SeriesEntry,
            4 => RecordWhat::SeriesTrimmed,
            _ => return Err(FormatFault::Content { what: "kind of a record" }),
        };
        let (name, value, version) = (name.to_owned(), value.to_vec(), head.version.get());
        let entry = RecordEntry { name, what, version, value };
        entry.check()?;
        entries.push(entry);
    }
    Ok(entries)
}

#[cfg(test)]
pub(super) fn fields() -> crate::layout::Fields {
    crate::layout::fields!(RawRecordHead: name_len, what, reserved, value_len, version)
}
