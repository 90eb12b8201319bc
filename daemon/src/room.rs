//! Room for a backup: looked for before it begins, and made while it waits.
//!
//! The order of sacrifice is fixed: dead and sparse containers, then parked sessions, the oldest first,
//! then the backup is refused. Points, listed or in the trash, never go by themselves.

use crate::daemon::Daemon;
use crate::failure::{Code, Failure, chain};
use crate::id_text;
use crate::job::JobId;
use crate::point_facts::PointFacts;
use crate::pool_failure::of_closed;
use crate::pool_thread::LivePool;
use crate::reclaim;
use crate::server::Task;
use crate::size_text::size;
use crate::upkeep::Why;
use keelhold_disk::pool::SessionInfo;
use keelhold_disk::units::SourceId;

/// The next backup is expected to take as much as the largest of so many before it.
const RECENT_COUNT: usize = 5;

/// What the next backup of a source will take, from what its points took, oldest first. None: nobody
/// knows. The first of them is left out: it brought everything.
#[must_use]
pub fn predicted(stored: &[u64]) -> Option<u64> {
    stored.get(1..)?.iter().rev().take(RECENT_COUNT).copied().max()
}

/// Whether so many more bytes are surely too much. Open containers have room that nobody counts: up
/// to one more container is let through.
#[must_use]
pub fn is_too_much(predicted: u64, room: u64, container_len: u64) -> bool {
    predicted > room.saturating_add(container_len)
}

/// Bytes free for data, and the length of a container.
async fn room(daemon: &Daemon) -> Result<(u64, u64), Failure> {
    let status = daemon.store.pool.call(|pool| async move { pool.status() }).await;
    let status = status.map_err(of_closed)?;
    Ok((status.bytes_free.saturating_sub(status.bytes_reserved), status.container_len))
}

fn source_of(task: &Task) -> Option<SourceId> {
    id_text::decode(&task.source.id).map(SourceId)
}

/// Asked before a backup begins. Gives what its machine's quota leaves, if it has one.
pub async fn admit(daemon: &Daemon, task: &Task) -> Result<Option<u64>, Failure> {
    let points = daemon.points().await?;
    let source = source_of(task);
    let stored: Vec<u64> = points
        .iter()
        .filter(|point| Some(point.source) == source)
        .map(|point| PointFacts::parse(&point.attributes).bytes_stored)
        .collect();
    let needed = predicted(&stored);
    let left = quota_left(daemon, task, needed).await?;
    let Some(needed) = needed else {
        return Ok(left);
    };
    let (free, container_len) = room(daemon).await?;
    if is_too_much(needed, free, container_len) {
        make(daemon, task.job, source).await?;
        let (free, _) = room(daemon).await?;
        if is_too_much(needed, free, container_len) {
            let text = format!(
                "{} will need about {} as its last points did, and {} are free",
                task.name,
                size(needed),
                size(free)
            );
            return Err(Failure::new(Code::NoRoomAhead, text).hint(what_helps(daemon).await));
        }
    }
    Ok(left)
}

async fn quota_left(
    daemon: &Daemon,
    task: &Task,
    needed: Option<u64>,
) -> Result<Option<u64>, Failure> {
    let names = daemon.names().await?;
    let machine = names.machines.get(&task.source.machine);
    let Some((machine, quota)) = machine.and_then(|each| Some((each, each.quota_bytes?))) else {
        return Ok(None);
    };
    let used = daemon.exclusive_of(&machine.id).await?;
    let left = quota.saturating_sub(used);
    if left == 0 || needed.is_some_and(|needed| needed > left) {
        return Err(over_quota(&machine.name, quota, used, needed.unwrap_or(0)));
    }
    Ok(Some(left))
}

fn over_quota(machine: &str, quota: u64, used: u64, more: u64) -> Failure {
    let text = format!(
        "{machine} may take {}, its points need {} alone, and this backup about {} more",
        size(quota),
        size(used),
        size(more)
    );
    let hint = format!(
        "forget points of {machine}, or change its quota with `keelhold machine quota {machine} SIZE|none`"
    );
    Failure::new(Code::QuotaExceeded, text).hint(hint)
}

/// A backup that has taken more than its machine's quota left.
pub fn beyond_quota(task: &Task, left: u64, stored: u64) -> Failure {
    let machine = task.name.split('/').next().unwrap_or_default();
    let text = format!(
        "{} stored {} where the quota of {machine} left {}",
        task.name,
        size(stored),
        size(left)
    );
    let hint = format!(
        "what it stored is given back; forget points of {machine}, or change its quota with \
         `keelhold machine quota {machine} SIZE|none`"
    );
    Failure::new(Code::QuotaExceeded, text).hint(hint)
}

/// Makes room in the order of sacrifice, for a backup of this source. Whether there is more now.
pub async fn make(daemon: &Daemon, job: JobId, source: Option<SourceId>) -> Result<bool, Failure> {
    let (before, _) = room(daemon).await?;
    daemon.jobs.log(job, "no room: dead and sparse containers are given back");
    loop {
        // The brake, or a disk: then nothing is given back, and parked sessions are not wasted.
        reclaim::now(daemon, Why::Space).await?;
        if room(daemon).await?.0 > before {
            return Ok(true);
        }
        let parked =
            move |session: &SessionInfo| !session.running && Some(session.source) != source;
        let find = move |pool: LivePool| async move {
            let sessions = pool.sessions().into_iter().filter(parked);
            sessions.min_by_key(|session| session.opened_at)
        };
        let Some(oldest) = daemon.store.pool.call(find).await.map_err(of_closed)? else {
            return Ok(false);
        };
        end_session(daemon, job, &oldest).await?;
    }
}

async fn end_session(daemon: &Daemon, job: JobId, session: &SessionInfo) -> Result<(), Failure> {
    let (id, now) = (session.id, daemon.store.pool.now());
    let source = id_text::encode(&session.source.0);
    let name = daemon.names().await?.source(&source);
    daemon.jobs.log(job, format!("no room: the parked session of {name} is given up"));
    if let Some(parked) = daemon.jobs.of_source(&source) {
        daemon
            .jobs
            .log(parked, "the pool was full: the parked session was given up, it begins anew");
    }
    let ended = daemon.store.pool.call(move |pool| async move { pool.cancel(id, now).await }).await;
    ended.map_err(of_closed)?.map_err(|error| crate::pool_failure::of_commit(&error))
}

/// Gives up what an earlier backup of the source left parked. Whether that made room.
pub async fn give_up_own(daemon: &Daemon, task: &Task) -> Result<bool, Failure> {
    let (before, _) = room(daemon).await?;
    let source = source_of(task);
    let find = move |pool: LivePool| async move {
        let mut sessions = pool.sessions().into_iter();
        sessions.find(|session| !session.running && Some(session.source) == source)
    };
    let Some(own) = daemon.store.pool.call(find).await.map_err(of_closed)? else {
        return Ok(false);
    };
    end_session(daemon, task.job, &own).await?;
    reclaim::now(daemon, Why::Space).await?;
    Ok(room(daemon).await?.0 > before)
}

/// The steps that are left to a person, with what each would give.
pub async fn what_helps(daemon: &Daemon) -> String {
    let ask = |pool: LivePool| async move {
        let own = pool.sessions().into_iter().filter(|session| !session.running).count();
        (pool.trash_len(), own)
    };
    let (trash, parked) = match daemon.store.pool.call(ask).await {
        Ok(found) => found,
        Err(closed) => return chain(&closed),
    };
    let mut steps =
        vec![format!("`keelhold pool reclaim --empty-trash --wait` frees {}", size(trash))];
    if parked > 0 {
        steps.push(format!("{parked} parked sessions go when another source needs their room"));
    }
    steps.push(String::from(
        "`keelhold point forget --dry-run POINT…` says what forgetting points would free",
    ));
    steps.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_backup_is_like_the_largest_of_the_last() {
        assert_eq!((predicted(&[]), predicted(&[900])), (None, None));
        assert_eq!(predicted(&[900, 10]), Some(10));
        assert_eq!(predicted(&[900, 500, 10, 20, 70, 30, 40]), Some(70));
    }

    #[test]
    fn only_what_surely_does_not_fit_is_refused_early() {
        assert!(!is_too_much(100, 100, 32) && !is_too_much(132, 100, 32));
        assert!(is_too_much(133, 100, 32) && !is_too_much(30, 0, 32));
    }
}
