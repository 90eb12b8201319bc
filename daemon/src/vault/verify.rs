//! Proving that a vault can be restored from, as a job.

use super::failure::of_read;
use super::local::{Random, Vault};
use crate::api::types::{JobKind, JobResult, Outcome, Started, VerifyResult};
use crate::daemon::Daemon;
use crate::failure::{Failure, chain};
use crate::id_text;
use crate::job::JobId;
use crate::pool_failure::{of_closed, of_store};
use crate::pool_thread::PoolClosed;
use keelhold_vault::read::VaultReader;
use keelhold_vault::verify::{Finding, Progress, Sample, verify as prove};
use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{oneshot, watch};

/// Of so many objects one is read, where not all are.
const ONE_IN: u32 = 16;
/// Findings that are named.
const NAMED_MAX: usize = 100;
const POINTS_MAX: usize = 10;

pub async fn verify(daemon: &Arc<Daemon>, name: &str, whole: bool) -> Result<Started, Failure> {
    let vault = daemon.vaults.named(name)?;
    if let Some(job) = vault.state().proving {
        return Ok(Started { job, joined: true });
    }
    let job = daemon.jobs.accept_vault(JobKind::Verify, name).await;
    let job = job.map_err(|error| of_store(&error))?;
    vault.state().proving = Some(job);
    let daemon = Arc::clone(daemon);
    tokio::spawn(async move { run(&daemon, &vault, job, whole).await });
    Ok(Started { job, joined: false })
}

async fn run(daemon: &Daemon, vault: &Arc<Vault>, job: JobId, whole: bool) {
    if let Err(error) = daemon.jobs.start(job).await {
        tracing::warn!(job, error = chain(&error), "start not noted");
    }
    let began = Instant::now();
    let done = verify_now(daemon, vault, job, whole).await;
    vault.state().proving = None;
    let ended = match done {
        Err(failure) => {
            vault.state().failure = Some(failure.clone());
            daemon.job_failed(job, failure).await;
            Ok(())
        }
        Ok(result) => {
            let result = VerifyResult { seconds: began.elapsed().as_secs_f64(), ..result };
            {
                let mut state = vault.state();
                state.seen.verified_at = Some(daemon.store.clock.now().0);
                state.seen.verified_ok = result.result == Outcome::Ok;
            }
            daemon.keep_seen(vault).await;
            let (outcome, details) = (result.result, Some(JobResult::Verify(result)));
            daemon.jobs.finish(job, outcome, None, details, None).await
        }
    };
    if let Err(error) = ended {
        tracing::warn!(job, error = chain(&error), "end of job not kept");
    }
}

fn said(finding: &Finding) -> String {
    let points: Vec<String> =
        finding.points.iter().map(|point| id_text::encode(&point.0)).take(POINTS_MAX).collect();
    let object = finding.object.as_deref().unwrap_or("the index");
    match points.is_empty() {
        true => format!("{object}: {}", chain(&finding.fault)),
        false => format!("{object}: {}; points {}", chain(&finding.fault), points.join(", ")),
    }
}

pub(super) async fn verify_now(
    daemon: &Daemon,
    vault: &Arc<Vault>,
    job: JobId,
    whole: bool,
) -> Result<VerifyResult, Failure> {
    let opened = vault.look().await?;
    let id_key = |pool: crate::pool_thread::LivePool| async move { pool.id_key() };
    let id_key = daemon.store.pool.call(id_key).await.map_err(of_closed)?;
    let (place, master) = (vault.place()?, Arc::clone(&vault.master));
    let reader = VaultReader::new(place, master, Arc::clone(&opened.view), Some(id_key));
    let sample = if whole { Sample::Whole } else { Sample::OneIn(ONE_IN) };
    let (tell, mut told) = watch::channel(Progress::default());
    let (answer, answered) = oneshot::channel();
    // Trees are walked where readers live.
    daemon.vaults.thread().run(move || async move {
        let tell = |far: Progress| {
            tell.send_replace(far);
        };
        let _ = answer.send(prove(&reader, sample, &mut Random, &tell).await);
    })?;
    let mut answered = pin!(answered);
    let report = loop {
        tokio::select! {
            report = &mut answered => break report.map_err(|_| of_closed(PoolClosed))?,
            Ok(()) = told.changed() => {
                let far = *told.borrow_and_update();
                daemon.jobs.progress(job, |shown| {
                    shown.bytes_read = far.bytes;
                    (shown.containers, shown.containers_done) = (far.objects_all, far.objects);
                });
            }
        }
    };
    let report = report.map_err(|error| of_read(&error))?;
    let findings = report.findings.iter().take(NAMED_MAX).map(said).collect();
    Ok(VerifyResult {
        result: if report.findings.is_empty() { Outcome::Ok } else { Outcome::Partial },
        job,
        vault: vault.name(),
        whole,
        objects: report.objects,
        frames: report.frames,
        chunks: report.chunks,
        points: report.points,
        bytes: report.bytes,
        seconds: 0.0,
        findings,
        error: None,
    })
}
