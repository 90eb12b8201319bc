//! Building the next tree out of a basis and what changed.
//!
//! Entries arrive in path order, as ranges of the basis or one by one. Ranges are followed down the
//! basis from its root: a page of the basis that lies in a range as a whole, and that begins where a
//! page of the new tree begins on every level up to its own, is *held* without being read. When the
//! basis goes on behind it, it ends where it ended and is taken over. When something else follows,
//! its last pages are opened, and whether they end there is decided as for any other page. So the
//! tree that comes out is the one that the same entries would have made without a basis.
//!
//! References are counted as they come and go: see [`Ledger`].

mod basis;
mod check;
mod grow;
mod resolve;

use keelhold_chunk::{Attributes, IdKey};

use self::basis::{Basis, Next};
use self::check::Last;
use self::grow::Growth;
use super::content::write::{ContentWriter, WrittenContent};
use super::cut::CutRules;
use super::error::BuildError;
use super::load::Loader;
use super::refs::Ledger;
use super::root::Totals;
use super::{Item, NewContent, PageStore, ResolvedExtent, TreeRoot};
use crate::sets::RefChange;

/// A tree in the making. After an error it is of no further use.
#[derive(Debug)]
pub struct TreeBuilder<S> {
    loader: Loader<S>,
    key: IdKey,
    rules: CutRules,
    basis: Basis,
    /// Entries of the basis that were named as unchanged and are not taken over yet: ranges that
    /// join are one range, so that a page is taken whole however they were cut.
    same: Option<(u64, u64)>,
    growth: Growth,
    ledger: Ledger,
    streamed: Option<ContentWriter>,
}

impl<S: PageStore> TreeBuilder<S> {
    pub fn new(store: S, id_key: IdKey, basis: Option<TreeRoot>) -> Self {
        Self::with_rules(store, id_key, basis, CutRules::STANDARD)
    }

    pub(super) fn with_rules(
        store: S,
        id_key: IdKey,
        basis: Option<TreeRoot>,
        rules: CutRules,
    ) -> Self {
        Self {
            loader: Loader::new(store),
            basis: Basis::new(basis.unwrap_or_default()),
            same: None,
            growth: Growth::new(&id_key, rules),
            key: id_key,
            rules,
            ledger: Ledger::default(),
            streamed: None,
        }
    }

    /// The next entries of the tree.
    pub async fn push(&mut self, item: Item) -> Result<(), BuildError<S::Error>> {
        match item {
            Item::Same { first, count } => self.push_same(first, count).await,
            Item::Entry { path, attributes, content } => {
                self.push_entry(path, attributes, content).await
            }
        }
    }

    /// Begins the content of the entry that is pushed next, with [`NewContent::Streamed`].
    pub fn begin_content(&mut self) -> Result<(), BuildError<S::Error>> {
        if self.streamed.is_some() {
            return Err(BuildError::ContentOpen);
        }
        self.streamed = Some(ContentWriter::new(self.key.clone(), self.rules));
        Ok(())
    }

    pub async fn extend_content(
        &mut self,
        parts: &[ResolvedExtent],
    ) -> Result<(), BuildError<S::Error>> {
        let writer = self.streamed.as_mut().ok_or(BuildError::NoContent)?;
        writer.extend(self.loader.store(), parts).await
    }

    /// Drops what was begun and not used: the file turned out to be unreadable, or gone.
    pub fn abandon_content(&mut self) {
        self.streamed = None;
    }

    /// The complete tree, and how its references differ from those of the basis.
    pub async fn finish(mut self) -> Result<(TreeRoot, RefChange), BuildError<S::Error>> {
        if self.streamed.is_some() {
            return Err(BuildError::ContentOpen);
        }
        self.take_same().await?;
        let Self { loader, mut basis, growth, mut ledger, .. } = self;
        basis.drop_until(basis.end(), &loader, &mut ledger).await?;
        let root = growth.finish(&loader, &mut ledger).await?;
        Ok((root, ledger.settle(&loader).await?))
    }

    async fn push_same(&mut self, first: u64, count: u64) -> Result<(), BuildError<S::Error>> {
        let after = self.same.map_or(self.basis.at(), |(_, end)| end);
        let end = first.checked_add(count).filter(|end| *end <= self.basis.end());
        let Some(end) = end.filter(|end| *end > first && first >= after) else {
            return Err(BuildError::Ordinals { first, count, after, basis: self.basis.end() });
        };
        if self.streamed.is_some() {
            return Err(BuildError::ContentOpen);
        }
        match &mut self.same {
            Some((_, last)) if *last == first => *last = end,
            _ => {
                self.take_same().await?;
                self.same = Some((first, end));
            }
        }
        Ok(())
    }

    /// Brings the entries that were named as unchanged into the tree.
    async fn take_same(&mut self) -> Result<(), BuildError<S::Error>> {
        let Some((first, end)) = self.same.take() else {
            return Ok(());
        };
        let Self { loader, basis, growth, ledger, .. } = self;
        basis.drop_until(first, loader, ledger).await?;
        while basis.at() < end {
            match basis.next() {
                Next::Page { child, level, start } => {
                    let covered = child.totals.entries <= end - start;
                    if covered && growth.can_hold(&child, level, start, loader, ledger).await? {
                        basis.pass();
                        growth.hold(child, level, basis.at());
                    } else {
                        basis.open(loader, ledger).await?;
                    }
                }
                Next::Entry { entries, index, ordinal } => {
                    basis.pass();
                    growth.push_same(&entries[index], ordinal, loader, ledger).await?;
                }
            }
        }
        Ok(())
    }

    async fn push_entry(
        &mut self,
        path: Vec<u8>,
        encoded: Vec<u8>,
        content: NewContent,
    ) -> Result<(), BuildError<S::Error>> {
        check::path(&path)?;
        let attributes = Attributes::from_bytes(&encoded)
            .map_err(|source| BuildError::Attributes { path: path.clone(), source })?;
        // The basis first: the order of entries is only known behind it.
        self.take_same().await?;
        let size = attributes.size();
        let WrittenContent { content, len: found, refs } = self.resolve(content).await?;
        if found != size || !content.fits(size) {
            return Err(BuildError::SizeMismatch { path, size, found });
        }
        let Self { loader, growth, ledger, .. } = self;
        growth.make_room(&path, loader, ledger).await?;
        match refs {
            Some(refs) => ledger.refs_came(&refs),
            None => ledger.content_came(&content),
        }
        growth.append(&path, &encoded, Totals::of(&attributes), &content)?;
        growth.set_last(Last { path, is_directory: attributes.is_directory() });
        Ok(())
    }
}
