//! The state of the whole: pool, protection, catalog.

use super::SharedDaemon;
use super::answer::Answer;
use super::types::{CatalogStatus, Disk, FullForecast, Outcome, PoolStatus, Source, Status, Vault};
use super::verdict::{Sources, Verdict, verdict, without_pool};
use crate::clock::rfc3339;
use crate::failure::Failure;
use crate::point_facts::PointFacts;
use crate::pool_failure::of_closed;
use crate::size_text::size;
use axum::Json;
use axum::extract::State;
use keelhold_disk::pool::{DiskState, DiskStatus};

/// Jobs that the forecast is made from.
const HISTORY_COUNT: usize = 5_000;
/// Reads waiting on a disk, more than on another, from which on it is called slow.
const SLOW_AHEAD: u32 = 4;
/// Lines behind the sentence.
const LINES_MAX: usize = 12;

pub async fn pool(State(daemon): State<SharedDaemon>) -> Answer<PoolStatus> {
    Ok(Json(pool_status(&daemon).await?))
}

fn ratio(of: u64, by: u64) -> f64 {
    if by == 0 { 1.0 } else { of as f64 / by as f64 }
}

async fn pool_status(daemon: &SharedDaemon) -> Result<PoolStatus, Failure> {
    let ask =
        |pool: crate::pool_thread::LivePool| async move { (pool.status(), pool.lost().len()) };
    let (status, chunks_lost) = daemon.store.pool.call(ask).await.map_err(of_closed)?;
    let points = daemon.points().await?;
    let facts: Vec<PointFacts> =
        points.iter().map(|point| PointFacts::parse(&point.attributes)).collect();
    let bytes_plain = facts.iter().map(|facts| facts.bytes_new).sum();
    let bytes_stored = facts.iter().map(|facts| facts.bytes_stored).sum();
    let disks = status.disks.iter().map(|disk| disk_of(daemon, &status, disk)).collect();
    let room = status.bytes_free.saturating_sub(status.bytes_reserved) + status.bytes_dead;
    let jobs = daemon.catalog.jobs(HISTORY_COUNT);
    Ok(PoolStatus {
        id: status.pool.to_string(),
        bytes_total: status.bytes_total,
        bytes_used: status.bytes_used,
        bytes_free: status.bytes_free,
        bytes_reserved: status.bytes_reserved,
        bytes_logical: status.bytes_logical,
        dedup_ratio: ratio(status.bytes_logical, bytes_plain),
        compression_ratio: ratio(bytes_plain, bytes_stored),
        chunks: status.chunks,
        points: points.iter().filter(|point| point.trashed_until.is_none()).count() as u64,
        index_bytes: status.index_bytes,
        copies: status.copies,
        writable: status.fenced.is_none(),
        bytes_single: status.bytes_single,
        bytes_unreadable: status.bytes_unreadable,
        chunks_lost,
        disks,
        scrub: daemon.scrub.status(),
        reclaim: daemon.upkeep.status(daemon).await?,
        forecast: crate::trend::forecast(&jobs, daemon.store.clock.now(), room),
    })
}

fn disk_of(
    daemon: &SharedDaemon,
    pool: &keelhold_disk::pool::PoolStatus,
    disk: &DiskStatus,
) -> Disk {
    let id = disk.id.to_string();
    let known = || daemon.disks.path(&id).map(|path| path.display().to_string());
    let there = disk.geometry.as_ref().map(|found| found.name.to_string());
    Disk {
        path: there.or_else(known).unwrap_or_default(),
        state: disk_state(pool, disk).to_owned(),
        bytes_total: disk.geometry.as_ref().map_or(0, |found| found.len),
        direct: disk.geometry.as_ref().is_some_and(|found| found.direct),
        bytes_used: disk.bytes_used,
        bytes_single: disk.bytes_single,
        read_errors: disk.read_errors,
        mismatches: disk.mismatches,
        write_errors: disk.write_errors,
        id,
    }
}

fn disk_state(pool: &keelhold_disk::pool::PoolStatus, disk: &DiskStatus) -> &'static str {
    let in_use = |other: &&DiskStatus| other.state == DiskState::Online && other.geometry.is_some();
    let others = || pool.disks.iter().filter(in_use).filter(|other| other.id != disk.id);
    match disk.state {
        DiskState::Retired => "retired",
        _ if disk.geometry.is_none() => "missing",
        DiskState::Failed => "fenced",
        DiskState::Draining => "draining",
        // With as many disks as copies, what is on one alone is missing on the other.
        DiskState::Online
            if pool.copies > 1
                && others().count() < usize::from(pool.copies)
                && others().any(|other| other.bytes_single > 0) =>
        {
            "stale"
        }
        DiskState::Online if others().any(|other| disk.reading > other.reading + SLOW_AHEAD) => {
            "slow"
        }
        DiskState::Online => "ok",
    }
}

pub async fn rebuild_catalog(State(daemon): State<SharedDaemon>) -> Answer<CatalogStatus> {
    Ok(Json(daemon.rebuild_catalog().await?))
}

pub async fn status(State(daemon): State<SharedDaemon>) -> Answer<Status> {
    let machines = daemon.machines().await?;
    let sources = super::protect::source_list(&daemon).await?;
    let pool = pool_status(&daemon).await?;
    let is_good = |source: &&Source| source.last_result == Some(Outcome::Ok);
    let protected = sources.iter().filter(|source| source.points > 0).count() as u64;
    let good = sources.iter().filter(is_good).count() as u64;
    let all = sources.len() as u64;
    let late = daemon.schedule.overdue();
    let late: Vec<&Source> = sources.iter().filter(|source| late.contains(&source.id)).collect();
    let overdue = late.len() as u64;
    let said = verdict(&pool, Sources { all, protected, good, overdue });
    let Verdict { sentence, at_risk, lines: help } = match daemon.settings.has_pool {
        true => said,
        false => without_pool(protected),
    };
    let connected = machines.iter().filter(|machine| machine.connected).count() as u64;
    let running = daemon.jobs.running() as u64;
    let mut lines = help;
    lines.extend([
        format!("pool: {} of {} used", size(pool.bytes_used), size(pool.bytes_total)),
        full_line(&pool.forecast),
        format!("machines: {connected} of {} connected", machines.len()),
        format!("points: {}; jobs running: {running}", pool.points),
        format!("agents connect to {}", daemon.url),
    ]);
    lines.extend(daemon.vault_list().await?.iter().map(vault_line));
    if pool.reclaim.state == "braked" {
        let text =
            "reclaim found far more to give up than it expected and waits: `keelhold job list`";
        lines.push(text.to_owned());
    }
    lines.extend(late.iter().map(|source| {
        let (machine, name) = (&source.machine, &source.name);
        let last = source.last_point.as_deref().unwrap_or("none");
        format!("{machine}/{name}: overdue, last point {last}: keelhold schedule next")
    }));
    let open = sources.iter().filter(|source| !is_good(source));
    lines.extend(open.map(|source| {
        let state = source.last_result.map_or("no point yet", Outcome::word);
        format!("{}/{}: {state}", source.machine, source.name)
    }));
    lines.truncate(LINES_MAX);
    Ok(Json(Status {
        sentence,
        at_risk,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        at: rfc3339(daemon.store.clock.now()),
        machines: machines.len() as u64,
        machines_connected: connected,
        sources: sources.len() as u64,
        sources_protected: protected,
        points: pool.points,
        jobs_running: running,
        agents_url: daemon.url.clone(),
        pool,
        lines,
    }))
}

fn vault_line(vault: &Vault) -> String {
    let last = vault.last_shipped_at.as_deref().unwrap_or("never");
    let mut line = format!("vault {}: {}, last shipped {last}", vault.name, vault.state);
    if vault.backlog_points > 0 {
        line += &format!(", {} points behind", vault.backlog_points);
    }
    if vault.kit_at.is_none() {
        line += &format!("; no recovery kit: keelhold vault kit {} --to FILE", vault.name);
    }
    line
}

/// When the pool will be full, for people.
#[must_use]
pub fn full_line(forecast: &FullForecast) -> String {
    let per_day = size(u64::try_from(forecast.bytes_per_day.unwrap_or(0)).unwrap_or(0));
    match &forecast.full_on {
        Some(day) => format!("full on {day} if it goes on growing by {per_day} a day"),
        None => format!("when it is full: {}", forecast.state),
    }
}
