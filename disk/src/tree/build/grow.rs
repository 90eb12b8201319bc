//! The new tree, growing at its right edge: one open page per level, above a page of the basis that
//! is held whole, if there is one.

use keelhold_chunk::IdKey;

use super::check::{self, Last};
use crate::tree::content::Content;
use crate::tree::cut::{CutRules, PathHash};
use crate::tree::error::BuildError;
use crate::tree::inner::{Child, InnerWriter};
use crate::tree::leaf::{Entry, LeafWriter};
use crate::tree::load::Loader;
use crate::tree::refs::Ledger;
use crate::tree::root::Totals;
use crate::tree::{PageKind, PageStore, TreeRoot};

#[derive(Debug)]
pub(super) struct Growth {
    rules: CutRules,
    hash: PathHash,
    leaf: LeafWriter,
    /// The open pages above, lowest first: level 1, 2, and so on.
    inner: Vec<InnerWriter>,
    held: Option<Held>,
    /// The last entry of the tree. Out of date while a page is held, and after its release.
    last: Option<Last>,
    /// The entry of the basis before which a held page was released: it follows, as it did there.
    released: Option<u64>,
}

/// A page of the basis with everything below it, at the right edge of the new tree. All open pages
/// up to its level are empty.
#[derive(Debug)]
struct Held {
    child: Child,
    level: u8,
    /// The ordinal in the basis behind its last entry.
    end: u64,
}

impl Growth {
    pub fn new(id_key: &IdKey, rules: CutRules) -> Self {
        Self {
            rules,
            hash: PathHash::new(id_key),
            leaf: LeafWriter::default(),
            inner: Vec::new(),
            held: None,
            last: None,
            released: None,
        }
    }

    /// Whether `child`, entry `start` of the basis and what follows it, may come next as a whole.
    pub async fn can_hold<S: PageStore>(
        &mut self,
        child: &Child,
        level: u8,
        start: u64,
        loader: &Loader<S>,
        ledger: &mut Ledger,
    ) -> Result<bool, BuildError<S::Error>> {
        self.approach(&child.first_path, start, loader, ledger).await?;
        let below = self.inner.iter().take(usize::from(level));
        Ok(self.leaf.is_empty() && below.into_iter().all(InnerWriter::is_empty))
    }

    /// `end` is the ordinal in the basis behind the last entry of `child`.
    pub fn hold(&mut self, child: Child, level: u8, end: u64) {
        self.held = Some(Held { child, level, end });
        self.released = None;
    }

    /// The next entry is one of the basis, from a page that was opened.
    pub async fn push_same<S: PageStore>(
        &mut self,
        entry: &Entry,
        ordinal: u64,
        loader: &Loader<S>,
        ledger: &mut Ledger,
    ) -> Result<(), BuildError<S::Error>> {
        self.approach(&entry.path, ordinal, loader, ledger).await?;
        self.copy(entry, ledger)
    }

    /// Gets ready for entry `ordinal` of the basis, which is at `path`.
    async fn approach<S: PageStore>(
        &mut self,
        path: &[u8],
        ordinal: u64,
        loader: &Loader<S>,
        ledger: &mut Ledger,
    ) -> Result<(), BuildError<S::Error>> {
        if self.held.as_ref().is_some_and(|held| held.end == ordinal) {
            return self.release(path, loader, ledger).await;
        }
        if self.released == Some(ordinal) {
            return Ok(());
        }
        self.make_room(path, loader, ledger).await
    }

    /// Ends whatever pages end before `path`, which must be able to come next.
    pub async fn make_room<S: PageStore>(
        &mut self,
        path: &[u8],
        loader: &Loader<S>,
        ledger: &mut Ledger,
    ) -> Result<(), BuildError<S::Error>> {
        self.unfold(loader, ledger).await?;
        check::follows(self.last.as_ref(), path)?;
        self.end_pages(0, path, loader, ledger).await
    }

    /// The held page ends as it did in the basis, for the basis goes on behind it.
    async fn release<S: PageStore>(
        &mut self,
        path: &[u8],
        loader: &Loader<S>,
        ledger: &mut Ledger,
    ) -> Result<(), BuildError<S::Error>> {
        let Some(held) = self.held.take() else {
            return Ok(());
        };
        self.released = Some(held.end);
        self.push_child(held.child, held.level + 1)?;
        self.end_pages(held.level + 1, path, loader, ledger).await
    }

    /// Opens the last pages of what is held, so that it can be seen where they end.
    async fn unfold<S: PageStore>(
        &mut self,
        loader: &Loader<S>,
        ledger: &mut Ledger,
    ) -> Result<(), BuildError<S::Error>> {
        let Some(Held { mut child, mut level, .. }) = self.held.take() else {
            return Ok(());
        };
        while level > 0 {
            ledger.page_went(child.page);
            let children = loader.inner(&child, level).await?;
            let Some((last, others)) = children.split_last() else {
                return Ok(());
            };
            for other in others {
                self.push_child(other.clone(), level)?;
            }
            child = last.clone();
            level -= 1;
        }
        ledger.page_went(child.page);
        let entries = loader.leaf(&child).await?;
        for entry in entries.iter() {
            ledger.content_went(&entry.content);
            self.copy(entry, ledger)?;
        }
        Ok(())
    }

    fn copy<E>(&mut self, entry: &Entry, ledger: &mut Ledger) -> Result<(), BuildError<E>> {
        let Entry { path, attributes, content } = entry;
        ledger.content_came(content);
        self.append(path, &attributes.to_bytes(), Totals::of(attributes), content)?;
        self.set_last(Last { path: path.clone(), is_directory: attributes.is_directory() });
        Ok(())
    }

    pub fn append<E>(
        &mut self,
        path: &[u8],
        attributes: &[u8],
        sums: Totals,
        content: &Content,
    ) -> Result<(), BuildError<E>> {
        self.leaf.push(path, attributes, sums, content).ok_or(BuildError::TooLarge)
    }

    pub fn set_last(&mut self, last: Last) {
        self.last = Some(last);
        self.released = None;
    }

    /// Ends the open pages before `path` from `level` up, as far as the rule says.
    async fn end_pages<S: PageStore>(
        &mut self,
        level: u8,
        path: &[u8],
        loader: &Loader<S>,
        ledger: &mut Ledger,
    ) -> Result<(), BuildError<S::Error>> {
        for level in level.. {
            if !self.ends(level, path) {
                break;
            }
            if let Some(child) = self.close(level, loader, ledger).await? {
                self.push_child(child, level + 1)?;
            }
        }
        Ok(())
    }

    fn ends(&self, level: u8, path: &[u8]) -> bool {
        let filled = match level {
            0 => self.leaf.filled(),
            _ => match self.inner.get(usize::from(level) - 1) {
                Some(page) => page.filled(),
                None => return false,
            },
        };
        self.rules.of_level(level).cuts(filled, || self.hash.of(path, level))
    }

    fn push_child<E>(&mut self, child: Child, level: u8) -> Result<(), BuildError<E>> {
        let index = usize::from(level) - 1;
        while self.inner.len() <= index {
            self.inner.push(InnerWriter::default());
        }
        self.inner[index].push(child).ok_or(BuildError::TooLarge)
    }

    /// Stores the open page of `level`. Nothing when it is empty.
    async fn close<S: PageStore>(
        &mut self,
        level: u8,
        loader: &Loader<S>,
        ledger: &mut Ledger,
    ) -> Result<Option<Child>, BuildError<S::Error>> {
        let (kind, taken) = match level {
            0 => (PageKind::Entries, self.leaf.take()),
            _ => (PageKind::Inner, self.inner[usize::from(level) - 1].take(level)),
        };
        let Some((bytes, first_path, totals)) = taken else {
            return Ok(None);
        };
        let page = loader.store().put(kind, bytes).await.map_err(BuildError::Store)?;
        ledger.page_came(page);
        Ok(Some(Child { first_path, page, totals }))
    }

    /// Ends all pages. The root is the page that is alone on its level.
    pub async fn finish<S: PageStore>(
        mut self,
        loader: &Loader<S>,
        ledger: &mut Ledger,
    ) -> Result<TreeRoot, BuildError<S::Error>> {
        // The last page of `level`, from the lowest level that has one.
        let (mut level, mut edge) = match self.held.take() {
            Some(held) => (held.level, Some(held.child)),
            None => (0, self.close(0, loader, ledger).await?),
        };
        loop {
            let is_top = self.inner.iter().skip(usize::from(level)).all(InnerWriter::is_empty);
            match edge {
                Some(child) if is_top => return Ok(TreeRoot::new(child.page, level, child.totals)),
                Some(child) => self.push_child(child, level + 1)?,
                None => return Ok(TreeRoot::default()),
            }
            level += 1;
            edge = self.close(level, loader, ledger).await?;
        }
    }
}
