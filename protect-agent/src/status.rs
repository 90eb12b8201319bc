//! What the agent tells about itself: shared by the parts that change it and the local socket.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

/// As `keelhold-agent status --json` prints it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    pub version: String,
    pub machine: String,
    pub server: String,
    pub connected: bool,
    /// Why the last connection ended or none could be made.
    pub last_error: Option<String>,
    pub running: BTreeMap<u64, Running>,
    /// The newest result of each source since the agent started.
    pub results: BTreeMap<String, JobResult>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    pub source: String,
    pub started_at: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobResult {
    /// `ok`, `partial` or `failed`.
    pub result: String,
    /// Seconds since 1970.
    pub ended_at: i64,
    pub files: u64,
    pub files_changed: u64,
    pub bytes_source: u64,
    pub bytes_read: u64,
    pub skipped: u64,
    pub error: Option<String>,
}

#[derive(Debug, Clone, Default)]
pub struct SharedStatus {
    status: Arc<Mutex<Status>>,
}

impl SharedStatus {
    #[must_use]
    pub fn new(machine: &str, server: &str) -> Self {
        let status = Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            machine: machine.to_owned(),
            server: server.to_owned(),
            ..Status::default()
        };
        Self { status: Arc::new(Mutex::new(status)) }
    }

    fn lock(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[must_use]
    pub fn snapshot(&self) -> Status {
        self.lock().clone()
    }

    pub fn connected(&self) {
        let mut status = self.lock();
        status.connected = true;
        status.last_error = None;
    }

    pub fn disconnected(&self, error: Option<String>) {
        let mut status = self.lock();
        status.connected = false;
        status.running.clear();
        status.last_error = error.or(status.last_error.take());
    }

    pub fn began(&self, job: u64, source: &str, started_at: i64) {
        let running = Running { source: source.to_owned(), started_at };
        self.lock().running.insert(job, running);
    }

    pub fn ended(&self, job: u64, result: Option<JobResult>) {
        let mut status = self.lock();
        let Some(running) = status.running.remove(&job) else {
            return;
        };
        if let Some(result) = result {
            status.results.insert(running.source, result);
        }
    }
}
