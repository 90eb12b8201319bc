//! Work for the processor, done somewhere else: sealing and hashing are jobs that are awaited.

use std::future::Future;

/// Where jobs run. In the daemon on threads for blocking work, in tests in place.
pub trait Work: Send + Sync {
    /// Runs `job` and gives back what it made.
    fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = T> + Send;
}

/// Runs every job at once, on the caller's thread.
#[derive(Clone, Copy, Debug, Default)]
pub struct InPlace;

impl Work for InPlace {
    async fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        job()
    }
}
