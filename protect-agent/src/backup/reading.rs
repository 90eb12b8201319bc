//! What readers hand to the stream.

use bytes::Bytes;
use keelhold_chunk::cut::Cutter;
use keelhold_chunk::{Attributes, ChunkId, IdKey, Kind, LinkGroup, Writer};
use keelhold_tree::{EntryKind, Stat};
use keelhold_wire::SkipReason;

use super::budget::Permit;
use super::pieces::DataReads;
use super::view::View;
use crate::shortcut::{Record, Synced};

/// What every reader of a session needs.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) id_key: IdKey,
    pub(crate) cutter: Cutter,
    pub(crate) inline_max: u64,
    pub(crate) synced: Synced,
    pub(crate) reads: DataReads,
    pub(crate) view: View,
}

/// A piece of content with its name.
#[derive(Debug)]
pub(crate) enum Part {
    Chunk {
        id: ChunkId,
        bytes: Bytes,
    },
    /// A chunk that was offered in this session already.
    Known {
        id: ChunkId,
        len: u32,
    },
    Hole {
        len: u64,
    },
}

impl Part {
    /// The same, for those who have heard of it.
    pub(crate) fn known(&self) -> Self {
        match self {
            Self::Chunk { id, bytes } => Self::Known { id: *id, len: bytes.len() as u32 },
            Self::Known { id, len } => Self::Known { id: *id, len: *len },
            Self::Hole { len } => Self::Hole { len: *len },
        }
    }
}

#[derive(Debug)]
pub(crate) enum ReadContent {
    None,
    Inline(Vec<u8>),
    Parts(Vec<Part>),
}

impl ReadContent {
    pub(crate) fn known(&self) -> Self {
        match self {
            Self::None => Self::None,
            Self::Inline(bytes) => Self::Inline(bytes.clone()),
            Self::Parts(parts) => Self::Parts(parts.iter().map(Part::known).collect()),
        }
    }
}

/// Why something is missing or doubtful, in the reader's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) reason: SkipReason,
    pub(crate) text: String,
}

/// What is known of an entry once it was read.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    /// Encoded attributes.
    pub(crate) attributes: Vec<u8>,
    pub(crate) record: Record,
    pub(crate) is_file: bool,
    pub(crate) size: u64,
    pub(crate) bytes_read: u64,
    /// The shortcut called it unchanged, and it is not.
    pub(crate) shortcut_wrong: bool,
    pub(crate) note: Option<Note>,
}

#[derive(Debug)]
pub(crate) enum Outcome {
    Entry { facts: Facts, content: ReadContent },
    Skipped(Note),
}

#[derive(Debug)]
pub(crate) struct Reading {
    pub(crate) path: Vec<u8>,
    /// Set on the first name of a file whose other names will refer to it.
    pub(crate) group: Option<LinkGroup>,
    pub(crate) outcome: Outcome,
}

/// Neighbours that were read together, and the permit for their bytes.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) readings: Vec<Reading>,
    pub(crate) permit: Permit,
}

/// A digest over attributes and content. It is compared with another of the same machine only.
#[derive(Debug)]
pub(crate) struct Digest<'a> {
    id_key: &'a IdKey,
    writer: Writer,
}

/// Bytes after which the digest so far takes their place: a terabyte has many ids.
const DIGEST_FOLD_LEN: usize = 64 << 10;

impl<'a> Digest<'a> {
    pub(crate) fn new(id_key: &'a IdKey) -> Self {
        Self { id_key, writer: Writer::new() }
    }

    pub(crate) fn part(&mut self, part: &Part) {
        let mut chunk = |id: &ChunkId, len: u64| {
            self.writer.varint(len << 1);
            self.writer.raw(id.as_bytes());
        };
        match part {
            Part::Chunk { id, bytes } => chunk(id, bytes.len() as u64),
            Part::Known { id, len } => chunk(id, u64::from(*len)),
            Part::Hole { len } => self.writer.varint(len << 1 | 1),
        }
        if self.writer.len() >= DIGEST_FOLD_LEN {
            let folded = self.id_key.id(&std::mem::take(&mut self.writer).finish());
            self.writer.raw(folded.as_bytes());
        }
    }

    pub(crate) fn content(mut self, content: &ReadContent, attributes: &[u8]) -> [u8; 8] {
        match content {
            ReadContent::None => {}
            ReadContent::Inline(bytes) => self.writer.bytes(bytes),
            ReadContent::Parts(parts) => parts.iter().for_each(|part| self.part(part)),
        }
        self.finish(attributes)
    }

    pub(crate) fn finish(mut self, attributes: &[u8]) -> [u8; 8] {
        self.writer.bytes(attributes);
        let id = self.id_key.id(&self.writer.finish());
        let mut digest = [0; 8];
        digest.copy_from_slice(&id.as_bytes()[..8]);
        digest
    }
}

/// Attributes without what has to be asked beside the `stat`: for an entry that must be in the point
/// though something of it cannot be read.
pub(crate) fn bare_attributes(stat: &Stat) -> Option<Attributes> {
    let (major, minor) = stat.device_number;
    let kind = match stat.kind() {
        EntryKind::File => Kind::File { size: stat.identity.size },
        EntryKind::Directory => Kind::Directory,
        EntryKind::Symlink => return None,
        EntryKind::Fifo => Kind::Fifo,
        EntryKind::Socket => Kind::Socket,
        EntryKind::CharDevice => Kind::CharDevice { major, minor },
        EntryKind::BlockDevice => Kind::BlockDevice { major, minor },
    };
    Some(Attributes {
        kind,
        mode: stat.mode,
        uid: stat.uid,
        gid: stat.gid,
        mtime: stat.identity.mtime,
        link_group: stat.link_group(),
        xattrs: Vec::new(),
    })
}
