//! A store that does not do what it says, one lie at a time: what the suite and the checks must notice.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use super::{Created, Entry, Listing, MemoryStore, Store, StoreError, StoreFault, Until};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    /// "Create only" is ignored: what was there is overwritten, and success reported.
    IgnoresCondition,
    /// As before, but it says truthfully that there was something.
    OverwritesAndSaysExists,
    /// The condition holds, and success is reported all the same.
    SaysMade,
    /// The last byte of an object is lost.
    CutsObjects,
    /// Reads give one byte less than was asked for.
    ShortReads,
    /// Reads beyond the end give what there is.
    LenientRanges,
    /// One bit of what is read is wrong.
    FlipsBits,
    /// What was created last is not listed.
    StaleListing,
    /// Names come in the wrong order.
    UnsortedListing,
    /// Names that were listed before come again.
    IgnoresAfter,
    /// Names of other folders come, too.
    IgnoresFolder,
    /// More names than were asked for.
    IgnoresLimit,
    /// "No more" though there are.
    EndsEarly,
    /// Nothing, and yet more.
    NeverEnds,
    /// Deleted objects stay.
    KeepsDeleted,
    /// Nothing is ever there when asked for its length.
    ForgetsHeads,
}

impl Lie {
    pub const ALL: [Self; 16] = [
        Self::IgnoresCondition,
        Self::OverwritesAndSaysExists,
        Self::SaysMade,
        Self::CutsObjects,
        Self::ShortReads,
        Self::LenientRanges,
        Self::FlipsBits,
        Self::StaleListing,
        Self::UnsortedListing,
        Self::IgnoresAfter,
        Self::IgnoresFolder,
        Self::IgnoresLimit,
        Self::EndsEarly,
        Self::NeverEnds,
        Self::KeepsDeleted,
        Self::ForgetsHeads,
    ];
}

/// When requests fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outage {
    Never,
    /// The n-th request fails and does nothing, of each `every`.
    Before {
        every: u64,
    },
    /// It is done, and the answer is lost.
    After {
        every: u64,
    },
}

#[derive(Debug)]
pub struct LyingStore {
    pub inner: MemoryStore,
    lie: Option<Lie>,
    outage: Outage,
    requests: AtomicU64,
}

impl LyingStore {
    pub fn new(lie: Option<Lie>, outage: Outage) -> Self {
        Self { inner: MemoryStore::new(), lie, outage, requests: AtomicU64::new(0) }
    }

    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    fn tells(&self, lie: Lie) -> bool {
        self.lie == Some(lie)
    }

    async fn answered<T>(
        &self,
        name: &str,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let count = self.requests.fetch_add(1, Ordering::Relaxed);
        let failed = || Err(StoreError::new(name, StoreFault::Unavailable { status: 503 }));
        match self.outage {
            Outage::Before { every } if count % every == every - 1 => failed(),
            Outage::After { every } if count % every == every - 1 => {
                work.await?;
                failed()
            }
            _ => work.await,
        }
    }

    async fn list_falsely(
        &self,
        folder: &str,
        after: &str,
        limit: usize,
    ) -> Result<Listing, StoreError> {
        let folder = if self.tells(Lie::IgnoresFolder) { "" } else { folder };
        let after = if self.tells(Lie::IgnoresAfter) { "" } else { after };
        let asked = if self.tells(Lie::IgnoresLimit) { limit + 1 } else { limit };
        let mut listing = self.inner.list(folder, after, asked).await?;
        match self.lie {
            Some(Lie::StaleListing) => drop(listing.entries.pop()),
            Some(Lie::UnsortedListing) => listing.entries.reverse(),
            Some(Lie::EndsEarly) => listing.has_more = false,
            Some(Lie::NeverEnds) => {
                listing = Listing { entries: Vec::<Entry>::new(), has_more: true };
            }
            _ => {}
        }
        Ok(listing)
    }
}

impl Store for LyingStore {
    async fn create(
        &self,
        name: &str,
        mut bytes: Bytes,
        until: Option<Until>,
    ) -> Result<Created, StoreError> {
        if self.tells(Lie::CutsObjects) {
            bytes.truncate(bytes.len().saturating_sub(1));
        }
        let work = async {
            let is_there = self.inner.head(name).await?.is_some();
            match self.lie {
                Some(Lie::IgnoresCondition) => {
                    self.inner.put(name, bytes);
                    Ok(Created::Made)
                }
                Some(Lie::OverwritesAndSaysExists) => {
                    self.inner.put(name, bytes);
                    Ok(if is_there { Created::Exists } else { Created::Made })
                }
                Some(Lie::SaysMade) => {
                    self.inner.create(name, bytes, until).await.map(|_| Created::Made)
                }
                _ => self.inner.create(name, bytes, until).await,
            }
        };
        self.answered(name, work).await
    }

    async fn read(&self, name: &str, mut range: Range<u64>) -> Result<Bytes, StoreError> {
        let work = async {
            if self.tells(Lie::LenientRanges) {
                let len = self.inner.head(name).await?.unwrap_or_default();
                range = range.start.min(len)..range.end.min(len);
            }
            let mut bytes = self.inner.read(name, range).await?.to_vec();
            match self.lie {
                Some(Lie::ShortReads) => drop(bytes.pop()),
                Some(Lie::FlipsBits) => {
                    let middle = bytes.len() / 2;
                    bytes.iter_mut().skip(middle).take(1).for_each(|byte| *byte ^= 4);
                }
                _ => {}
            }
            Ok(Bytes::from(bytes))
        };
        self.answered(name, work).await
    }

    async fn head(&self, name: &str) -> Result<Option<u64>, StoreError> {
        let found = self.answered(name, self.inner.head(name)).await?;
        Ok(found.filter(|_| !self.tells(Lie::ForgetsHeads)))
    }

    async fn list(&self, folder: &str, after: &str, limit: usize) -> Result<Listing, StoreError> {
        self.answered(folder, self.list_falsely(folder, after, limit)).await
    }

    async fn locked_until(&self, name: &str) -> Result<Option<Until>, StoreError> {
        self.inner.locked_until(name).await
    }

    async fn extend(&self, name: &str, until: Until) -> Result<(), StoreError> {
        self.inner.extend(name, until).await
    }

    async fn delete(&self, name: &str) -> Result<(), StoreError> {
        if self.tells(Lie::KeepsDeleted) {
            return self.answered(name, async { Ok(()) }).await;
        }
        self.answered(name, self.inner.delete(name)).await
    }
}
