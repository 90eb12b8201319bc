//! One point as a reader sees it: entries by path or in order, and the proved bytes of their content,
//! whoever serves them.

mod ahead;
mod store;

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

use bytes::Bytes;
use roaring::RoaringTreemap;

pub use store::{ContentStore, SpanPart};

use super::error::ReadError;
use super::{Content, Entry, Extent, PageStore, Scan, Touched, TreeReader, TreeRoot};
use crate::sets::RefCounts;

/// A stretch of a file's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    Data(Bytes),
    Hole(u64),
}

impl Piece {
    #[must_use]
    pub fn len(&self) -> u64 {
        match self {
            Self::Data(bytes) => bytes.len() as u64,
            Self::Hole(len) => *len,
        }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A point over whatever serves its pages and its content.
pub struct PointReader<S> {
    tree: Rc<TreeReader<S>>,
    ahead: RefCell<ahead::Ahead>,
}

impl<S: PageStore> PointReader<S> {
    pub fn new(store: S, root: TreeRoot) -> Self {
        Self { tree: Rc::new(TreeReader::new(store, root)), ahead: RefCell::default() }
    }

    #[must_use]
    pub fn root(&self) -> &TreeRoot {
        self.tree.root()
    }

    /// The tree below, for questions only it answers.
    #[must_use]
    pub fn tree(&self) -> &TreeReader<S> {
        &self.tree
    }

    /// The entry with this path and its ordinal.
    pub async fn find(&self, path: &[u8]) -> Result<Option<(u64, Entry)>, ReadError<S::Error>> {
        self.tree.find(path).await
    }

    /// Entries of a directory, itself not among them, behind the name `after`.
    pub async fn list(
        &self,
        directory: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(u64, Entry)>, ReadError<S::Error>> {
        self.tree.list_dir(directory, after, limit).await
    }

    /// Up to `limit` entries from ordinal `from` on.
    pub async fn scan(
        &self,
        from: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Entry)>, ReadError<S::Error>> {
        up_to(self.tree.scan(from), limit).await
    }

    /// Up to `limit` entries from the first at or behind `path` on.
    pub async fn scan_from_path(
        &self,
        path: &[u8],
        limit: usize,
    ) -> Result<Vec<(u64, Entry)>, ReadError<S::Error>> {
        up_to(self.tree.scan_from_path(path).await?, limit).await
    }

    /// The entries that need one of `chunks`, in order. Pages among these are not read.
    pub async fn touched(
        &self,
        chunks: &RoaringTreemap,
    ) -> Result<Vec<Touched>, ReadError<S::Error>> {
        self.tree.touched(chunks).await
    }

    /// All references of the tree, by walking it: for audits.
    pub async fn walk_refs(&self) -> Result<RefCounts, ReadError<S::Error>> {
        self.tree.walk_refs().await
    }
}

async fn up_to<S: PageStore>(
    mut scan: Scan<'_, S>,
    limit: usize,
) -> Result<Vec<(u64, Entry)>, ReadError<S::Error>> {
    let mut entries = Vec::new();
    while entries.len() < limit
        && let Some(entry) = scan.next().await?
    {
        entries.push(entry);
    }
    Ok(entries)
}

impl<S: ContentStore + 'static> PointReader<S> {
    /// Content of an entry between `offset` and `offset + len`, cut off at its end. Whole chunks are
    /// read and proved whatever part of them is asked for.
    pub async fn read(
        &self,
        entry: &Entry,
        offset: u64,
        len: u64,
    ) -> Result<Vec<Piece>, ReadError<S::Error>> {
        let end = offset.saturating_add(len).min(entry.size());
        if offset >= end {
            return Ok(Vec::new());
        }
        if let Content::Inline(bytes) = &entry.content {
            let (start, end) = (offset as usize, (end as usize).min(bytes.len()));
            return Ok(vec![Piece::Data(Bytes::copy_from_slice(&bytes[start..end]))]);
        }
        self.read_ahead(entry, offset, end);
        let mut pieces = Vec::new();
        for (start, extent) in self.tree.extents_at(entry, offset, end - offset).await? {
            let from = offset.saturating_sub(start);
            let upto = extent.len().min(end - start);
            match extent {
                Extent::Hole { .. } => pieces.push(Piece::Hole(upto - from)),
                Extent::Span { first, count, len, digest } => {
                    let bytes = self.tree.store().span(first, count, len, digest, from, upto).await;
                    pieces.extend(bytes.map_err(ReadError::Store)?.into_iter().map(Piece::Data));
                }
            }
        }
        Ok(pieces)
    }
}

impl<S: PageStore> fmt::Debug for PointReader<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PointReader({:?})", self.tree.root().page)
    }
}
