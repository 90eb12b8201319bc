//! A store that counts what is asked of it.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use crate::store::{Created, Listing, Store, StoreError, Until};

#[derive(Debug)]
pub(super) struct Counted<'a, S> {
    inner: &'a S,
    requests: AtomicU64,
    /// Bodies that were sent, acknowledged or not.
    bytes: AtomicU64,
}

impl<'a, S> Counted<'a, S> {
    pub fn new(inner: &'a S) -> Self {
        Self { inner, requests: AtomicU64::new(0), bytes: AtomicU64::new(0) }
    }

    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    fn one(&self) -> &'a S {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.inner
    }
}

impl<S: Store> Store for Counted<'_, S> {
    async fn create(
        &self,
        name: &str,
        bytes: Bytes,
        until: Option<Until>,
    ) -> Result<Created, StoreError> {
        self.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        self.one().create(name, bytes, until).await
    }

    async fn read(&self, name: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        self.one().read(name, range).await
    }

    async fn head(&self, name: &str) -> Result<Option<u64>, StoreError> {
        self.one().head(name).await
    }

    async fn list(&self, folder: &str, after: &str, limit: usize) -> Result<Listing, StoreError> {
        self.one().list(folder, after, limit).await
    }

    async fn locked_until(&self, name: &str) -> Result<Option<Until>, StoreError> {
        self.one().locked_until(name).await
    }

    async fn extend(&self, name: &str, until: Until) -> Result<(), StoreError> {
        self.one().extend(name, until).await
    }

    async fn delete(&self, name: &str) -> Result<(), StoreError> {
        self.one().delete(name).await
    }

    async fn recall(&self, name: &str) -> Result<bool, StoreError> {
        self.one().recall(name).await
    }
}
