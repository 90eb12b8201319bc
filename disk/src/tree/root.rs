//! Where a tree begins, and what it holds in all.

use keelhold_chunk::{DecodeError, Reader, Writer};

use super::PageRef;

/// Deepest tree. Every inner page but the root has two children at least, mostly hundreds.
pub(super) const LEVEL_MAX: u8 = 40;

/// The root of a tree: enough to read all of it and to make the next one from it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct TreeRoot {
    /// Nothing only in a tree without entries.
    pub page: Option<PageRef>,
    /// 0: the page holds entries. Otherwise so many inner levels stand above them.
    pub level: u8,
    pub entry_count: u64,
    /// Sum of the sizes of all files, holes included.
    pub byte_count: u64,
    pub file_count: u64,
    pub directory_count: u64,
}

impl TreeRoot {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.page.is_none()
    }

    pub(super) fn new(page: PageRef, level: u8, totals: Totals) -> Self {
        let Totals { entries, bytes, files, directories } = totals;
        Self {
            page: Some(page),
            level,
            entry_count: entries,
            byte_count: bytes,
            file_count: files,
            directory_count: directories,
        }
    }

    pub(super) fn totals(&self) -> Totals {
        Totals {
            entries: self.entry_count,
            bytes: self.byte_count,
            files: self.file_count,
            directories: self.directory_count,
        }
    }

    pub fn encode(&self, writer: &mut Writer) {
        let Some(page) = self.page else {
            return writer.u8(0);
        };
        writer.u8(1 + self.level);
        page.encode(writer);
        self.totals().encode(writer);
    }

    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let level = match reader.u8()? {
            0 => return Ok(Self::default()),
            tag if tag > 1 + LEVEL_MAX => return Err(reader.undefined("level", u64::from(tag))),
            tag => tag - 1,
        };
        let page = PageRef::decode(reader)?;
        Ok(Self::new(page, level, Totals::decode(reader)?))
    }
}

/// Sums over the entries of a page and everything below it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Totals {
    pub entries: u64,
    pub bytes: u64,
    pub files: u64,
    pub directories: u64,
}

impl Totals {
    /// Nothing when a sum exceeds 64 bits: sizes are claims of an agent.
    pub fn plus(self, other: Self) -> Option<Self> {
        Some(Self {
            entries: self.entries.checked_add(other.entries)?,
            bytes: self.bytes.checked_add(other.bytes)?,
            files: self.files.checked_add(other.files)?,
            directories: self.directories.checked_add(other.directories)?,
        })
    }

    pub fn encode(&self, writer: &mut Writer) {
        writer.varint(self.entries);
        writer.varint(self.bytes);
        writer.varint(self.files);
        writer.varint(self.directories);
    }

    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let totals = Self {
            entries: reader.varint()?,
            bytes: reader.varint()?,
            files: reader.varint()?,
            directories: reader.varint()?,
        };
        let kinds = totals.files.checked_add(totals.directories);
        if totals.entries == 0 || kinds.is_none_or(|kinds| kinds > totals.entries) {
            return Err(reader.undefined("entry count", totals.entries));
        }
        Ok(totals)
    }
}
