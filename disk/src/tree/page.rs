//! What a page is to the rest of the pool: bytes that somebody keeps and proves.

use std::future::Future;

use bytes::Bytes;
use keelhold_chunk::{DecodeError, Reader, SpanDigest, Writer};

use super::error::PageFault;
use crate::units::ChunkNumber;

/// Longest page. Pages are cut far below; only an entry that alone is longer (extended attributes
/// may reach half a mebibyte) makes a longer one.
pub const PAGE_LEN_MAX: usize = 1 << 20;

/// Where a page is: its number, and the digest over its one id that proves what the number leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PageRef {
    pub number: ChunkNumber,
    pub digest: SpanDigest,
}

impl PageRef {
    pub fn encode(&self, writer: &mut Writer) {
        writer.varint(self.number.0);
        writer.raw(self.digest.as_bytes());
    }

    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let number = reader.varint()?;
        Self::with_number(number, reader)
    }

    /// The number as distance from `expected`: neighbours were often written one after another.
    pub(super) fn encode_after(&self, expected: u64, writer: &mut Writer) {
        writer.signed(self.number.0.wrapping_sub(expected) as i64);
        writer.raw(self.digest.as_bytes());
    }

    pub(super) fn decode_after(
        expected: u64,
        reader: &mut Reader<'_>,
    ) -> Result<Self, DecodeError> {
        let number = expected.wrapping_add(reader.signed()? as u64);
        Self::with_number(number, reader)
    }

    fn with_number(number: u64, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        if number >= ChunkNumber::LIMIT {
            return Err(reader.undefined("page number", number));
        }
        let digest = SpanDigest::from_bytes(reader.array()?);
        Ok(Self { number: ChunkNumber(number), digest })
    }
}

/// What a page holds. The page says it too, in its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PageKind {
    /// Entries: the lowest level of a tree.
    Entries,
    /// References to pages one level below.
    Inner,
    /// Extents of one file, or references to pages of extents.
    Content,
}

impl PageKind {
    fn code(self) -> u8 {
        match self {
            Self::Entries => 1,
            Self::Inner => 2,
            Self::Content => 3,
        }
    }
}

/// Keeps pages. Written for one thread: nothing here is `Send`.
pub trait PageStore {
    type Error;

    /// The bytes of a page, proved against the digest of `page`. A scan lets the future of its next
    /// page lie while it awaits others, so no future may hold what the others need to go on.
    fn get(
        &self,
        page: PageRef,
        kind: PageKind,
    ) -> impl Future<Output = Result<Bytes, Self::Error>>;

    /// Keeps a page. Bytes that are stored already get the number they have.
    fn put(
        &self,
        kind: PageKind,
        bytes: Vec<u8>,
    ) -> impl Future<Output = Result<PageRef, Self::Error>>;
}

impl<S: PageStore> PageStore for &S {
    type Error = S::Error;

    async fn get(&self, page: PageRef, kind: PageKind) -> Result<Bytes, S::Error> {
        (**self).get(page, kind).await
    }

    async fn put(&self, kind: PageKind, bytes: Vec<u8>) -> Result<PageRef, S::Error> {
        (**self).put(kind, bytes).await
    }
}

impl<S: PageStore> PageStore for std::rc::Rc<S> {
    type Error = S::Error;

    async fn get(&self, page: PageRef, kind: PageKind) -> Result<Bytes, S::Error> {
        (**self).get(page, kind).await
    }

    async fn put(&self, kind: PageKind, bytes: Vec<u8>) -> Result<PageRef, S::Error> {
        (**self).put(kind, bytes).await
    }
}

/// A whole page: kind, level above the lowest of its kind, number of items, the items.
pub(super) fn assemble(kind: PageKind, level: u8, count: u64, body: &[u8]) -> Vec<u8> {
    let mut writer = Writer::over(Vec::with_capacity(body.len() + 5));
    writer.u8(kind.code());
    writer.u8(level);
    writer.varint(count);
    writer.raw(body);
    let bytes = writer.finish();
    // The limits of paths, attributes and inline content leave an entry far below; see `cut`.
    assert!(bytes.len() <= PAGE_LEN_MAX);
    bytes
}

/// Checks the head of a page. The reader stands at the first item after it; the count is not above
/// what the bytes can hold, so room for that many items may be reserved.
pub(super) fn open(
    bytes: &[u8],
    kind: PageKind,
    level: u8,
) -> Result<(Reader<'_>, usize), PageFault> {
    if bytes.len() > PAGE_LEN_MAX {
        return Err(PageFault::TooLong { len: bytes.len() });
    }
    let mut reader = Reader::new(bytes);
    let (found_kind, found_level) = (reader.u8()?, reader.u8()?);
    if (found_kind, found_level) != (kind.code(), level) {
        return Err(PageFault::OtherPage { kind, level, found_kind, found_level });
    }
    let count = reader.count(reader.left())?;
    match count {
        0 => Err(PageFault::NoItems),
        _ => Ok((reader, count)),
    }
}
