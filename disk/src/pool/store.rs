//! The pool as the tree code sees it: a place for pages.

use std::rc::{Rc, Weak};

use bytes::Bytes;
use thiserror::Error;

use super::session::Live;
use super::{Inner, Work};
use crate::device::Device;
use crate::error::{CommitError, ReadError};
use crate::format::ChunkKind;
use crate::tree::{PageKind, PageRef, PageStore};

/// Why the pool did not give or take a page.
#[derive(Debug, Clone, Error)]
pub enum PageError {
    #[error("the page cannot be read")]
    Read(#[from] ReadError),
    #[error("the page cannot be stored")]
    Commit(#[from] CommitError),
}

/// Pages of points, to read.
pub(super) struct Pages<D: Device, W: Work> {
    pub(super) inner: Rc<Inner<D, W>>,
}

/// Pages of points to read, and of one session to write. The pool holds the session's builder, and
/// that holds this: a strong reference would keep all of them alive for ever.
pub(super) struct SessionPages<D: Device, W: Work> {
    pub(super) inner: Weak<Inner<D, W>>,
    pub(super) live: Rc<Live>,
}

impl<D: Device, W: Work> Inner<D, W> {
    pub(super) async fn page(&self, page: PageRef) -> Result<Bytes, ReadError> {
        let found = self.locate_span(page.number, 1, page.digest).await?;
        self.chunk_bytes(&found[0]).await
    }
}

impl<D: Device, W: Work> PageStore for Pages<D, W> {
    type Error = PageError;

    async fn get(&self, page: PageRef, _kind: PageKind) -> Result<Bytes, PageError> {
        Ok(self.inner.page(page).await?)
    }

    async fn put(&self, _kind: PageKind, _bytes: Vec<u8>) -> Result<PageRef, PageError> {
        unreachable!("readers are given no way to write")
    }
}

impl<D: Device, W: Work> PageStore for SessionPages<D, W> {
    type Error = PageError;

    async fn get(&self, page: PageRef, _kind: PageKind) -> Result<Bytes, PageError> {
        Ok(self.pool().page(page).await?)
    }

    async fn put(&self, kind: PageKind, bytes: Vec<u8>) -> Result<PageRef, PageError> {
        let inner = self.pool();
        let kind = match kind {
            PageKind::Entries => ChunkKind::Entries,
            PageKind::Inner => ChunkKind::Inner,
            PageKind::Content => ChunkKind::Content,
        };
        let (number, id) = inner.put_chunk(&self.live, kind, bytes).await?;
        let digest = inner.fixed.id_key.span_digest([&id]);
        Ok(PageRef { number, digest })
    }
}

impl<D: Device, W: Work> SessionPages<D, W> {
    fn pool(&self) -> Rc<Inner<D, W>> {
        self.inner.upgrade().expect("whoever builds a tree holds the pool")
    }
}
