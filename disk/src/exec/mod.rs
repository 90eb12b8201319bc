//! The executor the engine runs on: one thread, tasks that need not be `Send`, and a [`Driver`] that
//! stands for everything outside.
//!
//! Contract:
//!
//! - A task is polled only after it was woken; wake-ups may come from any thread.
//! - Between two polls of tasks at most a fixed number of them run before the driver looks for
//!   completions, so that one busy task cannot starve the disks.
//! - When nothing is ready the driver parks. A wake-up that comes between the last look and the park
//!   makes the park return at once.
//! - The order in which ready tasks run is a policy: first come first served in production, a seeded
//!   choice in the simulator.
//! - A panic of a task goes through [`Executor::run_until`] to its caller.

mod eventfd;
mod queue;
mod spawn;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};

use std::collections::{BTreeMap, VecDeque};

pub use eventfd::{Bell, BellDriver};
use queue::{ReadyQueue, TaskWaker};
pub use spawn::{JoinHandle, Spawner};

/// Tasks polled between two looks at the driver.
const POLLS_PER_TURN: usize = 64;

/// Everything a task may wait for that is not another task.
pub trait Driver {
    /// Hands over what was asked for, collects what has ended and wakes those who wait for it.
    /// Never blocks.
    fn poll_io(&mut self);

    /// Blocks until an operation ends or somebody unparks. May return early for no reason.
    fn park(&mut self);

    /// What ends a park from another thread. If nobody is parked, the next park ends at once.
    fn unparker(&self) -> Arc<dyn Unpark>;
}

pub trait Unpark: Send + Sync {
    fn unpark(&self);
}

/// Which of the ready tasks runs next.
pub trait TaskOrder {
    /// An index below `ready`, which is at least one. Index zero is who waits longest.
    fn choose(&mut self, ready: usize) -> usize;

    /// How many tasks run before the driver looks for completions; at least one.
    fn polls_per_turn(&mut self) -> usize {
        POLLS_PER_TURN
    }
}

/// First come, first served.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fifo;

impl TaskOrder for Fifo {
    fn choose(&mut self, _ready: usize) -> usize {
        0
    }
}

type TaskId = u64;
type Task = Pin<Box<dyn Future<Output = ()>>>;

/// The future given to `run_until` counts as a task of this id.
const MAIN: TaskId = 0;

struct Tasks {
    /// Absent while it is polled, and after it has ended.
    waiting: RefCell<BTreeMap<TaskId, (Task, Arc<TaskWaker>)>>,
    next_id: Cell<TaskId>,
    ready: Arc<ReadyQueue>,
}

pub struct Executor<D> {
    driver: D,
    order: Box<dyn TaskOrder>,
    tasks: Rc<Tasks>,
    /// Taken from the shared queue, not run yet.
    runnable: VecDeque<TaskId>,
}

impl<D: Driver> Executor<D> {
    pub fn new(driver: D, order: impl TaskOrder + 'static) -> Self {
        let ready = Arc::new(ReadyQueue::new(driver.unparker()));
        let tasks = Tasks { waiting: RefCell::default(), next_id: Cell::new(MAIN + 1), ready };
        Self { driver, order: Box::new(order), tasks: Rc::new(tasks), runnable: VecDeque::new() }
    }

    /// A handle that starts tasks, for the tasks themselves.
    #[must_use]
    pub fn spawner(&self) -> Spawner {
        Spawner::new(Rc::clone(&self.tasks))
    }

    pub fn driver(&mut self) -> &mut D {
        &mut self.driver
    }

    /// Runs all tasks until `future` is ready. Tasks that are not ready by then stay, and go on with
    /// the next call.
    pub fn run_until<F: Future>(&mut self, future: F) -> F::Output {
        let mut future = pin!(future);
        let main_waker = Arc::new(TaskWaker::new(MAIN, Arc::clone(&self.tasks.ready)));
        let waker = Waker::from(Arc::clone(&main_waker));
        waker.wake_by_ref();
        loop {
            for _ in 0..self.order.polls_per_turn() {
                let Some(id) = self.next_task() else { break };
                if id == MAIN {
                    main_waker.clear();
                    let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
                    if let std::task::Poll::Ready(output) = polled {
                        self.runnable.retain(|id| *id != MAIN);
                        main_waker.retire();
                        return output;
                    }
                } else {
                    self.poll_task(id);
                }
            }
            self.driver.poll_io();
            if self.runnable.is_empty() && self.tasks.ready.may_sleep() {
                self.driver.park();
                self.tasks.ready.awake();
            }
        }
    }

    fn next_task(&mut self) -> Option<TaskId> {
        self.tasks.ready.drain_into(&mut self.runnable);
        if self.runnable.is_empty() {
            return None;
        }
        let chosen = self.order.choose(self.runnable.len());
        self.runnable.remove(chosen)
    }

    fn poll_task(&mut self, id: TaskId) {
        // Out of the table while it runs, so that it may start other tasks.
        let Some((mut task, task_waker)) = self.tasks.waiting.borrow_mut().remove(&id) else {
            return;
        };
        task_waker.clear();
        let waker = Waker::from(Arc::clone(&task_waker));
        if task.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
            self.tasks.waiting.borrow_mut().insert(id, (task, task_waker));
        } else {
            task_waker.retire();
        }
    }
}

impl<D> Drop for Executor<D> {
    fn drop(&mut self) {
        // Tasks may hold a spawner, which holds the tasks: the circle is cut here. The table is not
        // borrowed while they drop, because a future may start or wake others as it goes.
        loop {
            let tasks = std::mem::take(&mut *self.tasks.waiting.borrow_mut());
            if tasks.is_empty() {
                break;
            }
        }
    }
}

impl<D> fmt::Debug for Executor<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Executor({} tasks)", self.tasks.waiting.borrow().len())
    }
}

#[cfg(test)]
mod tests;
