//! A point as it is read, wherever it lies: in the pool, or in a vault.

use super::content::Damage;
use super::open::PoolEntry;
use crate::api::types::Fetch;
use crate::failure::{Code, Failure, chain};
use crate::pool_failure;
use crate::pool_work::ThreadWork;
use futures_util::future::LocalBoxFuture;
use keelhold_disk::device::backend::AnyDevice;
use keelhold_disk::error::ReadError;
use keelhold_disk::pool::PointReader;
use keelhold_disk::tree::{self, Piece};
use keelhold_vault::read::{Wanted, bring, plan};

/// Why something of a point cannot be read: as an answer, and as damage in a list.
#[derive(Debug, Clone)]
pub struct Unread {
    pub failure: Failure,
    pub damage: Damage,
}

pub type Read<'a, T> = LocalBoxFuture<'a, Result<T, Unread>>;

/// Lives on the thread that can reach the bytes.
pub trait Reading {
    fn entries(&self) -> u64;
    fn find<'a>(&'a self, path: &'a [u8]) -> Read<'a, Option<(u64, PoolEntry)>>;
    fn list<'a>(
        &'a self,
        directory: &'a [u8],
        after: Option<&'a [u8]>,
        limit: usize,
    ) -> Read<'a, Vec<(u64, PoolEntry)>>;
    fn scan(&self, from: u64, limit: usize) -> Read<'_, Vec<(u64, PoolEntry)>>;
    fn read<'a>(&'a self, entry: &'a PoolEntry, offset: u64, len: u64) -> Read<'a, Vec<Piece>>;
    /// All of these will be read next: whoever is far fetches them together. What cannot be fetched is
    /// told of when it is read.
    fn bring<'a>(&'a self, _entries: &'a [PoolEntry]) -> LocalBoxFuture<'a, ()> {
        Box::pin(std::future::ready(()))
    }
    /// What bringing them would fetch; none where nothing is far.
    fn plan<'a>(&'a self, _entries: &'a [PoolEntry]) -> LocalBoxFuture<'a, Option<Fetch>> {
        Box::pin(std::future::ready(None))
    }
}

impl Unread {
    #[must_use]
    pub fn of_pool(error: &ReadError) -> Self {
        let place = error.place().map(|place| place.to_string());
        let damage = Damage { place, reason: chain(error) };
        Self { failure: pool_failure::of_read(error), damage }
    }

    #[must_use]
    pub fn of_failure(failure: Failure) -> Self {
        let damage = Damage { place: None, reason: failure.message.clone() };
        Self { failure, damage }
    }

    fn of_vault(error: &tree::ReadError<keelhold_vault::read::ReadError>) -> Self {
        match error {
            tree::ReadError::Store(error) => {
                let damage =
                    Damage { place: error.object().map(str::to_owned), reason: chain(error) };
                Self { failure: crate::vault::of_read(error), damage }
            }
            tree::ReadError::Page { .. } => {
                Self::of_failure(Failure::new(Code::VaultDamaged, chain(error)))
            }
        }
    }
}

type OfPool = PointReader<AnyDevice<ThreadWork>, ThreadWork>;

impl Reading for OfPool {
    fn entries(&self) -> u64 {
        self.root().entry_count
    }

    fn find<'a>(&'a self, path: &'a [u8]) -> Read<'a, Option<(u64, PoolEntry)>> {
        Box::pin(
            async move { Self::find(self, path).await.map_err(|error| Unread::of_pool(&error)) },
        )
    }

    fn list<'a>(
        &'a self,
        directory: &'a [u8],
        after: Option<&'a [u8]>,
        limit: usize,
    ) -> Read<'a, Vec<(u64, PoolEntry)>> {
        let list = async move { Self::list(self, directory, after, limit).await };
        Box::pin(async move { list.await.map_err(|error| Unread::of_pool(&error)) })
    }

    fn scan(&self, from: u64, limit: usize) -> Read<'_, Vec<(u64, PoolEntry)>> {
        Box::pin(async move {
            Self::scan(self, from, limit).await.map_err(|error| Unread::of_pool(&error))
        })
    }

    fn read<'a>(&'a self, entry: &'a PoolEntry, offset: u64, len: u64) -> Read<'a, Vec<Piece>> {
        Box::pin(async move {
            Self::read(self, entry, offset, len).await.map_err(|error| Unread::of_pool(&error))
        })
    }
}

impl Reading for crate::vault::PointInVault {
    fn entries(&self) -> u64 {
        self.root().entry_count
    }

    fn find<'a>(&'a self, path: &'a [u8]) -> Read<'a, Option<(u64, PoolEntry)>> {
        Box::pin(
            async move { Self::find(self, path).await.map_err(|error| Unread::of_vault(&error)) },
        )
    }

    fn list<'a>(
        &'a self,
        directory: &'a [u8],
        after: Option<&'a [u8]>,
        limit: usize,
    ) -> Read<'a, Vec<(u64, PoolEntry)>> {
        let list = async move { Self::list(self, directory, after, limit).await };
        Box::pin(async move { list.await.map_err(|error| Unread::of_vault(&error)) })
    }

    fn scan(&self, from: u64, limit: usize) -> Read<'_, Vec<(u64, PoolEntry)>> {
        Box::pin(async move {
            Self::scan(self, from, limit).await.map_err(|error| Unread::of_vault(&error))
        })
    }

    fn read<'a>(&'a self, entry: &'a PoolEntry, offset: u64, len: u64) -> Read<'a, Vec<Piece>> {
        Box::pin(async move {
            Self::read(self, entry, offset, len).await.map_err(|error| Unread::of_vault(&error))
        })
    }

    fn bring<'a>(&'a self, entries: &'a [PoolEntry]) -> LocalBoxFuture<'a, ()> {
        Box::pin(async move {
            let wanted: Vec<Wanted<'_>> = entries.iter().map(Wanted::whole).collect();
            let _ = bring(self, &wanted).await;
        })
    }

    fn plan<'a>(&'a self, entries: &'a [PoolEntry]) -> LocalBoxFuture<'a, Option<Fetch>> {
        Box::pin(async move {
            let wanted: Vec<Wanted<'_>> = entries.iter().map(Wanted::whole).collect();
            let plan = plan(self, &wanted).await.ok()?;
            let objects = plan.objects.len() as u64;
            Some(Fetch { requests: plan.requests, bytes: plan.bytes, objects })
        })
    }
}
