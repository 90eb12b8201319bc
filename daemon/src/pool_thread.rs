//! The thread that owns the pool, and the handle through which everybody else asks it.
//!
//! The pool is single-threaded: it and every future it makes live and die on one thread, which runs
//! the engine's own executor. Callers on any thread send a closure over a bounded channel; it becomes
//! a task there, and what it makes comes back. A caller that goes away does not stop its task, so
//! no operation of the pool is cut off halfway. A panic on this thread ends the process: the pool is
//! made to be opened again after that, and not to go on with half a thought.

use crate::clock::{SharedClock, Witness};
use crate::pool_work::ThreadWork;
use futures_util::future::LocalBoxFuture;
use keelhold_disk::device::backend::AnyDevice;
use keelhold_disk::device::probe::OpenedDisk;
use keelhold_disk::exec::Spawner;
use keelhold_disk::units::UnixNanos;
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

pub type LivePool = keelhold_disk::Pool<AnyDevice<ThreadWork>, ThreadWork>;

/// Makes a device of the pool's thread out of an opened disk.
pub type Attach = Rc<dyn Fn(OpenedDisk) -> AnyDevice<ThreadWork>>;

type Task = Box<dyn FnOnce(LivePool, &Attach) -> LocalBoxFuture<'static, ()> + Send>;

/// Requests on their way to the pool before callers are held back.
const QUEUE_LEN: usize = 256;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the pool has been closed")]
pub struct PoolClosed;

/// Asks the pool. Clones ask the same one.
#[derive(Debug, Clone)]
pub struct PoolHandle {
    tasks: mpsc::Sender<Task>,
    pub time: Arc<Witness>,
}

impl PoolHandle {
    /// Runs `job` on the pool's thread and gives back what it made.
    pub async fn call<T, F, Fut>(&self, job: F) -> Result<T, PoolClosed>
    where
        F: FnOnce(LivePool) -> Fut + Send + 'static,
        Fut: Future<Output = T> + 'static,
        T: Send + 'static,
    {
        self.call_attaching(|pool, _| job(pool)).await
    }

    /// As [`call`](Self::call), for a job that brings a disk.
    pub async fn call_attaching<T, F, Fut>(&self, job: F) -> Result<T, PoolClosed>
    where
        F: FnOnce(LivePool, Attach) -> Fut + Send + 'static,
        Fut: Future<Output = T> + 'static,
        T: Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let task: Task = Box::new(move |pool, attach| {
            let attach = Rc::clone(attach);
            Box::pin(async move {
                // Nobody waiting any more is no reason to stop.
                let _ = answer.send(job(pool, attach).await);
            })
        });
        self.tasks.send(task).await.map_err(|_| PoolClosed)?;
        answered.await.map_err(|_| PoolClosed)
    }

    /// What the pool is told as the time.
    #[must_use]
    pub fn now(&self) -> UnixNanos {
        self.time.now()
    }

    /// A handle and the queue it fills, for the thread that will own the pool.
    #[must_use]
    pub fn channel(clock: SharedClock) -> (Self, TaskQueue) {
        let (tasks, queue) = mpsc::channel(QUEUE_LEN);
        let time = Arc::new(Witness::new(clock));
        (Self { tasks, time: Arc::clone(&time) }, TaskQueue { queue, time })
    }
}

/// The pool thread's end.
#[derive(Debug)]
pub struct TaskQueue {
    queue: mpsc::Receiver<Task>,
    pub time: Arc<Witness>,
}

impl TaskQueue {
    /// Starts every task that is asked for, until no handle is left.
    pub async fn serve(mut self, pool: &LivePool, attach: &Attach, spawner: &Spawner) {
        while let Some(task) = self.queue.recv().await {
            drop(spawner.spawn(task(pool.clone(), attach)));
        }
    }
}
