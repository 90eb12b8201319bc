//! Who is ready to run: written by wakers on any thread, read by the executor.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Wake;

use super::{TaskId, Unpark};

pub(super) struct ReadyQueue {
    state: Mutex<State>,
    unparker: Arc<dyn Unpark>,
}

struct State {
    ready: VecDeque<TaskId>,
    /// The executor parks or is about to. Set under the lock that guards `ready`, so that either the
    /// executor sees the task or the waker sees the sleeper.
    asleep: bool,
}

impl ReadyQueue {
    pub(super) fn new(unparker: Arc<dyn Unpark>) -> Self {
        Self { state: Mutex::new(State { ready: VecDeque::new(), asleep: false }), unparker }
    }

    pub(super) fn push(&self, id: TaskId) {
        let mut state = self.lock();
        state.ready.push_back(id);
        let asleep = std::mem::take(&mut state.asleep);
        drop(state);
        if asleep {
            self.unparker.unpark();
        }
    }

    pub(super) fn drain_into(&self, runnable: &mut VecDeque<TaskId>) {
        runnable.append(&mut self.lock().ready);
    }

    /// Whether nobody is ready. If so, every later wake-up unparks until [`Self::awake`].
    pub(super) fn may_sleep(&self) -> bool {
        let mut state = self.lock();
        state.asleep = state.ready.is_empty();
        state.asleep
    }

    pub(super) fn awake(&self) {
        self.lock().asleep = false;
    }

    // Each statement under the lock leaves the queue whole, so poison means nothing.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const IDLE: u8 = 0;
const QUEUED: u8 = 1;
const RETIRED: u8 = 2;

/// Wakes one task. However often it is used between two polls, the task is queued once.
pub(super) struct TaskWaker {
    id: TaskId,
    state: AtomicU8,
    queue: Arc<ReadyQueue>,
}

impl TaskWaker {
    pub(super) fn new(id: TaskId, queue: Arc<ReadyQueue>) -> Self {
        Self { id, state: AtomicU8::new(IDLE), queue }
    }

    /// To be called before the task is polled: from here on a wake-up counts for the next poll.
    pub(super) fn clear(&self) {
        let _ = self.state.compare_exchange(QUEUED, IDLE, Ordering::AcqRel, Ordering::Acquire);
    }

    /// The task has ended; wake-ups that are still around mean nothing.
    pub(super) fn retire(&self) {
        self.state.store(RETIRED, Ordering::Release);
    }
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let first =
            self.state.compare_exchange(IDLE, QUEUED, Ordering::AcqRel, Ordering::Acquire).is_ok();
        if first {
            self.queue.push(self.id);
        }
    }
}
