//! What the daemon does by itself: giving space back, and keeping the time.

mod decide;

pub use decide::{Decision, Facts, Why, decide};

use crate::api::types::{JobKind, JobResult, ReclaimResult, ReclaimStatus};
use crate::catalog::Catalog;
use crate::clock::rfc3339;
use crate::daemon::Daemon;
use crate::failure::{Failure, chain};
use crate::pool_failure::of_closed;
use crate::raised::raised;
use crate::reclaim;
use crate::record::CLOCK;
use keelhold_disk::units::UnixNanos;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// Time that was witnessed and written nowhere is lost by a crash: at most this much.
const KEEP_TIME_EVERY: i64 = 3_600 * 1_000_000_000;
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(60);
/// Jobs looked through for the last reclaim.
const LOOKED_THROUGH: usize = 1_000;

/// Witnessed time, written down while nothing else is.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct ClockRecord {
    witnessed: i64,
}

#[derive(Debug)]
struct State {
    last: Option<ReclaimResult>,
    last_at: Option<String>,
    /// In witnessed time, as what follows; none while this daemon has run none.
    last_seen: Option<UnixNanos>,
    begun_at: UnixNanos,
    /// Garbage that the last one left: not worth another try.
    left: u64,
    braked_at: Option<UnixNanos>,
    running: bool,
}

/// Where upkeep stands.
#[derive(Debug)]
pub struct Upkeep {
    wake: Notify,
    turn: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

/// The turn of the one reclaim that runs.
#[derive(Debug)]
pub struct Turn<'a> {
    upkeep: &'a Upkeep,
    _turn: tokio::sync::MutexGuard<'a, ()>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.upkeep.state().running = false;
    }
}

impl Upkeep {
    /// Remembers the last reclaim out of the jobs that are over.
    #[must_use]
    pub fn load(catalog: &Catalog, now: UnixNanos) -> Self {
        let state = State {
            last: None,
            last_at: None,
            last_seen: None,
            begun_at: now,
            left: 0,
            braked_at: None,
            running: false,
        };
        let (wake, turn) = (Notify::new(), tokio::sync::Mutex::default());
        let upkeep = Self { wake, turn, state: Mutex::new(state) };
        let jobs = catalog.jobs(LOOKED_THROUGH);
        let last = jobs.into_iter().find(|finished| finished.job.kind == JobKind::Reclaim);
        if let Some(finished) = last {
            let mut state = upkeep.state();
            state.last_at = finished.job.finished_at;
            if let Some(JobResult::Reclaim(result)) = finished.job.details {
                state.last = Some(result);
            }
        }
        upkeep
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something changed that may be worth a look.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// Waits until no other reclaim runs.
    pub async fn turn(&self) -> Turn<'_> {
        let turn = self.turn.lock().await;
        self.state().running = true;
        Turn { upkeep: self, _turn: turn }
    }

    /// A reclaim has ended. The caller has the turn.
    pub async fn ended(&self, daemon: &Daemon, done: &Result<ReclaimResult, Failure>) {
        let pool = &daemon.store.pool;
        let status = pool.call(|pool| async move { pool.status() }).await;
        let left = status.map_or(0, |status| status.bytes_dead + status.bytes_expected);
        let (now, wall) = (pool.now(), daemon.store.clock.now());
        let mut state = self.state();
        state.last_seen = Some(now);
        state.left = left;
        match done {
            Ok(result) => {
                state.braked_at = None;
                state.last_at = Some(rfc3339(wall));
                state.last = Some(result.clone());
            }
            Err(failure) if reclaim::is_brake(failure) => state.braked_at = Some(now),
            Err(_) => {}
        }
    }

    /// What people are shown.
    pub async fn status(&self, daemon: &Daemon) -> Result<ReclaimStatus, Failure> {
        let facts = facts(daemon).await?;
        let trash =
            |pool: crate::pool_thread::LivePool| async move { (pool.trash_len(), pool.status()) };
        let (bytes_trash, status) = daemon.store.pool.call(trash).await.map_err(of_closed)?;
        let look = daemon.store.pool.time.look();
        let state = self.state();
        let word = match (state.running, state.braked_at) {
            (true, _) => "running",
            (false, Some(_)) => "braked",
            (false, None) => "idle",
        };
        Ok(ReclaimStatus {
            state: word.to_owned(),
            last_at: state.last_at.clone(),
            last: state.last.clone(),
            bytes_dead: status.bytes_dead,
            bytes_expected: status.bytes_expected,
            bytes_trash,
            next_at: facts.next_due.map(|due| rfc3339(look.on_the_wall(due))),
        })
    }
}

/// What the decision is made from.
async fn facts(daemon: &Daemon) -> Result<Facts, Failure> {
    let ask = |pool: crate::pool_thread::LivePool| async move {
        let trashed = pool.points().into_iter().filter_map(|point| point.trashed_until);
        let idle = pool.sessions().into_iter().filter(|session| !session.running);
        let due = trashed.chain(idle.map(|session| session.lease_until)).min();
        (pool.status(), due)
    };
    let (status, next_due) = daemon.store.pool.call(ask).await.map_err(of_closed)?;
    let state = daemon.upkeep.state();
    Ok(Facts {
        now: daemon.store.pool.now(),
        running: state.running,
        begun_at: state.begun_at,
        last_at: state.last_seen,
        braked_at: state.braked_at,
        next_due,
        bytes_garbage: (status.bytes_dead + status.bytes_expected).saturating_sub(state.left),
        bytes_room: status.bytes_free.saturating_sub(status.bytes_reserved),
        bytes_total: status.bytes_total,
    })
}

/// Looks after the pool until the daemon stops.
pub async fn run(daemon: Arc<Daemon>, mut stopping: watch::Receiver<bool>) {
    let mut kept = daemon.store.pool.now();
    loop {
        let pause = match facts(&daemon).await {
            Ok(facts) => match decide(&facts) {
                Decision::Wait(pause) => pause,
                Decision::Run(why) => {
                    // Its failure is the job's, and the job is in the list.
                    match reclaim::now(&daemon, why).await {
                        Ok(_) => Duration::ZERO,
                        Err(_) => PAUSE_AFTER_FAILURE,
                    }
                }
            },
            Err(_) => return,
        };
        let now = daemon.store.pool.now();
        if now.0.saturating_sub(kept.0) >= KEEP_TIME_EVERY {
            kept = now;
            keep_time(&daemon, now).await;
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = daemon.upkeep.wake.notified() => {}
            () = raised(&mut stopping) => return,
        }
    }
}

async fn keep_time(daemon: &Daemon, now: UnixNanos) {
    let kept = async {
        let mut change = daemon.store.change().await;
        change.put(CLOCK.to_owned(), &ClockRecord { witnessed: now.0 })?;
        change.commit().await
    };
    let kept: Result<(), crate::store::StoreError> = kept.await;
    if let Err(error) = kept {
        tracing::warn!(error = chain(&error), "witnessed time not kept");
    }
}
