//! What the content of an entry is made of: nothing, bytes in place, a list of extents, or a tree of
//! pages of extents when the list is long.

pub(super) mod pages;
pub(super) mod write;

use bytes::Bytes;
use keelhold_chunk::{DecodeError, Reader, Writer};

use super::leaf::INLINE_LEN_MAX;
use super::root::LEVEL_MAX;
use super::{Extent, PageRef};

/// Most extents that stand in the entry itself.
pub(super) const LISTED_EXTENTS_MAX: usize = 32;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Everything but files, and files of no length.
    None,
    Inline(Bytes),
    Extents(Vec<Extent>),
    Pages(ContentRoot),
}

/// Where the extents of one file begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentRoot {
    pub page: PageRef,
    /// 0: the page holds extents. Otherwise so many levels of references stand above them.
    pub level: u8,
}

impl Content {
    const NONE: u8 = 0;
    const INLINE: u8 = 1;
    const EXTENTS: u8 = 2;
    const PAGES: u8 = 3;

    /// Whether this can be the content of an entry of `size` bytes. Pages are not looked into.
    pub(super) fn fits(&self, size: u64) -> bool {
        match self {
            Self::None => size == 0,
            Self::Inline(bytes) => bytes.len() as u64 == size,
            Self::Extents(extents) => {
                let mut sum = Some(0u64);
                for extent in extents {
                    sum = sum.and_then(|sum| sum.checked_add(extent.len()));
                }
                sum == Some(size)
            }
            Self::Pages(_) => size > 0,
        }
    }

    /// `expected` is the number after the last span of the page so far; kept up to date here.
    pub(super) fn encode(&self, expected: &mut u64, writer: &mut Writer) {
        match self {
            Self::None => writer.u8(Self::NONE),
            Self::Inline(bytes) => {
                writer.u8(Self::INLINE);
                writer.bytes(bytes);
            }
            Self::Extents(extents) => {
                writer.u8(Self::EXTENTS);
                writer.varint(extents.len() as u64);
                extents.iter().for_each(|extent| extent.encode(expected, writer));
            }
            Self::Pages(root) => {
                writer.u8(Self::PAGES);
                writer.u8(root.level);
                root.page.encode(writer);
            }
        }
    }

    /// `page` is what `reader` reads, so that inline bytes can share its memory.
    pub(super) fn decode(
        page: &Bytes,
        expected: &mut u64,
        reader: &mut Reader<'_>,
    ) -> Result<Self, DecodeError> {
        Ok(match reader.u8()? {
            Self::NONE => Self::None,
            Self::INLINE => {
                let len = at_least_one(reader.bytes(INLINE_LEN_MAX)?.len(), reader)?;
                Self::Inline(page.slice(reader.offset() - len..reader.offset()))
            }
            Self::EXTENTS => {
                let count = reader.count(LISTED_EXTENTS_MAX)?;
                let count = at_least_one(count, reader)?;
                let extents = (0..count).map(|_| Extent::decode(expected, reader));
                Self::Extents(extents.collect::<Result<_, _>>()?)
            }
            Self::PAGES => {
                let level = reader.u8()?;
                if level > LEVEL_MAX {
                    return Err(reader.undefined("level", u64::from(level)));
                }
                Self::Pages(ContentRoot { level, page: PageRef::decode(reader)? })
            }
            tag => return Err(reader.undefined("content", u64::from(tag))),
        })
    }
}

fn at_least_one(count: usize, reader: &Reader<'_>) -> Result<usize, DecodeError> {
    if count == 0 { Err(reader.undefined("count", 0)) } else { Ok(count) }
}
