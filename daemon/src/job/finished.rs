//! A job that is over, as the series `jobs` keeps it.

use crate::api::types::{Job, JobResult, LogLine};
use serde::{Deserialize, Serialize};

/// Lines of a job's log that are kept, the newest.
pub const LOG_LINES_MAX: usize = 200;
/// Skipped or failed paths that history names; the point itself names more.
const NAMED_MAX: usize = 50;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FinishedJob {
    pub job: Job,
    pub log: Vec<LogLine>,
}

impl FinishedJob {
    /// The form that is kept: bounded, whatever happened.
    #[must_use]
    pub fn to_entry(&self) -> Vec<u8> {
        let mut kept = self.clone();
        match &mut kept.job.details {
            Some(JobResult::Backup(result)) => {
                result.skipped.truncate(NAMED_MAX);
                result.not_covered.truncate(NAMED_MAX);
            }
            Some(JobResult::Restore(result)) => {
                result.skipped.truncate(NAMED_MAX);
                result.failed.truncate(NAMED_MAX);
            }
            Some(JobResult::Reclaim(result)) => result.damaged.truncate(NAMED_MAX),
            Some(JobResult::Disk(result)) => result.unmoved.truncate(NAMED_MAX),
            Some(JobResult::Ship(result)) => result.left_out.truncate(NAMED_MAX),
            Some(JobResult::Verify(result)) => result.findings.truncate(NAMED_MAX),
            Some(JobResult::Prune(result)) => result.names.truncate(NAMED_MAX),
            None => {}
        }
        serde_json::to_vec(&kept).unwrap_or_default()
    }

    #[must_use]
    pub fn from_entry(entry: &[u8]) -> Option<Self> {
        serde_json::from_slice(entry).ok()
    }
}
