//! Which chunk numbers a tree references: its pages, the spans of its entries, the pages of long
//! contents and the spans in those. A page counts as often as it is referenced, and what is below it
//! as often as it counts, so that taking a part away takes exactly what adding it gave.

use std::collections::BTreeMap;

use super::content::{Content, ContentRoot};
use super::error::ReadError;
use super::inner::Child;
use super::load::Loader;
use super::{Extent, PageRef, PageStore};
use crate::sets::{RefChange, RefCounts};

/// References that came and went while a tree was built from its basis.
///
/// Long contents are weighed as wholes first and looked into only when they came or went in sum: an
/// entry that is copied with its content costs no read of that content.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    change: RefChange,
    contents: BTreeMap<ContentRoot, i64>,
}

impl Ledger {
    pub fn page_came(&mut self, page: PageRef) {
        self.change.added.add(page.number.0);
    }

    pub fn page_went(&mut self, page: PageRef) {
        self.change.removed.add(page.number.0);
    }

    pub fn content_came(&mut self, content: &Content) {
        if let Some(root) = add_content(content, &mut self.change.added) {
            *self.contents.entry(root).or_insert(0) += 1;
        }
    }

    pub fn content_went(&mut self, content: &Content) {
        if let Some(root) = add_content(content, &mut self.change.removed) {
            *self.contents.entry(root).or_insert(0) -= 1;
        }
    }

    /// What new content references, its pages included.
    pub fn refs_came(&mut self, refs: &RefCounts) {
        self.change.added.add_all(refs);
    }

    /// A page of the old tree and everything below it is in the new tree no more.
    pub async fn subtree_went<S: PageStore>(
        &mut self,
        loader: &Loader<S>,
        child: Child,
        level: u8,
    ) -> Result<(), ReadError<S::Error>> {
        let mut walk = Walk::new(child, level);
        while walk.step(loader, &mut self.change.removed).await? {
            for root in walk.contents.drain(..) {
                *self.contents.entry(root).or_insert(0) -= 1;
            }
        }
        Ok(())
    }

    pub async fn settle<S: PageStore>(
        self,
        loader: &Loader<S>,
    ) -> Result<RefChange, ReadError<S::Error>> {
        let Self { mut change, contents } = self;
        for (root, times) in contents {
            if times == 0 {
                continue;
            }
            let refs = content_refs(loader, root).await?;
            let side = if times > 0 { &mut change.added } else { &mut change.removed };
            (0..times.unsigned_abs()).for_each(|_| side.add_all(&refs));
        }
        change.settle();
        Ok(change)
    }
}

/// All references of a tree.
pub(super) async fn tree_refs<S: PageStore>(
    loader: &Loader<S>,
    root: Child,
    level: u8,
) -> Result<RefCounts, ReadError<S::Error>> {
    let mut refs = RefCounts::new();
    let mut walk = Walk::new(root, level);
    while walk.step(loader, &mut refs).await? {
        for content in std::mem::take(&mut walk.contents) {
            refs.add_all(&content_refs(loader, content).await?);
        }
    }
    Ok(refs)
}

/// All references of one long content, its root included.
async fn content_refs<S: PageStore>(
    loader: &Loader<S>,
    root: ContentRoot,
) -> Result<RefCounts, ReadError<S::Error>> {
    let mut refs = RefCounts::new();
    let mut open = vec![root];
    while let Some(ContentRoot { page, level }) = open.pop() {
        refs.add(page.number.0);
        if level == 0 {
            loader.extents(page).await?.iter().for_each(|extent| add_extent(extent, &mut refs));
        } else {
            let below = loader.stretches(page, level).await?;
            open.extend(below.iter().map(|s| ContentRoot { page: s.page, level: level - 1 }));
        }
    }
    Ok(refs)
}

/// Walks a subtree page by page.
struct Walk {
    open: Vec<(Child, u8)>,
    /// Long contents met in the last step.
    contents: Vec<ContentRoot>,
}

impl Walk {
    fn new(child: Child, level: u8) -> Self {
        Self { open: vec![(child, level)], contents: Vec::new() }
    }

    /// Adds what one page references; false when there is no page left.
    async fn step<S: PageStore>(
        &mut self,
        loader: &Loader<S>,
        refs: &mut RefCounts,
    ) -> Result<bool, ReadError<S::Error>> {
        let Some((child, level)) = self.open.pop() else {
            return Ok(false);
        };
        refs.add(child.page.number.0);
        if level == 0 {
            let entries = loader.leaf(&child).await?;
            self.contents.extend(entries.iter().filter_map(|e| add_content(&e.content, refs)));
        } else {
            let children = loader.inner(&child, level).await?;
            self.open.extend(children.iter().rev().map(|child| (child.clone(), level - 1)));
        }
        Ok(true)
    }
}

/// Adds what stands in the entry; gives the root of what does not.
fn add_content(content: &Content, refs: &mut RefCounts) -> Option<ContentRoot> {
    match content {
        Content::None | Content::Inline(_) => None,
        Content::Extents(extents) => {
            extents.iter().for_each(|extent| add_extent(extent, refs));
            None
        }
        Content::Pages(root) => Some(*root),
    }
}

fn add_extent(extent: &Extent, refs: &mut RefCounts) {
    if let Extent::Span { first, count, .. } = extent {
        refs.add_run(first.0, u64::from(*count));
    }
}
