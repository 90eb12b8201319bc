//! Jobs, and starting restores.

use super::SharedDaemon;
use super::answer::{Answer, Refused, body, lines, whole};
use super::types::{Job, JobEvent, LogLine, RestoreRequest, RestoreStarted, Started};
use crate::failure::Failure;
use crate::job::JobId;
use crate::raised::raised;
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::Response;
use std::time::Duration;
use tokio::sync::mpsc;

/// `job list` shows this many.
const LISTED_MAX: usize = 1_000;
/// A job that moves fast is told about this often.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);
/// A job that does not move is told about this often: whoever follows sees that it lives.
const HEARTBEAT: Duration = Duration::from_secs(5);

pub async fn list(State(daemon): State<SharedDaemon>) -> Answer<Vec<Job>> {
    Ok(Json(daemon.jobs.list(LISTED_MAX)))
}

pub async fn show(State(daemon): State<SharedDaemon>, Path(job): Path<JobId>) -> Answer<Job> {
    Ok(Json(daemon.jobs.follow(job)?.job))
}

pub async fn cancel(State(daemon): State<SharedDaemon>, Path(job): Path<JobId>) -> Answer<Job> {
    Ok(Json(whole(async move { daemon.cancel(job).await }).await?))
}

pub async fn log(
    State(daemon): State<SharedDaemon>,
    Path(job): Path<JobId>,
) -> Answer<Vec<LogLine>> {
    Ok(Json(daemon.jobs.log_of(job)?))
}

pub async fn follow(
    State(daemon): State<SharedDaemon>,
    Path(job): Path<JobId>,
) -> Result<Response, Refused> {
    daemon.jobs.follow(job)?;
    let (events, told) = mpsc::channel(4);
    tokio::spawn(async move {
        if let Err(failure) = tell(&daemon, job, &events).await {
            let _ = events.send(Err(failure)).await;
        }
    });
    Ok(lines(told))
}

async fn tell(
    daemon: &SharedDaemon,
    job: JobId,
    events: &mpsc::Sender<Result<JobEvent, Failure>>,
) -> Result<(), Failure> {
    let mut stopping = daemon.stopping.clone();
    loop {
        let follow = daemon.jobs.follow(job)?;
        let Some(mut changed) = follow.changed else {
            let _ = events.send(Ok(JobEvent::Done { job: follow.job })).await;
            return Ok(());
        };
        if events.send(Ok(JobEvent::Progress { job: follow.job })).await.is_err() {
            return Ok(());
        }
        let pause = async {
            // The end of a job is told at once, its progress now and then.
            if tokio::time::timeout(HEARTBEAT, changed.changed()).await.is_ok_and(|c| c.is_ok()) {
                let _ = tokio::time::timeout(PROGRESS_EVERY, wait_for_end(&mut changed)).await;
            }
        };
        tokio::select! {
            () = pause => {}
            () = raised(&mut stopping) => return Ok(()),
        }
    }
}

async fn wait_for_end(changed: &mut tokio::sync::watch::Receiver<u64>) {
    while changed.changed().await.is_ok() {}
}

pub async fn restore(State(daemon): State<SharedDaemon>, bytes: Bytes) -> Answer<RestoreStarted> {
    let request: RestoreRequest = body(&bytes)?;
    let (job, fetch) = crate::restore::start(&daemon, request).await?;
    Ok(Json(RestoreStarted { started: Started { job, joined: false }, fetch }))
}
