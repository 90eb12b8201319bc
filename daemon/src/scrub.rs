//! Scrub as the daemon does it: a pass in some ten days beside everything else, at once when somebody
//! asks, faster where damage was found. Where a pass stands is a record: a restart goes on.

use crate::api::types::ScrubStatus;
use crate::clock::rfc3339;
use crate::daemon::Daemon;
use crate::failure::{Failure, chain};
use crate::pool_failure::{of_closed, of_commit};
use crate::pool_thread::LivePool;
use crate::raised::raised;
use crate::record::SCRUB;
use keelhold_disk::pool::{PointInfo, ScrubAt, ScrubReport};
use keelhold_disk::tree::Touched;
use keelhold_disk::units::SourceId;
use keelhold_wire::Runs;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// A pass by itself takes so many steps, one each pause: ten days.
const STEPS: u64 = 10 * 24 * 60;
const PAUSE: Duration = Duration::from_secs(60);
/// Damage is local in space and time: how much faster a pass goes on once it found some.
const SPRINT: u64 = 10;
/// Steps between two records of where the pass stands.
const KEPT_EVERY: u64 = 60;
/// Places named in the status.
const NAMED_MAX: usize = 100;

/// Where the pass stands, as it is written down.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct ScrubRecord {
    pass: u64,
    at: Stage,
    bytes_read: u64,
    found: u64,
    /// Damaged places, and the points they touch.
    damage: Vec<String>,
    last_at: Option<String>,
    last_found: u64,
}

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Stage {
    #[default]
    Structures,
    Containers(u32),
    Sets([u8; 16]),
    Counts(u64),
}

impl From<ScrubAt> for Stage {
    fn from(at: ScrubAt) -> Self {
        match at {
            ScrubAt::Structures => Self::Structures,
            ScrubAt::Containers(first) => Self::Containers(first),
            ScrubAt::Sets(source) => Self::Sets(source.0),
            ScrubAt::Counts(from) => Self::Counts(from),
        }
    }
}

impl From<Stage> for ScrubAt {
    fn from(stage: Stage) -> Self {
        match stage {
            Stage::Structures => Self::Structures,
            Stage::Containers(first) => Self::Containers(first),
            Stage::Sets(source) => Self::Sets(SourceId(source)),
            Stage::Counts(from) => Self::Counts(from),
        }
    }
}

/// The scrub of the daemon.
#[derive(Debug, Default)]
pub struct Scrub {
    wake: Notify,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    now: ScrubRecord,
    /// Up to the end of this pass there is no pause.
    asked: Option<u64>,
}

impl Scrub {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The pass that runs is brought to its end without pauses, and after it a whole one.
    pub fn ask(&self) -> ScrubStatus {
        {
            let mut state = self.state();
            let begun = !matches!(state.now.at, Stage::Structures);
            let pass = state.now.pass + u64::from(begun);
            state.asked = Some(state.asked.unwrap_or(pass).max(pass));
        }
        self.wake.notify_one();
        self.status()
    }

    #[must_use]
    pub fn status(&self) -> ScrubStatus {
        let state = self.state();
        ScrubStatus {
            state: if state.asked.is_some() { "running" } else { "idle" }.to_owned(),
            last_at: state.now.last_at.clone(),
            pass: state.now.pass,
            until_pass: state.asked,
            bytes_read: state.now.bytes_read,
            found: state.now.found,
            last_found: state.now.last_found,
            damage: state.now.damage.clone(),
        }
    }

    /// One step is done; gives whether what is known now is worth writing down.
    fn take(&self, report: &ScrubReport, bytes: u64, wall: String) -> bool {
        let mut state = self.state();
        let now = &mut state.now;
        now.bytes_read += bytes;
        now.found += report.found.findings.len() as u64;
        for finding in &report.found.findings {
            let points = finding.points.len();
            let text = format!("{} ({points} points touched)", chain(&finding.error));
            if now.damage.len() < NAMED_MAX && !now.damage.contains(&text) {
                now.damage.push(text);
            }
        }
        if let Some(next) = report.next {
            now.at = next.into();
            return !report.found.findings.is_empty();
        }
        if now.found == 0 {
            now.damage.clear();
        }
        let (pass, found) = (now.pass, now.found);
        now.last_at = Some(wall);
        (now.pass, now.last_found, now.found, now.bytes_read) = (pass + 1, found, 0, 0);
        now.at = Stage::default();
        if state.asked.is_some_and(|asked| asked <= pass) {
            state.asked = None;
        }
        true
    }
}

/// Scrubs until the daemon stops.
pub async fn run(daemon: Arc<Daemon>, mut stopping: watch::Receiver<bool>) {
    match daemon.store.record(SCRUB).await {
        Ok(kept) => daemon.scrub.state().now = kept.unwrap_or_default(),
        Err(error) => tracing::warn!(error = chain(&error), "a scrub begins from its start"),
    }
    let mut steps = 0;
    loop {
        let asked = daemon.scrub.state().asked.is_some();
        if !asked {
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                () = daemon.scrub.wake.notified() => {}
                () = raised(&mut stopping) => break,
            }
        } else if *stopping.borrow() {
            break;
        }
        match step(&daemon).await {
            Ok(worth) => {
                steps += 1;
                if worth || steps % KEPT_EVERY == 0 {
                    keep(&daemon).await;
                }
            }
            Err(failure) => {
                tracing::warn!(error = %failure.message, "scrub");
                daemon.scrub.state().asked = None;
            }
        }
    }
    keep(&daemon).await;
}

async fn step(daemon: &Daemon) -> Result<bool, Failure> {
    let (at, found) = {
        let state = daemon.scrub.state();
        (ScrubAt::from(state.now.at), state.now.found)
    };
    let pool = &daemon.store.pool;
    let now = pool.now();
    let work = move |pool: LivePool| async move {
        let status = pool.status();
        let pace = if found > 0 { SPRINT } else { 1 };
        let budget = (status.bytes_used / STEPS * pace).max(1);
        let report = pool.scrub(at, budget, now).await?;
        Ok((report, status))
    };
    let done: Result<_, keelhold_disk::CommitError> = pool.call(work).await.map_err(of_closed)?;
    let (report, _) = done.map_err(|error| of_commit(&error))?;
    for finding in &report.found.findings {
        let points = finding.points.len();
        tracing::error!(error = chain(&finding.error), points, "damage found by scrub");
    }
    let bytes = report.found.bytes_stored;
    Ok(daemon.scrub.take(&report, bytes, rfc3339(daemon.store.clock.now())))
}

async fn keep(daemon: &Daemon) {
    let record = daemon.scrub.state().now.clone();
    let kept = async {
        let mut change = daemon.store.change().await;
        change.put(SCRUB.to_owned(), &record)?;
        change.commit().await
    };
    let kept: Result<(), crate::store::StoreError> = kept.await;
    if let Err(error) = kept {
        tracing::warn!(error = chain(&error), "where scrub stands was not kept");
    }
}

/// What a session may build on: the point, and which of its entries are to be read again though they
/// look unchanged, because bytes they need are lost. None where pages are lost, too: then everything is
/// described anew, and what the pool still has need not be sent.
pub async fn basis_of(pool: &LivePool, point: PointInfo) -> Option<(PointInfo, Runs)> {
    let (lost, mut again) = (pool.lost(), Runs::new());
    if lost.is_empty() {
        return Some((point, again));
    }
    for touched in pool.touched(&point.id, &lost).await.ok()?? {
        let Touched::Entry { ordinal, .. } = touched else {
            return None;
        };
        again.push(ordinal);
    }
    Some((point, again))
}
