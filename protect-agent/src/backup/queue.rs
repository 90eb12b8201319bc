//! Work for a few threads: what is put in first is begun first.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

#[derive(Debug)]
pub(crate) struct Queue<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

#[derive(Debug)]
struct State<T> {
    waiting: VecDeque<T>,
    closed: bool,
}

impl<T: Send + 'static> Queue<T> {
    /// Starts `count` threads that call `work` for every item until the queue is closed. `work` is
    /// made once per thread by `make`, so that it may own what is costly to set up.
    pub(crate) fn start<W>(
        name: &str,
        count: usize,
        make: impl Fn() -> W,
    ) -> std::io::Result<Arc<Self>>
    where
        W: FnMut(T) + Send + 'static,
    {
        let state = State { waiting: VecDeque::new(), closed: false };
        let queue = Arc::new(Self { state: Mutex::new(state), changed: Condvar::new() });
        for _ in 0..count {
            let (ours, mut work) = (queue.clone(), make());
            let run = move || {
                while let Some(item) = ours.next() {
                    work(item);
                }
            };
            let started = std::thread::Builder::new().name(name.to_owned()).spawn(run);
            if let Err(error) = started {
                queue.close();
                return Err(error);
            }
        }
        Ok(queue)
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn push(&self, item: T) {
        self.state().waiting.push_back(item);
        self.changed.notify_one();
    }

    fn next(&self) -> Option<T> {
        let mut state = self.state();
        loop {
            if state.closed {
                return None;
            }
            if let Some(item) = state.waiting.pop_front() {
                return Some(item);
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Drops what waits; the threads end after what they are at.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        state.waiting.clear();
        drop(state);
        self.changed.notify_all();
    }
}
