//! Pages of extents, and pages of references to those.
//!
//! A page knows nothing of its place in the file: the same stretch of chunks is the same page
//! wherever it stands. References carry the number of bytes below, so that an offset is found by
//! adding up one page per level.

use keelhold_chunk::Writer;

use crate::tree::Extent;
use crate::tree::cut::Filled;
use crate::tree::error::PageFault;
use crate::tree::extent::digest_hash;
use crate::tree::page::{self, PageKind, PageRef};

/// One page of extents, or of references, as the page above knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::tree) struct Stretch {
    pub page: PageRef,
    /// Bytes of the file that it describes; never 0.
    pub len: u64,
}

/// What a content page holds: extents on level 0, stretches above.
pub(in crate::tree) trait Part: Copy {
    fn len(&self) -> u64;
    fn hash(&self) -> u32;
    fn encode(&self, expected: &mut u64, writer: &mut Writer);
}

impl Part for Extent {
    fn len(&self) -> u64 {
        self.len()
    }

    fn hash(&self) -> u32 {
        self.hash()
    }

    fn encode(&self, expected: &mut u64, writer: &mut Writer) {
        self.encode(expected, writer);
    }
}

impl Part for Stretch {
    fn len(&self) -> u64 {
        self.len
    }

    fn hash(&self) -> u32 {
        digest_hash(&self.page.digest)
    }

    fn encode(&self, expected: &mut u64, writer: &mut Writer) {
        self.page.encode_after(*expected, writer);
        writer.varint(self.len);
        *expected = self.page.number.0 + 1;
    }
}

/// A page of content while it grows.
#[derive(Debug, Default)]
pub(in crate::tree) struct ContentPage {
    body: Writer,
    filled: Filled,
    expected: u64,
    len: u64,
}

impl ContentPage {
    pub fn filled(&self) -> Filled {
        self.filled
    }

    /// Nothing when the sum of lengths exceeds 64 bits.
    pub fn push(&mut self, part: impl Part) -> Option<()> {
        self.len = self.len.checked_add(part.len())?;
        part.encode(&mut self.expected, &mut self.body);
        self.filled.grow_to(self.body.len());
        Some(())
    }

    /// The page and how much of the file it describes; the writer is empty again.
    pub fn take(&mut self, level: u8) -> (Vec<u8>, u64) {
        let Self { body, filled, len, .. } = std::mem::take(self);
        (page::assemble(PageKind::Content, level, filled.count, &body.finish()), len)
    }
}

pub(in crate::tree) fn decode_extents(bytes: &[u8]) -> Result<Vec<Extent>, PageFault> {
    let (mut reader, count) = page::open(bytes, PageKind::Content, 0)?;
    let mut extents = Vec::with_capacity(count.min(2048));
    let (mut expected, mut sum) = (0, 0u64);
    for index in 0..count {
        let extent = Extent::decode(&mut expected, &mut reader)?;
        sum = sum.checked_add(extent.len()).ok_or(PageFault::Content { index })?;
        extents.push(extent);
    }
    reader.finish()?;
    Ok(extents)
}

pub(in crate::tree) fn decode_stretches(
    bytes: &[u8],
    level: u8,
) -> Result<Vec<Stretch>, PageFault> {
    let (mut reader, count) = page::open(bytes, PageKind::Content, level)?;
    let mut stretches = Vec::with_capacity(count.min(2048));
    let (mut expected, mut sum) = (0, 0u64);
    for index in 0..count {
        let page = PageRef::decode_after(expected, &mut reader)?;
        let len = reader.varint()?;
        sum = sum.checked_add(len).filter(|_| len > 0).ok_or(PageFault::Content { index })?;
        expected = page.number.0 + 1;
        stretches.push(Stretch { page, len });
    }
    reader.finish()?;
    Ok(stretches)
}
