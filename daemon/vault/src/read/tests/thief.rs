//! Somebody laid garbage on top of every object, in a store that keeps what lies below.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Mutex;

use bytes::Bytes;

use super::*;
use crate::store::{Created, Listing, Store, StoreError, StoreFault, Until};
use crate::verify::{Sample, verify};

/// Gives garbage, as long as the object or of another length, until the first version is recalled.
struct Covered {
    inner: Arc<Watched<MemoryStore>>,
    is_long: bool,
    recalled: Mutex<BTreeSet<String>>,
}

impl Covered {
    fn is_recalled(&self, name: &str) -> bool {
        self.recalled.lock().unwrap().contains(name)
    }
}

impl Store for Covered {
    async fn create(&self, name: &str, _: Bytes, _: Option<Until>) -> Result<Created, StoreError> {
        Err(StoreError::new(name, StoreFault::Refused))
    }

    async fn read(&self, name: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        let bytes = self.inner.read(name, range.clone()).await?;
        match (self.is_recalled(name), self.is_long) {
            (true, _) => Ok(bytes),
            (false, true) => Ok(Bytes::from(vec![7; bytes.len()])),
            (false, false) if range.end <= 7 => Ok(Bytes::from(vec![7; bytes.len()])),
            (false, false) => {
                let (start, end) = (range.start, range.end);
                Err(StoreError::new(name, StoreFault::Range { start, end, len: 7 }))
            }
        }
    }

    async fn head(&self, name: &str) -> Result<Option<u64>, StoreError> {
        let len = self.inner.head(name).await?;
        Ok(len.map(|len| if self.is_recalled(name) || self.is_long { len } else { 7 }))
    }

    async fn list(&self, folder: &str, after: &str, limit: usize) -> Result<Listing, StoreError> {
        self.inner.list(folder, after, limit).await
    }

    async fn locked_until(&self, name: &str) -> Result<Option<Until>, StoreError> {
        self.inner.locked_until(name).await
    }

    async fn extend(&self, name: &str, until: Until) -> Result<(), StoreError> {
        self.inner.extend(name, until).await
    }

    async fn delete(&self, name: &str) -> Result<(), StoreError> {
        Err(StoreError::new(name, StoreFault::Refused))
    }

    async fn recall(&self, name: &str) -> Result<bool, StoreError> {
        Ok(self.recalled.lock().unwrap().insert(name.to_owned()))
    }
}

fn covered(truth: &Truth, is_long: bool) -> Arc<Covered> {
    let (inner, recalled) = (Arc::clone(&truth.store), Mutex::default());
    Arc::new(Covered { inner, is_long, recalled })
}

/// Whether somebody who looks after the vault finds nothing wrong with it.
fn verifies(truth: &Truth, is_long: bool, sample: Sample) -> bool {
    let reader = reader(&covered(truth, is_long), truth.last());
    let report = now(verify(&reader, sample, &mut seeded(72), &|_| ())).unwrap();
    report.findings.is_empty() && report.objects > 0
}

/// Whether every point and all records come out of the covered store.
fn comes_back(truth: &Truth, is_long: bool) -> bool {
    let store = covered(truth, is_long);
    let master = &truth.last().master;
    let Ok(opened) = now(open(&*store, Unlock::Master(master), None)) else { return false };
    if opened.newest != truth.last().newest {
        return false;
    }
    let reader = reader(&store, &opened);
    let plain = self::reader(&truth.store, truth.last());
    if now(reader.records()).ok() != now(plain.records()).ok() {
        return false;
    }
    truth.points.iter().all(|(id, files)| {
        let Ok(point) = reader.point(id, NoLocal) else { return false };
        now(restored(&point)).is_ok_and(|found| found == *files)
    })
}

#[test]
pub(crate) fn what_lies_on_top_hides_nothing() {
    let truth = truth(71, 4);
    for is_long in [true, false] {
        assert!(comes_back(&truth, is_long), "garbage as long as ours: {is_long}");
        for sample in [Sample::Whole, Sample::OneIn(1000)] {
            assert!(verifies(&truth, is_long, sample), "as long as ours: {is_long}, {sample:?}");
        }
    }
}
