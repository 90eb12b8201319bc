//! Records and series of the pool, typed. The only writer of records is the daemon, and one change
//! is made at a time: what a [`Change`] read is still so when it is committed.

use crate::clock::SharedClock;
use crate::pool_thread::{PoolClosed, PoolHandle};
use keelhold_disk::error::CommitError;
use keelhold_disk::pool::RecordChange;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use thiserror::Error;
use tokio::sync::{Mutex, OwnedMutexGuard};

#[derive(Debug, Error)]
pub enum StoreError {
    #[error(transparent)]
    Closed(#[from] PoolClosed),
    #[error("the change could not be made durable")]
    Commit(#[from] CommitError),
    #[error("record {name} cannot be read")]
    Record { name: String, source: serde_json::Error },
    #[error("record {name} cannot be written")]
    Encode { name: String, source: serde_json::Error },
}

#[derive(Clone)]
pub struct Store {
    pub pool: PoolHandle,
    pub clock: SharedClock,
    changing: Arc<Mutex<()>>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Store")
    }
}

fn parse<T: DeserializeOwned>(name: String, bytes: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(bytes).map_err(|source| StoreError::Record { name, source })
}

impl Store {
    #[must_use]
    pub fn new(pool: PoolHandle, clock: SharedClock) -> Self {
        Self { pool, clock, changing: Arc::default() }
    }

    pub async fn record<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, StoreError> {
        let name = name.to_owned();
        let asked = name.clone();
        let record = self.pool.call(move |pool| async move { pool.record(&asked) }).await?;
        record.map(|record| parse(name, &record.bytes)).transpose()
    }

    /// All records whose names begin with `prefix`.
    pub async fn records<T: DeserializeOwned>(&self, prefix: &str) -> Result<Vec<T>, StoreError> {
        let prefix = prefix.to_owned();
        let records = self.pool.call(move |pool| async move { pool.records(&prefix) }).await?;
        records.into_iter().map(|(name, record)| parse(name, &record.bytes)).collect()
    }

    pub async fn named_records<T: DeserializeOwned>(
        &self,
        prefix: &str,
    ) -> Result<Vec<(String, T)>, StoreError> {
        let prefix = prefix.to_owned();
        let records = self.pool.call(move |pool| async move { pool.records(&prefix) }).await?;
        let typed = |(name, record): (String, keelhold_disk::pool::Record)| {
            Ok((name.clone(), parse(name, &record.bytes)?))
        };
        records.into_iter().map(typed).collect()
    }

    /// Begins a change; others wait until it is committed or dropped.
    pub async fn change(&self) -> Change {
        let turn = Arc::clone(&self.changing).lock_owned().await;
        Change { store: self.clone(), _turn: turn, changes: Vec::new() }
    }

    pub async fn append(&self, series: &str, entry: Vec<u8>) -> Result<u64, StoreError> {
        let (series, now) = (series.to_owned(), self.pool.now());
        let append = move |pool: crate::pool_thread::LivePool| async move {
            pool.append(&series, entry, now).await
        };
        Ok(self.pool.call(append).await??)
    }
}

/// Records that change together, all or none of them.
#[derive(Debug)]
pub struct Change {
    store: Store,
    _turn: OwnedMutexGuard<()>,
    changes: Vec<RecordChange>,
}

impl Change {
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    pub fn put(&mut self, name: String, value: &impl Serialize) -> Result<(), StoreError> {
        let bytes = serde_json::to_vec(value)
            .map_err(|source| StoreError::Encode { name: name.clone(), source })?;
        self.changes.push(RecordChange { name, expected: None, bytes: Some(bytes) });
        Ok(())
    }

    pub fn remove(&mut self, name: String) {
        self.changes.push(RecordChange { name, expected: None, bytes: None });
    }

    pub async fn commit(self) -> Result<(), StoreError> {
        let now = self.store.pool.now();
        let changes = self.changes;
        let write = move |pool: crate::pool_thread::LivePool| async move {
            pool.write_records(changes, now).await
        };
        Ok(self.store.pool.call(write).await??)
    }
}
