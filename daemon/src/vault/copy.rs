//! From a vault into another: every vault has a master key of its own, so what is copied is opened and
//! sealed anew here. Begun again, it goes on where it was.

use super::local::Vault;
use super::outgoing::Blocking;
use super::place::Place;
use super::reading::VaultThread;
use super::shipment::{Load, ids_of, send};
use super::verify::verify_now;
use crate::api::types::{CopyRequest, JobKind, JobResult, Outcome, ShipResult, Started};
use crate::audit::Actor;
use crate::daemon::Daemon;
use crate::failure::{Code, Failure, chain};
use crate::job::JobId;
use crate::pool_failure::{of_closed, of_store};
use crate::pool_thread::LivePool;
use keelhold_chunk::ChunkId;
use keelhold_disk::units::{PointId, PoolId};
use keelhold_vault::format::{Manifest, Point};
use keelhold_vault::pack::SourceFrame;
use keelhold_vault::read::{ReadError, VaultReader};
use keelhold_vault::ship::{ShipPoint, Source, SourceError};
use roaring::RoaringTreemap;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::oneshot;

/// Points of one pool in a vault, as another vault's shipment reads them.
struct VaultSource {
    reader: VaultReader<Place>,
    thread: VaultThread,
    pool: PoolId,
}

fn failed(error: &ReadError) -> SourceError {
    match error {
        ReadError::NoPoint { .. } => SourceError::Gone,
        error => SourceError::Failed(chain(error)),
    }
}

impl Source for VaultSource {
    fn pool(&self) -> PoolId {
        self.pool
    }

    async fn reach(&self, point: PointId) -> Result<RoaringTreemap, SourceError> {
        let (answer, answered) = oneshot::channel();
        let reader = self.reader.clone();
        let walk = move || async move {
            let _ = answer.send(reader.reach(&point).await);
        };
        let stopped = |why: String| SourceError::Failed(why);
        self.thread.run(walk).map_err(|failure| stopped(failure.message))?;
        let walked = answered.await.map_err(|error| stopped(error.to_string()))?;
        walked.map_err(|error| failed(&error))
    }

    async fn ids(&self, numbers: Vec<u64>) -> Result<Vec<(u64, ChunkId)>, SourceError> {
        self.reader.ids(self.pool, &numbers).await.map_err(|error| failed(&error))
    }

    async fn frames(&self, numbers: Vec<u64>) -> Result<Vec<SourceFrame>, SourceError> {
        let frames = self.reader.frames(self.pool, &numbers, &Blocking).await;
        frames.map_err(|error| failed(&error))
    }
}

pub async fn copy(
    daemon: &Arc<Daemon>,
    actor: Actor,
    name: &str,
    request: CopyRequest,
) -> Result<Started, Failure> {
    let (from, to) = (daemon.vaults.named(name)?, daemon.vaults.named(&request.to)?);
    if from.name() == to.name() {
        let text = format!("vault {name} and the other one are the same");
        return Err(Failure::new(Code::BadRequest, text).hint("name another vault"));
    }
    let job = daemon.jobs.accept_vault(JobKind::Copy, &to.name()).await;
    let job = job.map_err(|error| of_store(&error))?;
    let daemon = Arc::clone(daemon);
    tokio::spawn(async move { run(&daemon, &actor, (&from, &to), request.moves, job).await });
    Ok(Started { job, joined: false })
}

async fn run(
    daemon: &Daemon,
    actor: &Actor,
    (from, to): (&Arc<Vault>, &Arc<Vault>),
    moves: bool,
    job: JobId,
) {
    if let Err(error) = daemon.jobs.start(job).await {
        tracing::warn!(job, error = chain(&error), "start not noted");
    }
    let began = Instant::now();
    let mut done = copy_now(daemon, (from, to), job).await;
    if moves && matches!(&done, Ok(result) if result.result == Outcome::Ok) {
        let let_go = let_go(daemon, (from, to), job).await;
        let what = vec![from.name(), to.name()];
        daemon.store.audit(actor, "vault-move", what, &let_go).await;
        done = let_go.and(done);
    }
    daemon.keep_seen(from).await;
    daemon.keep_seen(to).await;
    let ended = match done {
        Err(failure) => {
            daemon.job_failed(job, failure).await;
            Ok(())
        }
        Ok(result) => {
            let result = ShipResult { seconds: began.elapsed().as_secs_f64(), ..result };
            let (outcome, details) = (result.result, Some(JobResult::Ship(result)));
            daemon.jobs.finish(job, outcome, None, details, None).await
        }
    };
    if let Err(error) = ended {
        tracing::warn!(job, error = chain(&error), "end of job not kept");
    }
    daemon.vaults.wake();
}

fn row(point: &Point) -> ShipPoint {
    ShipPoint {
        point: point.point,
        source: point.source,
        is_partial: point.is_partial,
        class: point.class,
        at: point.at,
        committed_at: point.committed_at,
        bytes_source: point.bytes_source,
        entry_count: point.entry_count,
        attributes: point.attributes.clone(),
        recipe_number: point.recipe_number,
        recipe_digest: point.recipe_digest,
        root: point.root.clone(),
        // Numbers of pages are in the root itself.
        root_page: keelhold_vault::read::root_number(&point.root),
    }
}

/// What a vault holds and another has not, one pool after the other.
fn lacking(from: &Manifest, to: &Manifest) -> Vec<(PoolId, Vec<ShipPoint>)> {
    let has = |point: &PointId| to.points.binary_search_by_key(point, |of| of.point).is_ok();
    let pools: BTreeSet<PoolId> = from.points.iter().map(|point| point.pool).collect();
    let of_pool = |pool: PoolId| {
        let own = from.points.iter().filter(|point| point.pool == pool && !has(&point.point));
        (pool, own.map(row).collect::<Vec<_>>())
    };
    pools.into_iter().map(of_pool).filter(|(_, points)| !points.is_empty()).collect()
}

async fn copy_now(
    daemon: &Daemon,
    (from, to): (&Arc<Vault>, &Arc<Vault>),
    job: JobId,
) -> Result<ShipResult, Failure> {
    let view = from.look().await?.view;
    let mut writing = to.writing.lock().await;
    let mut opened = to.look().await?;
    let ids = ids_of(to, &mut writing)?;
    let id_key = daemon.store.pool.call(|pool: LivePool| async move { pool.id_key() }).await;
    let (place, master) = (from.place()?, Arc::clone(&from.master));
    let id_key = Some(id_key.map_err(of_closed)?);
    let reader = VaultReader::new(place, master, Arc::clone(&view), id_key);
    let mut all: Option<ShipResult> = None;
    let mut loads = lacking(&view, &opened.view);
    if loads.is_empty() {
        // Records go along, and the result says that nothing else was lacking.
        loads.extend(view.points.first().map(|point| (point.pool, Vec::new())));
    }
    for (pool, points) in loads {
        let source =
            VaultSource { reader: reader.clone(), thread: daemon.vaults.thread().clone(), pool };
        let held = opened.view.points.iter().map(|point| (point.class, i64::MAX));
        let expiry = held.chain(points.iter().map(|point| (point.class, i64::MAX))).collect();
        let load = Load { points, expiry, ..Load::default() };
        let sent = send(daemon, to, job, (&opened, ids), (&source, load)).await?;
        opened = sent.opened;
        all = Some(match all {
            None => sent.result,
            Some(before) => joined(before, sent.result),
        });
    }
    all.ok_or_else(|| {
        let text = format!("there is nothing in vault {}", from.name());
        Failure::new(Code::VaultNoPoints, text)
    })
}

fn joined(before: ShipResult, last: ShipResult) -> ShipResult {
    ShipResult {
        result: if last.result == Outcome::Ok { before.result } else { last.result },
        points: before.points + last.points,
        objects: before.objects + last.objects,
        chunks: before.chunks + last.chunks,
        chunks_known: before.chunks_known + last.chunks_known,
        chunks_taken_over: before.chunks_taken_over + last.chunks_taken_over,
        bytes: before.bytes + last.bytes,
        bytes_data: before.bytes_data + last.bytes_data,
        requests: before.requests + last.requests,
        locks_renewed: before.locks_renewed + last.locks_renewed,
        locks_asked: before.locks_asked + last.locks_asked,
        left_out: [before.left_out, last.left_out].concat(),
        ..last
    }
}

/// The target is read whole first: what cannot be proved there does not go here.
async fn let_go(
    daemon: &Daemon,
    (from, to): (&Arc<Vault>, &Arc<Vault>),
    job: JobId,
) -> Result<(), Failure> {
    let proved = verify_now(daemon, to, job, true).await?;
    if let Some(finding) = proved.findings.first() {
        let text = format!("vault {} was not proved: {finding}", to.name());
        return Err(Failure::new(Code::VaultDamaged, text)
            .hint("nothing was let go; look at `keelhold vault verify` of the target"));
    }
    let record = from.record();
    daemon.put_vault_record(from, crate::record::VaultRecord { closed: true, ..record }).await?;
    let mut writing = from.writing.lock().await;
    let opened = from.look().await?;
    let there = to.opened().map(|opened| opened.view);
    let gone = opened.view.points.iter().map(|point| point.point).filter(|point| {
        let there = there.as_ref().map_or(&[][..], |view| &view.points);
        there.binary_search_by_key(point, |of| of.point).is_ok()
    });
    let load = Load { gone: gone.collect(), ..Load::default() };
    let ids = ids_of(from, &mut writing)?;
    let pool = daemon.store.pool.call(|pool: LivePool| async move { pool.id() }).await;
    let reader =
        VaultReader::new(from.place()?, Arc::clone(&from.master), Arc::clone(&opened.view), None);
    let thread = daemon.vaults.thread().clone();
    let nothing = VaultSource { reader, thread, pool: pool.map_err(of_closed)? };
    send(daemon, from, job, (&opened, ids), (&nothing, load)).await.map(drop)
}
