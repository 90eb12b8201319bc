//! The extents of one file, page by page.

use crate::tree::content::Content;
use crate::tree::content::pages::Stretch;
use crate::tree::error::{PageFault, ReadError};
use crate::tree::leaf::Entry;
use crate::tree::load::Loader;
use crate::tree::{Extent, PageRef, PageStore};

/// A walk over the extents of a file, from the one that holds a given offset on.
#[derive(Debug)]
pub struct Extents<'a, S> {
    loader: &'a Loader<S>,
    /// Pages that come later, the next one last, each with its level.
    open: Vec<(Stretch, u8)>,
    listed: std::vec::IntoIter<Extent>,
    /// Offset of the next extent.
    at: u64,
    from: u64,
}

impl<'a, S: PageStore> Extents<'a, S> {
    pub(super) fn new(loader: &'a Loader<S>, entry: &Entry, from: u64) -> Self {
        let (mut open, mut listed) = (Vec::new(), Vec::new());
        match &entry.content {
            Content::None | Content::Inline(_) => {}
            Content::Extents(extents) => listed.clone_from(extents),
            Content::Pages(root) => {
                open.push((Stretch { page: root.page, len: entry.size() }, root.level));
            }
        }
        Self { loader, open, listed: listed.into_iter(), at: 0, from }
    }

    /// The next extent and the offset in the file where it begins.
    pub async fn next(&mut self) -> Result<Option<(u64, Extent)>, ReadError<S::Error>> {
        loop {
            if let Some(extent) = self.listed.next() {
                let start = self.at;
                self.at += extent.len();
                if self.at > self.from {
                    return Ok(Some((start, extent)));
                }
                continue;
            }
            let Some((stretch, level)) = self.open.pop() else {
                return Ok(None);
            };
            if self.at + stretch.len <= self.from {
                self.at += stretch.len;
            } else {
                self.enter(stretch, level).await?;
            }
        }
    }

    async fn enter(&mut self, stretch: Stretch, level: u8) -> Result<(), ReadError<S::Error>> {
        if level == 0 {
            let extents = self.loader.extents(stretch.page).await?;
            check(stretch, extents.iter().map(Extent::len).sum())?;
            self.listed = extents.into_iter();
        } else {
            let below = self.loader.stretches(stretch.page, level).await?;
            check(stretch, below.iter().map(|stretch| stretch.len).sum())?;
            self.open.extend(below.into_iter().rev().map(|stretch| (stretch, level - 1)));
        }
        Ok(())
    }
}

fn check<E>(stretch: Stretch, found: u64) -> Result<(), ReadError<E>> {
    let PageRef { number, .. } = stretch.page;
    match found == stretch.len {
        true => Ok(()),
        false => Err(ReadError::Page { number, fault: PageFault::OtherSums }),
    }
}
