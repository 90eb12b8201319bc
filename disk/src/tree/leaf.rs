//! Pages of entries.

use bytes::Bytes;
use keelhold_chunk::entry::{ATTRIBUTES_LEN_MAX, Kind};
use keelhold_chunk::{Attributes, Reader, Writer};

use super::content::Content;
use super::cut::Filled;
use super::error::PageFault;
use super::inner::{decode_path, encode_path};
use super::page::{self, PageKind};
use super::root::Totals;

/// Longest content that stands in the entry itself.
pub const INLINE_LEN_MAX: usize = 4096;

/// One file, directory or other thing of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// From the tree's root, which is the empty path.
    pub path: Vec<u8>,
    pub attributes: Attributes,
    pub content: Content,
}

impl Entry {
    /// Length of the content, holes included.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.attributes.size()
    }
}

impl Totals {
    pub fn of(attributes: &Attributes) -> Self {
        Self {
            entries: 1,
            bytes: attributes.size(),
            files: u64::from(matches!(attributes.kind, Kind::File { .. })),
            directories: u64::from(attributes.is_directory()),
        }
    }

    /// Nothing when the sums exceed 64 bits.
    pub fn of_all(entries: &[Entry]) -> Option<Self> {
        entries.iter().try_fold(Self::default(), |sum, entry| sum.plus(Self::of(&entry.attributes)))
    }
}

/// A page of entries while it grows.
#[derive(Debug, Default)]
pub(super) struct LeafWriter {
    body: Writer,
    filled: Filled,
    first_path: Vec<u8>,
    last_path: Vec<u8>,
    /// The chunk number after the last span.
    expected: u64,
    totals: Totals,
}

impl LeafWriter {
    pub fn is_empty(&self) -> bool {
        self.filled.count == 0
    }

    pub fn filled(&self) -> Filled {
        self.filled
    }

    /// Nothing when the sums exceed 64 bits.
    pub fn push(
        &mut self,
        path: &[u8],
        attributes: &[u8],
        sums: Totals,
        content: &Content,
    ) -> Option<()> {
        self.totals = self.totals.plus(sums)?;
        if self.is_empty() {
            self.first_path = path.to_vec();
        }
        encode_path(&self.last_path, path, &mut self.body);
        self.body.bytes(attributes);
        content.encode(&mut self.expected, &mut self.body);
        self.filled.grow_to(self.body.len());
        self.last_path.clear();
        self.last_path.extend_from_slice(path);
        Some(())
    }

    /// The page, what it begins with and what it holds; the writer is empty again. Nothing when it
    /// was empty.
    pub fn take(&mut self) -> Option<(Vec<u8>, Vec<u8>, Totals)> {
        let Self { body, filled, first_path, totals, .. } = std::mem::take(self);
        let bytes = page::assemble(PageKind::Entries, 0, filled.count, &body.finish());
        (filled.count > 0).then_some((bytes, first_path, totals))
    }
}

pub(super) fn decode(bytes: &Bytes) -> Result<Vec<Entry>, PageFault> {
    let (mut reader, count) = page::open(bytes, PageKind::Entries, 0)?;
    let mut entries: Vec<Entry> = Vec::with_capacity(count.min(1024));
    let mut expected = 0;
    for index in 0..count {
        let before = entries.last().map(|entry| entry.path.as_slice());
        let path = decode_path(before, index, &mut reader)?;
        let attributes = decode_attributes(&mut reader)?;
        let content = Content::decode(bytes, &mut expected, &mut reader)?;
        if !content.fits(attributes.size()) {
            return Err(PageFault::Content { index });
        }
        entries.push(Entry { path, attributes, content });
    }
    reader.finish()?;
    Ok(entries)
}

fn decode_attributes(reader: &mut Reader<'_>) -> Result<Attributes, PageFault> {
    Ok(Attributes::from_bytes(reader.bytes(ATTRIBUTES_LEN_MAX)?)?)
}
