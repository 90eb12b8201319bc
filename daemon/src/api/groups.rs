//! Protection groups and their schedule.

use super::SharedDaemon;
use super::answer::{Answer, body, whole};
use super::types::{Group, GroupPreview, GroupTexts, GroupVersion, GroupsApplied, Planned};
use crate::audit::Actor;
use axum::Json;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, Path, RawQuery, State};

/// `schedule next` lists at most this many.
const LISTED_MAX: usize = 10_000;
const LISTED: usize = 20;

pub async fn list(State(daemon): State<SharedDaemon>) -> Answer<Vec<Group>> {
    Ok(Json(daemon.group_list().await?))
}

pub async fn preview(
    State(daemon): State<SharedDaemon>,
    ConnectInfo(actor): ConnectInfo<Actor>,
    bytes: Bytes,
) -> Answer<GroupPreview> {
    let texts: GroupTexts = body(&bytes)?;
    Ok(Json(daemon.preview_groups(&actor, &texts).await?))
}

pub async fn apply(
    State(daemon): State<SharedDaemon>,
    ConnectInfo(actor): ConnectInfo<Actor>,
    bytes: Bytes,
) -> Answer<GroupsApplied> {
    let texts: GroupTexts = body(&bytes)?;
    Ok(Json(whole(async move { daemon.apply_groups(&actor, &texts).await }).await?))
}

pub async fn remove(
    State(daemon): State<SharedDaemon>,
    ConnectInfo(actor): ConnectInfo<Actor>,
    Path(name): Path<String>,
) -> Answer<Group> {
    Ok(Json(whole(async move { daemon.remove_group(&actor, &name).await }).await?))
}

pub async fn history(
    State(daemon): State<SharedDaemon>,
    Path(name): Path<String>,
) -> Answer<Vec<GroupVersion>> {
    Ok(Json(daemon.group_history(&name).await?))
}

pub async fn next(
    State(daemon): State<SharedDaemon>,
    RawQuery(raw): RawQuery,
) -> Answer<Vec<Planned>> {
    let query = super::points::query(raw)?;
    let count = query.text("count").and_then(|text| text.parse().ok()).unwrap_or(LISTED);
    Ok(Json(daemon.schedule_next(count.min(LISTED_MAX)).await?))
}
