//! The old tree, used up from its first entry to its last.
//!
//! Each page is passed over (the new tree keeps it), opened (what is in it is looked at singly), or
//! dropped with everything below. The ledger learns of all but the first.

use std::rc::Rc;

use crate::tree::PageStore;
use crate::tree::error::ReadError;
use crate::tree::inner::Child;
use crate::tree::leaf::Entry;
use crate::tree::load::Loader;
use crate::tree::refs::Ledger;
use crate::tree::root::TreeRoot;

#[derive(Debug)]
pub(super) struct Basis {
    root: TreeRoot,
    /// Ordinal of the next entry.
    at: u64,
    /// Opened inner pages, from the root down, each with its level and the next child.
    inner: Vec<(Rc<Vec<Child>>, u8, usize)>,
    leaf: Option<(Rc<Vec<Entry>>, usize)>,
}

/// What comes next: an unopened page as large as possible, or an entry of an opened one.
#[derive(Debug)]
pub(super) enum Next {
    Page { child: Child, level: u8, start: u64 },
    Entry { entries: Rc<Vec<Entry>>, index: usize, ordinal: u64 },
}

impl Basis {
    pub fn new(root: TreeRoot) -> Self {
        Self { root, at: 0, inner: Vec::new(), leaf: None }
    }

    pub fn root(&self) -> &TreeRoot {
        &self.root
    }

    pub fn at(&self) -> u64 {
        self.at
    }

    /// How many entries there are.
    pub fn end(&self) -> u64 {
        self.root.entry_count
    }

    /// Only while [`Basis::at`] is below [`Basis::end`].
    pub fn next(&self) -> Next {
        if let Some((entries, index)) = &self.leaf {
            return Next::Entry { entries: entries.clone(), index: *index, ordinal: self.at };
        }
        let (child, level) = match self.inner.last() {
            Some((children, level, index)) => (children[*index].clone(), level - 1),
            None => (self.root.as_child().expect("entries are left"), self.root.level),
        };
        Next::Page { child, level, start: self.at }
    }

    /// Goes past what [`Basis::next`] gives.
    pub fn pass(&mut self) {
        match &mut self.leaf {
            Some((entries, index)) => {
                self.at += 1;
                *index += 1;
                if *index == entries.len() {
                    self.leaf = None;
                    self.step();
                }
            }
            None => {
                self.at += match self.inner.last() {
                    Some((children, _, index)) => children[*index].totals.entries,
                    None => self.root.entry_count,
                };
                self.step();
            }
        }
    }

    /// Goes to the next child of the lowest opened page that has one.
    fn step(&mut self) {
        while let Some((children, _, index)) = self.inner.last_mut() {
            *index += 1;
            if *index < children.len() {
                return;
            }
            self.inner.pop();
        }
    }

    /// Opens the page that [`Basis::next`] gives.
    pub async fn open<S: PageStore>(
        &mut self,
        loader: &Loader<S>,
        ledger: &mut Ledger,
    ) -> Result<(), ReadError<S::Error>> {
        let Next::Page { child, level, .. } = self.next() else {
            return Ok(());
        };
        ledger.page_went(child.page);
        if level == 0 {
            let entries = loader.leaf(&child).await?;
            entries.iter().for_each(|entry| ledger.content_went(&entry.content));
            self.leaf = Some((entries, 0));
        } else {
            self.inner.push((loader.inner(&child, level).await?, level, 0));
        }
        Ok(())
    }

    /// Leaves out everything before the entry `end`.
    pub async fn drop_until<S: PageStore>(
        &mut self,
        end: u64,
        loader: &Loader<S>,
        ledger: &mut Ledger,
    ) -> Result<(), ReadError<S::Error>> {
        while self.at < end {
            match self.next() {
                Next::Entry { .. } => self.pass(),
                Next::Page { child, level, start } if child.totals.entries <= end - start => {
                    self.pass();
                    ledger.subtree_went(loader, child, level).await?;
                }
                Next::Page { .. } => self.open(loader, ledger).await?,
            }
        }
        Ok(())
    }
}
