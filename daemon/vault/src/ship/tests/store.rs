//! One store for all these tests, as every type of store compiles the whole shipment anew: it is killed,
//! fails, loses answers, lets others go first, and weighs what is on its way.

use std::future::{pending, poll_fn};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::Poll;

use bytes::Bytes;

use crate::store::{
    Created, DirectoryStore, Listing, MemoryStore, Store, StoreError, StoreFault, Until,
};
use crate::testing::world::World;

enum Inner<'a> {
    Memory(&'a MemoryStore),
    Directory(&'a DirectoryStore),
    World(&'a World),
}

/// What becomes of requests.
pub(crate) enum Plan {
    Done,
    /// The process ends with this request, before or after it took effect.
    Killed {
        at: u64,
        is_after: bool,
    },
    /// So many requests fail from this one on.
    Fails {
        at: u64,
        count: u64,
        fault: StoreFault,
        is_after: bool,
    },
}

/// How often a request lets others go first.
pub(crate) enum Turns {
    None,
    Random(AtomicU64),
    Some(u64),
}

pub(crate) struct TestStore<'a> {
    inner: Inner<'a>,
    plan: Plan,
    turns: Turns,
    pub requests: AtomicU64,
    /// Bodies of data and pages that were sent, whatever became of them.
    pub sent: AtomicU64,
    /// Bodies on their way, and what else is held; the most of both together.
    on_way: AtomicUsize,
    held: Arc<AtomicU64>,
    pub most: AtomicUsize,
}

/// Stores that these tests ship to.
pub(crate) trait Kept: Store + Sized {
    fn kept(&self) -> TestStore<'_>;
}

impl Kept for MemoryStore {
    fn kept(&self) -> TestStore<'_> {
        TestStore::new(Inner::Memory(self))
    }
}

impl Kept for DirectoryStore {
    fn kept(&self) -> TestStore<'_> {
        TestStore::new(Inner::Directory(self))
    }
}

impl Kept for World {
    fn kept(&self) -> TestStore<'_> {
        TestStore::new(Inner::World(self))
    }
}

impl<'a> TestStore<'a> {
    fn new(inner: Inner<'a>) -> Self {
        Self {
            inner,
            plan: Plan::Done,
            turns: Turns::None,
            requests: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            on_way: AtomicUsize::new(0),
            held: Arc::default(),
            most: AtomicUsize::new(0),
        }
    }

    pub fn with(self, plan: Plan, turns: Turns) -> Self {
        Self { plan, turns, ..self }
    }

    pub fn killed(self, at: u64, is_after: bool) -> Self {
        self.with(Plan::Killed { at, is_after }, Turns::None)
    }

    pub fn weighing(self, held: &Arc<AtomicU64>) -> Self {
        Self { held: Arc::clone(held), turns: Turns::Some(20), ..self }
    }

    async fn turn(&self) {
        let turns = match &self.turns {
            Turns::None => 0,
            Turns::Some(turns) => *turns,
            Turns::Random(state) => {
                let last = state.load(Ordering::Relaxed);
                let next = last.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                state.store(next, Ordering::Relaxed);
                next >> 60
            }
        };
        for _ in 0..turns {
            let held = self.held.load(Ordering::Relaxed) as usize;
            self.most.fetch_max(self.on_way.load(Ordering::Relaxed) + held, Ordering::Relaxed);
            let mut is_first = true;
            poll_fn(|context| {
                context.waker().wake_by_ref();
                if std::mem::take(&mut is_first) { Poll::Pending } else { Poll::Ready(()) }
            })
            .await;
        }
    }

    async fn pass<T>(
        &self,
        name: &str,
        work: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        let request = self.requests.fetch_add(1, Ordering::Relaxed);
        self.turn().await;
        match &self.plan {
            Plan::Killed { at, is_after } if request >= *at => {
                if request == *at && *is_after {
                    work.await?;
                }
                pending().await
            }
            Plan::Fails { at, count, fault, is_after } if (*at..at + count).contains(&request) => {
                if *is_after {
                    work.await?;
                }
                Err(StoreError::new(name, fault.clone()))
            }
            _ => work.await,
        }
    }
}

macro_rules! inner {
    ($self:ident, $call:ident($($argument:expr),*)) => {
        async {
            match $self.inner {
                Inner::Memory(store) => store.$call($($argument),*).await,
                Inner::Directory(store) => store.$call($($argument),*).await,
                Inner::World(store) => store.$call($($argument),*).await,
            }
        }
    };
}

impl Store for TestStore<'_> {
    async fn create(
        &self,
        name: &str,
        bytes: Bytes,
        until: Option<Until>,
    ) -> Result<Created, StoreError> {
        let len = bytes.len();
        let is_alive = match &self.plan {
            Plan::Killed { at, .. } => self.requests.load(Ordering::Relaxed) <= *at,
            _ => true,
        };
        if is_alive && (name.starts_with("d/") || name.starts_with("p/")) {
            self.sent.fetch_add(len as u64, Ordering::Relaxed);
        }
        self.on_way.fetch_add(len, Ordering::Relaxed);
        let created = self.pass(name, inner!(self, create(name, bytes.clone(), until))).await;
        self.on_way.fetch_sub(len, Ordering::Relaxed);
        created
    }

    async fn read(&self, name: &str, range: std::ops::Range<u64>) -> Result<Bytes, StoreError> {
        self.pass(name, inner!(self, read(name, range.clone()))).await
    }

    async fn head(&self, name: &str) -> Result<Option<u64>, StoreError> {
        self.pass(name, inner!(self, head(name))).await
    }

    async fn list(&self, folder: &str, after: &str, limit: usize) -> Result<Listing, StoreError> {
        self.pass(folder, inner!(self, list(folder, after, limit))).await
    }

    async fn locked_until(&self, name: &str) -> Result<Option<Until>, StoreError> {
        self.pass(name, inner!(self, locked_until(name))).await
    }

    async fn extend(&self, name: &str, until: Until) -> Result<(), StoreError> {
        self.pass(name, inner!(self, extend(name, until))).await
    }

    async fn delete(&self, name: &str) -> Result<(), StoreError> {
        self.pass(name, inner!(self, delete(name))).await
    }
}
