//! A post script that must run because its pre script was begun.
//!
//! The debt is written down before pre begins and crossed out after post has ended. Whoever drops it
//! unpaid pays it on a thread; an agent that was killed pays at its next start.

use std::os::unix::ffi::OsStrExt;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{Held, Pair, Ran, Script, Scripts};
use crate::notes::{Notes, fresh_name};

/// Post scripts that run on threads of their own: the process waits for them before it ends.
static RUNNING: (Mutex<usize>, Condvar) = (Mutex::new(0), Condvar::new());

/// As it is written down.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Debt {
    post: Vec<u8>,
    seconds: u64,
    source: String,
    job: u64,
}

/// What is to be done around one backup.
#[derive(Debug)]
pub struct Owed {
    notes: Notes,
    /// The note, if post is owed and not paid.
    note: Option<String>,
    pair: Pair,
    source: String,
    job: u64,
    result: &'static str,
}

impl Owed {
    /// Writes the debt down.
    pub fn begin(scripts: &Scripts, pair: Pair, source: &str, job: u64) -> std::io::Result<Self> {
        let notes = scripts.notes.clone();
        let mut owed =
            Self { notes, note: None, pair, source: source.to_owned(), job, result: "failed" };
        if let Some(post) = &owed.pair.post {
            let name = fresh_name("post-")?;
            let post = post.path().as_os_str().as_bytes().to_vec();
            let seconds = owed.pair.limit.as_secs();
            let debt = Debt { post, seconds, source: owed.source.clone(), job };
            owed.notes.put(&name, &debt)?;
            owed.note = Some(name);
        }
        Ok(owed)
    }

    /// Runs pre, if there is one, and waits for its end.
    pub fn pre(&mut self, held: &Held) -> Option<Ran> {
        let pre = self.pair.pre.take()?;
        Some(run(&pre, (&self.source, self.job), ("pre", ""), self.pair.limit, held))
    }

    /// How the backup went, as the script will be told.
    pub fn result(&mut self, result: &'static str) {
        self.result = result;
    }

    /// Runs post, if it is still owed, and waits for its end.
    pub fn pay(&mut self) -> Option<Ran> {
        let (note, post) = (self.note.take()?, self.pair.post.take()?);
        let about = (self.source.as_str(), self.job);
        let ran = run(&post, about, ("post", self.result), self.pair.limit, &Held::default());
        if let Err(error) = self.notes.remove(&note) {
            tracing::warn!(%error, "a post script that has run stays noted and will run again");
        }
        Some(ran)
    }
}

impl Drop for Owed {
    fn drop(&mut self) {
        let Some(note) = self.note.take() else {
            return;
        };
        let (notes, pair) = (self.notes.clone(), self.pair.clone());
        let (source, job, result) = (self.source.clone(), self.job, self.result);
        *count() += 1;
        let paying = std::thread::Builder::new().name("post script".to_owned()).spawn(move || {
            let mut rest = Self { notes, note: Some(note), pair, source, job, result };
            rest.pay().iter().for_each(|ran| told(ran, &rest.source));
            *count() -= 1;
            RUNNING.1.notify_all();
        });
        if paying.is_err() {
            // The note stays: it is paid at the next start.
            *count() -= 1;
        }
    }
}

fn count() -> std::sync::MutexGuard<'static, usize> {
    RUNNING.0.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for post scripts that run on threads, no longer than `limit`; one that takes longer runs
/// again at the next start.
pub fn settle(limit: Duration) {
    let until = Instant::now() + limit;
    let mut running = count();
    while *running > 0 {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        let waited = RUNNING.1.wait_timeout(running, left);
        running = waited.unwrap_or_else(PoisonError::into_inner).0;
    }
}

fn run(
    script: &Script,
    (source, job): (&str, u64),
    (phase, result): (&str, &str),
    limit: Duration,
    held: &Held,
) -> Ran {
    let job = job.to_string();
    let facts = [
        ("KEELHOLD_SOURCE", source),
        ("KEELHOLD_JOB", job.as_str()),
        ("KEELHOLD_PHASE", phase),
        ("KEELHOLD_RESULT", result),
    ];
    script.run(&facts, limit, held)
}

fn told(ran: &Ran, source: &str) {
    let (ended, last) = (ran.ended.to_string(), ran.lines.last());
    match ran.is_well() {
        true => tracing::info!(source, "post script ended well"),
        false => tracing::warn!(source, ended, last, "post script"),
    }
}

/// Pays what an agent that was killed owes. Blocks until all of it is paid.
pub fn recover(scripts: &Scripts) {
    for (note, debt) in scripts.notes.all::<Debt>() {
        let post = match Script::allow(&debt.post, &scripts.directory) {
            Ok(post) => post,
            Err(error) => {
                // It stays owed: the admin may be in the middle of mending it.
                let error = crate::failure::chain(&error);
                tracing::warn!(
                    source = debt.source,
                    error,
                    "a post script that is owed cannot run"
                );
                continue;
            }
        };
        let limit = Duration::from_secs(debt.seconds);
        let pair = Pair { pre: None, post: Some(post), limit };
        let (source, job) = (debt.source, debt.job);
        let notes = scripts.notes.clone();
        let mut owed = Owed { notes, note: Some(note), pair, source, job, result: "interrupted" };
        owed.pay().iter().for_each(|ran| told(ran, &owed.source));
    }
}
