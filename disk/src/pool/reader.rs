//! Reading points: [`tree::PointReader`] over the pool, and the pin that keeps the point meanwhile.

use std::fmt;
use std::rc::Rc;

use keelhold_chunk::Reader;
use roaring::RoaringTreemap;

use super::store::{PageError, Pages};
use super::{Inner, Pool, Work};
use crate::device::Device;
use crate::error::ReadError;
use crate::format::PointRow;
use crate::sets::RefCounts;
use crate::tree::{self, Entry, Piece, Touched, TreeReader, TreeRoot};
use crate::units::PointId;

/// One point, open for reading.
pub struct PointReader<D: Device, W: Work> {
    point: tree::PointReader<Pages<D, W>>,
    _hold: PointHold<D, W>,
}

/// See [`Pool::hold_point`].
pub struct PointHold<D: Device, W: Work> {
    inner: Rc<Inner<D, W>>,
    point: PointId,
}

impl<D: Device, W: Work> Drop for PointHold<D, W> {
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
        self.decode_root(row, &recipe.root)
    }

    /// The root of a tree out of its recipe.
    pub(super) fn decode_root(&self, row: &PointRow, root: &[u8]) -> Result<TreeRoot, ReadError> {
        let undecodable = |source| ReadError::Undecodable { number: row.recipe, source };
        let mut reader = Reader::new(root);
        let root = TreeRoot::decode(&mut reader).map_err(undecodable)?;
        reader.finish().map_err(undecodable)?;
        Ok(root)
    }
}

impl<D: Device, W: Work> Pool<D, W> {
    /// Opens a point, or a working state, for reading.
    pub async fn reader(&self, point: &PointId) -> Result<PointReader<D, W>, ReadError> {
        let hold = self.hold_point(point)?;
        let root = self.inner.point_root(point).await?;
        let pages = Pages { inner: Rc::clone(&self.inner) };
        Ok(PointReader { point: tree::PointReader::new(pages, root), _hold: hold })
    }

    /// A point stays while this is held, also if it is dropped meanwhile: as long as somebody reads it
    /// or ships it.
    pub fn hold_point(&self, point: &PointId) -> Result<PointHold<D, W>, ReadError> {
        self.inner.row(point).ok_or(ReadError::NoPoint { point: *point })?;
        *self.inner.readers.borrow_mut().entry(*point).or_default() += 1;
        Ok(PointHold { inner: Rc::clone(&self.inner), point: *point })
    }
}

/// As those of [`tree::PointReader`], with the pool's own error.
impl<D: Device, W: Work> PointReader<D, W> {
    #[must_use]
    pub fn root(&self) -> &TreeRoot {
        self.point.root()
    }

    /// The entry with this path and its ordinal.
    pub async fn find(&self, path: &[u8]) -> Result<Option<(u64, Entry)>, ReadError> {
        self.point.find(path).await.map_err(read_error)
    }

    /// Entries of a directory, itself not among them, behind the name `after`.
    pub async fn list(
        &self,
        directory: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(u64, Entry)>, ReadError> {
        self.point.list(directory, after, limit).await.map_err(read_error)
    }

    /// Up to `limit` entries from ordinal `from` on.
    pub async fn scan(&self, from: u64, limit: usize) -> Result<Vec<(u64, Entry)>, ReadError> {
        self.point.scan(from, limit).await.map_err(read_error)
    }

    /// Up to `limit` entries from the first at or behind `path` on.
    pub async fn scan_from_path(
        &self,
        path: &[u8],
        limit: usize,
    ) -> Result<Vec<(u64, Entry)>, ReadError> {
        self.point.scan_from_path(path, limit).await.map_err(read_error)
    }

    /// Content of an entry between `offset` and `offset + len`, cut off at its end.
    pub async fn read(
        &self,
        entry: &Entry,
        offset: u64,
        len: u64,
    ) -> Result<Vec<Piece>, ReadError> {
        self.point.read(entry, offset, len).await.map_err(read_error)
    }

    /// The entries that need one of `chunks`, in order. Pages among these are not read.
    pub async fn touched(&self, chunks: &RoaringTreemap) -> Result<Vec<Touched>, ReadError> {
        self.point.touched(chunks).await.map_err(read_error)
    }

    /// All references of the tree, by walking it: for audits.
    pub async fn walk_refs(&self) -> Result<RefCounts, ReadError> {
        self.point.walk_refs().await.map_err(read_error)
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

impl<D: Device, W: Work> fmt::Debug for PointReader<D, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.point.fmt(f)
    }
}

impl<D: Device, W: Work> fmt::Debug for PointHold<D, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PointHold({})", self.point)
    }
}
