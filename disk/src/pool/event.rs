//! Waiting, inside one thread, for something another task does.

use std::cell::RefCell;
use std::fmt;
use std::future::poll_fn;
use std::task::{Poll, Waker};

/// Wakes every waiter; each looks for itself whether what it waits for has come.
#[derive(Default)]
pub(super) struct Event {
    waiting: RefCell<Vec<Waker>>,
}

impl Event {
    pub(super) fn notify(&self) {
        for waker in self.waiting.take() {
            waker.wake();
        }
    }

    /// Waits until `condition` gives something. It is asked at once and after every [`notify`].
    ///
    /// [`notify`]: Self::notify
    pub(super) async fn until<T>(&self, mut condition: impl FnMut() -> Option<T>) -> T {
        poll_fn(|context| match condition() {
            Some(value) => Poll::Ready(value),
            None => {
                self.waiting.borrow_mut().push(context.waker().clone());
                Poll::Pending
            }
        })
        .await
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Event({} waiting)", self.waiting.borrow().len())
    }
}
