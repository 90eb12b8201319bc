//! Objects on their way, several at a time, while the next one is put together and what comes behind it
//! is read.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::Semaphore;

use super::error::{ShipError, SourceError};
use super::types::Locks;
use crate::format::{FramePlace, Name, ObjectChunk, ObjectKind, ObjectRef};
use crate::keys::MasterKey;
use crate::pack::{Drawn, Group, Rooms, Sealed, SourceFrame, seal};
use crate::store::{Settled, Store, StoreError, settle};
use crate::units::ManifestNumber;
use crate::work::Work;

/// How often a creation whose answer was lost is repeated, with the same bytes.
const ATTEMPTS: usize = 3;
/// Objects that are sealed, or wait for a stream, at a time: one while another one is sealed.
const SEALING: usize = 2;

/// An object that was acknowledged.
#[derive(Debug)]
pub(super) struct Acknowledged {
    pub object: ObjectRef,
    pub places: Vec<FramePlace>,
    pub chunks: Vec<ObjectChunk>,
    pub frame_len: u64,
}

impl Acknowledged {
    fn of(sealed: Sealed) -> (Self, Bytes) {
        let Sealed { object, places, chunks, bytes, frame_len } = sealed;
        (Self { object, places, chunks, frame_len }, bytes)
    }
}

type Lane<'a> = Pin<Box<dyn Future<Output = Result<Acknowledged, ShipError>> + Send + 'a>>;

/// What the pool was asked for, or gave.
enum Read<'a> {
    Asked(BoxFuture<'a, Result<Vec<SourceFrame>, SourceError>>),
    Given(Result<Vec<SourceFrame>, SourceError>),
}

pub(super) struct Lanes<'a> {
    lanes: FuturesUnordered<Lane<'a>>,
    acknowledged: Vec<Acknowledged>,
    failed: Option<ShipError>,
    /// Objects that are being sealed, or wait for a stream.
    sealing: Arc<AtomicUsize>,
    /// Objects may be sent so many at a time.
    streams: Arc<Semaphore>,
    reading: Option<Read<'a>>,
    rooms: Rooms,
}

/// What every object on its way needs.
#[derive(Debug)]
pub(super) struct Way<'a, S, W> {
    pub store: &'a S,
    pub work: &'a W,
    pub locks: &'a Locks,
    pub master: &'a Arc<MasterKey>,
}

impl<S, W> Clone for Way<'_, S, W> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S, W> Copy for Way<'_, S, W> {}

impl<'a> Lanes<'a> {
    pub fn new(streams: usize) -> Self {
        Self {
            lanes: FuturesUnordered::new(),
            acknowledged: Vec::new(),
            failed: None,
            sealing: Arc::default(),
            streams: Arc::new(Semaphore::new(streams.max(1))),
            reading: None,
            rooms: Rooms::default(),
        }
    }

    /// Lets objects and reading go on, and notes what has arrived.
    fn go_on(&mut self, context: &mut Context<'_>) {
        if let Some(Read::Asked(asked)) = &mut self.reading
            && let Poll::Ready(given) = asked.as_mut().poll(context)
        {
            self.reading = Some(Read::Given(given));
        }
        while let Poll::Ready(Some(ended)) = self.lanes.poll_next_unpin(context) {
            match ended {
                Ok(acknowledged) => self.acknowledged.push(acknowledged),
                Err(error) => drop(self.failed.get_or_insert(error)),
            }
        }
    }

    /// Awaits something while objects go on.
    pub async fn beside<T>(&mut self, work: impl Future<Output = T> + Send) -> T {
        let mut work = pin!(work);
        poll_fn(|context| {
            self.go_on(context);
            work.as_mut().poll(context)
        })
        .await
    }

    /// Waits until there is room for another object. After a failure: until all have ended, so that what
    /// can arrive does.
    pub async fn room(&mut self) -> Result<(), ShipError> {
        self.until(|lanes| lanes.sealing.load(Ordering::Relaxed) < SEALING).await
    }

    /// Waits until nothing is on its way.
    pub async fn all(&mut self) -> Result<(), ShipError> {
        self.until(|lanes| lanes.lanes.is_empty()).await
    }

    async fn until(&mut self, is_enough: impl Fn(&Self) -> bool) -> Result<(), ShipError> {
        poll_fn(|context| {
            self.go_on(context);
            match &self.failed {
                None if is_enough(self) => Poll::Ready(Ok(())),
                Some(error) if self.lanes.is_empty() => Poll::Ready(Err(error.clone())),
                _ => Poll::Pending,
            }
        })
        .await
    }

    /// Reads something while everything else goes on: until it is taken.
    pub fn read(
        &mut self,
        asked: impl Future<Output = Result<Vec<SourceFrame>, SourceError>> + Send + 'a,
    ) {
        self.reading = Some(Read::Asked(Box::pin(asked)));
    }

    /// What was read; nothing, if nothing was asked for.
    pub async fn taken(&mut self) -> Result<Vec<SourceFrame>, SourceError> {
        poll_fn(|context| {
            self.go_on(context);
            match self.reading.take() {
                None => Poll::Ready(Ok(Vec::new())),
                Some(Read::Given(given)) => Poll::Ready(given),
                asked => {
                    self.reading = asked;
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// Objects that arrived since the last question.
    pub fn arrived(&mut self) -> Vec<Acknowledged> {
        std::mem::take(&mut self.acknowledged)
    }

    /// Seals a group and sends it. To be called when there is room.
    pub fn start<S: Store, W: Work>(
        &mut self,
        way: Way<'a, S, W>,
        shipment: ManifestNumber,
        group: Group,
        drawn: Drawn,
    ) {
        let (sealing, streams) = (Arc::clone(&self.sealing), Arc::clone(&self.streams));
        let rooms = self.rooms.clone();
        sealing.fetch_add(1, Ordering::Relaxed);
        self.lanes.push(Box::pin(async move {
            let master = Arc::clone(way.master);
            let sealed = way.work.run(move || seal(&master, shipment, group, drawn, &rooms)).await;
            // Nobody closes it.
            let _stream = streams.acquire().await;
            sealing.fetch_sub(1, Ordering::Relaxed);
            let (acknowledged, bytes) = Acknowledged::of(sealed);
            way.send(&acknowledged.object, &bytes).await.map(|()| acknowledged)
        }));
    }
}

impl<S: Store, W> Way<'_, S, W> {
    /// Sends an object until it is acknowledged: again and again the same bytes.
    pub async fn send(&self, object: &ObjectRef, bytes: &Bytes) -> Result<(), ShipError> {
        let name = Name::of(object).to_string();
        let until = match object.kind {
            ObjectKind::Data | ObjectKind::Pages => self.locks.of(object.class),
            ObjectKind::Index | ObjectKind::Records => self.locks.longest(),
        };
        let mut settled: Result<Settled, StoreError>;
        let mut left = ATTEMPTS;
        loop {
            settled = settle(self.store, &name, bytes, until).await;
            left -= 1;
            match &settled {
                Err(error) if error.is_passing() && left > 0 => {}
                _ => break,
            }
        }
        match settled? {
            Settled::Ours => Ok(()),
            Settled::Theirs => Err(ShipError::Foreign { name }),
        }
    }
}
