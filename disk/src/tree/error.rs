//! What can be wrong with pages, and with what somebody wants a tree to be built from.

use keelhold_chunk::DecodeError;
use thiserror::Error;

use super::PageKind;
use crate::units::ChunkNumber;

/// Proved bytes that are nevertheless no page of this tree: written wrong, by us.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PageFault {
    #[error("the page cannot be decoded")]
    Encoding(#[from] DecodeError),
    #[error("a page of {len} bytes is too long")]
    TooLong { len: usize },
    #[error("kind {found_kind}, level {found_level} found where {kind:?}, level {level} belongs")]
    OtherPage { kind: PageKind, level: u8, found_kind: u8, found_level: u8 },
    #[error("the page holds nothing")]
    NoItems,
    #[error("item {index} is not behind the one before it")]
    Order { index: usize },
    #[error("the path of item {index} cannot stand in a tree")]
    Path { index: usize },
    #[error("the content of item {index} does not fit its attributes")]
    Content { index: usize },
    #[error("the page holds something else than the page above it says")]
    OtherSums,
}

/// Why a tree cannot be read further.
#[derive(Debug, Clone, Error)]
pub enum ReadError<E> {
    #[error("the store did not give the page")]
    Store(#[source] E),
    #[error("page {number} is damaged")]
    Page {
        number: ChunkNumber,
        #[source]
        fault: PageFault,
    },
}

impl<E> ReadError<E> {
    /// Whether bytes are wrong, as opposed to out of reach for now.
    #[must_use]
    pub fn is_corruption(&self) -> bool {
        matches!(self, Self::Page { .. })
    }
}

/// Why a tree is not built. All but [`BuildError::Read`] and [`BuildError::Store`] are faults of the
/// input.
#[derive(Debug, Clone, Error)]
pub enum BuildError<E> {
    #[error("the basis cannot be read")]
    Read(#[from] ReadError<E>),
    #[error("the store did not take a page")]
    Store(#[source] E),
    #[error("the path {} cannot stand in a tree", path.escape_ascii())]
    UnsoundPath { path: Vec<u8> },
    #[error("the path {} is not behind {}", path.escape_ascii(), after.escape_ascii())]
    Unsorted { path: Vec<u8>, after: Vec<u8> },
    #[error("the tree does not begin with its root but with {}", path.escape_ascii())]
    NoRoot { path: Vec<u8> },
    #[error("the parent of {} is not a directory of the tree", path.escape_ascii())]
    NoParent { path: Vec<u8> },
    #[error("the attributes of {} cannot be decoded", path.escape_ascii())]
    Attributes {
        path: Vec<u8>,
        #[source]
        source: DecodeError,
    },
    #[error("the content of {} has {found} bytes, its attributes say {size}", path.escape_ascii())]
    SizeMismatch { path: Vec<u8>, size: u64, found: u64 },
    #[error("inline content of {len} bytes is too long")]
    InlineTooLong { len: usize },
    #[error("entries {first} and {count} on are not behind entry {after} of a basis of {basis}")]
    Ordinals { first: u64, count: u64, after: u64, basis: u64 },
    #[error("the basis has no entry {ordinal} but {basis} entries")]
    NoSuchEntry { ordinal: u64, basis: u64 },
    #[error("an extent is empty, or its chunk number {number:?} is none")]
    UnsoundExtent { number: Option<ChunkNumber> },
    #[error("sizes exceed 64 bits in sum")]
    TooLarge,
    #[error("content was begun before the last was used")]
    ContentOpen,
    #[error("no content was begun")]
    NoContent,
}

impl<E> BuildError<E> {
    /// Whether the input is at fault, so that who sent it is to be refused.
    #[must_use]
    pub fn is_input(&self) -> bool {
        !matches!(self, Self::Read(_) | Self::Store(_))
    }
}
