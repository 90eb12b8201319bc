//! Pages, decoded and compared with what the page above says of them.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use super::content::pages::{self, Stretch};
use super::error::{PageFault, ReadError};
use super::inner::{self, Child};
use super::leaf::{self, Entry};
use super::root::Totals;
use super::{Extent, PageKind, PageRef, PageStore, TreeRoot};

/// References are read again and again from the root down; this many hold the way to three places.
const INNER_KEPT: usize = 12;
/// The page before, the page at hand, the page ahead, and one more.
const LEAVES_KEPT: usize = 4;

/// The pages of a store as a tree sees them. The last few stay decoded.
#[derive(Debug)]
pub(super) struct Loader<S> {
    store: S,
    inner: Kept<Child>,
    leaves: Kept<Entry>,
}

impl<S: PageStore> Loader<S> {
    pub fn new(store: S) -> Self {
        Self { store, inner: Kept::new(INNER_KEPT), leaves: Kept::new(LEAVES_KEPT) }
    }

    pub fn store(&self) -> &S {
        &self.store
    }

    /// The entries of the page that `child` stands for.
    pub async fn leaf(&self, child: &Child) -> Result<Rc<Vec<Entry>>, ReadError<S::Error>> {
        if let Some(entries) = self.leaves.get(child.page) {
            return Ok(entries);
        }
        let bytes = self.get(child.page, PageKind::Entries).await?;
        let entries = leaf::decode(&bytes).map_err(|fault| damaged(child.page, fault))?;
        let first_path = entries.first().map(|entry| entry.path.as_slice());
        check(child, first_path, Totals::of_all(&entries))?;
        Ok(self.leaves.keep(child.page, entries))
    }

    /// The children of the page that `child` stands for, `level` levels above the entries.
    pub async fn inner(
        &self,
        child: &Child,
        level: u8,
    ) -> Result<Rc<Vec<Child>>, ReadError<S::Error>> {
        if let Some(children) = self.inner.get(child.page) {
            return Ok(children);
        }
        let bytes = self.get(child.page, PageKind::Inner).await?;
        let children = inner::decode(&bytes, level).map_err(|fault| damaged(child.page, fault))?;
        let first_path = children.first().map(|child| child.first_path.as_slice());
        let sums = children.iter().try_fold(Totals::default(), |sum, c| sum.plus(c.totals));
        check(child, first_path, sums)?;
        Ok(self.inner.keep(child.page, children))
    }

    pub async fn extents(&self, page: PageRef) -> Result<Vec<Extent>, ReadError<S::Error>> {
        let bytes = self.get(page, PageKind::Content).await?;
        pages::decode_extents(&bytes).map_err(|fault| damaged(page, fault))
    }

    pub async fn stretches(
        &self,
        page: PageRef,
        level: u8,
    ) -> Result<Vec<Stretch>, ReadError<S::Error>> {
        let bytes = self.get(page, PageKind::Content).await?;
        pages::decode_stretches(&bytes, level).map_err(|fault| damaged(page, fault))
    }

    async fn get(
        &self,
        page: PageRef,
        kind: PageKind,
    ) -> Result<bytes::Bytes, ReadError<S::Error>> {
        self.store.get(page, kind).await.map_err(ReadError::Store)
    }
}

impl TreeRoot {
    /// The root as a page above it would name it.
    pub(super) fn as_child(&self) -> Option<Child> {
        let page = self.page?;
        Some(Child { first_path: Vec::new(), page, totals: self.totals() })
    }
}

fn damaged<E>(page: PageRef, fault: PageFault) -> ReadError<E> {
    ReadError::Page { number: page.number, fault }
}

fn check<E>(
    child: &Child,
    first_path: Option<&[u8]>,
    sums: Option<Totals>,
) -> Result<(), ReadError<E>> {
    match first_path == Some(child.first_path.as_slice()) && sums == Some(child.totals) {
        true => Ok(()),
        false => Err(damaged(child.page, PageFault::OtherSums)),
    }
}

/// The last few pages of one kind, the newest in front. A page never changes, so none is ever stale.
#[derive(Debug)]
struct Kept<T> {
    pages: RefCell<VecDeque<(PageRef, Rc<Vec<T>>)>>,
    limit: usize,
}

impl<T> Kept<T> {
    fn new(limit: usize) -> Self {
        Self { pages: RefCell::default(), limit }
    }

    fn get(&self, page: PageRef) -> Option<Rc<Vec<T>>> {
        let mut pages = self.pages.borrow_mut();
        let at = pages.iter().position(|(kept, _)| *kept == page)?;
        let found = pages.remove(at)?;
        let items = found.1.clone();
        pages.push_front(found);
        Some(items)
    }

    fn keep(&self, page: PageRef, items: Vec<T>) -> Rc<Vec<T>> {
        let items = Rc::new(items);
        let mut pages = self.pages.borrow_mut();
        pages.push_front((page, items.clone()));
        pages.truncate(self.limit);
        items
    }
}
