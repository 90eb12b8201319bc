//! A store with locks and a clock, that ends a process where the test wants, and whose listings lie.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use bytes::Bytes;

use crate::store::{Created, Entry, Listing, MemoryStore, Store, StoreError, StoreFault, Until};

/// What a listing does not tell truly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Telling {
    Truth,
    /// One name in so many is left out, which ones changes.
    Hides(u64),
    /// Names that lead to nothing, and real objects under names of older shipments.
    Invents,
}

#[derive(Debug)]
pub(crate) struct World {
    pub inner: MemoryStore,
    pub locks: Mutex<BTreeMap<String, i64>>,
    /// Seconds.
    pub clock: AtomicI64,
    /// Requests until everything fails; negative: for ever.
    pub left: AtomicI64,
    pub telling: Mutex<Telling>,
    pub extends: AtomicU64,
    /// Extensions until those alone fail.
    pub extends_left: AtomicI64,
    requests: AtomicU64,
}

impl World {
    pub fn new() -> Self {
        Self {
            inner: MemoryStore::new(),
            locks: Mutex::default(),
            clock: AtomicI64::new(0),
            left: AtomicI64::new(i64::MAX),
            telling: Mutex::new(Telling::Truth),
            extends: AtomicU64::new(0),
            extends_left: AtomicI64::new(i64::MAX),
            requests: AtomicU64::new(0),
        }
    }

    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    fn pass(&self, name: &str) -> Result<(), StoreError> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        if self.left.fetch_sub(1, Ordering::Relaxed) > 0 {
            return Ok(());
        }
        Err(StoreError { name: name.to_owned(), fault: StoreFault::Unreachable })
    }

    pub fn is_locked(&self, name: &str) -> bool {
        let until = self.locks.lock().unwrap().get(name).copied();
        until.is_some_and(|until| until > self.clock.load(Ordering::Relaxed))
    }
}

impl Store for World {
    async fn create(
        &self,
        name: &str,
        bytes: Bytes,
        until: Option<Until>,
    ) -> Result<Created, StoreError> {
        self.pass(name)?;
        let created = self.inner.create(name, bytes, None).await?;
        if let (Created::Made, Some(until)) = (created, until) {
            self.locks.lock().unwrap().insert(name.to_owned(), until.0);
        }
        Ok(created)
    }

    async fn read(&self, name: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        self.pass(name)?;
        self.inner.read(name, range).await
    }

    async fn head(&self, name: &str) -> Result<Option<u64>, StoreError> {
        self.pass(name)?;
        self.inner.head(name).await
    }

    async fn list(&self, folder: &str, after: &str, limit: usize) -> Result<Listing, StoreError> {
        self.pass(folder)?;
        let mut listing = self.inner.list(folder, after, limit).await?;
        let telling = *self.telling.lock().unwrap();
        let salt = self.requests();
        match telling {
            Telling::Truth => {}
            // Manifests are another matter: the chain proves those.
            Telling::Hides(one_in) if folder != "m/" => {
                let mut at = salt;
                listing.entries.retain(|_| {
                    at += 1;
                    !at.is_multiple_of(one_in)
                });
            }
            Telling::Invents if folder != "m/" && after.is_empty() => {
                let invented: Vec<Entry> = (listing.entries.iter())
                    .map(|entry| {
                        let parts: Vec<&str> = entry.name.split('/').collect();
                        let name = format!("{}/{}/{:016x}/{}", parts[0], parts[1], 0, parts[3]);
                        Entry { name, len: 9 }
                    })
                    .collect();
                listing.entries.extend(invented);
                listing.entries.sort();
            }
            _ => {}
        }
        Ok(listing)
    }

    async fn locked_until(&self, name: &str) -> Result<Option<Until>, StoreError> {
        self.pass(name)?;
        Ok(self.locks.lock().unwrap().get(name).copied().map(Until))
    }

    async fn extend(&self, name: &str, until: Until) -> Result<(), StoreError> {
        self.pass(name)?;
        if self.extends_left.fetch_sub(1, Ordering::Relaxed) <= 0 {
            return Err(StoreError { name: name.to_owned(), fault: StoreFault::Unreachable });
        }
        self.extends.fetch_add(1, Ordering::Relaxed);
        let mut locks = self.locks.lock().unwrap();
        let own = locks.entry(name.to_owned()).or_insert(0);
        *own = until.0.max(*own);
        Ok(())
    }

    async fn delete(&self, name: &str) -> Result<(), StoreError> {
        self.pass(name)?;
        if self.is_locked(name) {
            return Err(StoreError { name: name.to_owned(), fault: StoreFault::Refused });
        }
        self.inner.delete(name).await
    }
}
