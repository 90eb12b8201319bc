//! From the root to one entry.

use std::rc::Rc;

use keelhold_chunk::entry::path_order;

use crate::tree::error::ReadError;
use crate::tree::inner::Child;
use crate::tree::leaf::Entry;
use crate::tree::load::Loader;
use crate::tree::{PageStore, TreeRoot};

/// The first entry for which this holds is looked for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Seek<'a> {
    /// It is at this path or behind it.
    At(&'a [u8]),
    /// It is behind this path.
    Past(&'a [u8]),
    /// It is behind this path and everything below it.
    PastAllBelow(&'a [u8]),
}

impl Seek<'_> {
    fn is_reached(&self, path: &[u8]) -> bool {
        match self {
            Self::At(goal) => path_order(path, goal).is_ge(),
            Self::Past(goal) => path_order(path, goal).is_gt(),
            Self::PastAllBelow(goal) => path_order(path, goal).is_gt() && !is_below(goal, path),
        }
    }
}

pub(super) fn is_below(directory: &[u8], path: &[u8]) -> bool {
    match directory.is_empty() {
        true => !path.is_empty(),
        false => path.strip_prefix(directory).is_some_and(|rest| rest.first() == Some(&b'/')),
    }
}

/// An entry inside its page.
#[derive(Debug)]
pub(super) struct Place {
    pub ordinal: u64,
    entries: Rc<Vec<Entry>>,
    index: usize,
}

impl Place {
    pub fn entry(&self) -> &Entry {
        &self.entries[self.index]
    }
}

/// A page of entries and the ordinal of its first.
pub(super) type Leaf = (u64, Rc<Vec<Entry>>);

impl<S: PageStore> Loader<S> {
    /// Goes down to one leaf. `choose` is given the children of a page and the ordinal of the first
    /// entry below them, and names one; nothing when there is none.
    async fn descend(
        &self,
        root: &TreeRoot,
        choose: impl Fn(&[Child], u64) -> Option<usize>,
    ) -> Result<Option<Leaf>, ReadError<S::Error>> {
        let Some(mut child) = root.as_child() else {
            return Ok(None);
        };
        let mut start = 0;
        for level in (1..=root.level).rev() {
            let children = self.inner(&child, level).await?;
            let Some(index) = choose(&children, start) else {
                return Ok(None);
            };
            start += children[..index].iter().map(|child| child.totals.entries).sum::<u64>();
            child = children[index].clone();
        }
        Ok(Some((start, self.leaf(&child).await?)))
    }

    pub(super) async fn leaf_of(
        &self,
        root: &TreeRoot,
        ordinal: u64,
    ) -> Result<Option<Leaf>, ReadError<S::Error>> {
        if ordinal >= root.entry_count {
            return Ok(None);
        }
        let holds = |children: &[Child], start: u64| {
            let mut end = start;
            children.iter().position(|child| {
                end += child.totals.entries;
                ordinal < end
            })
        };
        self.descend(root, holds).await
    }

    pub(in crate::tree) async fn entry_at(
        &self,
        root: &TreeRoot,
        ordinal: u64,
    ) -> Result<Option<Entry>, ReadError<S::Error>> {
        let leaf = self.leaf_of(root, ordinal).await?;
        Ok(leaf.and_then(|(start, entries)| entries.get((ordinal - start) as usize).cloned()))
    }

    async fn leaf_before(
        &self,
        root: &TreeRoot,
        seek: Seek<'_>,
    ) -> Result<Option<Leaf>, ReadError<S::Error>> {
        // What is looked for is in the last page that begins before it, or right behind that page.
        let begins_before = |children: &[Child], _| {
            let reached = children.partition_point(|child| !seek.is_reached(&child.first_path));
            Some(reached.saturating_sub(1))
        };
        self.descend(root, begins_before).await
    }

    pub(super) async fn seek(
        &self,
        root: &TreeRoot,
        seek: Seek<'_>,
    ) -> Result<Option<Place>, ReadError<S::Error>> {
        let Some((start, entries)) = self.leaf_before(root, seek).await? else {
            return Ok(None);
        };
        let index = entries.partition_point(|entry| !seek.is_reached(&entry.path));
        let ordinal = start + index as u64;
        if index < entries.len() {
            return Ok(Some(Place { ordinal, entries, index }));
        }
        let next = self.leaf_of(root, ordinal).await?;
        Ok(next.map(|(ordinal, entries)| Place { ordinal, entries, index: 0 }))
    }

    pub(super) async fn find(
        &self,
        root: &TreeRoot,
        path: &[u8],
    ) -> Result<Option<(u64, Entry)>, ReadError<S::Error>> {
        // Past, not at: an entry that begins its page is in that page and not before it.
        let leaf = self.leaf_before(root, Seek::Past(path)).await?;
        let Some((start, entries)) = leaf else {
            return Ok(None);
        };
        let found = entries.binary_search_by(|entry| path_order(&entry.path, path));
        Ok(found.ok().map(|index| (start + index as u64, entries[index].clone())))
    }
}
