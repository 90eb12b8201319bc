//! Reading points: entries by path or in order, and the proved bytes of their content.

mod ahead;

use std::cell::RefCell;
use std::rc::Rc;

use bytes::Bytes;
use keelhold_chunk::Reader;

use super::store::{PageError, Pages};
use super::{Inner, Pool, Work};
use crate::device::Device;
use crate::error::ReadError;
use crate::format::PointRow;
use crate::sets::RefCounts;
use crate::tree::{self, Content, Entry, Extent, TreeReader, TreeRoot};
use crate::units::PointId;

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

/// One point, open for reading.
pub struct PointReader<D: Device, W: Work> {
    inner: Rc<Inner<D, W>>,
    tree: Rc<TreeReader<Pages<D, W>>>,
    ahead: RefCell<ahead::Ahead>,
    _pin: ReaderPin<D, W>,
}

/// A point stays while somebody reads it.
struct ReaderPin<D: Device, W: Work> {
    inner: Rc<Inner<D, W>>,
    point: PointId,
}

impl<D: Device, W: Work> Drop for ReaderPin<D, W> {
    fn drop(&mut self) {
        let mut readers = self.inner.readers.borrow_mut();
        if let Some(count) = readers.get_mut(&self.point) {
            *count -= 1;
            if *count == 0 {
                readers.remove(&self.point);
            }
        }
    }
}

impl<D: Device, W: Work> Inner<D, W> {
    pub(super) fn row(&self, point: &PointId) -> Option<PointRow> {
        let tables = self.tables.borrow();
        let working = || {
            let mut states = tables.sources.values().filter_map(|source| source.working.as_ref());
            states.find(|(row, _)| row.id == *point).map(|(row, _)| row.clone())
        };
        tables.point(point).cloned().or_else(working)
    }

    /// All references of a point's tree, before anybody can open it: by walking.
    pub(super) async fn walk_reach(&self, row: &PointRow) -> Result<RefCounts, ReadError> {
        let root = self.root_of(row).await?;
        let pages = Pages { inner: self.handle() };
        TreeReader::new(pages, root).walk_refs().await.map_err(read_error)
    }

    /// The root of a point's tree.
    pub(super) async fn point_root(&self, point: &PointId) -> Result<TreeRoot, ReadError> {
        let row = self.row(point).ok_or(ReadError::NoPoint { point: *point })?;
        self.root_of(&row).await
    }

    async fn root_of(&self, row: &PointRow) -> Result<TreeRoot, ReadError> {
        let recipe = self.recipe(row).await?;
        let undecodable = |source| ReadError::Undecodable { number: row.recipe, source };
        let mut reader = Reader::new(&recipe.root);
        let root = TreeRoot::decode(&mut reader).map_err(undecodable)?;
        reader.finish().map_err(undecodable)?;
        Ok(root)
    }
}

impl<D: Device, W: Work> Pool<D, W> {
    /// Opens a point, or a working state, for reading.
    pub async fn reader(&self, point: &PointId) -> Result<PointReader<D, W>, ReadError> {
        *self.inner.readers.borrow_mut().entry(*point).or_default() += 1;
        let pin = ReaderPin { inner: Rc::clone(&self.inner), point: *point };
        let root = self.inner.point_root(point).await?;
        let pages = Pages { inner: Rc::clone(&self.inner) };
        Ok(PointReader {
            inner: Rc::clone(&self.inner),
            tree: Rc::new(TreeReader::new(pages, root)),
            ahead: RefCell::default(),
            _pin: pin,
        })
    }
}

impl<D: Device, W: Work> PointReader<D, W> {
    #[must_use]
    pub fn root(&self) -> &TreeRoot {
        self.tree.root()
    }

    /// The entry with this path and its ordinal.
    pub async fn find(&self, path: &[u8]) -> Result<Option<(u64, Entry)>, ReadError> {
        self.tree.find(path).await.map_err(read_error)
    }

    /// Entries of a directory, itself not among them, behind the name `after`.
    pub async fn list(
        &self,
        directory: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(u64, Entry)>, ReadError> {
        self.tree.list_dir(directory, after, limit).await.map_err(read_error)
    }

    /// Up to `limit` entries from ordinal `from` on.
    pub async fn scan(&self, from: u64, limit: usize) -> Result<Vec<(u64, Entry)>, ReadError> {
        let mut scan = self.tree.scan(from);
        let mut entries = Vec::new();
        while entries.len() < limit
            && let Some(entry) = scan.next().await.map_err(read_error)?
        {
            entries.push(entry);
        }
        Ok(entries)
    }

    /// Up to `limit` entries from the first at or behind `path` on.
    pub async fn scan_from_path(
        &self,
        path: &[u8],
        limit: usize,
    ) -> Result<Vec<(u64, Entry)>, ReadError> {
        let mut scan = self.tree.scan_from_path(path).await.map_err(read_error)?;
        let mut entries = Vec::new();
        while entries.len() < limit
            && let Some(entry) = scan.next().await.map_err(read_error)?
        {
            entries.push(entry);
        }
        Ok(entries)
    }

    /// Content of an entry between `offset` and `offset + len`, cut off at its end. Whole chunks are
    /// read and proved whatever part of them is asked for.
    pub async fn read(
        &self,
        entry: &Entry,
        offset: u64,
        len: u64,
    ) -> Result<Vec<Piece>, ReadError> {
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
        let extents =
            self.tree.extents_at(entry, offset, end - offset).await.map_err(read_error)?;
        for (start, extent) in extents {
            let from = offset.saturating_sub(start);
            let upto = extent.len().min(end - start);
            match extent {
                Extent::Hole { .. } => pieces.push(Piece::Hole(upto - from)),
                Extent::Span { .. } => self.read_span(&extent, from, upto, &mut pieces).await?,
            }
        }
        Ok(pieces)
    }

    async fn read_span(
        &self,
        extent: &Extent,
        from: u64,
        upto: u64,
        pieces: &mut Vec<Piece>,
    ) -> Result<(), ReadError> {
        let Extent::Span { first, count, len, digest } = *extent else {
            return Ok(());
        };
        let found = self.inner.locate_span(first, u64::from(count), digest).await?;
        if found.iter().map(|found| u64::from(found.chunk.len)).sum::<u64>() != len {
            return Err(ReadError::Misfit { number: first });
        }
        let (mut start, mut wanted, mut cuts) = (0u64, Vec::new(), Vec::new());
        for found in found {
            let chunk_end = start + u64::from(found.chunk.len);
            if chunk_end > from && start < upto {
                cuts.push((from.saturating_sub(start), upto.min(chunk_end) - start));
                wanted.push(found);
            }
            start = chunk_end;
        }
        let bytes = self.inner.chunks_bytes(&wanted).await?;
        for (bytes, (cut_from, cut_to)) in bytes.into_iter().zip(cuts) {
            pieces.push(Piece::Data(bytes.slice(cut_from as usize..cut_to as usize)));
        }
        Ok(())
    }

    /// The entries that need one of `chunks`, in order. Pages among these are not read.
    pub async fn touched(
        &self,
        chunks: &roaring::RoaringTreemap,
    ) -> Result<Vec<tree::Touched>, ReadError> {
        self.tree.touched(chunks).await.map_err(read_error)
    }

    /// All references of the tree, by walking it: for audits.
    pub async fn walk_refs(&self) -> Result<crate::sets::RefCounts, ReadError> {
        self.tree.walk_refs().await.map_err(read_error)
    }
}

fn read_error(error: tree::ReadError<PageError>) -> ReadError {
    match error {
        tree::ReadError::Store(PageError::Read(error)) => error,
        tree::ReadError::Store(PageError::Commit(_)) => {
            unreachable!("reading stores nothing")
        }
        tree::ReadError::Page { number, .. } => ReadError::Misfit { number },
    }
}

impl<D: Device, W: Work> std::fmt::Debug for PointReader<D, W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PointReader({:?})", self.tree.root().page)
    }
}
