//! Forgetting, giving space back, and who did it.

use super::SharedDaemon;
use super::answer::{Answer, body};
use super::points::details_of;
use super::types::{
    AuditEntry, DiskRequest, ForgetForecast, ForgetRequest, Forgotten, Machine, NewPin, NewQuota,
    PointDetails, ReclaimRequest, ScrubStatus, Started, Trash,
};
use crate::audit::Actor;
use crate::reclaim;
use crate::upkeep::Why;
use axum::Json;
use axum::body::Bytes;
use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, Path, State};
use axum::serve::IncomingStream;
use tokio::net::UnixListener;

impl Connected<IncomingStream<'_, UnixListener>> for Actor {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        Self::user(stream.io().peer_cred().ok().map(|peer| peer.uid()))
    }
}

type Who = ConnectInfo<Actor>;

pub async fn forget(
    State(daemon): State<SharedDaemon>,
    ConnectInfo(actor): Who,
    bytes: Bytes,
) -> Answer<Forgotten> {
    let request: ForgetRequest = body(&bytes)?;
    Ok(Json(daemon.forget(&actor, &request).await?))
}

pub async fn forecast(State(daemon): State<SharedDaemon>, bytes: Bytes) -> Answer<ForgetForecast> {
    let request: ForgetRequest = body(&bytes)?;
    Ok(Json(daemon.forecast(&request.points).await?))
}

pub async fn undo_forget(
    State(daemon): State<SharedDaemon>,
    ConnectInfo(actor): Who,
    Path(point): Path<String>,
) -> Answer<PointDetails> {
    let info = daemon.undo_forget(&actor, &point).await?;
    details_of(&daemon, &info).await
}

pub async fn pin(
    State(daemon): State<SharedDaemon>,
    ConnectInfo(actor): Who,
    Path(point): Path<String>,
    bytes: Bytes,
) -> Answer<PointDetails> {
    let pin: NewPin = body(&bytes)?;
    let info = daemon.pin(&actor, &point, &pin).await?;
    details_of(&daemon, &info).await
}

pub async fn unpin(
    State(daemon): State<SharedDaemon>,
    ConnectInfo(actor): Who,
    Path(point): Path<String>,
) -> Answer<PointDetails> {
    let info = daemon.unpin(&actor, &point).await?;
    details_of(&daemon, &info).await
}

pub async fn trash(State(daemon): State<SharedDaemon>) -> Answer<Trash> {
    Ok(Json(daemon.trash().await?))
}

pub async fn reclaim(
    State(daemon): State<SharedDaemon>,
    ConnectInfo(actor): Who,
    bytes: Bytes,
) -> Answer<Started> {
    let request: ReclaimRequest = body(&bytes)?;
    if !request.empty_trash.is_empty() {
        daemon.empty_trash(&actor, &request.empty_trash).await?;
    }
    let why = if request.confirm { Why::Confirmed } else { Why::Asked };
    let own = request.confirm || !request.empty_trash.is_empty();
    let started = reclaim::start(&daemon, why, own).await;
    if request.confirm {
        let what = started.iter().map(|started| format!("job {}", started.job)).collect();
        daemon.store.audit(&actor, "pool reclaim --confirm", what, &started).await;
    }
    Ok(Json(started?))
}

/// A whole pass without pauses, behind the one that runs.
pub async fn scrub(State(daemon): State<SharedDaemon>) -> Answer<ScrubStatus> {
    Ok(Json(daemon.scrub.ask()))
}

/// A disk joins or leaves.
pub async fn disks(
    State(daemon): State<SharedDaemon>,
    ConnectInfo(actor): Who,
    bytes: Bytes,
) -> Answer<Started> {
    let request: DiskRequest = body(&bytes)?;
    Ok(Json(daemon.change_disks(&actor, &request).await?))
}

pub async fn quota(
    State(daemon): State<SharedDaemon>,
    ConnectInfo(actor): Who,
    Path(name): Path<String>,
    bytes: Bytes,
) -> Answer<Machine> {
    let new: NewQuota = body(&bytes)?;
    let set = crate::machine::set_quota(&daemon.store, &name, new.bytes).await;
    let set = set.map_err(crate::failure::Failure::from);
    let bytes = new.bytes.map_or_else(|| String::from("none"), |bytes| bytes.to_string());
    daemon.store.audit(&actor, "machine quota", vec![name, bytes], &set).await;
    Ok(Json(daemon.machine_with_quota(set?).await?))
}

pub async fn audit(State(daemon): State<SharedDaemon>) -> Answer<Vec<AuditEntry>> {
    Ok(Json(daemon.store.audited().await?))
}
