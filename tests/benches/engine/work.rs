//! Two worker threads for the pool, and what the process has used so far.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use keelhold_disk::work::{Work, answer};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;

type Job = Box<dyn FnOnce() + Send>;

/// More than the pool ever has waiting.
const QUEUE_LEN: usize = 4096;

/// Handle to the workers; they end when the last handle goes.
#[derive(Clone)]
pub struct ThreadWork {
    jobs: SyncSender<Job>,
}

impl ThreadWork {
    pub fn start(count: usize) -> Self {
        let (jobs, queue) = sync_channel::<Job>(QUEUE_LEN);
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..count {
            let queue = Arc::clone(&queue);
            std::thread::spawn(move || {
                while let Some(job) = next_job(&queue) {
                    job();
                }
            });
        }
        Self { jobs }
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
        awaited.await.expect("a job gives its answer")
    }
}

/// What a step took.
#[derive(Debug, Clone, Copy)]
pub struct Took {
    pub wall: Duration,
    /// Processor time of this process, the kernel's part of it included.
    pub cpu: Duration,
}

pub struct Watch {
    began: Instant,
    cpu: Duration,
}

impl Watch {
    pub fn start() -> Self {
        Self { cpu: cpu_used(), began: Instant::now() }
    }

    pub fn stop(self) -> Took {
        Took { wall: self.began.elapsed(), cpu: cpu_used() - self.cpu }
    }
}

fn cpu_used() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("a process may ask about itself");
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Duration::from_micros(micros.unsigned_abs())
}
