//! Objects on their way, several at a time, while the next one is put together.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::error::ShipError;
use super::types::{Locks, Pace};
use crate::format::{FramePlace, Name, ObjectChunk, ObjectKind, ObjectRef};
use crate::keys::MasterKey;
use crate::pack::{Drawn, Group, Sealed, seal};
use crate::store::{Settled, Store, StoreError, settle};
use crate::units::ManifestNumber;
use crate::work::Work;

/// How often a creation whose answer was lost is repeated, with the same bytes.
const ATTEMPTS: usize = 3;

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

#[derive(Default)]
pub(super) struct Lanes<'a> {
    lanes: FuturesUnordered<Lane<'a>>,
    acknowledged: Vec<Acknowledged>,
    failed: Option<ShipError>,
    /// Somebody is sealing: for that moment an object is in memory twice.
    sealing: Arc<AtomicBool>,
}

/// What every object on its way needs.
#[derive(Debug)]
pub(super) struct Way<'a, S, P, W> {
    pub store: &'a S,
    pub pace: &'a P,
    pub work: &'a W,
    pub locks: &'a Locks,
    pub master: &'a Arc<MasterKey>,
}

impl<S, P, W> Clone for Way<'_, S, P, W> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S, P, W> Copy for Way<'_, S, P, W> {}

impl<'a> Lanes<'a> {
    /// Lets objects go on, and notes those that have arrived.
    fn go_on(&mut self, context: &mut Context<'_>) {
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

    /// Waits until fewer than so many are on their way and none is being sealed. After a failure: until
    /// all have ended, so that what can arrive does.
    pub async fn below(&mut self, count: usize) -> Result<(), ShipError> {
        poll_fn(|context| {
            self.go_on(context);
            let limit = if self.failed.is_some() { 1 } else { count };
            let is_sealing = self.sealing.load(Ordering::Relaxed) && !self.lanes.is_empty();
            if self.lanes.len() >= limit || is_sealing {
                return Poll::Pending;
            }
            Poll::Ready(self.failed.clone().map_or(Ok(()), Err))
        })
        .await
    }

    /// Objects that arrived since the last question.
    pub fn arrived(&mut self) -> Vec<Acknowledged> {
        std::mem::take(&mut self.acknowledged)
    }

    /// Seals a group and sends it. To be called when there is room.
    pub fn start<S: Store, P: Pace, W: Work>(
        &mut self,
        way: Way<'a, S, P, W>,
        shipment: ManifestNumber,
        group: Group,
        drawn: Drawn,
    ) {
        let sealing = Arc::clone(&self.sealing);
        sealing.store(true, Ordering::Relaxed);
        self.lanes.push(Box::pin(async move {
            let master = Arc::clone(way.master);
            let sealed = way.work.run(move || seal(&master, shipment, group, drawn)).await;
            sealing.store(false, Ordering::Relaxed);
            let (acknowledged, bytes) = Acknowledged::of(sealed);
            way.send(&acknowledged.object, &bytes).await.map(|()| acknowledged)
        }));
    }
}

impl<S: Store, P: Pace, W> Way<'_, S, P, W> {
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
            self.pace.take(bytes.len() as u64).await;
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
