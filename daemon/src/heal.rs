//! Making copies again: behind what scrub found, and whenever something is kept on fewer disks than it
//! should be, as after a disk came back or was replaced. A part at a time, slowly beside backups.

use crate::daemon::Daemon;
use crate::failure::{Failure, chain};
use crate::pool_failure::{of_closed, of_commit};
use crate::pool_thread::LivePool;
use crate::raised::raised;
use keelhold_disk::error::CommitError;
use keelhold_disk::pool::PoolStatus;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, watch};

/// Longest time without a look.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// What could not be mended is tried again after this, or when there is more of it.
const TRY_AGAIN: Duration = Duration::from_secs(3_600);
/// Copied between two pauses.
const PART_LEN: u64 = 256 << 20;
/// Beside running jobs healing takes a tenth of the time, else four fifths.
const BUSY_SHARE: u32 = 9;
const CALM_SHARE: u32 = 4;
const PAUSE_MAX: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub struct Heal {
    wake: Notify,
    /// One round at a time.
    turn: tokio::sync::Mutex<()>,
    /// What the last round left, and when.
    left: Mutex<Option<(u64, Instant)>>,
}

/// What a round did.
#[derive(Debug, Clone, Copy, Default)]
pub struct Healed {
    pub copies: u64,
    pub bytes: u64,
    pub left: u64,
}

impl Heal {
    fn left(&self) -> MutexGuard<'_, Option<(u64, Instant)>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// There may be something to do now.
    pub fn wake(&self) {
        self.wake.notify_one();
    }
}

/// What waits to be healed, as far as it is known.
fn waiting(status: &PoolStatus) -> u64 {
    let structures = u64::from(status.structures_to_heal);
    status.copies_to_heal + status.copies_missing + structures
}

/// Whether a round is worth it: not for what the last one could not do.
fn is_due(waiting: u64, left: Option<(u64, Duration)>) -> bool {
    match left {
        _ if waiting == 0 => false,
        Some((left, ago)) => waiting > left || ago >= TRY_AGAIN,
        None => true,
    }
}

/// How long to leave the disks to others after a part took so long.
fn pause(took: Duration, busy: bool) -> Duration {
    if busy { (took * BUSY_SHARE).min(PAUSE_MAX) } else { took / CALM_SHARE }
}

/// Heals until the daemon stops.
pub async fn run(daemon: Arc<Daemon>, mut stopping: watch::Receiver<bool>) {
    loop {
        let Ok(status) = daemon.store.pool.call(|pool| async move { pool.status() }).await else {
            return;
        };
        let left = (*daemon.heal.left()).map(|(left, at)| (left, at.elapsed()));
        if is_due(waiting(&status), left) {
            tokio::select! {
                done = round(&daemon) => if let Err(failure) = done {
                    tracing::warn!(error = %failure.message, "healing");
                },
                () = raised(&mut stopping) => return,
            }
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = daemon.heal.wake.notified() => {}
            () = raised(&mut stopping) => return,
        }
    }
}

/// Heals everything that is known to need it, once.
pub async fn round(daemon: &Daemon) -> Result<Healed, Failure> {
    let _turn = daemon.heal.turn.lock().await;
    let (mut healed, mut from) = (Healed::default(), Some(0));
    while let Some(first) = from {
        let began = Instant::now();
        let part = move |pool: LivePool| async move {
            let most = (PART_LEN / pool.status().container_len).max(1);
            pool.heal_part(first, usize::try_from(most).unwrap_or(1)).await
        };
        let done: Result<_, CommitError> = daemon.store.pool.call(part).await.map_err(of_closed)?;
        let report = match done {
            Ok(report) => report,
            Err(error) => {
                *daemon.heal.left() = Some((u64::MAX, Instant::now()));
                return Err(of_commit(&error));
            }
        };
        for error in &report.unhealed {
            tracing::warn!(error = chain(error), "a copy could not be made");
        }
        healed.copies += report.copies_made;
        healed.bytes += report.bytes;
        healed.left += report.unhealed.len() as u64;
        from = report.next;
        if from.is_some() {
            tokio::time::sleep(pause(began.elapsed(), daemon.jobs.running() > 0)).await;
        }
    }
    let status = daemon.store.pool.call(|pool| async move { pool.status() }).await;
    let left = waiting(&status.map_err(of_closed)?);
    *daemon.heal.left() = (left > 0).then(|| (left, Instant::now()));
    if healed.copies + healed.left > 0 {
        let Healed { copies, bytes, left } = healed;
        tracing::info!(copies, bytes, left, "copies made again");
    }
    Ok(healed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_mended_is_and_what_cannot_is_not_tried_all_the_time() {
        assert!(!is_due(0, None) && is_due(1, None));
        let tried = Some((3, Duration::from_secs(120)));
        assert!(!is_due(3, tried) && !is_due(2, tried) && is_due(4, tried));
        assert!(is_due(3, Some((3, TRY_AGAIN))) && !is_due(0, Some((3, TRY_AGAIN))));
    }

    #[test]
    fn backups_come_first() {
        let second = Duration::from_secs(1);
        assert_eq!(pause(second, true), 9 * second);
        assert_eq!(pause(second, false), second / 4);
        assert_eq!(pause(100 * second, true), PAUSE_MAX);
    }
}
