//! Pages in memory, deduplicated, proved and counted.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use keelhold_chunk::{ChunkId, IdKey};
use thiserror::Error;

use crate::tree::{PageKind, PageRef, PageStore};
use crate::units::ChunkNumber;

pub const TEST_KEY: [u8; 32] = [0x5a; 32];
/// Pages are numbered from here, so that a test can tell them from the data it made up.
pub const FIRST_PAGE: u64 = 1 << 36;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum StoreFault {
    #[error("no such page")]
    Unknown,
    #[error("the page is another than the digest says")]
    Digest,
}

#[derive(Debug)]
pub struct MemoryStore {
    key: IdKey,
    pages: RefCell<BTreeMap<u64, (Bytes, ChunkId)>>,
    numbers: RefCell<BTreeMap<ChunkId, u64>>,
    pub reads: Cell<u64>,
    pub puts: Cell<u64>,
    /// Puts that stored something.
    pub stored: Cell<u64>,
    pub stored_len: Cell<u64>,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self {
            key: IdKey::new(TEST_KEY),
            pages: RefCell::default(),
            numbers: RefCell::default(),
            reads: Cell::new(0),
            puts: Cell::new(0),
            stored: Cell::new(0),
            stored_len: Cell::new(0),
        }
    }
}

impl MemoryStore {
    pub fn reset_counts(&self) {
        for count in [&self.reads, &self.puts, &self.stored, &self.stored_len] {
            count.set(0);
        }
    }

    pub fn numbers(&self) -> Vec<u64> {
        self.pages.borrow().keys().copied().collect()
    }

    pub fn page(&self, number: u64) -> Bytes {
        self.pages.borrow()[&number].0.clone()
    }

    /// Puts other bytes in the place of a page, with a digest that fits them: what only a fault of
    /// our own can do. `edit` says whether it changed anything.
    pub fn forge(&self, number: u64, edit: impl FnOnce(&mut Vec<u8>)) -> Bytes {
        let mut pages = self.pages.borrow_mut();
        let page = pages.get_mut(&number).unwrap();
        let before = page.0.clone();
        let mut bytes = before.to_vec();
        edit(&mut bytes);
        page.0 = bytes.into();
        before
    }

    pub fn restore(&self, number: u64, bytes: Bytes) {
        self.pages.borrow_mut().get_mut(&number).unwrap().0 = bytes;
    }
}

impl PageStore for MemoryStore {
    type Error = StoreFault;

    async fn get(&self, page: PageRef, _kind: PageKind) -> Result<Bytes, StoreFault> {
        self.reads.set(self.reads.get() + 1);
        let pages = self.pages.borrow();
        let (bytes, id) = pages.get(&page.number.0).ok_or(StoreFault::Unknown)?;
        match self.key.span_digest([id]) == page.digest {
            true => Ok(bytes.clone()),
            false => Err(StoreFault::Digest),
        }
    }

    async fn put(&self, _kind: PageKind, bytes: Vec<u8>) -> Result<PageRef, StoreFault> {
        self.puts.set(self.puts.get() + 1);
        let id = self.key.id(&bytes);
        let mut numbers = self.numbers.borrow_mut();
        let next = FIRST_PAGE + numbers.len() as u64;
        let number = *numbers.entry(id).or_insert_with(|| {
            self.stored.set(self.stored.get() + 1);
            self.stored_len.set(self.stored_len.get() + bytes.len() as u64);
            self.pages.borrow_mut().insert(next, (bytes.into(), id));
            next
        });
        Ok(PageRef { number: ChunkNumber(number), digest: self.key.span_digest([&id]) })
    }
}

/// Runs a future that never has to wait.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..1_000 {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
    }
    panic!("the future waits for something that is not there");
}
