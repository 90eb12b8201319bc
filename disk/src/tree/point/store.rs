//! What serves the content of files beside the pages that name it.

use std::future::Future;
use std::rc::Rc;

use bytes::Bytes;
use keelhold_chunk::SpanDigest;

use crate::tree::PageStore;
use crate::units::ChunkNumber;

/// Bytes `from..upto` of a span, counted inside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpanPart {
    pub first: ChunkNumber,
    pub count: u16,
    /// Plain bytes of the whole span.
    pub len: u64,
    pub digest: SpanDigest,
    pub from: u64,
    pub upto: u64,
}

/// Serves what a tree names: pages and the bytes of spans, all of it proved. Written for one thread,
/// as [`PageStore`] is.
pub trait ContentStore: PageStore {
    /// Bytes `from..upto` of a span, which lie inside it, as pieces in order. The ids of its chunks
    /// were held against `digest`, every byte against its id, and the sum of their lengths against
    /// `len`.
    fn span(
        &self,
        first: ChunkNumber,
        count: u16,
        len: u64,
        digest: SpanDigest,
        from: u64,
        upto: u64,
    ) -> impl Future<Output = Result<Vec<Bytes>, Self::Error>>;

    /// Told what will be read soon; `coming` finds it out by reading pages. Nobody waits for it: a
    /// store that cannot let it run beside drops it.
    fn ahead(&self, coming: impl Future<Output = Vec<SpanPart>> + 'static) {
        drop(coming);
    }
}

impl<S: ContentStore> ContentStore for Rc<S> {
    async fn span(
        &self,
        first: ChunkNumber,
        count: u16,
        len: u64,
        digest: SpanDigest,
        from: u64,
        upto: u64,
    ) -> Result<Vec<Bytes>, S::Error> {
        (**self).span(first, count, len, digest, from, upto).await
    }

    fn ahead(&self, coming: impl Future<Output = Vec<SpanPart>> + 'static) {
        (**self).ahead(coming);
    }
}
