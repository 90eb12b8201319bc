//! A store in memory: for tests, and what the others are compared with.

use std::collections::BTreeMap;
use std::ops::{Bound, Range};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::{
    Created, Entry, Listing, Store, StoreError, StoreFault, Until, foldered, named, unlocked,
};

#[derive(Debug, Default)]
pub struct MemoryStore {
    objects: Mutex<BTreeMap<String, Bytes>>,
}

impl MemoryStore {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn objects(&self) -> MutexGuard<'_, BTreeMap<String, Bytes>> {
        // Each operation is one step on the map: nothing is half done when a thread dies.
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts an object there whatever was there before: what a store that ignores conditions does.
    #[cfg(test)]
    pub(crate) fn put(&self, name: &str, bytes: Bytes) {
        self.objects().insert(name.to_owned(), bytes);
    }
}

impl Store for MemoryStore {
    async fn create(
        &self,
        name: &str,
        bytes: Bytes,
        until: Option<Until>,
    ) -> Result<Created, StoreError> {
        named(name)?;
        unlocked(name, until)?;
        let mut objects = self.objects();
        if objects.contains_key(name) {
            return Ok(Created::Exists);
        }
        objects.insert(name.to_owned(), bytes);
        Ok(Created::Made)
    }

    async fn read(&self, name: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        named(name)?;
        let objects = self.objects();
        let bytes = objects.get(name).ok_or_else(|| StoreError::new(name, StoreFault::NotFound))?;
        let (start, end, len) = (range.start, range.end, bytes.len() as u64);
        if start > end || end > len {
            return Err(StoreError::new(name, StoreFault::Range { start, end, len }));
        }
        Ok(bytes.slice(start as usize..end as usize))
    }

    async fn head(&self, name: &str) -> Result<Option<u64>, StoreError> {
        named(name)?;
        Ok(self.objects().get(name).map(|bytes| bytes.len() as u64))
    }

    async fn list(&self, folder: &str, after: &str, limit: usize) -> Result<Listing, StoreError> {
        foldered(folder, limit)?;
        let objects = self.objects();
        let from = if after < folder { Bound::Included(folder) } else { Bound::Excluded(after) };
        let mut found = objects
            .range::<str, _>((from, Bound::Unbounded))
            .take_while(|(name, _)| name.starts_with(folder));
        let entry = |(name, bytes): (&String, &Bytes)| Entry {
            name: name.clone(),
            len: bytes.len() as u64,
        };
        let entries = found.by_ref().take(limit).map(entry).collect();
        Ok(Listing { entries, has_more: found.next().is_some() })
    }

    async fn locked_until(&self, _name: &str) -> Result<Option<Until>, StoreError> {
        Ok(None)
    }

    async fn extend(&self, name: &str, until: Until) -> Result<(), StoreError> {
        unlocked(name, Some(until))
    }

    async fn delete(&self, name: &str) -> Result<(), StoreError> {
        named(name)?;
        self.objects().remove(name);
        Ok(())
    }
}
