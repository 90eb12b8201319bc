//! Reading a tree: one path, one directory, everything in order, the extents of a file.

mod extents;
mod locate;
mod scan;

pub use extents::Extents;
pub use scan::Scan;

use self::locate::Seek;
use super::error::ReadError;
use super::leaf::Entry;
use super::load::Loader;
use super::{Extent, PageStore, TreeRoot, refs};
use crate::sets::RefCounts;

/// A tree that is complete. The pages used last stay decoded, so neighbouring questions cost one
/// read or none.
#[derive(Debug)]
pub struct TreeReader<S> {
    loader: Loader<S>,
    root: TreeRoot,
}

impl<S: PageStore> TreeReader<S> {
    pub fn new(store: S, root: TreeRoot) -> Self {
        Self { loader: Loader::new(store), root }
    }

    pub fn root(&self) -> &TreeRoot {
        &self.root
    }

    pub fn store(&self) -> &S {
        self.loader.store()
    }

    /// The entry at `path` and its ordinal.
    pub async fn find(&self, path: &[u8]) -> Result<Option<(u64, Entry)>, ReadError<S::Error>> {
        self.loader.find(&self.root, path).await
    }

    pub async fn entry(&self, ordinal: u64) -> Result<Option<Entry>, ReadError<S::Error>> {
        self.loader.entry_at(&self.root, ordinal).await
    }

    /// Entries in order, from the one with this ordinal on.
    pub fn scan(&self, from: u64) -> Scan<'_, S> {
        Scan::new(&self.loader, &self.root, from)
    }

    /// Entries in order, from `path` on, whether there is an entry at `path` or not.
    pub async fn scan_from_path(&self, path: &[u8]) -> Result<Scan<'_, S>, ReadError<S::Error>> {
        let place = self.loader.seek(&self.root, Seek::At(path)).await?;
        Ok(self.scan(place.map_or(self.root.entry_count, |place| place.ordinal)))
    }

    /// What is in a directory, not what is below: at most `limit` entries behind `after`, which is a
    /// path that an earlier call gave.
    pub async fn list_dir(
        &self,
        path: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(u64, Entry)>, ReadError<S::Error>> {
        let mut found: Vec<(u64, Entry)> = Vec::new();
        while found.len() < limit {
            let seek = match found.last() {
                Some((_, entry)) => Seek::PastAllBelow(&entry.path),
                None => after.map_or(Seek::Past(path), Seek::PastAllBelow),
            };
            match self.loader.seek(&self.root, seek).await? {
                Some(place) if locate::is_below(path, &place.entry().path) => {
                    found.push((place.ordinal, place.entry().clone()));
                }
                _ => break,
            }
        }
        Ok(found)
    }

    /// The extents of a file with the offset where each begins. Inline content has none.
    pub fn extents(&self, entry: &Entry) -> Extents<'_, S> {
        Extents::new(&self.loader, entry, 0)
    }

    /// The same from the extent on that holds the byte at `offset`.
    pub fn extents_from(&self, entry: &Entry, offset: u64) -> Extents<'_, S> {
        Extents::new(&self.loader, entry, offset)
    }

    /// The extents that hold any of `len` bytes from `offset` on.
    pub async fn extents_at(
        &self,
        entry: &Entry,
        offset: u64,
        len: u64,
    ) -> Result<Vec<(u64, Extent)>, ReadError<S::Error>> {
        let end = offset.saturating_add(len);
        let mut extents = self.extents_from(entry, offset);
        let mut found = Vec::new();
        if offset == end {
            return Ok(found);
        }
        while let Some((start, extent)) = extents.next().await? {
            if start >= end {
                break;
            }
            found.push((start, extent));
        }
        Ok(found)
    }

    /// The entries that need one of `numbers`, in order.
    pub async fn touched(
        &self,
        numbers: &roaring::RoaringTreemap,
    ) -> Result<Vec<super::Touched>, ReadError<S::Error>> {
        match self.root.as_child() {
            Some(child) => {
                super::touched::touched(&self.loader, child, self.root.level, numbers).await
            }
            None => Ok(Vec::new()),
        }
    }

    /// Every reference of the tree, pages included. Reads all of it: for audits.
    pub async fn walk_refs(&self) -> Result<RefCounts, ReadError<S::Error>> {
        match self.root.as_child() {
            Some(root) => refs::tree_refs(&self.loader, root, self.root.level).await,
            None => Ok(RefCounts::new()),
        }
    }
}
