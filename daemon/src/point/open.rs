//! A point open for reading. Its reader lives on the pool's thread, or on that of the vaults; this is a
//! handle to it.
//!
//! What the pool cannot read is read from a vault that has the point, too, before anybody hears of it.

use super::reading::{Reading, Unread};
use crate::api::types::Fetch;
use crate::failure::Failure;
use crate::pool_failure;
use crate::pool_thread::{PoolClosed, PoolHandle};
use crate::vault::InVault;
use futures_util::StreamExt as _;
use futures_util::future::{Either, LocalBoxFuture, select};
use futures_util::stream::FuturesUnordered;
use keelhold_disk::tree::Piece;
use keelhold_disk::units::PointId;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use tokio::sync::{OnceCell, mpsc, oneshot};

pub use keelhold_disk::tree::Entry as PoolEntry;

pub type Reader = Rc<dyn Reading>;
type Request = Box<dyn FnOnce(Reader) -> LocalBoxFuture<'static, ()> + Send>;
type Opened = oneshot::Sender<Result<u64, Unread>>;

#[derive(Debug, Clone)]
pub struct OpenPoint {
    requests: mpsc::Sender<Request>,
    entries: u64,
    behind: Option<Arc<Behind>>,
}

/// The same point in a vault, opened when it is needed.
#[derive(Debug)]
struct Behind {
    place: InVault,
    opened: OnceCell<OpenPoint>,
}

fn closed() -> Failure {
    pool_failure::of_closed(PoolClosed)
}

impl OpenPoint {
    /// In the pool, and behind it in a vault if one has it.
    pub async fn open(
        pool: &PoolHandle,
        point: PointId,
        behind: Option<InVault>,
    ) -> Result<Self, Failure> {
        let (requests, queue) = mpsc::channel(32);
        let (opened, open) = oneshot::channel();
        let pool = pool.clone();
        let serve_there = move |pool: crate::pool_thread::LivePool| async move {
            let reader = pool.reader(&point).await;
            let reader = reader.map(|reader| Rc::new(reader) as Reader);
            serve(reader.map_err(|error| Unread::of_pool(&error)), queue, opened).await;
        };
        tokio::spawn(async move { pool.call(serve_there).await });
        let behind = behind.map(|place| Arc::new(Behind { place, opened: OnceCell::new() }));
        match open.await.map_err(|_| closed())? {
            Ok(entries) => Ok(Self { requests, entries, behind }),
            Err(unread) => match behind {
                Some(behind) => behind.open().await.cloned(),
                None => Err(unread.failure),
            },
        }
    }

    /// In a vault; what the pool has of it is read there.
    pub async fn in_vault(place: &InVault) -> Result<Self, Failure> {
        let (requests, queue) = mpsc::channel(32);
        let (opened, open) = oneshot::channel();
        let there = place.clone();
        place.run(move || async move {
            let reader = there.reader().await.map(|reader| Rc::new(reader) as Reader);
            serve(reader.map_err(Unread::of_failure), queue, opened).await;
        })?;
        let entries = open.await.map_err(|_| closed())?.map_err(|unread| unread.failure)?;
        Ok(Self { requests, entries, behind: None })
    }

    /// How many entries the point has.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// The same point in a vault, if there is one that has it and answers.
    pub(super) async fn behind(&self) -> Option<&Self> {
        let behind = self.behind.as_ref()?;
        match behind.open().await {
            Ok(point) => Some(point),
            Err(failure) => {
                tracing::warn!(error = failure.message, "a vault could not stand in for the pool");
                None
            }
        }
    }

    /// Runs `job` with the reader, where it lives. Requests overlap.
    pub async fn call<T, F, Fut>(&self, job: F) -> Result<T, Unread>
    where
        F: FnOnce(Reader) -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, Unread>> + 'static,
        T: Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let request: Request = Box::new(move |reader| {
            Box::pin(async move {
                let _ = answer.send(job(reader).await);
            })
        });
        let closed = || Unread::of_failure(closed());
        self.requests.send(request).await.map_err(|_| closed())?;
        answered.await.map_err(|_| closed())?
    }

    /// As [`call`](Self::call), from the vault where the pool fails.
    async fn call_anywhere<T, F, Fut>(&self, job: F) -> Result<T, Unread>
    where
        F: FnOnce(Reader) -> Fut + Clone + Send + 'static,
        Fut: Future<Output = Result<T, Unread>> + 'static,
        T: Send + 'static,
    {
        let unread = match self.call(job.clone()).await {
            Ok(read) => return Ok(read),
            Err(unread) => unread,
        };
        match self.behind().await {
            Some(behind) => behind.call(job).await.map_err(|_| unread),
            None => Err(unread),
        }
    }

    pub async fn find(&self, path: Vec<u8>) -> Result<Option<(u64, PoolEntry)>, Failure> {
        let find = move |reader: Reader| async move { reader.find(&path).await };
        self.call_anywhere(find).await.map_err(|unread| unread.failure)
    }

    /// Entries of a directory, behind the name `after`.
    pub async fn list(
        &self,
        directory: Vec<u8>,
        after: Option<Vec<u8>>,
        limit: usize,
    ) -> Result<Vec<PoolEntry>, Failure> {
        let list = move |reader: Reader| async move {
            let entries = reader.list(&directory, after.as_deref(), limit).await?;
            Ok(entries.into_iter().map(|(_, entry)| entry).collect())
        };
        self.call_anywhere(list).await.map_err(|unread| unread.failure)
    }

    /// Entries in order, from the one with ordinal `from`.
    pub async fn scan(&self, from: u64, limit: usize) -> Result<Vec<(u64, PoolEntry)>, Failure> {
        let scan = move |reader: Reader| async move { reader.scan(from, limit).await };
        self.call_anywhere(scan).await.map_err(|unread| unread.failure)
    }

    /// What reading all of these will fetch from a vault; none of a point that is in the pool.
    pub async fn plan(&self, entries: Vec<PoolEntry>) -> Option<Fetch> {
        let plan = move |reader: Reader| async move { Ok(reader.plan(&entries).await) };
        self.call(plan).await.ok().flatten()
    }

    pub async fn read(
        &self,
        entry: PoolEntry,
        offset: u64,
        len: u64,
    ) -> Result<Vec<Piece>, Unread> {
        let read = move |reader: Reader| async move { reader.read(&entry, offset, len).await };
        self.call_anywhere(read).await
    }
}

impl Behind {
    async fn open(&self) -> Result<&OpenPoint, Failure> {
        // Boxed: an open point may hold one that is behind it.
        self.opened.get_or_try_init(|| Box::pin(OpenPoint::in_vault(&self.place))).await
    }
}

async fn serve(reader: Result<Reader, Unread>, mut queue: mpsc::Receiver<Request>, opened: Opened) {
    let reader = match reader {
        Ok(reader) => reader,
        Err(unread) => return drop(opened.send(Err(unread))),
    };
    if opened.send(Ok(reader.entries())).is_err() {
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
