//! All jobs that are not over, and the newest that are.

mod turns;

pub use turns::{Asked, Notice};

use super::pace::Moving;
use super::{FinishedJob, JobId, LOG_LINES_MAX, Order};
use crate::api::types::{
    DiskChange, Job, JobKind, JobResult, JobState, LogLine, OnClash, Outcome, Progress, Started,
};
use crate::catalog::Catalog;
use crate::clock::rfc3339;
use crate::failure::{Code, Failure};
use crate::point_facts::PointFacts;
use crate::record::{
    DISK_JOB, DiskJobRecord, FINISHED_JOBS, JOB_COUNTER, JobCounter, JobRecord, job_key,
};
use crate::source::Names;
use crate::store::{Change, Store, StoreError};
use keelhold_disk::units::{PointId, UnixNanos};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use thiserror::Error;
use tokio::sync::{mpsc, watch};

/// Jobs that are over and still answered from memory.
const RECENT_MAX: usize = 64;

#[derive(Debug, Error)]
pub enum JobError {
    #[error("there is no job {job}")]
    Unknown { job: JobId },
    #[error("job {job} is over")]
    Over { job: JobId },
    #[error("job {job} moves what is stored and goes on to its end")]
    Whole { job: JobId },
    #[error("the pool did not take or give a record")]
    Store(#[from] StoreError),
}

impl From<JobError> for Failure {
    fn from(error: JobError) -> Self {
        match &error {
            JobError::Unknown { .. } => Self::of(Code::JobUnknown, &error),
            JobError::Over { .. } => Self::of(Code::JobOver, &error),
            JobError::Whole { .. } => Self::of(Code::JobWhole, &error),
            JobError::Store(error) => crate::pool_failure::of_store(error),
        }
    }
}

/// What a restore through an agent has to do.
#[derive(Debug, Clone)]
pub struct RestorePlan {
    pub point: PointId,
    pub point_text: String,
    pub target: Vec<u8>,
    pub original: bool,
    pub paths: Vec<Vec<u8>>,
    pub on_clash: Option<OnClash>,
}

/// What a connection needs to know to run a job.
#[derive(Debug, Clone)]
pub enum Work {
    Backup {
        source: String,
        order: Order,
    },
    Restore(RestorePlan),
    /// Of the daemon itself.
    Reclaim,
    Disks,
    Vault,
}

#[derive(Debug)]
struct Live {
    job: Job,
    work: Work,
    /// The machine whose connection runs it; none for what the daemon does itself.
    machine: Option<String>,
    /// Some connection has it now.
    assigned: bool,
    /// Only the schedule may give it away.
    held: bool,
    /// It is being committed as what it is.
    sealed: bool,
    moving: Moving,
    log: Vec<LogLine>,
    changed: watch::Sender<u64>,
    cancel: watch::Sender<bool>,
    pause: watch::Sender<bool>,
}

impl Live {
    fn is_scheduled(&self) -> bool {
        matches!(&self.work, Work::Backup { order, .. } if order.slot.is_some())
    }
}

#[derive(Debug, Default)]
struct Table {
    live: BTreeMap<JobId, Live>,
    recent: BTreeMap<JobId, FinishedJob>,
    notices: Option<mpsc::UnboundedSender<Notice>>,
}

#[derive(Debug)]
pub struct Jobs {
    pub(super) store: Store,
    catalog: Catalog,
    table: Mutex<Table>,
    /// Accepting goes one by one, so that a source cannot be started twice.
    accepting: tokio::sync::Mutex<()>,
}

/// Follows a job: the state now, and a signal when it changes.
#[derive(Debug)]
pub struct Follow {
    pub job: Job,
    /// None once the job is over.
    pub changed: Option<watch::Receiver<u64>>,
}

impl Jobs {
    /// The jobs that were not over when the daemon last stopped.
    pub async fn load(store: Store, catalog: Catalog) -> Result<Self, StoreError> {
        let records: Vec<JobRecord> = store.records("job/").await?;
        let jobs = Self {
            store,
            catalog,
            table: Mutex::default(),
            accepting: tokio::sync::Mutex::default(),
        };
        let names = Names::load(&jobs.store).await?;
        let committed = jobs.committed().await?;
        for record in records {
            let machine = names.sources.get(&record.source).map(|source| source.machine.clone());
            let mut job = new_job(
                record.id,
                record.order.kind(),
                names.source(&record.source),
                UnixNanos(record.created_at),
            );
            job.started_at = record.started_at.map(|at| rfc3339(UnixNanos(at)));
            if record.started_at.is_some() {
                job.state = JobState::Parked;
            }
            let work = Work::Backup { source: record.source, order: record.order };
            jobs.insert(job, work, machine.clone());
            if let Some(live) = jobs.table().live.get_mut(&record.id) {
                live.held = live.is_scheduled();
            }
            if let Some((point, outcome)) = committed.get(&record.id) {
                // The point was announced to nobody, but it is there: the job did its work.
                jobs.finish(record.id, *outcome, Some(point.clone()), None, None).await?;
            } else if machine.is_none() {
                let gone = Failure::new(Code::SourceUnknown, "the source of the job is gone");
                jobs.finish(record.id, Outcome::Failed, None, None, Some(gone)).await?;
            }
        }
        Ok(jobs)
    }

    /// The jobs whose points exist, and how the points came out.
    async fn committed(&self) -> Result<BTreeMap<JobId, (String, Outcome)>, StoreError> {
        let points = self.store.pool.call(|pool| async move { pool.points() }).await?;
        let of_job = |point: keelhold_disk::pool::PointInfo| {
            let facts = PointFacts::parse(&point.attributes);
            let outcome = if point.partial { Outcome::Partial } else { Outcome::Ok };
            (facts.job, (crate::id_text::encode(&point.id.0), outcome))
        };
        Ok(points.into_iter().map(of_job).collect())
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn insert(&self, job: Job, work: Work, machine: Option<String>) {
        let live = Live {
            work,
            machine,
            assigned: false,
            held: false,
            sealed: false,
            moving: Moving::default(),
            log: Vec::new(),
            changed: watch::Sender::new(0),
            cancel: watch::Sender::new(false),
            pause: watch::Sender::new(false),
            job,
        };
        self.table().live.insert(live.job.id, live);
    }

    pub(super) async fn next_id(&self, change: &mut Change) -> Result<JobId, StoreError> {
        let counter: Option<JobCounter> = self.store.record(JOB_COUNTER).await?;
        let last = counter.unwrap_or_default().last + 1;
        change.put(JOB_COUNTER.to_owned(), &JobCounter { last })?;
        Ok(last)
    }

    /// The job that works on this source, if there is one.
    #[must_use]
    pub fn of_source(&self, source: &str) -> Option<JobId> {
        let table = self.table();
        let found = table
            .live
            .values()
            .find(|live| matches!(&live.work, Work::Backup { source: of, .. } if of == source));
        found.map(|live| live.job.id)
    }

    /// Accepts a backup, or joins the one that runs already. `may_start` is asked only when there is
    /// none to join.
    pub async fn accept_backup(
        &self,
        machine: &str,
        source: &str,
        name: String,
        order: Order,
        may_start: impl FnOnce() -> Result<(), Failure>,
    ) -> Result<Started, Failure> {
        let _turn = self.accepting.lock().await;
        if let Some(job) = self.of_source(source) {
            self.join(job, order).await.map_err(|error| crate::pool_failure::of_store(&error))?;
            return Ok(Started { job, joined: true });
        }
        may_start()?;
        let now = self.store.clock.now();
        let accept = async {
            let mut change = self.store.change().await;
            let id = self.next_id(&mut change).await?;
            let source = source.to_owned();
            let record = JobRecord { id, source, order, created_at: now.0, started_at: None };
            change.put(job_key(id), &record)?;
            change.commit().await?;
            Ok(id)
        };
        let id = accept.await.map_err(|error| crate::pool_failure::of_store(&error))?;
        let work = Work::Backup { source: source.to_owned(), order };
        self.insert(new_job(id, order.kind(), name, now), work, Some(machine.to_owned()));
        Ok(Started { job: id, joined: false })
    }

    /// Somebody wants what a job of the source is making already, or more.
    async fn join(&self, id: JobId, asked: Order) -> Result<(), StoreError> {
        let joined = {
            let mut table = self.table();
            let live = table.live.get_mut(&id);
            let Some(Live { work: Work::Backup { order, .. }, job, sealed, .. }) = live else {
                return Ok(());
            };
            let joined = order.joined_by(asked);
            if joined == *order || *sealed {
                return Ok(());
            }
            (*order, job.kind) = (joined, joined.kind());
            joined
        };
        let mut change = self.store.change().await;
        if let Some(record) = self.store.record::<JobRecord>(&job_key(id)).await? {
            change.put(job_key(id), &JobRecord { order: joined, ..record })?;
            change.commit().await?;
        }
        Ok(())
    }

    pub async fn accept_restore(
        &self,
        machine: Option<String>,
        source: String,
        plan: RestorePlan,
    ) -> Result<JobId, StoreError> {
        let point = Some(plan.point_text.clone());
        self.accept_unkept(JobKind::Restore, source, point, Work::Restore(plan), machine).await
    }

    /// Accepts a reclaim; it is the caller's.
    pub async fn accept_reclaim(&self) -> Result<JobId, StoreError> {
        let source = String::from("pool");
        let id = self.accept_unkept(JobKind::Reclaim, source, None, Work::Reclaim, None).await?;
        self.take(id);
        Ok(id)
    }

    /// Accepts a job that ships to a vault or reads it; it is the caller's.
    pub async fn accept_vault(&self, kind: JobKind, vault: &str) -> Result<JobId, StoreError> {
        let id =
            self.accept_unkept(kind, format!("vault {vault}"), None, Work::Vault, None).await?;
        self.take(id);
        Ok(id)
    }

    /// Accepts a change of the pool's disks; it is the caller's. Gives its record with its number.
    pub async fn accept_disks(&self, order: DiskJobRecord) -> Result<DiskJobRecord, Failure> {
        let _turn = self.accepting.lock().await;
        let under_way = {
            let table = self.table();
            let found = table.live.values().find(|live| matches!(live.work, Work::Disks));
            found.map(|live| live.job.id)
        };
        if let Some(job) = under_way {
            let text = format!("job {job} changes the disks of the pool");
            return Err(Failure::new(Code::DisksChanging, text));
        }
        let accept = async {
            let mut change = self.store.change().await;
            let record = DiskJobRecord { id: self.next_id(&mut change).await?, ..order };
            change.put(DISK_JOB.to_owned(), &record)?;
            change.commit().await?;
            Ok(record)
        };
        let record =
            accept.await.map_err(|error: StoreError| crate::pool_failure::of_store(&error))?;
        self.resume_disks(&record);
        Ok(record)
    }

    /// Takes up the change of the pool's disks that is not over; it is the caller's.
    pub fn resume_disks(&self, record: &DiskJobRecord) {
        let kind = match record.change {
            DiskChange::AddDisk => JobKind::AddDisk,
            DiskChange::DrainDisk => JobKind::DrainDisk,
            DiskChange::ReplaceDisk => JobKind::ReplaceDisk,
        };
        let job = new_job(record.id, kind, String::from("pool"), UnixNanos(record.created_at));
        self.insert(job, Work::Disks, None);
        self.take(record.id);
    }

    /// A job that lives and dies with the daemon.
    async fn accept_unkept(
        &self,
        kind: JobKind,
        source: String,
        point: Option<String>,
        work: Work,
        machine: Option<String>,
    ) -> Result<JobId, StoreError> {
        let mut change = self.store.change().await;
        let id = self.next_id(&mut change).await?;
        change.commit().await?;
        let job = new_job(id, kind, source, self.store.clock.now());
        self.insert(Job { point, ..job }, work, machine);
        Ok(id)
    }

    /// The reclaim that waits or runs, if there is one.
    #[must_use]
    pub fn reclaim(&self) -> Option<JobId> {
        let table = self.table();
        let found = table.live.values().find(|live| matches!(live.work, Work::Reclaim));
        found.map(|live| live.job.id)
    }

    #[must_use]
    pub fn work(&self, job: JobId) -> Option<Work> {
        self.table().live.get(&job).map(|live| live.work.clone())
    }

    /// The job is being worked on.
    pub async fn start(&self, job: JobId) -> Result<(), StoreError> {
        let now = self.store.clock.now();
        self.stage(job, "starting");
        self.update(job, |job| {
            job.state = JobState::Running;
            job.started_at.get_or_insert_with(|| rfc3339(now));
        });
        let mut change = self.store.change().await;
        let Some(mut record) = self.store.record::<JobRecord>(&job_key(job)).await? else {
            return Ok(());
        };
        if record.started_at.is_none() {
            record.started_at = Some(now.0);
            change.put(job_key(job), &record)?;
            change.commit().await?;
        }
        Ok(())
    }

    pub fn progress(&self, job: JobId, progress: impl FnOnce(&mut Progress)) {
        let now = self.store.clock.passed();
        if let Some(live) = self.table().live.get_mut(&job) {
            let before = live.job.progress;
            progress(&mut live.job.progress);
            live.moving.note(&before, &live.job.progress, now);
            live.changed.send_modify(|count| *count += 1);
        }
    }

    /// What the job does from now on, in a word.
    pub fn stage(&self, job: JobId, stage: &'static str) {
        let now = self.store.clock.passed();
        if let Some(live) = self.table().live.get_mut(&job) {
            live.moving.enter(stage, now);
        }
    }

    /// It will come to about so many entries.
    pub fn expect(&self, job: JobId, entries: u64) {
        if let Some(live) = self.table().live.get_mut(&job) {
            live.moving.expect(entries);
        }
    }

    fn shown(&self, live: &Live) -> Job {
        let pace = live.moving.pace(&live.job.progress, self.store.clock.passed());
        Job { pace, ..live.job.clone() }
    }

    fn update(&self, job: JobId, update: impl FnOnce(&mut Job)) {
        if let Some(live) = self.table().live.get_mut(&job) {
            update(&mut live.job);
            live.changed.send_modify(|count| *count += 1);
        }
    }

    pub fn log(&self, job: JobId, text: impl Into<String>) {
        let line = LogLine { at: rfc3339(self.store.clock.now()), text: text.into() };
        if let Some(live) = self.table().live.get_mut(&job) {
            if live.log.len() >= LOG_LINES_MAX {
                live.log.remove(0);
            }
            live.log.push(line);
        }
    }

    /// Asks for the end of a job. True: nobody has it, the caller must end it.
    pub fn cancel(&self, job: JobId) -> Result<bool, JobError> {
        let table = self.table();
        let Some(live) = table.live.get(&job) else {
            drop(table);
            return Err(self.missing(job));
        };
        if matches!(live.work, Work::Reclaim | Work::Disks) {
            return Err(JobError::Whole { job });
        }
        live.cancel.send_replace(true);
        Ok(!live.assigned)
    }

    fn missing(&self, job: JobId) -> JobError {
        let recent = self.table().recent.contains_key(&job);
        if recent || self.catalog.job(job).is_some() {
            JobError::Over { job }
        } else {
            JobError::Unknown { job }
        }
    }

    /// The job is over.
    pub async fn finish(
        &self,
        id: JobId,
        outcome: Outcome,
        point: Option<String>,
        details: Option<JobResult>,
        failure: Option<Failure>,
    ) -> Result<(), StoreError> {
        let finished = {
            let table = self.table();
            let Some(live) = table.live.get(&id) else {
                return Ok(());
            };
            let mut job = live.job.clone();
            job.state = JobState::Done;
            job.result = Some(outcome);
            job.finished_at = Some(rfc3339(self.store.clock.now()));
            job.point = point.or(job.point);
            job.details = details;
            job.error = failure.map(|failure| failure.to_wire());
            FinishedJob { job, log: live.log.clone() }
        };
        // Told when nobody can join it any more.
        let notice = self.notice(id, Some(outcome));
        let (source, outcome) = (&finished.job.source, outcome.word());
        let error = finished.job.error.as_ref().map(|error| error.message.as_str());
        tracing::info!(job = id, source, outcome, error, "job is over");
        let kept = self.keep_ended(finished).await;
        self.send(notice);
        kept
    }

    /// Writes a job that is over down and shows it.
    pub(super) async fn keep_ended(&self, finished: FinishedJob) -> Result<(), StoreError> {
        let kept = self.keep(&finished).await;
        let id = finished.job.id;
        let mut table = self.table();
        table.recent.insert(id, finished);
        while table.recent.len() > RECENT_MAX {
            table.recent.pop_first();
        }
        // Whoever follows wakes when the sender goes, and then finds the job among the recent ones.
        table.live.remove(&id);
        kept
    }

    async fn keep(&self, finished: &FinishedJob) -> Result<(), StoreError> {
        let id = finished.job.id;
        self.store.append(FINISHED_JOBS, finished.to_entry()).await?;
        let mut change = self.store.change().await;
        let name = match finished.job.kind {
            JobKind::AddDisk | JobKind::DrainDisk | JobKind::ReplaceDisk => DISK_JOB.to_owned(),
            _ => job_key(id),
        };
        if self.store.record::<serde_json::Value>(&name).await?.is_some() {
            change.remove(name);
            change.commit().await?;
        }
        self.catalog.put_job(finished.clone());
        Ok(())
    }

    pub fn follow(&self, job: JobId) -> Result<Follow, JobError> {
        if let Some(live) = self.table().live.get(&job) {
            return Ok(Follow { job: self.shown(live), changed: Some(live.changed.subscribe()) });
        }
        let finished = self.finished(job).ok_or(JobError::Unknown { job })?;
        Ok(Follow { job: finished.job, changed: None })
    }

    fn finished(&self, job: JobId) -> Option<FinishedJob> {
        let recent = self.table().recent.get(&job).cloned();
        recent.or_else(|| self.catalog.job(job))
    }

    pub fn log_of(&self, job: JobId) -> Result<Vec<LogLine>, JobError> {
        if let Some(live) = self.table().live.get(&job) {
            return Ok(live.log.clone());
        }
        Ok(self.finished(job).ok_or(JobError::Unknown { job })?.log)
    }

    /// Jobs that are not over, then those that are, newest first.
    #[must_use]
    pub fn list(&self, limit: usize) -> Vec<Job> {
        let mut jobs: BTreeMap<JobId, Job> = BTreeMap::new();
        for finished in self.catalog.jobs(limit) {
            jobs.insert(finished.job.id, finished.job);
        }
        let table = self.table();
        jobs.extend(table.recent.values().map(|each| (each.job.id, each.job.clone())));
        jobs.extend(table.live.values().map(|live| (live.job.id, self.shown(live))));
        jobs.into_values().rev().take(limit).map(|job| Job { details: None, ..job }).collect()
    }

    #[must_use]
    pub fn running(&self) -> usize {
        let table = self.table();
        table.live.values().filter(|live| live.job.state == JobState::Running).count()
    }
}

pub(super) fn new_job(id: JobId, kind: JobKind, source: String, created_at: UnixNanos) -> Job {
    Job {
        id,
        kind,
        source,
        state: JobState::Queued,
        result: None,
        created_at: rfc3339(created_at),
        started_at: None,
        finished_at: None,
        progress: Progress::default(),
        pace: None,
        point: None,
        error: None,
        details: None,
    }
}
