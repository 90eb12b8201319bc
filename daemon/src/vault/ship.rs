//! Shipping, as a job: one at a time for a vault, several vaults beside each other.

use super::choose::{Chosen, Plan};
use super::failure::{of_ids, of_ship};
use super::local::{Random, Vault};
use super::outgoing::{Blocking, PoolSource};
use super::records;
use crate::api::types::{JobKind, JobResult, Outcome, ShipResult, Started};
use crate::daemon::Daemon;
use crate::failure::{Code, Failure, chain};
use crate::id_text;
use crate::job::JobId;
use crate::pool_failure::{of_closed, of_store};
use crate::pool_thread::LivePool;
use crate::raised::raised;
use crate::size_text::size;
use keelhold_policy::schedule::{Kind, Outcome as Ended};
use keelhold_vault::ids::Ids;
use keelhold_vault::ship::{
    Locks, OBJECT_LEN_DEFAULT, Order, Progress, ROUND_CHUNKS_DEFAULT, STREAMS_DEFAULT, ShipPoint,
    Shipped, ship, wants_all_records,
};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// A vault that does not answer is tried again after this, then after twice as long, and so on.
const PAUSE_FIRST: Duration = Duration::from_secs(60);
const PAUSE_MOST: Duration = Duration::from_secs(3_600);
/// Shipments of the schedule are gathered for so long: machines end their backups in flocks.
const GATHER: Duration = Duration::from_secs(2);

/// How often it is looked whether a vault was proved lately.
const LOOK_EVERY: Duration = Duration::from_secs(3_600);
/// So often a sample of every vault is read and proved.
const PROVE_EVERY: i64 = 7 * 86_400 * 1_000_000_000;

/// Reads a sample of vaults that were not proved for long.
async fn prove_old(daemon: &Arc<Daemon>) {
    let now = daemon.store.clock.now().0;
    for vault in daemon.vaults.all() {
        let is_due = {
            let state = vault.state();
            let since = state.seen.verified_at.or(state.seen.shipped_at);
            let is_idle = state.job.is_none() && state.proving.is_none() && !state.begun;
            is_idle
                && state.failure.is_none()
                && since.is_some_and(|at| now.saturating_sub(at) >= PROVE_EVERY)
        };
        if is_due && let Err(failure) = super::verify(daemon, &vault.name(), false).await {
            tracing::warn!(vault = vault.name(), error = failure.message, "a vault was not proved");
        }
    }
}

/// What the schedule asked for.
type Wanted = Vec<(String, Kind)>;

/// Ships everything that waits, or joins the job that does.
pub async fn ship_by_hand(daemon: &Arc<Daemon>, name: &str) -> Result<Started, Failure> {
    let vault = daemon.vaults.named(name)?;
    if let Some(job) = vault.state().job {
        // What was made since is shipped behind it.
        vault.state().again = true;
        daemon.vaults.wake();
        return Ok(Started { job, joined: true });
    }
    let job = accept(daemon, &vault).await?;
    let daemon = Arc::clone(daemon);
    tokio::spawn(async move { run_job(&daemon, &vault, job, None).await });
    Ok(Started { job, joined: false })
}

async fn accept(daemon: &Daemon, vault: &Vault) -> Result<JobId, Failure> {
    let job = daemon.jobs.accept_vault(JobKind::Ship, &vault.name()).await;
    let job = job.map_err(|error| of_store(&error))?;
    vault.state().job = Some(job);
    Ok(job)
}

/// The schedule wants a source's points in a vault.
pub fn want(daemon: &Daemon, vault: &str, source: &str) {
    let kind = Kind::Online { vault: vault.to_owned() };
    match daemon.vaults.named(vault) {
        Ok(vault) => {
            vault.state().wanted.push((source.to_owned(), kind));
            daemon.vaults.wake();
        }
        // Groups may name a vault that is not there yet: its points wait for it.
        Err(_) => daemon.schedule.shipped([(source.to_owned(), kind, Ended::Failed)]),
    }
}

/// Ships what the schedule wants until the daemon stops.
pub async fn run(daemon: Arc<Daemon>, mut stopping: watch::Receiver<bool>) {
    let mut running = tokio::task::JoinSet::new();
    loop {
        for vault in daemon.vaults.all() {
            if let Some(wanted) = vault.begin_wanted(tokio::time::Instant::now()) {
                let daemon = Arc::clone(&daemon);
                running.spawn(async move { serve(&daemon, &vault, wanted).await });
            }
        }
        prove_old(&daemon).await;
        let due = daemon.vaults.all().iter().filter_map(|vault| vault.next_try()).min();
        let pause = async {
            match due {
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = pause => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = daemon.vaults.woken() => {}
            Some(_) = running.join_next() => {}
            () = raised(&mut stopping) => break,
        }
    }
    running.shutdown().await;
}

impl Vault {
    /// What the schedule wants, if it is to be begun now.
    fn begin_wanted(&self, now: tokio::time::Instant) -> Option<Option<Wanted>> {
        let mut state = self.state();
        if state.job.is_some() || state.begun {
            return None;
        }
        if state.again {
            (state.again, state.begun) = (false, true);
            return Some(None);
        }
        if state.wanted.is_empty() || state.not_before.is_some_and(|at| at > now) {
            return None;
        }
        state.begun = true;
        Some(Some(std::mem::take(&mut state.wanted)))
    }

    fn next_try(&self) -> Option<tokio::time::Instant> {
        let state = self.state();
        state.not_before.filter(|_| !state.wanted.is_empty() && !state.begun)
    }

    /// The next try waits twice as long as this one did.
    fn back_off(&self) -> Duration {
        let mut state = self.state();
        let pause = state.pause.map_or(PAUSE_FIRST, |pause| (pause * 2).min(PAUSE_MOST));
        state.pause = Some(pause);
        state.not_before = Some(tokio::time::Instant::now() + pause);
        pause
    }
}

/// Whether the same may work by itself later.
fn is_passing(failure: &Failure) -> bool {
    matches!(
        failure.code,
        Code::VaultUnreachable | Code::VaultFull | Code::VaultBusy | Code::VaultClock
    )
}

async fn serve(daemon: &Arc<Daemon>, vault: &Arc<Vault>, wanted: Option<Wanted>) {
    tokio::time::sleep(GATHER).await;
    let mut wanted = wanted;
    if let Some(wanted) = &mut wanted {
        wanted.append(&mut vault.state().wanted);
    }
    let sources = wanted.as_ref().map(|of| of.iter().map(|(source, _)| source.clone()).collect());
    let done = match accept(daemon, vault).await {
        Ok(job) => run_job(daemon, vault, job, sources).await,
        Err(failure) => Err(failure),
    };
    vault.state().begun = false;
    let ended = match &done {
        Ok(_) => Ended::Good,
        Err(failure) if is_passing(failure) => {
            let pause = vault.back_off();
            tracing::warn!(
                vault = vault.name(),
                error = failure.message,
                ?pause,
                "shipping is tried again"
            );
            vault.state().wanted.extend(wanted.unwrap_or_default());
            return;
        }
        Err(_) => Ended::Failed,
    };
    {
        let mut state = vault.state();
        (state.pause, state.not_before) = (None, None);
    }
    let told = wanted.unwrap_or_default().into_iter();
    daemon.schedule.shipped(told.map(|(source, kind)| (source, kind, ended)));
}

async fn run_job(
    daemon: &Daemon,
    vault: &Arc<Vault>,
    job: JobId,
    sources: Option<BTreeSet<String>>,
) -> Result<ShipResult, Failure> {
    if let Err(error) = daemon.jobs.start(job).await {
        tracing::warn!(job, error = chain(&error), "start not noted");
    }
    let began = Instant::now();
    let shipped = ship_now(daemon, vault, job, sources.as_ref()).await;
    if shipped.is_ok()
        && let Err(failure) = daemon.keep_in_step(vault).await
    {
        let text = format!("the second place is not in step: {}", failure.message);
        daemon.jobs.log(job, text);
    }
    daemon.keep_seen(vault).await;
    let done = shipped.map(|mut result| {
        result.seconds = began.elapsed().as_secs_f64();
        result
    });
    {
        let mut state = vault.state();
        state.job = None;
        state.failure = done.as_ref().err().cloned();
    }
    let ended = match &done {
        Err(failure) => {
            daemon.job_failed(job, failure.clone()).await;
            Ok(())
        }
        Ok(result) => {
            let (points, sent) = (result.points, size(result.bytes));
            daemon.jobs.log(job, format!("{points} points, {sent} sent"));
            let details = Some(JobResult::Ship(result.clone()));
            daemon.jobs.finish(job, result.result, None, details, None).await
        }
    };
    if let Err(error) = ended {
        tracing::warn!(job, error = chain(&error), "end of job not kept");
    }
    daemon.vaults.wake();
    done
}

async fn ship_now(
    daemon: &Daemon,
    vault: &Arc<Vault>,
    job: JobId,
    sources: Option<&BTreeSet<String>>,
) -> Result<ShipResult, Failure> {
    let mut writing = vault.writing.lock().await;
    let opened = vault.look().await?;
    let terms = vault.terms().await?;
    let ids = match &mut *writing {
        Some(ids) => ids,
        none => none.insert(Ids::open(&vault.ids_dir()).map_err(|error| of_ids(&error))?),
    };
    let plan = daemon.plan(&daemon.known().await?, vault, Some(&opened.view), sources);
    let all = records::collect(&daemon.store).await?;
    let known = vault.state().records.take();
    let known = known.filter(|(of, _)| *of == opened.newest).map(|(_, known)| known);
    let known = known.filter(|_| !wants_all_records(&opened.view));
    let has = records::known(&all);
    let (changed, are_all) = records::changed(all, known.as_ref());
    let (points, gone) = (plan.points.len(), plan.gone.len());
    daemon.jobs.log(job, format!("{points} points to ship, {gone} to let go"));
    let source = PoolSource::new(&daemon.store.pool, &plan).await.map_err(of_closed)?;
    let mut left_out = Vec::new();
    let points = points_of(daemon, &plan, &mut left_out).await?;
    let order = Order {
        points,
        gone: plan.gone,
        records: changed,
        records_are_all: are_all,
        locks: Locks::default(),
        now: daemon.store.clock.now().0,
        witnessed: daemon.store.pool.now().0,
        object_len: OBJECT_LEN_DEFAULT,
        streams: STREAMS_DEFAULT,
        creates_only: terms.creates_only,
        round_chunks: ROUND_CHUNKS_DEFAULT,
    };
    let watch = |far: Progress| show(daemon, job, far);
    let stop = || daemon.jobs.asked(job).is_none_or(|asked| *asked.cancel.borrow());
    let shipped = ship(
        &*vault.place()?,
        &opened,
        ids,
        &source,
        &order,
        &Blocking,
        &mut Random,
        &watch,
        &stop,
    )
    .await;
    let shipped = shipped.map_err(|error| of_ship(&error))?;
    left_out.extend(
        shipped.left_out.iter().map(|(point, why)| format!("{}: {why}", id_text::encode(&point.0))),
    );
    let (objects, bytes) = ids.totals();
    {
        let mut state = vault.state();
        state.seen.shipped_at = Some(daemon.store.clock.now().0);
        (state.seen.objects, state.seen.bytes) = (objects, bytes);
        state.records = Some((shipped.opened.newest, has));
    }
    let result = result(vault, job, &shipped, gone as u64, left_out);
    vault.saw(shipped.opened).await;
    Ok(result)
}

fn show(daemon: &Daemon, job: JobId, far: Progress) {
    daemon.jobs.progress(job, |shown| {
        shown.bytes_sent = far.bytes;
        shown.containers = (far.points_done + far.points_left) as u64;
        shown.containers_done = far.points_done as u64;
    });
}

fn result(
    vault: &Vault,
    job: JobId,
    shipped: &Shipped,
    points_gone: u64,
    left_out: Vec<String>,
) -> ShipResult {
    let before = vault.view().map_or(0, |view| view.points.len() as u64);
    ShipResult {
        result: if left_out.is_empty() { Outcome::Ok } else { Outcome::Partial },
        job,
        vault: vault.name(),
        points: shipped.opened.view.points.len() as u64 + points_gone - before,
        points_gone,
        objects: shipped.objects,
        chunks: shipped.chunks,
        chunks_known: shipped.known,
        chunks_taken_over: shipped.taken_over,
        bytes: shipped.bytes,
        bytes_data: shipped.data_bytes,
        requests: shipped.requests,
        manifest: shipped.opened.newest.number.0,
        seconds: 0.0,
        left_out,
        error: None,
    }
}

/// What a manifest says of each point. Points whose recipes cannot be read are left out.
async fn points_of(
    daemon: &Daemon,
    plan: &Plan,
    left_out: &mut Vec<String>,
) -> Result<Vec<ShipPoint>, Failure> {
    let mut points = Vec::with_capacity(plan.points.len());
    for Chosen { info, attributes, class } in &plan.points {
        let id = info.id;
        let look = move |pool: LivePool| async move { pool.anatomy(&id).await };
        let anatomy = match daemon.store.pool.call(look).await.map_err(of_closed)? {
            Ok(anatomy) => anatomy,
            Err(error) => {
                left_out.push(format!("{}: {}", id_text::encode(&id.0), chain(&error)));
                continue;
            }
        };
        points.push(ShipPoint {
            point: id,
            source: info.source,
            is_partial: info.partial,
            class: *class,
            at: info.at.0,
            committed_at: info.committed_at.0,
            bytes_source: info.bytes_source,
            entry_count: info.entries,
            attributes: attributes.clone(),
            recipe_number: anatomy.recipe.0,
            recipe_digest: anatomy.recipe_digest,
            root: anatomy.root,
            root_page: anatomy.root_page.map(|page| page.0),
        });
    }
    Ok(points)
}
