//! The pool as the tree code sees it: a place for pages, and for the content they name.

use std::future::Future;
use std::rc::{Rc, Weak};

use bytes::Bytes;
use keelhold_chunk::SpanDigest;
use thiserror::Error;

use super::read::Found;
use super::session::Live;
use super::{Inner, Work};
use crate::device::Device;
use crate::error::{CommitError, ReadError};
use crate::format::ChunkKind;
use crate::tree::{ContentStore, PageKind, PageRef, PageStore, SpanPart};
use crate::units::ChunkNumber;

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

impl<D: Device, W: Work> ContentStore for Pages<D, W> {
    async fn span(
        &self,
        first: ChunkNumber,
        count: u16,
        len: u64,
        digest: SpanDigest,
        from: u64,
        upto: u64,
    ) -> Result<Vec<Bytes>, PageError> {
        let part = SpanPart { first, count, len, digest, from, upto };
        let (wanted, cuts) = self.inner.locate_part(&part).await?;
        let mut bytes = self.inner.chunks_bytes(&wanted).await?;
        for (bytes, (cut_from, cut_to)) in bytes.iter_mut().zip(cuts) {
            *bytes = bytes.slice(cut_from as usize..cut_to as usize);
        }
        Ok(bytes)
    }

    fn ahead(&self, coming: impl Future<Output = Vec<SpanPart>> + 'static) {
        let inner = Rc::clone(&self.inner);
        self.inner.spawner.spawn(async move {
            // Whoever reads what could not be read ahead meets the error and tells it.
            let _unread = inner.load(coming.await).await;
        });
    }
}

/// Chunks of a part of a span, and which bytes of each belong to it.
type Located = (Vec<Found>, Vec<(u64, u64)>);

impl<D: Device, W: Work> Inner<D, W> {
    async fn locate_part(&self, part: &SpanPart) -> Result<Located, ReadError> {
        let SpanPart { first, count, len, digest, from, upto } = *part;
        let found = self.locate_span(first, u64::from(count), digest).await?;
        if found.iter().map(|found| u64::from(found.chunk.len)).sum::<u64>() != len {
            return Err(ReadError::Misfit { number: first });
        }
        let (mut start, mut wanted, mut cuts) = (0u64, Vec::new(), Vec::new());
        for found in found {
            let chunk_end = start + u64::from(found.chunk.len);
            if chunk_end > from && start < upto {
                cuts.push((from.saturating_sub(start), upto.min(chunk_end) - start));
                wanted.push(found);
            }
            start = chunk_end;
        }
        Ok((wanted, cuts))
    }

    /// Reads and proves the frames of these parts, all of them at once.
    async fn load(&self, parts: Vec<SpanPart>) -> Result<(), ReadError> {
        let mut wanted = Vec::new();
        for part in &parts {
            wanted.extend(self.locate_part(part).await?.0);
        }
        self.chunks_bytes(&wanted).await.map(drop)
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
