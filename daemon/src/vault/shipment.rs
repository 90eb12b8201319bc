//! One shipment: what is to be brought, from the pool or from another vault, and what it came to.

use super::choose::{Chosen, Plan};
use super::failure::{of_ids, of_ship};
use super::local::{Random, Vault};
use super::outgoing::{Blocking, PoolSource};
use super::records;
use super::repack::repack_if_due;
use crate::api::types::{Outcome, ShipResult};
use crate::daemon::Daemon;
use crate::failure::{Failure, chain};
use crate::id_text;
use crate::job::JobId;
use crate::pool_failure::of_closed;
use crate::pool_thread::LivePool;
use keelhold_disk::units::PointId;
use keelhold_vault::chain::Opened;
use keelhold_vault::format::Class;
use keelhold_vault::ids::Ids;
use keelhold_vault::ship::{
    Locks, OBJECT_LEN_DEFAULT, Order, Progress, ROUND_CHUNKS_DEFAULT, STREAMS_DEFAULT, ShipPoint,
    Shipped, Source, ship, wants_all_records,
};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What a shipment is to bring, and let go.
#[derive(Debug, Clone, Default)]
pub(super) struct Load {
    pub points: Vec<ShipPoint>,
    pub gone: Vec<PointId>,
    /// As [`Plan::expiry`].
    pub expiry: Vec<(Class, i64)>,
    /// Points that could not even be begun, and why.
    pub left_out: Vec<String>,
}

/// What came of it, for what follows in the same job.
pub(super) struct Sent {
    pub result: ShipResult,
    pub opened: Opened,
    pub locks: Locks,
}

/// The vault's local index, open for writing.
pub(super) fn ids_of<'a>(
    vault: &Vault,
    writing: &'a mut Option<Ids>,
) -> Result<&'a mut Ids, Failure> {
    match writing {
        Some(ids) => Ok(ids),
        none => Ok(none.insert(Ids::open(&vault.ids_dir()).map_err(|error| of_ids(&error))?)),
    }
}

/// Everything the vault wants of some sources, or of all; and what is mostly dead is written again.
pub(super) async fn ship_now(
    daemon: &Daemon,
    vault: &Arc<Vault>,
    job: JobId,
    sources: Option<&BTreeSet<String>>,
) -> Result<ShipResult, Failure> {
    let mut writing = vault.writing.lock().await;
    let opened = vault.look().await?;
    let ids = ids_of(vault, &mut writing)?;
    let plan = daemon.plan(&daemon.known().await?, vault, Some(&opened.view), sources);
    let source = PoolSource::new(&daemon.store.pool, &plan).await.map_err(of_closed)?;
    let mut left_out = Vec::new();
    let points = points_of(daemon, &plan, &mut left_out).await?;
    let load = Load { points, gone: plan.gone, expiry: plan.expiry, left_out };
    let sent = send(daemon, vault, job, (&opened, ids), (&source, load)).await?;
    let mut result = sent.result;
    // What has been shipped is there, whatever comes of this.
    let terms = vault.terms().await?;
    match repack_if_due(daemon, vault, &sent.opened, ids, (sent.locks, terms)).await {
        Ok(None) => {}
        Ok(Some(done)) => {
            (result.repacked, result.bytes_repacked) = (done.let_go, done.sent_bytes);
            result.manifest = done.opened.newest.number.0;
            {
                let mut state = vault.state();
                let known = state.records.take();
                state.records = known.map(|(_, known)| (done.opened.newest, known));
            }
            vault.saw(done.opened).await;
        }
        Err(failure) => {
            let text = format!("what is mostly dead was not written again: {}", failure.message);
            daemon.jobs.log(job, text);
        }
    }
    Ok(result)
}

/// Renews locks, sends the load and the records that have changed, and writes the manifest.
pub(super) async fn send(
    daemon: &Daemon,
    vault: &Arc<Vault>,
    job: JobId,
    (opened, ids): (&Opened, &mut Ids),
    (source, load): (&impl Source, Load),
) -> Result<Sent, Failure> {
    let terms = vault.terms().await?;
    let all = records::collect(&daemon.store).await?;
    let known = vault.state().records.take();
    let known = known.filter(|(of, _)| *of == opened.newest).map(|(_, known)| known);
    let known = known.filter(|_| !wants_all_records(&opened.view));
    let has = records::known(&all);
    let (changed, are_all) = records::changed(all, known.as_ref());
    let (points, gone) = (load.points.len(), load.gone.len());
    daemon.jobs.log(job, format!("{points} points to ship, {gone} to let go"));
    let locks = super::lease::renewed(daemon, vault, opened, ids, &load.expiry).await?;
    let order = Order {
        points: load.points,
        gone: load.gone,
        records: changed,
        records_are_all: are_all,
        locks: locks.locks.clone(),
        now: daemon.store.clock.now().0,
        witnessed: daemon.store.pool.now().0,
        object_len: OBJECT_LEN_DEFAULT,
        streams: STREAMS_DEFAULT,
        creates_only: terms.creates_only,
        round_chunks: ROUND_CHUNKS_DEFAULT,
    };
    let watch = |far: Progress| show(daemon, job, far);
    let stop = || daemon.jobs.asked(job).is_none_or(|asked| *asked.cancel.borrow());
    let (place, mut random) = (vault.place()?, Random);
    let shipped = ship(&*place, opened, ids, source, &order, &Blocking, &mut random, &watch, &stop);
    let shipped = shipped.await.map_err(|error| of_ship(&error))?;
    let mut left_out = load.left_out;
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
    let mut result = result(vault, job, &shipped, gone as u64, left_out);
    (result.locks_renewed, result.locks_asked) = (locks.extended, locks.asked + locks.sampled);
    vault.saw(shipped.opened.clone()).await;
    Ok(Sent { result, opened: shipped.opened, locks: locks.locks })
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
        locks_renewed: 0,
        locks_asked: 0,
        repacked: 0,
        bytes_repacked: 0,
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
