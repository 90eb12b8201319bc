//! Pages of references to pages one level below.

use keelhold_chunk::entry::{PATH_LEN_MAX, is_sound_path, path_order};
use keelhold_chunk::{Reader, Writer};

use super::cut::Filled;
use super::error::PageFault;
use super::page::{self, PageKind, PageRef};
use super::root::Totals;

/// One page as the page above knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Child {
    /// Path of the first entry below.
    pub first_path: Vec<u8>,
    pub page: PageRef,
    pub totals: Totals,
}

/// A page of references while it grows.
#[derive(Debug, Default)]
pub(super) struct InnerWriter {
    body: Writer,
    children: Vec<Child>,
    filled: Filled,
    totals: Totals,
}

impl InnerWriter {
    pub fn is_empty(&self) -> bool {
        self.children.is_empty()
    }

    pub fn filled(&self) -> Filled {
        self.filled
    }

    /// Nothing when the sums exceed 64 bits.
    pub fn push(&mut self, child: Child) -> Option<()> {
        self.totals = self.totals.plus(child.totals)?;
        let (before, expected) = match self.children.last() {
            Some(last) => (last.first_path.as_slice(), last.page.number.0 + 1),
            None => (&[][..], 0),
        };
        encode_path(before, &child.first_path, &mut self.body);
        child.page.encode_after(expected, &mut self.body);
        child.totals.encode(&mut self.body);
        self.filled.grow_to(self.body.len());
        self.children.push(child);
        Some(())
    }

    /// The page, what it begins with and what it holds; the writer is empty again. Nothing when it
    /// was empty.
    pub fn take(&mut self, level: u8) -> Option<(Vec<u8>, Vec<u8>, Totals)> {
        let Self { body, children, totals, .. } = std::mem::take(self);
        let count = children.len() as u64;
        let first_path = children.into_iter().next()?.first_path;
        let bytes = page::assemble(PageKind::Inner, level, count, &body.finish());
        Some((bytes, first_path, totals))
    }
}

pub(super) fn decode(bytes: &[u8], level: u8) -> Result<Vec<Child>, PageFault> {
    let (mut reader, count) = page::open(bytes, PageKind::Inner, level)?;
    let mut children: Vec<Child> = Vec::with_capacity(count.min(1024));
    for index in 0..count {
        let (before, expected) = match children.last() {
            Some(last) => (Some(last.first_path.as_slice()), last.page.number.0 + 1),
            None => (None, 0),
        };
        let first_path = decode_path(before, index, &mut reader)?;
        let page = PageRef::decode_after(expected, &mut reader)?;
        let totals = Totals::decode(&mut reader)?;
        children.push(Child { first_path, page, totals });
    }
    reader.finish()?;
    Ok(children)
}

/// A path as the number of bytes it shares with the one before it in the page, and the others.
pub(super) fn encode_path(before: &[u8], path: &[u8], writer: &mut Writer) {
    let shared = shared_len(before, path);
    writer.varint(shared as u64);
    writer.bytes(&path[shared..]);
}

/// The next path of a page: sound, behind `before`, and in its only form.
pub(super) fn decode_path(
    before: Option<&[u8]>,
    index: usize,
    reader: &mut Reader<'_>,
) -> Result<Vec<u8>, PageFault> {
    let known = before.unwrap_or(&[]);
    let shared = reader.count(known.len())?;
    let rest = reader.bytes(PATH_LEN_MAX)?;
    let mut path = Vec::with_capacity(shared + rest.len());
    path.extend_from_slice(&known[..shared]);
    path.extend_from_slice(rest);
    if !is_sound_path(&path) {
        return Err(PageFault::Path { index });
    }
    let is_behind = before.is_none_or(|before| path_order(before, &path).is_lt());
    if !is_behind || shared_len(known, &path) != shared {
        return Err(PageFault::Order { index });
    }
    Ok(path)
}

fn shared_len(left: &[u8], right: &[u8]) -> usize {
    left.iter().zip(right).take_while(|(l, r)| l == r).count()
}
