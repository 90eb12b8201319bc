//! Writing the extents of one file, without ever holding the list of them.

use keelhold_chunk::IdKey;

use super::pages::{ContentPage, Part, Stretch};
use super::{Content, ContentRoot, LISTED_EXTENTS_MAX};
use crate::sets::RefCounts;
use crate::tree::cut::CutRules;
use crate::tree::extent::ExtentJoiner;
use crate::tree::{BuildError, Extent, PageKind, PageStore, ResolvedExtent};

/// The content of one file while it grows.
#[derive(Debug)]
pub(in crate::tree) struct ContentWriter {
    rules: CutRules,
    joiner: ExtentJoiner,
    /// The first extents, until they are too many for the entry.
    listed: Vec<Extent>,
    levels: Vec<ContentPage>,
    len: u64,
    refs: RefCounts,
}

/// Content that is complete. New pages come with all that they reference, themselves included.
#[derive(Debug)]
pub(in crate::tree) struct WrittenContent {
    pub content: Content,
    pub len: u64,
    pub refs: Option<RefCounts>,
}

impl ContentWriter {
    pub fn new(key: IdKey, rules: CutRules) -> Self {
        Self {
            rules,
            joiner: ExtentJoiner::new(key),
            listed: Vec::new(),
            levels: Vec::new(),
            len: 0,
            refs: RefCounts::new(),
        }
    }

    pub async fn extend<S: PageStore>(
        &mut self,
        store: &S,
        parts: &[ResolvedExtent],
    ) -> Result<(), BuildError<S::Error>> {
        for part in parts {
            let ended = self.joiner.push(*part);
            let ended = ended.map_err(|unsound| BuildError::UnsoundExtent { number: unsound.0 })?;
            if let Some(extent) = ended {
                self.push_extent(store, extent).await?;
            }
        }
        Ok(())
    }

    pub async fn finish<S: PageStore>(
        mut self,
        store: &S,
    ) -> Result<WrittenContent, BuildError<S::Error>> {
        if let Some(extent) = self.joiner.finish() {
            self.push_extent(store, extent).await?;
        }
        if !self.levels.is_empty() {
            let content = Content::Pages(self.close_all(store).await?);
            return Ok(WrittenContent { content, len: self.len, refs: Some(self.refs) });
        }
        let content = match self.listed.is_empty() {
            true => Content::None,
            false => Content::Extents(self.listed),
        };
        Ok(WrittenContent { content, len: self.len, refs: None })
    }

    async fn push_extent<S: PageStore>(
        &mut self,
        store: &S,
        extent: Extent,
    ) -> Result<(), BuildError<S::Error>> {
        self.len = self.len.checked_add(extent.len()).ok_or(BuildError::TooLarge)?;
        if self.levels.is_empty() && self.listed.len() < LISTED_EXTENTS_MAX {
            self.listed.push(extent);
            return Ok(());
        }
        for earlier in std::mem::take(&mut self.listed) {
            self.push_part(store, earlier).await?;
        }
        self.push_part(store, extent).await
    }

    async fn push_part<S: PageStore>(
        &mut self,
        store: &S,
        extent: Extent,
    ) -> Result<(), BuildError<S::Error>> {
        if let Extent::Span { first, count, .. } = extent {
            self.refs.add_run(first.0, u64::from(count));
        }
        let Some(mut ended) = self.append(store, 0, extent).await? else {
            return Ok(());
        };
        for level in 1.. {
            match self.append(store, level, ended).await? {
                Some(next) => ended = next,
                None => break,
            }
        }
        Ok(())
    }

    /// Adds to the page of `level`; gives the page that ended before.
    async fn append<S: PageStore>(
        &mut self,
        store: &S,
        level: u8,
        part: impl Part,
    ) -> Result<Option<Stretch>, BuildError<S::Error>> {
        if self.levels.len() == usize::from(level) {
            self.levels.push(ContentPage::default());
        }
        let filled = self.levels[usize::from(level)].filled();
        let ends = self.rules.of_level(level).cuts(filled, || part.hash());
        let ended = if ends { Some(self.close(store, level).await?) } else { None };
        self.levels[usize::from(level)].push(part).ok_or(BuildError::TooLarge)?;
        Ok(ended)
    }

    async fn close<S: PageStore>(
        &mut self,
        store: &S,
        level: u8,
    ) -> Result<Stretch, BuildError<S::Error>> {
        let (bytes, len) = self.levels[usize::from(level)].take(level);
        let page = store.put(PageKind::Content, bytes).await.map_err(BuildError::Store)?;
        self.refs.add(page.number.0);
        Ok(Stretch { page, len })
    }

    async fn close_all<S: PageStore>(
        &mut self,
        store: &S,
    ) -> Result<ContentRoot, BuildError<S::Error>> {
        let mut level = 0;
        loop {
            let last = self.close(store, level).await?;
            if usize::from(level) + 1 == self.levels.len() {
                return Ok(ContentRoot { page: last.page, level });
            }
            level += 1;
            // The page above is not asked whether it ends here: a page of one reference is sound,
            // and at the end of a file there is nothing to share with.
            self.levels[usize::from(level)].push(last).ok_or(BuildError::TooLarge)?;
        }
    }
}
