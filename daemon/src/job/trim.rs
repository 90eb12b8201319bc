//! Results are kept for a year and a little more, and then given up: what grows for ever would once be
//! all there is.

use super::FinishedJob;
use super::table::Jobs;
use crate::clock::parse_time;
use crate::record::FINISHED_JOBS;
use crate::store::StoreError;
use keelhold_disk::units::UnixNanos;

const KEPT_DAYS: i64 = 400;
const DAY: i64 = 86_400 * 1_000_000_000;
/// Entries looked at in one go: the next look goes on.
const LOOKED_AT: usize = 2_000;

/// The first entry that stays. Entries are in the order in which jobs ended; one that does not say when
/// goes with its neighbours.
fn first_kept(entries: &[(u64, FinishedJob)], before: UnixNanos) -> Option<u64> {
    let is_old = |job: &FinishedJob| {
        let ended = job.job.finished_at.as_deref().and_then(parse_time);
        ended.is_none_or(|ended| ended < before)
    };
    let old = entries.iter().take_while(|(_, job)| is_old(job));
    old.last().map(|(sequence, _)| sequence + 1)
}

impl Jobs {
    pub async fn trim(&self) -> Result<(), StoreError> {
        let read = |pool: crate::pool_thread::LivePool| async move {
            pool.series(FINISHED_JOBS, 0, LOOKED_AT)
        };
        let entries = self.store.pool.call(read).await?;
        let parsed = entries
            .iter()
            .filter_map(|(sequence, entry)| Some((*sequence, FinishedJob::from_entry(entry)?)));
        let entries: Vec<(u64, FinishedJob)> = parsed.collect();
        let before = UnixNanos(self.store.clock.now().0.saturating_sub(KEPT_DAYS * DAY));
        let Some(first) = first_kept(&entries, before) else {
            return Ok(());
        };
        let now = self.store.pool.now();
        let trim = move |pool: crate::pool_thread::LivePool| async move {
            pool.trim(FINISHED_JOBS, first, now).await
        };
        Ok(self.store.pool.call(trim).await??)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::types::JobKind;
    use crate::clock::rfc3339;

    fn ended(at: Option<i64>) -> FinishedJob {
        let job = super::super::table::new_job(1, JobKind::Backup, "m/t".into(), UnixNanos(0));
        let finished_at = at.map(|at| rfc3339(UnixNanos(at)));
        FinishedJob { job: crate::api::types::Job { finished_at, ..job }, log: Vec::new() }
    }

    #[test]
    fn what_is_old_goes_and_nothing_behind_it() {
        let entries: Vec<(u64, FinishedJob)> =
            (7..).zip([Some(1), None, Some(2), Some(9 * DAY), Some(3)].map(ended)).collect();
        assert_eq!(first_kept(&entries, UnixNanos(5 * DAY)), Some(10));
        assert_eq!(first_kept(&entries, UnixNanos(0)), None);
        assert_eq!(first_kept(&[], UnixNanos(9)), None);
    }
}
