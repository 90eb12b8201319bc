//! A point open for reading. Its reader lives on the pool's thread; this is a handle to it.

use crate::failure::Failure;
use crate::pool_failure;
use crate::pool_thread::{LivePool, PoolClosed, PoolHandle};
use crate::pool_work::ThreadWork;
use futures_util::StreamExt as _;
use futures_util::future::{Either, LocalBoxFuture, select};
use futures_util::stream::FuturesUnordered;
use keelhold_disk::device::backend::AnyDevice;
use keelhold_disk::error::ReadError;
use keelhold_disk::pool::{Piece, PointReader};
use keelhold_disk::units::PointId;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use tokio::sync::{mpsc, oneshot};

pub use keelhold_disk::tree::Entry as PoolEntry;

pub type Reader = PointReader<AnyDevice<ThreadWork>, ThreadWork>;
type Request = Box<dyn FnOnce(Rc<Reader>) -> LocalBoxFuture<'static, ()> + Send>;

#[derive(Debug, Clone)]
pub struct OpenPoint {
    requests: mpsc::Sender<Request>,
    entries: u64,
}

#[must_use]
pub fn of_read(error: &ReadError) -> Failure {
    pool_failure::of_read(error)
}

impl OpenPoint {
    pub async fn open(pool: &PoolHandle, point: PointId) -> Result<Self, Failure> {
        let (requests, queue) = mpsc::channel(32);
        let (opened, open) = oneshot::channel();
        let pool = pool.clone();
        tokio::spawn(async move { pool.call(move |pool| serve(pool, point, queue, opened)).await });
        let closed = |_| pool_failure::of_closed(PoolClosed);
        let entries = open.await.map_err(closed)?.map_err(|error| of_read(&error))?;
        Ok(Self { requests, entries })
    }

    /// How many entries the point has.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// Runs `job` with the reader, on the pool's thread. Requests overlap.
    pub async fn call<T, F, Fut>(&self, job: F) -> Result<T, Failure>
    where
        F: FnOnce(Rc<Reader>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, ReadError>> + 'static,
        T: Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let request: Request = Box::new(move |reader| {
            Box::pin(async move {
                let _ = answer.send(job(reader).await);
            })
        });
        let closed = || pool_failure::of_closed(PoolClosed);
        self.requests.send(request).await.map_err(|_| closed())?;
        answered.await.map_err(|_| closed())?.map_err(|error| of_read(&error))
    }

    pub async fn find(&self, path: Vec<u8>) -> Result<Option<(u64, PoolEntry)>, Failure> {
        self.call(move |reader| async move { reader.find(&path).await }).await
    }

    /// Entries of a directory, behind the name `after`.
    pub async fn list(
        &self,
        directory: Vec<u8>,
        after: Option<Vec<u8>>,
        limit: usize,
    ) -> Result<Vec<PoolEntry>, Failure> {
        let list = move |reader: Rc<Reader>| async move {
            let entries = reader.list(&directory, after.as_deref(), limit).await?;
            Ok(entries.into_iter().map(|(_, entry)| entry).collect())
        };
        self.call(list).await
    }

    /// Entries in order, from the one with ordinal `from`.
    pub async fn scan(&self, from: u64, limit: usize) -> Result<Vec<(u64, PoolEntry)>, Failure> {
        self.call(move |reader| async move { reader.scan(from, limit).await }).await
    }

    pub async fn read(
        &self,
        entry: PoolEntry,
        offset: u64,
        len: u64,
    ) -> Result<Vec<Piece>, Failure> {
        self.call(move |reader| async move { reader.read(&entry, offset, len).await }).await
    }
}

async fn serve(
    pool: LivePool,
    point: PointId,
    mut queue: mpsc::Receiver<Request>,
    opened: oneshot::Sender<Result<u64, ReadError>>,
) {
    let reader = match pool.reader(&point).await {
        Ok(reader) => Rc::new(reader),
        Err(error) => return drop(opened.send(Err(error))),
    };
    if opened.send(Ok(reader.root().entry_count)).is_err() {
        return;
    }
    let mut running = FuturesUnordered::new();
    loop {
        let request = if running.is_empty() {
            queue.recv().await
        } else {
            match select(pin!(queue.recv()), running.next()).await {
                Either::Left((request, _)) => request,
                Either::Right(_) => continue,
            }
        };
        match request {
            Some(request) => running.push(request(Rc::clone(&reader))),
            None => break,
        }
    }
    while running.next().await.is_some() {}
}
