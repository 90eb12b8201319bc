//! Entries as offers: the stream that describes a tree and asks, in passing, what to send.

use bytes::Bytes;
use keelhold_chunk::entry::{ATTRIBUTES_LEN_MAX, PATH_LEN_MAX};
use keelhold_chunk::{ChunkId, DecodeError, Reader, Writer};

use crate::field::{Field, take_bytes};
use crate::header::{HEADER_LEN, Header};
use crate::limits::{
    BODY_LEN_MAX, CHUNK_LEN_MAX, HOLE_WEIGHT, INLINE_LEN_MAX, ITEM_WEIGHT, ITEMS_BODY_LEN_TARGET,
    ITEMS_COUNT_MAX, ITEMS_PATHS_LEN_MAX, ITEMS_WEIGHT_MAX, MESSAGE_WEIGHT, REF_WEIGHT,
};

/// A piece of the stream. `seq` counts from 1 in every job; a message whose `seq` is not above the
/// last one is a repetition and ignored, one that leaves a gap is an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Items {
    pub job: u64,
    pub seq: u64,
    pub items: Vec<Item>,
}

/// In order of path (`keelhold_chunk::entry::path_order`), ordinals ascending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// These entries of the basis, nothing about them has changed.
    Same {
        first: u64,
        count: u64,
    },
    /// One entry. `attributes` is an encoded [`keelhold_chunk::Attributes`].
    Entry {
        path: Vec<u8>,
        attributes: Vec<u8>,
        content: Content,
    },
    /// Begins a large file. Until `EntryClose` only `EntryMore` may follow.
    EntryOpen {
        path: Vec<u8>,
    },
    EntryMore {
        extents: Vec<Extent>,
    },
    /// Ends a large file. Its attributes come last, because they are read after the content.
    EntryClose {
        attributes: Vec<u8>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    None,
    /// At most as long as the session's limit for inline content.
    Inline(Vec<u8>),
    /// The content of this entry of the basis, under new attributes.
    Basis {
        ordinal: u64,
    },
    Extents(Vec<Extent>),
}

/// A piece of a file. Two holes never follow each other, and no piece is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Extent {
    Chunk { id: ChunkId, len: u32 },
    Hole { len: u64 },
}

impl Extent {
    #[must_use]
    pub fn plain_len(&self) -> u64 {
        match self {
            Self::Chunk { len, .. } => u64::from(*len),
            Self::Hole { len } => *len,
        }
    }
}

impl Item {
    /// How many chunk references the item makes.
    #[must_use]
    pub fn ref_count(&self) -> u64 {
        let extents = match self {
            Self::EntryMore { extents }
            | Self::Entry { content: Content::Extents(extents), .. } => extents,
            _ => return 0,
        };
        extents.iter().filter(|extent| matches!(extent, Extent::Chunk { .. })).count() as u64
    }

    /// What the item takes where it is kept. Both sides count it from the item, not from its bytes.
    #[must_use]
    pub fn weight(&self) -> u64 {
        let bytes = match self {
            Self::Same { .. } => 0,
            Self::Entry { path, attributes, content } => {
                (path.len() + attributes.len()) as u64 + content.weight()
            }
            Self::EntryOpen { path } => path.len() as u64,
            Self::EntryMore { extents } => extents_weight(extents),
            Self::EntryClose { attributes } => attributes.len() as u64,
        };
        ITEM_WEIGHT + bytes
    }
}

impl Items {
    #[must_use]
    pub fn weight(&self) -> u64 {
        MESSAGE_WEIGHT + self.items.iter().map(Item::weight).sum::<u64>()
    }
}

fn extents_weight(extents: &[Extent]) -> u64 {
    let weight = |extent: &Extent| match extent {
        Extent::Chunk { .. } => REF_WEIGHT,
        Extent::Hole { .. } => HOLE_WEIGHT,
    };
    extents.iter().map(weight).sum()
}

const SAME: u8 = 0;
const ENTRY: u8 = 1;
const OPEN: u8 = 2;
const MORE: u8 = 3;
const CLOSE: u8 = 4;

const NONE: u8 = 0;
const INLINE: u8 = 1;
const BASIS: u8 = 2;
const EXTENTS: u8 = 3;

/// Paths are written as what they share with the path before them in the same message, and the rest.
#[derive(Debug, Default)]
pub(crate) struct Paths {
    last: Vec<u8>,
    total: usize,
}

impl Paths {
    pub(crate) fn put(&mut self, path: &[u8], writer: &mut Writer) {
        let shared = self.last.iter().zip(path).take_while(|(l, r)| l == r).count();
        let rest = path.get(shared..).unwrap_or_default();
        writer.varint(shared as u64);
        writer.bytes(rest);
        self.last.truncate(shared);
        self.last.extend_from_slice(rest);
        self.total += path.len();
    }

    fn take(&mut self, reader: &mut Reader<'_>) -> Result<Vec<u8>, DecodeError> {
        let shared = reader.count(self.last.len())?;
        let rest = reader.bytes(PATH_LEN_MAX)?;
        let len = shared + rest.len();
        self.total += len;
        if len > PATH_LEN_MAX || self.total > ITEMS_PATHS_LEN_MAX {
            let limit = PATH_LEN_MAX.min(ITEMS_PATHS_LEN_MAX) as u64;
            return Err(DecodeError::TooLong { offset: reader.offset(), len: len as u64, limit });
        }
        // Canonical: what is shared is not repeated.
        if rest.first().is_some_and(|first| self.last.get(shared) == Some(first)) {
            return Err(reader.undefined("shared part of a path", shared as u64));
        }
        self.last.truncate(shared);
        self.last.extend_from_slice(rest);
        Ok(self.last.clone())
    }
}

fn put_extents(extents: &[Extent], writer: &mut Writer) {
    writer.varint(extents.len() as u64);
    for extent in extents {
        match extent {
            Extent::Chunk { id, len } => {
                writer.varint(u64::from(*len) << 1);
                id.put(writer);
            }
            Extent::Hole { len } => writer.varint((len << 1) | 1),
        }
    }
}

fn take_extents(reader: &mut Reader<'_>) -> Result<Vec<Extent>, DecodeError> {
    let count = reader.count(BODY_LEN_MAX)?;
    let mut extents = Vec::new();
    let mut after_hole = false;
    for _ in 0..count {
        let tagged = reader.varint()?;
        let len = tagged >> 1;
        let hole = tagged & 1 == 1;
        if len == 0 || (hole && after_hole) || (!hole && len > CHUNK_LEN_MAX as u64) {
            return Err(reader.undefined("extent", tagged));
        }
        extents.push(if hole {
            Extent::Hole { len }
        } else {
            Extent::Chunk { id: ChunkId::from_bytes(reader.array()?), len: len as u32 }
        });
        after_hole = hole;
    }
    Ok(extents)
}

impl Content {
    fn weight(&self) -> u64 {
        match self {
            Self::None | Self::Basis { .. } => 0,
            Self::Inline(bytes) => bytes.len() as u64,
            Self::Extents(extents) => extents_weight(extents),
        }
    }

    fn put(&self, writer: &mut Writer) {
        match self {
            Self::None => writer.u8(NONE),
            Self::Inline(bytes) => {
                writer.u8(INLINE);
                writer.bytes(bytes);
            }
            Self::Basis { ordinal } => {
                writer.u8(BASIS);
                writer.varint(*ordinal);
            }
            Self::Extents(extents) => {
                writer.u8(EXTENTS);
                put_extents(extents, writer);
            }
        }
    }

    fn take(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match reader.u8()? {
            NONE => Ok(Self::None),
            INLINE => Ok(Self::Inline(take_bytes(reader, INLINE_LEN_MAX)?)),
            BASIS => Ok(Self::Basis { ordinal: reader.varint()? }),
            EXTENTS => Ok(Self::Extents(take_extents(reader)?)),
            other => Err(reader.undefined("content", u64::from(other))),
        }
    }
}

impl Item {
    pub(crate) fn put(&self, paths: &mut Paths, writer: &mut Writer) {
        match self {
            Self::Same { first, count } => {
                writer.u8(SAME);
                writer.varint(*first);
                writer.varint(*count);
            }
            Self::Entry { path, attributes, content } => {
                writer.u8(ENTRY);
                paths.put(path, writer);
                writer.bytes(attributes);
                content.put(writer);
            }
            Self::EntryOpen { path } => {
                writer.u8(OPEN);
                paths.put(path, writer);
            }
            Self::EntryMore { extents } => {
                writer.u8(MORE);
                put_extents(extents, writer);
            }
            Self::EntryClose { attributes } => {
                writer.u8(CLOSE);
                writer.bytes(attributes);
            }
        }
    }

    fn take(paths: &mut Paths, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match reader.u8()? {
            SAME => {
                let (first, count) = (reader.varint()?, reader.varint()?);
                if count == 0 || first.checked_add(count).is_none() {
                    return Err(reader.undefined("count of unchanged entries", count));
                }
                Ok(Self::Same { first, count })
            }
            ENTRY => Ok(Self::Entry {
                path: paths.take(reader)?,
                attributes: take_bytes(reader, ATTRIBUTES_LEN_MAX)?,
                content: Content::take(reader)?,
            }),
            OPEN => Ok(Self::EntryOpen { path: paths.take(reader)? }),
            MORE => Ok(Self::EntryMore { extents: take_extents(reader)? }),
            CLOSE => Ok(Self::EntryClose { attributes: take_bytes(reader, ATTRIBUTES_LEN_MAX)? }),
            other => Err(reader.undefined("item", u64::from(other))),
        }
    }
}

impl Field for Items {
    fn put(&self, writer: &mut Writer) {
        self.job.put(writer);
        self.seq.put(writer);
        writer.varint(self.items.len() as u64);
        let mut paths = Paths::default();
        self.items.iter().for_each(|item| item.put(&mut paths, writer));
    }

    fn take(reader: &mut Reader<'_>, body: &Bytes) -> Result<Self, DecodeError> {
        let job = u64::take(reader, body)?;
        let seq = u64::take(reader, body)?;
        let count = reader.count(ITEMS_COUNT_MAX)?;
        let mut paths = Paths::default();
        let mut items = Vec::new();
        for _ in 0..count {
            items.push(Item::take(&mut paths, reader)?);
        }
        Ok(Self { job, seq, items })
    }
}

/// Items on their way into a message, encoded as they come, so that a sender knows when to close it.
#[derive(Debug, Default)]
pub struct Batch {
    paths: Paths,
    writer: Writer,
    count: u64,
    weight: u64,
}

impl Batch {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    pub fn push(&mut self, item: &Item) {
        item.put(&mut self.paths, &mut self.writer);
        self.count += 1;
        self.weight += item.weight();
    }

    /// Of the message, as it is now.
    #[must_use]
    pub fn weight(&self) -> u64 {
        MESSAGE_WEIGHT + self.weight
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether the message should be closed. One more item always fits until then: an entry with
    /// the longest path and attributes and [`EXTENTS_PER_ITEM`] extents stays below the limit.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.writer.len() >= ITEMS_BODY_LEN_TARGET
            || self.count >= ITEMS_COUNT_MAX as u64
            || self.weight >= ITEMS_WEIGHT_MAX / 2
            || self.paths.total + PATH_LEN_MAX > ITEMS_PATHS_LEN_MAX
    }

    /// The whole message, header included; the batch is empty afterwards.
    #[must_use]
    pub fn take(&mut self, job: u64, seq: u64) -> Vec<u8> {
        let batch = std::mem::take(self);
        let mut writer = Writer::over(vec![0; HEADER_LEN]);
        job.put(&mut writer);
        seq.put(&mut writer);
        writer.varint(batch.count);
        writer.raw(&batch.writer.finish());
        let mut bytes = writer.finish();
        if let Some((head, body)) = bytes.split_at_mut_checked(HEADER_LEN) {
            head.copy_from_slice(&Header::seal(crate::message::ITEMS_KIND, body));
        }
        bytes
    }
}

/// Most extents a sender puts into one item. A file with more goes by `EntryOpen`.
pub const EXTENTS_PER_ITEM: usize = 1_024;

const _: () = assert!(
    (PATH_LEN_MAX + ATTRIBUTES_LEN_MAX) as u64
        + ITEM_WEIGHT
        + MESSAGE_WEIGHT
        + EXTENTS_PER_ITEM as u64 * (REF_WEIGHT + HOLE_WEIGHT)
        < ITEMS_WEIGHT_MAX / 2
);
const _: () = assert!(
    ITEMS_BODY_LEN_TARGET + PATH_LEN_MAX + ATTRIBUTES_LEN_MAX + EXTENTS_PER_ITEM * 42 + 64
        < BODY_LEN_MAX
);
