//! Which entries of a tree need some chunks: for telling what damage means, and what to read again.

use std::ops::Range;

use roaring::RoaringTreemap;

use super::content::{Content, ContentRoot};
use super::error::ReadError;
use super::inner::Child;
use super::load::Loader;
use super::{Extent, PageStore};

/// Entries that cannot be served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Touched {
    /// Part of this one's content.
    Entry { ordinal: u64, path: Vec<u8> },
    /// A page is gone: of these entries not even the names are known, only the first path.
    Page { ordinals: Range<u64>, first_path: Vec<u8> },
}

/// The entries below `root` that need one of `numbers`, in order.
pub(super) async fn touched<S: PageStore>(
    loader: &Loader<S>,
    root: Child,
    level: u8,
    numbers: &RoaringTreemap,
) -> Result<Vec<Touched>, ReadError<S::Error>> {
    let mut touched = Vec::new();
    let mut open = vec![(root, level, 0)];
    while let Some((child, level, first)) = open.pop() {
        let count = child.totals.entries;
        if numbers.contains(child.page.number.0) {
            let ordinals = first..first + count;
            touched.push(Touched::Page { ordinals, first_path: child.first_path });
        } else if level == 0 {
            let entries = loader.leaf(&child).await?;
            for (ordinal, entry) in (first..).zip(entries.iter()) {
                if needs(loader, &entry.content, numbers).await? {
                    touched.push(Touched::Entry { ordinal, path: entry.path.clone() });
                }
            }
        } else {
            let children = loader.inner(&child, level).await?;
            let mut ends = first + count;
            for child in children.iter().rev() {
                ends -= child.totals.entries;
                open.push((child.clone(), level - 1, ends));
            }
        }
    }
    Ok(touched)
}

async fn needs<S: PageStore>(
    loader: &Loader<S>,
    content: &Content,
    numbers: &RoaringTreemap,
) -> Result<bool, ReadError<S::Error>> {
    let root = match content {
        Content::None | Content::Inline(_) => return Ok(false),
        Content::Extents(extents) => return Ok(extents.iter().any(|of| meets(of, numbers))),
        Content::Pages(root) => *root,
    };
    let mut open = vec![root];
    while let Some(ContentRoot { page, level }) = open.pop() {
        if numbers.contains(page.number.0) {
            return Ok(true);
        }
        if level == 0 {
            if loader.extents(page).await?.iter().any(|of| meets(of, numbers)) {
                return Ok(true);
            }
        } else {
            let below = loader.stretches(page, level).await?;
            open.extend(below.iter().map(|s| ContentRoot { page: s.page, level: level - 1 }));
        }
    }
    Ok(false)
}

fn meets(extent: &Extent, numbers: &RoaringTreemap) -> bool {
    match extent {
        Extent::Hole { .. } => false,
        Extent::Span { first, count, .. } => {
            numbers.range_cardinality(first.0..first.0 + u64::from(*count)) > 0
        }
    }
}
