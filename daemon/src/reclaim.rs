//! Giving space back, as a job: one at a time, beside running backups.

use crate::api::types::{JobResult, Outcome, ReclaimResult, Started};
use crate::daemon::Daemon;
use crate::failure::{Code, Failure, chain};
use crate::job::JobId;
use crate::pool_failure::{of_closed, of_reclaim, of_store};
use crate::size_text::size;
use crate::upkeep::Why;
use keelhold_disk::pool::{ReclaimOptions, ReclaimReport};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Containers with at least so many per cent of garbage are compacted.
pub const LEAST_DEAD: u8 = 25;
/// The same while somebody waits for room.
const LEAST_DEAD_SHORT: u8 = 5;
/// How often a job that runs looks how far the pool is.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Starts a reclaim, or joins the one that runs. One that gives up more than was expected is always
/// of its own: the other one was not asked to.
pub async fn start(daemon: &Arc<Daemon>, why: Why, own: bool) -> Result<Started, Failure> {
    if let Some(job) = daemon.jobs.reclaim().filter(|_| !own) {
        return Ok(Started { job, joined: true });
    }
    let job = daemon.jobs.accept_reclaim().await.map_err(|error| of_store(&error))?;
    let daemon = Arc::clone(daemon);
    tokio::spawn(async move { run(&daemon, job, why).await });
    Ok(Started { job, joined: false })
}

/// Reclaims, and comes back when it is done.
pub async fn now(daemon: &Daemon, why: Why) -> Result<ReclaimResult, Failure> {
    let job = daemon.jobs.accept_reclaim().await.map_err(|error| of_store(&error))?;
    run(daemon, job, why).await
}

async fn run(daemon: &Daemon, job: JobId, why: Why) -> Result<ReclaimResult, Failure> {
    let _turn = daemon.upkeep.turn().await;
    if let Err(error) = daemon.jobs.start(job).await {
        tracing::warn!(job, error = chain(&error), "start not noted");
    }
    daemon.jobs.log(job, format!("started: {}", why.words()));
    daemon.close_point();
    let began = Instant::now();
    let done = reclaim(daemon, job, why).await;
    daemon.show_points().await;
    let done = done.map(|(report, left)| {
        let result = result(job, why, &report, left);
        ReclaimResult { seconds: began.elapsed().as_secs_f64(), ..result }
    });
    daemon.upkeep.ended(daemon, &done).await;
    let ended = match &done {
        Err(failure) => {
            daemon.job_failed(job, failure.clone()).await;
            Ok(())
        }
        Ok(result) => {
            let text = format!("{}: {} freed", result.result.word(), size(result.bytes_freed));
            daemon.jobs.log(job, text);
            let details = Some(JobResult::Reclaim(result.clone()));
            daemon.jobs.finish(job, result.result, None, details, None).await
        }
    };
    if let Err(error) = ended {
        tracing::warn!(job, error = chain(&error), "end of job not kept");
    }
    done
}

async fn reclaim(daemon: &Daemon, job: JobId, why: Why) -> Result<(ReclaimReport, u64), Failure> {
    let pool = &daemon.store.pool;
    let least_dead = if why == Why::Space { LEAST_DEAD_SHORT } else { LEAST_DEAD };
    let options = ReclaimOptions { confirmed: why == Why::Confirmed, least_dead };
    let now = pool.now();
    let work = pool.call(move |pool| async move {
        let report = pool.reclaim(options, now).await?;
        Ok((report, pool.status().bytes_dead))
    });
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => {
                let done: Result<_, keelhold_disk::error::ReclaimError> = done.map_err(of_closed)?;
                return done.map_err(|error| of_reclaim(&error));
            }
            () = tokio::time::sleep(LOOK_EVERY) => {
                let look = |pool: crate::pool_thread::LivePool| async move { pool.reclaim_progress() };
                if let Ok(far) = pool.call(look).await {
                    daemon.jobs.progress(job, |shown| {
                        (shown.containers, shown.containers_done) = (far.chosen, far.done);
                    });
                }
            }
        }
    }
}

fn result(job: JobId, why: Why, report: &ReclaimReport, bytes_left: u64) -> ReclaimResult {
    ReclaimResult {
        result: if report.damaged.is_empty() { Outcome::Ok } else { Outcome::Partial },
        job,
        why: why.words().to_owned(),
        points_dropped: report.points_dropped,
        sessions_ended: report.sessions_ended,
        containers_freed: report.containers_freed,
        containers_compacted: report.containers_compacted,
        bytes_freed: report.freed_len,
        bytes_moved: report.moved_len,
        bytes_left,
        damaged: report.damaged.iter().map(|error| chain(error)).collect(),
        seconds: 0.0,
        error: None,
    }
}

/// Whether a failure is the brake, which waits for somebody.
#[must_use]
pub fn is_brake(failure: &Failure) -> bool {
    failure.code == Code::ReclaimBrake
}
