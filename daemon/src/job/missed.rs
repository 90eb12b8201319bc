//! Backups that never began: a result like any other, so that nobody has to notice what is not there.
//! And those that ended as they began, because the machine had no part in them.

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
        tracing::warn!(source, error = why.message, "backup missed");
        let text = format!("missed: {why}");
        let job = |job| Job { result: Some(Outcome::Missed), error: Some(why.to_wire()), ..job };
        self.at_once(source, order, text, job).await
    }

    /// Notes that a point was made out of the newest synchronisation.
    pub async fn promoted(
        &self,
        source: String,
        order: Order,
        point: String,
        outcome: Outcome,
    ) -> Result<JobId, StoreError> {
        let text = format!("{}: the newest synchronisation is a point now", outcome.word());
        let job = |job| Job { result: Some(outcome), point: Some(point), ..job };
        self.at_once(source, order, text, job).await
    }

    async fn at_once(
        &self,
        source: String,
        order: Order,
        text: String,
        complete: impl FnOnce(Job) -> Job,
    ) -> Result<JobId, StoreError> {
        let now = self.store.clock.now();
        let mut change = self.store.change().await;
        let id = self.next_id(&mut change).await?;
        change.commit().await?;
        let at = rfc3339(now);
        let log = vec![LogLine { at: at.clone(), text }];
        let new = new_job(id, order.kind(), source, now);
        let job = complete(Job { state: JobState::Done, finished_at: Some(at), ..new });
        self.keep_ended(FinishedJob { job, log }).await?;
        Ok(id)
    }
}
