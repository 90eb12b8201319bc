//! Deleting what no manifest of a vault needs any more, as a job: with a credential that may delete,
//! which is used once and kept nowhere.

use super::failure::{of_chain, of_prune};
use super::local::{Vault, open_place};
use super::place::Place;
use crate::api::types::{JobKind, JobResult, Outcome, PruneRequest, PruneResult, Started};
use crate::audit::Actor;
use crate::daemon::Daemon;
use crate::failure::{Code, Failure, chain};
use crate::job::JobId;
use crate::pool_failure::of_store;
use crate::store::Store;
use keelhold_vault::chain::{self as manifests, Unlock};
use keelhold_vault::prune::{
    Because, Deletion, MARGIN_DEFAULT, Plan, Pruned, Terms, carry_out, gather, plan,
};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::mpsc;

/// Names in one entry of the audit.
const AUDITED: usize = 500;
/// Names that a result shows.
const NAMED_MAX: usize = 50;

pub async fn prune(
    daemon: &Arc<Daemon>,
    actor: Actor,
    name: &str,
    request: PruneRequest,
) -> Result<Started, Failure> {
    let vault = daemon.vaults.named(name)?;
    let place = place_of(&vault, &request)?;
    let job = daemon.jobs.accept_vault(JobKind::Prune, name).await;
    let job = job.map_err(|error| of_store(&error))?;
    let daemon = Arc::clone(daemon);
    tokio::spawn(async move { run(&daemon, &actor, &vault, (&place, request), job).await });
    Ok(Started { job, joined: false })
}

/// The same place, as the given credential sees it.
fn place_of(vault: &Vault, request: &PruneRequest) -> Result<Arc<Place>, Failure> {
    let record = vault.record();
    let (url, endpoint) = match (request.second, record.geo) {
        (false, _) => (record.url, record.endpoint),
        (true, Some(geo)) => (geo.url, geo.endpoint),
        (true, None) => {
            let text = format!("vault {} has no second place", record.name);
            return Err(Failure::new(Code::VaultPlace, text)
                .hint("name one with `keelhold vault geo NAME --url URL`"));
        }
    };
    // Whoever may write to a directory may delete there.
    let credential = request.credential.as_deref().filter(|_| !url.starts_with("file://"));
    open_place(&url, endpoint.as_deref(), credential)
}

async fn run(
    daemon: &Daemon,
    actor: &Actor,
    vault: &Vault,
    (place, request): (&Place, PruneRequest),
    job: JobId,
) {
    if let Err(error) = daemon.jobs.start(job).await {
        tracing::warn!(job, error = chain(&error), "start not noted");
    }
    let began = Instant::now();
    let done = prune_now(daemon, actor, vault, (place, &request), job).await;
    let ended = match done {
        Err(failure) => {
            daemon.job_failed(job, failure).await;
            Ok(())
        }
        Ok(mut result) => {
            result.seconds = began.elapsed().as_secs_f64();
            let (outcome, details) = (result.result, Some(JobResult::Prune(result)));
            daemon.jobs.finish(job, outcome, None, details, None).await
        }
    };
    if let Err(error) = ended {
        tracing::warn!(job, error = chain(&error), "end of job not kept");
    }
}

async fn prune_now(
    daemon: &Daemon,
    actor: &Actor,
    vault: &Vault,
    (place, request): (&Place, &PruneRequest),
    job: JobId,
) -> Result<PruneResult, Failure> {
    let terms = Terms {
        witnessed: daemon.store.pool.now().0,
        margin: MARGIN_DEFAULT,
        forecast: None,
        confirmed: request.confirmed,
    };
    let seen = if request.second { None } else { vault.last_seen() };
    let opened = manifests::open(place, Unlock::Master(&vault.master), seen).await;
    let opened = opened.map_err(|error| of_chain(&error))?;
    let facts = gather(place, &opened, &terms).await.map_err(|error| of_prune(&error))?;
    let wanted = plan(&facts);
    daemon
        .jobs
        .log(job, format!("{} objects may go, {} bytes", wanted.all().count(), wanted.bytes));
    if request.dry_run {
        return Ok(result(vault, job, request, &wanted, None));
    }
    let (tell, told) = mpsc::unbounded_channel();
    let writer = tokio::spawn(write(daemon.store.clone(), actor.clone(), vault.name(), told));
    let done = carry_out(place, &wanted, &terms, &mut |deletion| {
        let _ = tell.send(line(deletion));
    })
    .await;
    drop(tell);
    let _ = writer.await;
    let done = done.map_err(|error| of_prune(&error));
    let what = vec![vault.name()];
    daemon.store.audit(actor, "vault-prune", what, &done).await;
    Ok(result(vault, job, request, &wanted, Some(&done?)))
}

/// Every deletion is written down, with who asked for it and why it could go.
async fn write(
    store: Store,
    actor: Actor,
    vault: String,
    mut told: mpsc::UnboundedReceiver<String>,
) {
    let mut lines = Vec::new();
    while told.recv_many(&mut lines, AUDITED).await > 0 {
        let what = std::iter::once(vault.clone()).chain(lines.drain(..)).collect();
        store.audit(&actor, "vault-delete", what, &Ok(())).await;
    }
}

fn line(deletion: &Deletion) -> String {
    let why = match deletion.because {
        Because::LetGo { by } => format!("let go by manifest {by}"),
        Because::Orphan { shipment } => format!("left by shipment {shipment}, never named"),
        Because::Old { below } => format!("a manifest older than {below}"),
    };
    format!("{}: {why}", deletion.name)
}

fn result(
    vault: &Vault,
    job: JobId,
    request: &PruneRequest,
    wanted: &Plan,
    done: Option<&Pruned>,
) -> PruneResult {
    let (objects, bytes) = match done {
        Some(done) => (done.deleted.len() as u64, done.bytes),
        None => (wanted.all().count() as u64, wanted.bytes),
    };
    PruneResult {
        result: Outcome::Ok,
        job,
        vault: vault.name(),
        dry_run: request.dry_run,
        objects,
        bytes,
        bytes_all: wanted.total,
        locked: done.map_or(0, |done| done.refused),
        bytes_locked: done.map_or(0, |done| done.refused_bytes),
        seconds: 0.0,
        names: wanted.all().take(NAMED_MAX).map(line).collect(),
        error: None,
    }
}
