//! Points read out of a vault, on a thread of their own: what the pool has under the same numbers is
//! read there, the rest from the vault.

use super::failure::of_read;
use super::local::Vault;
use super::place::Place;
use crate::failure::{Code, Failure, chain};
use crate::pool_thread::PoolHandle;
use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use keelhold_chunk::{ChunkId, IdKey};
use keelhold_disk::tree;
use keelhold_disk::units::{ChunkNumber, PointId, PoolId};
use keelhold_vault::read::{Local, VaultPages, VaultReader};
use std::future::Future;
use std::sync::Arc;
use tokio::sync::mpsc;

/// A point in a vault, open for reading. Lives on the thread of the vaults.
pub type PointInVault = tree::PointReader<VaultPages<Place, PoolFirst>>;

type Task = Box<dyn FnOnce() -> LocalBoxFuture<'static, ()> + Send>;

/// Runs what reads out of vaults. Ends when nobody can ask it any more.
#[derive(Debug, Clone)]
pub struct VaultThread {
    tasks: mpsc::UnboundedSender<Task>,
}

impl VaultThread {
    pub fn start() -> Result<Self, Failure> {
        let broken = |error: std::io::Error| Failure::of(Code::Internal, &error);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(broken)?;
        let (tasks, mut queue) = mpsc::unbounded_channel::<Task>();
        let serve = async move {
            while let Some(task) = queue.recv().await {
                tokio::task::spawn_local(task());
            }
        };
        let thread = std::thread::Builder::new().name("vaults".into());
        let run = move || tokio::task::LocalSet::new().block_on(&runtime, serve);
        thread.spawn(run).map_err(broken)?;
        Ok(Self { tasks })
    }

    /// Runs something where readers live.
    pub fn run<F, Fut>(&self, job: F) -> Result<(), Failure>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = ()> + 'static,
    {
        let sent = self.tasks.send(Box::new(move || Box::pin(job())));
        sent.map_err(|_| Failure::new(Code::Stopping, "nothing reads out of vaults any more"))
    }
}

/// What the pool has, it gives: a vault is far, and its answers may cost money.
#[derive(Debug, Clone)]
pub struct PoolFirst {
    pool: Option<(PoolId, PoolHandle)>,
}

impl Local for PoolFirst {
    async fn chunks_at(
        &self,
        pool: PoolId,
        first: u64,
        count: u16,
    ) -> Vec<Option<(ChunkId, Bytes)>> {
        let none = || vec![None; usize::from(count)];
        let Some((_, handle)) = self.pool.as_ref().filter(|(id, _)| *id == pool) else {
            return none();
        };
        let read = move |pool: crate::pool_thread::LivePool| async move {
            pool.chunks_at(ChunkNumber(first), count).await
        };
        handle.call(read).await.unwrap_or_else(|_| none())
    }

    async fn ids_at(&self, pool: PoolId, first: u64, count: u16) -> Vec<Option<ChunkId>> {
        let mut ids = vec![None; usize::from(count)];
        let Some((_, handle)) = self.pool.as_ref().filter(|(id, _)| *id == pool) else {
            return ids;
        };
        let read = move |pool: crate::pool_thread::LivePool| async move {
            let numbers = (0..u64::from(count)).map(|at| ChunkNumber(first + at));
            pool.ids_of(&numbers.collect::<Vec<_>>()).await
        };
        for (number, id) in handle.call(read).await.map(|out| out.ids).unwrap_or_default() {
            let at = usize::try_from(number.0 - first).unwrap_or(usize::MAX);
            if let Some(place) = ids.get_mut(at) {
                *place = Some(id);
            }
        }
        ids
    }
}

/// A point of a vault, and what it takes to read it.
#[derive(Debug, Clone)]
pub struct InVault {
    thread: VaultThread,
    vault: Arc<Vault>,
    local: PoolFirst,
    id_key: IdKey,
    point: PointId,
}

impl InVault {
    pub async fn new(
        thread: &VaultThread,
        vault: Arc<Vault>,
        pool: &PoolHandle,
        point: PointId,
    ) -> Result<Self, Failure> {
        let ask = |pool: crate::pool_thread::LivePool| async move { (pool.id(), pool.id_key()) };
        let (id, id_key) = pool.call(ask).await.map_err(crate::pool_failure::of_closed)?;
        let local = PoolFirst { pool: Some((id, pool.clone())) };
        Ok(Self { thread: thread.clone(), vault, local, id_key, point })
    }

    /// Runs something where readers live.
    pub fn run<F, Fut>(&self, job: F) -> Result<(), Failure>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = ()> + 'static,
    {
        self.thread.run(job)
    }

    pub async fn reader(&self) -> Result<PointInVault, Failure> {
        let opened = match self.vault.opened() {
            Some(opened) => opened,
            None => self.vault.look().await?,
        };
        let (place, master) = (self.vault.place()?, Arc::clone(&self.vault.master));
        let reader = VaultReader::new(place, master, opened.view, Some(self.id_key.clone()));
        let point = reader.point(&self.point, self.local.clone());
        point.map_err(|error| {
            let failure = of_read(&error);
            tracing::warn!(
                vault = self.vault.name(),
                error = chain(&error),
                "a point was not opened"
            );
            failure
        })
    }
}
