//! Worker threads for what the pool does with payload bytes: hash, compress, decode, verify.

use keelhold_disk::work::{Work, answer};
use std::fmt;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

type Job = Box<dyn FnOnce() + Send>;

/// Jobs waiting for a worker. The pool bounds what it has in flight by bytes; this only bounds what
/// a mistake there could pile up.
const QUEUE_LEN: usize = 4096;

/// Handle to the workers; they end when the last handle goes.
#[derive(Clone)]
pub struct ThreadWork {
    jobs: SyncSender<Job>,
}

impl ThreadWork {
    /// Starts `count` threads.
    pub fn start(count: usize) -> std::io::Result<Self> {
        let (jobs, queue) = sync_channel::<Job>(QUEUE_LEN);
        let queue = Arc::new(Mutex::new(queue));
        for number in 0..count {
            let queue = Arc::clone(&queue);
            std::thread::Builder::new().name(format!("pool-work-{number}")).spawn(move || {
                while let Some(job) = next_job(&queue) {
                    job()
                }
            })?;
        }
        Ok(Self { jobs })
    }
}

fn next_job(queue: &Mutex<Receiver<Job>>) -> Option<Job> {
    queue.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
}

impl Work for ThreadWork {
    async fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (give, awaited) = answer();
        let sent = self.jobs.send(Box::new(move || give.give(job())));
        assert!(sent.is_ok(), "workers live as long as their handles");
        // A job that panicked took its worker with it; the pool's thread must not go on without it.
        awaited.await.expect("a job gives its answer")
    }
}

impl fmt::Debug for ThreadWork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ThreadWork")
    }
}
