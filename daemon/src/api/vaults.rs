//! Vaults.

use super::SharedDaemon;
use super::answer::{Answer, body, whole};
use super::types::{
    Bandwidth, CopyRequest, Kit, KitShapeRequest, NewGeo, NewPassphrase, NewVault, NewZone,
    PruneRequest, Started, Vault, VaultPoint, VerifyRequest,
};
use crate::audit::Actor;
use axum::Json;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, Path, State};

pub async fn list(State(daemon): State<SharedDaemon>) -> Answer<Vec<Vault>> {
    Ok(Json(daemon.vault_list().await?))
}

pub async fn add(
    State(daemon): State<SharedDaemon>,
    ConnectInfo(actor): ConnectInfo<Actor>,
    bytes: Bytes,
) -> Answer<Vault> {
    let new: NewVault = body(&bytes)?;
    Ok(Json(whole(async move { daemon.add_vault(&actor, new).await }).await?))
}

pub async fn remove(
    State(daemon): State<SharedDaemon>,
    ConnectInfo(actor): ConnectInfo<Actor>,
    Path(name): Path<String>,
) -> Answer<Vault> {
    Ok(Json(whole(async move { daemon.remove_vault(&actor, &name).await }).await?))
}

pub async fn ship(State(daemon): State<SharedDaemon>, Path(name): Path<String>) -> Answer<Started> {
    Ok(Json(crate::vault::ship_by_hand(&daemon, &name).await?))
}

pub async fn verify(
    State(daemon): State<SharedDaemon>,
    Path(name): Path<String>,
    bytes: Bytes,
) -> Answer<Started> {
    let request: VerifyRequest = body(&bytes)?;
    Ok(Json(crate::vault::verify(&daemon, &name, request.whole).await?))
}

pub async fn prune(
    State(daemon): State<SharedDaemon>,
    ConnectInfo(actor): ConnectInfo<Actor>,
    Path(name): Path<String>,
    bytes: Bytes,
) -> Answer<Started> {
    let request: PruneRequest = body(&bytes)?;
    Ok(Json(crate::vault::prune(&daemon, actor, &name, request).await?))
}

pub async fn copy(
    State(daemon): State<SharedDaemon>,
    ConnectInfo(actor): ConnectInfo<Actor>,
    Path(name): Path<String>,
    bytes: Bytes,
) -> Answer<Started> {
    let request: CopyRequest = body(&bytes)?;
    Ok(Json(crate::vault::copy(&daemon, actor, &name, request).await?))
}

pub async fn points(
    State(daemon): State<SharedDaemon>,
    Path(name): Path<String>,
) -> Answer<Vec<VaultPoint>> {
    Ok(Json(daemon.vault_points(&name).await?))
}

pub async fn kit(
    State(daemon): State<SharedDaemon>,
    ConnectInfo(actor): ConnectInfo<Actor>,
    Path(name): Path<String>,
    bytes: Bytes,
) -> Answer<Kit> {
    let shape: KitShapeRequest = body(&bytes)?;
    Ok(Json(whole(async move { daemon.vault_kit(&actor, &name, shape).await }).await?))
}

pub async fn passphrase(
    State(daemon): State<SharedDaemon>,
    ConnectInfo(actor): ConnectInfo<Actor>,
    Path(name): Path<String>,
    bytes: Bytes,
) -> Answer<Vault> {
    let new: NewPassphrase = body(&bytes)?;
    let set = async move { daemon.set_vault_passphrase(&actor, &name, new.passphrase).await };
    Ok(Json(whole(set).await?))
}

pub async fn bandwidth(
    State(daemon): State<SharedDaemon>,
    ConnectInfo(actor): ConnectInfo<Actor>,
    Path(name): Path<String>,
    bytes: Bytes,
) -> Answer<Vault> {
    let new: Bandwidth = body(&bytes)?;
    let set = async move { daemon.set_vault_bandwidth(&actor, &name, new.rules).await };
    Ok(Json(whole(set).await?))
}

pub async fn geo(
    State(daemon): State<SharedDaemon>,
    ConnectInfo(actor): ConnectInfo<Actor>,
    Path(name): Path<String>,
    bytes: Bytes,
) -> Answer<Vault> {
    let new: NewGeo = body(&bytes)?;
    Ok(Json(whole(async move { daemon.set_vault_geo(&actor, &name, new).await }).await?))
}

pub async fn zone(
    State(daemon): State<SharedDaemon>,
    ConnectInfo(actor): ConnectInfo<Actor>,
    Path(name): Path<String>,
    bytes: Bytes,
) -> Answer<Vault> {
    let new: NewZone = body(&bytes)?;
    let set = async move { daemon.set_vault_zone(&actor, &name, new.several).await };
    Ok(Json(whole(set).await?))
}
