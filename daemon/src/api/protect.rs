//! Machines, sources, and starting backups.

use super::SharedDaemon;
use super::answer::{Answer, body, whole};
use super::types;
use crate::audit::Actor;
use crate::clock::rfc3339;
use crate::failure::Failure;
use crate::id_text;
use crate::machine;
use crate::point_facts::path_text;
use crate::record::{SourceKind, SourceName, SourceRecord};
use crate::source::{self, Names};
use axum::Json;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, Path, RawQuery, State};
use keelhold_disk::pool::PointInfo;
use keelhold_disk::units::UnixNanos;
use std::collections::HashMap;

pub async fn machines(State(daemon): State<SharedDaemon>) -> Answer<Vec<types::Machine>> {
    Ok(Json(daemon.machines().await?))
}

pub async fn token(State(daemon): State<SharedDaemon>, bytes: Bytes) -> Answer<types::Token> {
    let request: types::NewToken = body(&bytes)?;
    let (store, authority) = (&daemon.store, &daemon.authority);
    let invited = machine::invite(store, authority, &request.machine, request.ttl_seconds).await?;
    let (token, url) = (invited.token.to_string(), daemon.url.clone());
    Ok(Json(types::Token {
        line: format!("keelhold-agent enroll {url} {token}"),
        machine: request.machine,
        token,
        url,
        expires_at: rfc3339(invited.expires_at),
    }))
}

pub async fn revoke(
    State(daemon): State<SharedDaemon>,
    Path(name): Path<String>,
) -> Answer<types::Machine> {
    let record = machine::revoke(&daemon.store, &name).await?;
    daemon.connected.cut(&record.id);
    Ok(Json(daemon.machine(record)))
}

pub async fn rename(
    State(daemon): State<SharedDaemon>,
    ConnectInfo(actor): ConnectInfo<Actor>,
    Path(name): Path<String>,
    bytes: Bytes,
) -> Answer<types::Machine> {
    let new: types::NewName = body(&bytes)?;
    let of = std::sync::Arc::clone(&daemon);
    let renamed = async move { of.rename_machine(&actor, &name, &new.name).await };
    let record = whole(renamed).await?;
    Ok(Json(daemon.machine(record)))
}

/// What is to become of the points of what is removed.
fn after_stop(raw: Option<String>) -> Result<types::AfterStop, Failure> {
    let query = super::points::query(raw)?;
    let Some(word) = query.text("points") else { return Ok(types::AfterStop::default()) };
    types::AfterStop::from_word(word).ok_or_else(|| {
        let text = format!("points are kept by keep, policy or delete, not by {word:?}");
        Failure::new(crate::failure::Code::BadRequest, text)
    })
}

pub async fn remove_machine(
    State(daemon): State<SharedDaemon>,
    ConnectInfo(actor): ConnectInfo<Actor>,
    Path(name): Path<String>,
    RawQuery(raw): RawQuery,
) -> Answer<types::Machine> {
    let (of, after) = (std::sync::Arc::clone(&daemon), after_stop(raw)?);
    let removed = async move { of.remove_machine(&actor, &name, after).await };
    let record = whole(removed).await?;
    daemon.connected.cut(&record.id);
    Ok(Json(daemon.machine(record)))
}

pub async fn sources(State(daemon): State<SharedDaemon>) -> Answer<Vec<types::Source>> {
    Ok(Json(source_list(&daemon).await?))
}

/// All sources that are protected, by name.
pub async fn source_list(daemon: &SharedDaemon) -> Result<Vec<types::Source>, Failure> {
    let names = daemon.names().await?;
    let mut points: HashMap<String, (u64, PointInfo)> = HashMap::new();
    for point in
        daemon.points_anywhere().await?.into_iter().filter(|each| each.trashed_until.is_none())
    {
        let known = points.entry(id_text::encode(&point.source.0));
        let (count, newest) = known.or_insert_with(|| (0, point.clone()));
        *count += 1;
        if point.at >= newest.at {
            *newest = point;
        }
    }
    let protected = names.sources.values().filter(|source| !source.removed);
    let mut sources: Vec<types::Source> =
        protected.map(|source| describe(source, &names, points.get(&source.id))).collect();
    sources.sort_by(|left, right| (&left.machine, &left.name).cmp(&(&right.machine, &right.name)));
    Ok(sources)
}

fn describe(
    source: &SourceRecord,
    names: &Names,
    points: Option<&(u64, PointInfo)>,
) -> types::Source {
    let SourceKind::Tree { exclude, all_file_systems, default_excludes, .. } = &source.kind;
    let machine = names.machines.get(&source.machine);
    let at = |at: UnixNanos| rfc3339(at);
    types::Source {
        name: source.name.clone(),
        machine: machine.map_or_else(|| source.machine.clone(), |machine| machine.name.clone()),
        id: source.id.clone(),
        kind: String::from("tree"),
        tree: path_text(&source.root()).0,
        exclude: exclude.clone(),
        all_file_systems: *all_file_systems,
        default_excludes: *default_excludes,
        points: points.map_or(0, |(count, _)| *count),
        last_point: points.map(|(_, newest)| at(newest.at)),
        last_result: points.map(|(_, newest)| match newest.partial {
            true => types::Outcome::Partial,
            false => types::Outcome::Ok,
        }),
    }
}

pub async fn add_source(State(daemon): State<SharedDaemon>, bytes: Bytes) -> Answer<types::Source> {
    let new: types::NewSource = body(&bytes)?;
    let record = source::add(&daemon.store, &new).await?;
    one_source(&daemon, &record).await
}

async fn one_source(daemon: &SharedDaemon, record: &SourceRecord) -> Answer<types::Source> {
    let names = daemon.names().await?;
    Ok(Json(describe(record, &names, None)))
}

fn source_name(machine: String, name: String) -> Result<SourceName, Failure> {
    format!("{machine}/{name}").parse().map_err(|error: crate::record::NameError| {
        Failure::of(crate::failure::Code::NameInvalid, &error)
    })
}

pub async fn remove_source(
    State(daemon): State<SharedDaemon>,
    ConnectInfo(actor): ConnectInfo<Actor>,
    Path((machine, name)): Path<(String, String)>,
    RawQuery(raw): RawQuery,
) -> Answer<types::Source> {
    let name = source_name(machine, name)?;
    let (of, after) = (std::sync::Arc::clone(&daemon), after_stop(raw)?);
    let removed = async move { of.remove_source(&actor, &name, after).await };
    let record = whole(removed).await?;
    one_source(&daemon, &record).await
}

pub async fn backup(
    State(daemon): State<SharedDaemon>,
    Path((machine, name)): Path<(String, String)>,
    bytes: Bytes,
) -> Answer<types::Started> {
    let request: types::BackupRequest = body(&bytes)?;
    Ok(Json(daemon.back_up(&source_name(machine, name)?, &request).await?))
}
