//! Backups that never began: a result like any other, so that nobody has to notice what is not there.

use super::table::{Jobs, new_job};
use super::{FinishedJob, JobId, Order};
use crate::api::types::{Job, JobState, LogLine, Outcome};
use crate::clock::rfc3339;
use crate::failure::Failure;
use crate::store::StoreError;

impl Jobs {
    /// Notes that what was ordered of this source was not done.
    pub async fn missed(
        &self,
        source: String,
        order: Order,
        why: Failure,
    ) -> Result<JobId, StoreError> {
        let now = self.store.clock.now();
        let mut change = self.store.change().await;
        let id = self.next_id(&mut change).await?;
        change.commit().await?;
        let at = rfc3339(now);
        let log = vec![LogLine { at: at.clone(), text: format!("missed: {why}") }];
        tracing::warn!(job = id, source, error = why.message, "backup missed");
        let job = Job {
            state: JobState::Done,
            result: Some(Outcome::Missed),
            finished_at: Some(at),
            error: Some(why.to_wire()),
            ..new_job(id, order.kind(), source, now)
        };
        self.keep_ended(FinishedJob { job, log }).await?;
        Ok(id)
    }
}
