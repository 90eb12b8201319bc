//! Work for the processor, done somewhere else.
//!
//! The engine's thread moves buffers and decides; hashing, compressing, sealing and verifying are
//! jobs it awaits. In production they run on worker threads that the daemon owns, in the simulator
//! in place. A job is given everything it needs and gives everything back.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Where jobs run. A handle: clones share the workers.
pub trait Work: Clone + 'static {
    /// Runs `job` and gives back what it made. Does nothing until polled; once polled, the job runs
    /// to its end even if the future is dropped.
    fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = T>;
}

/// Runs every job at once, on the caller's thread.
#[derive(Clone, Copy, Debug, Default)]
pub struct InPlace;

impl Work for InPlace {
    async fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        job()
    }
}

/// The two ends of one answer that crosses threads: what an implementation of [`Work`] with
/// threads is made of.
#[must_use]
pub fn answer<T: Send>() -> (Answer<T>, Awaited<T>) {
    let slot = Arc::new(Mutex::new(Slot { value: None, waker: None, lost: false }));
    (Answer { slot: Arc::clone(&slot) }, Awaited { slot })
}

struct Slot<T> {
    value: Option<T>,
    waker: Option<Waker>,
    lost: bool,
}

// A slot is whole between any two statements under the lock, so poison means nothing.
fn lock<T>(slot: &Mutex<Slot<T>>) -> MutexGuard<'_, Slot<T>> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The side that gives the answer, on any thread.
pub struct Answer<T> {
    slot: Arc<Mutex<Slot<T>>>,
}

impl<T> Answer<T> {
    /// Delivers the value and wakes whoever awaits it.
    pub fn give(self, value: T) {
        lock(&self.slot).value = Some(value);
        // Dropping `self` wakes.
    }
}

impl<T> Drop for Answer<T> {
    fn drop(&mut self) {
        let mut slot = lock(&self.slot);
        slot.lost = slot.value.is_none();
        let waker = slot.waker.take();
        drop(slot);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// The side that awaits the answer.
pub struct Awaited<T> {
    slot: Arc<Mutex<Slot<T>>>,
}

/// The other side went away without an answer: its job panicked or its workers were stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the work was dropped before it was done")]
pub struct Lost;

impl<T> Future for Awaited<T> {
    type Output = Result<T, Lost>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut slot = lock(&self.slot);
        if let Some(value) = slot.value.take() {
            return Poll::Ready(Ok(value));
        }
        if slot.lost {
            return Poll::Ready(Err(Lost));
        }
        slot.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl<T> fmt::Debug for Answer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Answer")
    }
}

impl<T> fmt::Debug for Awaited<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Awaited")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poll<T>(awaited: &mut Awaited<T>) -> Poll<Result<T, Lost>> {
        Pin::new(awaited).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn an_answer_arrives_once_and_a_lost_one_is_told() {
        let (give, mut awaited) = answer();
        assert!(poll(&mut awaited).is_pending());
        give.give(5);
        assert_eq!(poll(&mut awaited), Poll::Ready(Ok(5)));

        let (give, mut awaited) = answer::<u8>();
        drop(give);
        assert_eq!(poll(&mut awaited), Poll::Ready(Err(Lost)));
    }
}
