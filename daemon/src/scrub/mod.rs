//! Scrub as the daemon does it: a pass in some ten days beside everything else, at once when somebody
//! asks, faster where damage was found. Where a pass stands is a record: a restart goes on.

mod pace;

use crate::api::types::ScrubStatus;
use crate::clock::rfc3339;
use crate::daemon::Daemon;
use crate::failure::{Failure, WireFailure, chain};
use crate::pool_failure::{of_closed, of_commit};
use crate::pool_thread::LivePool;
use crate::raised::raised;
use crate::record::{SCRUB, SOURCE_PREFIX};
use keelhold_disk::error::CommitError;
use keelhold_disk::pool::{PointInfo, ScrubAt, ScrubReport, VerifyFinding};
use keelhold_disk::tree::Touched;
use keelhold_disk::units::SourceId;
use keelhold_wire::Runs;
use pace::{Facts, pace};
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, watch};

/// Steps between two records of where the pass stands, while somebody waits for it.
const KEPT_EVERY: u64 = 60;
/// Places named in the status.
const NAMED_MAX: usize = 100;

/// Where the pass stands, as it is written down.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
struct ScrubRecord {
    pass: u64,
    at: Stage,
    bytes_read: u64,
    /// Damaged places, and those of them that were mended.
    found: u64,
    healed: u64,
    /// Places that were not mended, and the points they touch.
    damage: Vec<String>,
    /// Of these, those that cost no chunk: whether they are there still, only reading them tells.
    open: u64,
    last_at: Option<String>,
    last_found: u64,
    last_healed: u64,
    last_damage: Vec<String>,
    last_open: u64,
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
    /// Why the last step was not done.
    error: Option<WireFailure>,
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
            state.error = None;
        }
        self.wake.notify_one();
        self.status()
    }

    #[must_use]
    pub fn status(&self) -> ScrubStatus {
        let state = self.state();
        let now = &state.now;
        let mut damage = now.last_damage.clone();
        damage.extend(now.damage.iter().filter(|new| !now.last_damage.contains(new)).cloned());
        ScrubStatus {
            state: if state.asked.is_some() { "running" } else { "idle" }.to_owned(),
            last_at: now.last_at.clone(),
            pass: now.pass,
            until_pass: state.asked,
            bytes_read: now.bytes_read,
            found: now.found,
            last_found: now.last_found,
            healed: now.healed + now.last_healed,
            open: now.open + now.last_open,
            damage,
            error: state.error.clone(),
        }
    }

    /// One step is done; gives whether what is known now is worth writing down at once.
    fn take(&self, step: &Step, wall: String) -> bool {
        let mut state = self.state();
        state.error = None;
        let now = &mut state.now;
        now.bytes_read += step.report.found.bytes_stored;
        let found = step.report.found.findings.len() as u64;
        now.found += found;
        now.healed += found.saturating_sub(step.left.len() as u64);
        for finding in &step.left {
            now.open += u64::from(finding.chunks.is_empty() || !finding.error.is_corruption());
            let points = finding.points.len();
            let text = format!("{} ({points} points touched)", chain(&finding.error));
            if now.damage.len() < NAMED_MAX && !now.damage.contains(&text) {
                now.damage.push(text);
            }
        }
        if let Some(next) = step.report.next {
            now.at = next.into();
            return found > 0;
        }
        let pass = now.pass;
        *now = ScrubRecord {
            pass: pass + 1,
            last_at: Some(wall),
            last_found: now.found,
            last_healed: now.healed,
            last_damage: std::mem::take(&mut now.damage),
            last_open: now.open,
            ..ScrubRecord::default()
        };
        if state.asked.is_some_and(|asked| asked <= pass) {
            state.asked = None;
        }
        true
    }
}

/// What a step found, and what of it is there still behind healing.
struct Step {
    report: ScrubReport,
    left: Vec<VerifyFinding>,
}

/// Scrubs until the daemon stops.
pub async fn run(daemon: Arc<Daemon>, mut stopping: watch::Receiver<bool>) {
    match daemon.store.record(SCRUB).await {
        Ok(kept) => daemon.scrub.state().now = kept.unwrap_or_default(),
        Err(error) => tracing::warn!(error = chain(&error), "a scrub begins from its start"),
    }
    let mut steps = 0;
    loop {
        let Ok(facts) = facts(&daemon).await else {
            return;
        };
        let (pause, budget) = pace(&facts);
        if !facts.asked {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = daemon.scrub.wake.notified() => {}
                () = raised(&mut stopping) => break,
            }
        }
        let done = tokio::select! {
            done = step(&daemon, budget) => done,
            () = raised(&mut stopping) => break,
        };
        match done {
            Ok(worth) => {
                steps += 1;
                if worth || !facts.asked || steps % KEPT_EVERY == 0 {
                    keep(&daemon).await;
                }
            }
            Err(failure) => {
                tracing::warn!(error = %failure.message, "scrub");
                let mut state = daemon.scrub.state();
                (state.asked, state.error) = (None, Some(failure.to_wire()));
            }
        }
    }
    keep(&daemon).await;
}

async fn facts(daemon: &Daemon) -> Result<Facts, Failure> {
    let ask = |pool: LivePool| async move { (pool.status(), pool.records(SOURCE_PREFIX).len()) };
    let (status, sources) = daemon.store.pool.call(ask).await.map_err(of_closed)?;
    let state = daemon.scrub.state();
    Ok(Facts {
        containers: status.containers_data,
        container_len: status.container_len,
        sources: sources as u64,
        found: state.now.found > 0,
        asked: state.asked.is_some(),
    })
}

async fn step(daemon: &Daemon, budget: u64) -> Result<bool, Failure> {
    let at = ScrubAt::from(daemon.scrub.state().now.at);
    let report = read(daemon, at, budget).await?;
    let mut left = report.found.findings.clone();
    for finding in &left {
        let points = finding.points.len();
        tracing::error!(error = chain(&finding.error), points, "damage found by scrub");
    }
    if !left.is_empty() {
        crate::heal::round(daemon).await?;
        // What healing says it did is believed when it was read.
        left = read(daemon, at, budget).await?.found.findings;
    }
    Ok(daemon.scrub.take(&Step { report, left }, rfc3339(daemon.store.clock.now())))
}

async fn read(daemon: &Daemon, at: ScrubAt, budget: u64) -> Result<ScrubReport, Failure> {
    let pool = &daemon.store.pool;
    let now = pool.now();
    let work = move |pool: LivePool| async move { pool.scrub(at, budget, now).await };
    let done: Result<_, CommitError> = pool.call(work).await.map_err(of_closed)?;
    done.map_err(|error| of_commit(&error))
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
