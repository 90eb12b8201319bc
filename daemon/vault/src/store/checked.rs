//! A store whose answers are looked at before they are believed: lengths of what is read, order, place
//! and number of what is listed.

use std::ops::Range;

use bytes::Bytes;

use super::{Created, Listing, Store, StoreError, StoreFault, Until, foldered, is_name, named};

/// Refuses answers that cannot be. What could be and is false is for those who know the content.
#[derive(Debug)]
pub struct Checked<S> {
    inner: S,
}

impl<S> Checked<S> {
    pub fn new(inner: S) -> Self {
        Self { inner }
    }

    pub fn inner(&self) -> &S {
        &self.inner
    }

    pub(super) fn into_inner(self) -> S {
        self.inner
    }
}

impl<S: Store> Store for Checked<S> {
    async fn create(
        &self,
        name: &str,
        bytes: Bytes,
        until: Option<Until>,
    ) -> Result<Created, StoreError> {
        named(name)?;
        self.inner.create(name, bytes, until).await
    }

    async fn read(&self, name: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        named(name)?;
        let (start, end) = (range.start, range.end);
        if start > end {
            return Err(StoreError::new(name, StoreFault::Range { start, end, len: 0 }));
        }
        let bytes = self.inner.read(name, range).await?;
        let (expected, found) = (end - start, bytes.len() as u64);
        if expected != found {
            return Err(StoreError::new(name, StoreFault::Short { expected, found }));
        }
        Ok(bytes)
    }

    async fn head(&self, name: &str) -> Result<Option<u64>, StoreError> {
        named(name)?;
        self.inner.head(name).await
    }

    async fn list(&self, folder: &str, after: &str, limit: usize) -> Result<Listing, StoreError> {
        foldered(folder, limit)?;
        let listing = self.inner.list(folder, after, limit).await?;
        let refused = |what| Err(StoreError::new(folder, StoreFault::Listing { what }));
        let names = listing.entries.iter().map(|entry| entry.name.as_str());
        if listing.entries.len() > limit {
            return refused("more names than were asked for");
        }
        if !names.clone().is_sorted_by(|left, right| left < right) {
            return refused("names out of order, or twice");
        }
        if names.clone().any(|name| !name.starts_with(folder) || name <= after) {
            return refused("names that were not asked for");
        }
        if names.clone().any(|name| !is_name(name)) {
            return refused("names that are none");
        }
        // Otherwise whoever lists on would list for ever.
        if listing.has_more && listing.entries.is_empty() {
            return refused("no names, and yet more");
        }
        Ok(listing)
    }

    async fn locked_until(&self, name: &str) -> Result<Option<Until>, StoreError> {
        named(name)?;
        self.inner.locked_until(name).await
    }

    async fn extend(&self, name: &str, until: Until) -> Result<(), StoreError> {
        named(name)?;
        self.inner.extend(name, until).await
    }

    async fn delete(&self, name: &str) -> Result<(), StoreError> {
        named(name)?;
        self.inner.delete(name).await
    }

    async fn recall(&self, name: &str) -> Result<bool, StoreError> {
        named(name)?;
        self.inner.recall(name).await
    }
}
