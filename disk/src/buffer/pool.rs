//! A hard limit on the memory of buffers, and reuse of it.
//!
//! Whether a buffer can be had depends on the sum of what is out alone: if the free part of the
//! region is in pieces too small, the buffer is made outside of it for once. Waiters are served in
//! the order they came, so that a stream of small requests cannot starve a large one.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use super::holes::Holes;
use super::{AlignedBuf, Memory, Piece, Region};
use crate::units::BLOCK;

/// Handle of a pool of buffers; clones share it.
#[derive(Clone)]
pub struct BufferPool {
    shared: Arc<Mutex<State>>,
}

struct State {
    limit: usize,
    /// Bytes given out.
    out: usize,
    /// If absent, every buffer is made for itself.
    region: Option<Arc<Region>>,
    holes: Holes,
    waiters: VecDeque<(u64, Option<Waker>)>,
    next_ticket: u64,
}

impl BufferPool {
    /// A pool whose memory is one region of huge pages, taken from the system as it is used and
    /// kept.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        let limit = limit - limit % BLOCK;
        Self::over(limit, Region::map(limit).ok().map(Arc::new))
    }

    /// A pool that makes every buffer for itself: for the many short lives of a simulation, where
    /// clearing a huge page for a few blocks would cost more than it saves.
    #[must_use]
    pub fn on_heap(limit: usize) -> Self {
        Self::over(limit - limit % BLOCK, None)
    }

    /// Another pool of the same making with a limit of its own.
    #[must_use]
    pub fn alike(&self, limit: usize) -> Self {
        if self.lock().region.is_some() { Self::new(limit) } else { Self::on_heap(limit) }
    }

    fn over(limit: usize, region: Option<Arc<Region>>) -> Self {
        let state = State {
            limit,
            out: 0,
            holes: Holes::new(if region.is_some() { limit } else { 0 }),
            region,
            waiters: VecDeque::new(),
            next_ticket: 0,
        };
        Self { shared: Arc::new(Mutex::new(state)) }
    }

    /// A buffer of `len` bytes, as soon as the limit allows it.
    ///
    /// # Panics
    /// If `len` alone is over the limit: it could never be given. Callers check lengths that came
    /// from a disk before they ask.
    pub fn take(&self, len: usize) -> Take {
        assert!(len <= self.limit(), "{len} is more than the pool may ever hold");
        Take { pool: self.clone(), len, ticket: None }
    }

    /// A buffer now, or nothing: also nothing while others wait.
    ///
    /// # Panics
    /// If `len` is not a multiple of [`BLOCK`].
    #[must_use]
    pub fn try_take(&self, len: usize) -> Option<AlignedBuf> {
        assert!(len.is_multiple_of(BLOCK), "{len} is not a whole number of blocks");
        let mut state = self.lock();
        if !state.waiters.is_empty() {
            return None;
        }
        let memory = state.memory(len)?;
        drop(state);
        Some(AlignedBuf { memory, len, home: Some(self.clone()) })
    }

    #[must_use]
    pub fn limit(&self) -> usize {
        self.lock().limit
    }

    /// Bytes given out at this moment.
    #[must_use]
    pub fn out_len(&self) -> usize {
        self.lock().out
    }

    pub(super) fn give_back(&self, len: usize, range: Option<Range<usize>>) {
        let mut state = self.lock();
        state.out -= len;
        if let Some(range) = range.filter(|range| !range.is_empty()) {
            state.holes.give_back(range);
        }
        let waker = state.first_waker();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    // A panic under this lock leaves only counts and lists that are whole, so poison means nothing.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn memory(&mut self, len: usize) -> Option<Memory> {
        if self.out + len > self.limit {
            return None;
        }
        self.out += len;
        let hole = self.region.as_ref().filter(|_| len > 0).and_then(|region| {
            let range = self.holes.take(len)?;
            Some(Memory::Lent(Piece::new(region, range)))
        });
        Some(hole.unwrap_or_else(|| Memory::own(len)))
    }

    fn first_waker(&mut self) -> Option<Waker> {
        self.waiters.front_mut().and_then(|(_, waker)| waker.take())
    }
}

impl fmt::Debug for BufferPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        write!(f, "BufferPool({} of {} out)", state.out, state.limit)
    }
}

/// A place in the queue for a buffer. Dropping it leaves the queue.
#[derive(Debug)]
pub struct Take {
    pool: BufferPool,
    len: usize,
    ticket: Option<u64>,
}

impl Future for Take {
    type Output = AlignedBuf;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<AlignedBuf> {
        let pool = self.pool.clone();
        let mut state = pool.lock();
        let ticket = *self.ticket.get_or_insert_with(|| {
            let ticket = state.next_ticket;
            state.next_ticket += 1;
            state.waiters.push_back((ticket, None));
            ticket
        });
        let first = state.waiters.front().is_some_and(|(front, _)| *front == ticket);
        if first && let Some(memory) = state.memory(self.len) {
            // What is left of the room may do for the next in line.
            state.waiters.pop_front();
            let next = state.first_waker();
            drop(state);
            self.ticket = None;
            if let Some(next) = next {
                next.wake();
            }
            return Poll::Ready(AlignedBuf { memory, len: self.len, home: Some(pool) });
        }
        if let Some((_, waker)) = state.waiters.iter_mut().find(|(other, _)| *other == ticket) {
            *waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl Drop for Take {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket else { return };
        let mut state = self.pool.lock();
        state.waiters.retain(|(other, _)| *other != ticket);
        let next = state.first_waker();
        drop(state);
        if let Some(next) = next {
            next.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn poll_once(take: &mut Take) -> Poll<AlignedBuf> {
        Pin::new(take).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn holds_the_limit_and_reuses() {
        let pool = BufferPool::new(4 * BLOCK);
        let mut first = pool.try_take(3 * BLOCK).unwrap();
        first[0] = 9;
        assert!(pool.try_take(2 * BLOCK).is_none());
        assert!(pool.try_take(BLOCK).is_some());
        drop(first);
        assert_eq!(pool.try_take(3 * BLOCK).unwrap()[0], 9, "the same memory again");
        assert_eq!(pool.out_len(), 0);
    }

    #[test]
    fn the_limit_counts_bytes_and_not_holes() {
        let pool = BufferPool::new(4 * BLOCK);
        let mut bufs: Vec<_> = (0..4).map(|_| pool.try_take(BLOCK).unwrap()).collect();
        drop((bufs.remove(2), bufs.remove(0)));
        let apart = pool.try_take(2 * BLOCK).unwrap();
        assert!(matches!(apart.memory, Memory::Own(_)), "two holes of one block each");
        assert_eq!(pool.out_len(), 4 * BLOCK);
        assert!(pool.try_take(BLOCK).is_none());
        drop((apart, bufs));
        let whole = pool.try_take(4 * BLOCK).unwrap();
        assert!(matches!(whole.memory, Memory::Lent(_)), "whole again");
    }

    #[test]
    fn on_the_heap_the_limit_is_the_same() {
        let pool = BufferPool::on_heap(2 * BLOCK);
        let first = pool.try_take(2 * BLOCK).unwrap();
        assert!(matches!(first.memory, Memory::Own(_)));
        assert!(pool.try_take(BLOCK).is_none());
        drop(first);
        assert!(pool.try_take(BLOCK).is_some());
        assert_eq!(pool.out_len(), 0);
    }

    #[test]
    fn a_large_request_is_not_overtaken() {
        let pool = BufferPool::new(2 * BLOCK);
        let held = pool.try_take(BLOCK).unwrap();
        let mut large = pool.take(2 * BLOCK);
        let mut small = pool.take(BLOCK);
        assert!(poll_once(&mut large).is_pending());
        assert!(poll_once(&mut small).is_pending(), "it came later");
        assert!(pool.try_take(BLOCK).is_none());
        drop(held);
        let Poll::Ready(buf) = poll_once(&mut large) else { panic!("room for the first") };
        assert!(poll_once(&mut small).is_pending());
        drop(buf);
        assert!(poll_once(&mut small).is_ready());
    }

    #[test]
    fn whoever_gives_up_leaves_the_queue() {
        let pool = BufferPool::new(BLOCK);
        let held = pool.try_take(BLOCK).unwrap();
        let mut first = pool.take(BLOCK);
        let mut second = pool.take(BLOCK);
        assert!(poll_once(&mut first).is_pending() && poll_once(&mut second).is_pending());
        drop(held);
        drop(first);
        assert!(poll_once(&mut second).is_ready());
    }
}
