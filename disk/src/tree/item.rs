//! What a tree is built from.

use keelhold_chunk::ChunkId;

use crate::units::ChunkNumber;

/// The next entries of the new tree, in path order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// `count` entries of the basis from the one with ordinal `first` on, as they are there.
    Same { first: u64, count: u64 },
    Entry {
        path: Vec<u8>,
        /// As [`Attributes`](keelhold_chunk::Attributes) encodes itself.
        attributes: Vec<u8>,
        content: NewContent,
    },
}

/// The content of an entry. Only a file longer than 0 has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NewContent {
    None,
    Inline(Vec<u8>),
    /// What the basis entry with this ordinal has: same bytes, other name or attributes.
    Basis {
        ordinal: u64,
    },
    Extents(Vec<ResolvedExtent>),
    /// What was given to [`TreeBuilder::extend_content`](super::TreeBuilder::extend_content) since
    /// [`TreeBuilder::begin_content`](super::TreeBuilder::begin_content): for files whose list of
    /// chunks is too long to hold.
    Streamed,
}

/// A stretch of a file, its chunk already in the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResolvedExtent {
    Chunk { number: ChunkNumber, id: ChunkId, len: u32 },
    Hole(u64),
}
