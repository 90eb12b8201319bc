//! What the daemon's parts share, and the verbs of the API in terms of them.

use crate::api::types;
use crate::authority::{Authority, AuthorityError};
use crate::catalog::{Catalog, PointRow, View};
use crate::clock::{SharedClock, rfc3339};
use crate::failure::{Code, Failure, chain};
use crate::id_text;
use crate::job::{FinishedJob, JobId, Jobs};
use crate::machine;
use crate::machine::connected::{Command, Connected};
use crate::point::OpenPoint;
use crate::pool_failure::{of_closed, of_store};
use crate::pool_thread::PoolHandle;
use crate::record::{
    AUTHORITY, AuthorityRecord, FINISHED_JOBS, MachineRecord, NOTE_PREFIX, SourceName,
    SourceRecord, source_key,
};
use crate::server::{End, Task};
use crate::source::{self, Names};
use crate::store::{Store, StoreError};
use keelhold_disk::pool::PointInfo;
use keelhold_disk::units::PointId;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

#[derive(Debug)]
pub struct Daemon {
    pub store: Store,
    pub authority: Authority,
    pub connected: Connected,
    pub jobs: Arc<Jobs>,
    pub catalog: Catalog,
    /// Where agents are told to connect.
    pub url: String,
    pub stopping: watch::Receiver<bool>,
    /// The point read last: a mount asks for the same one thousands of times.
    opened: Mutex<Option<(PointId, OpenPoint)>>,
}

fn of_catalog(error: crate::catalog::CatalogError) -> Failure {
    error.into()
}

impl Daemon {
    pub async fn open(
        pool: PoolHandle,
        clock: SharedClock,
        catalog: &Path,
        url: String,
        stopping: watch::Receiver<bool>,
    ) -> Result<Self, Failure> {
        let store = Store::new(pool, clock);
        let authority = authority(&store).await?;
        let catalog = Catalog::open(catalog).map_err(of_catalog)?;
        let view = view(&store).await?;
        if catalog.position().as_deref() != Some(view.position.as_str()) {
            tracing::info!(points = view.points.len(), "catalog made anew from the pool");
            catalog.rebuild(Arc::new(view)).map_err(of_catalog)?;
        }
        let jobs = Jobs::load(store.clone(), catalog.clone()).await.map_err(|e| of_store(&e))?;
        let (connected, jobs) = (Connected::default(), Arc::new(jobs));
        let opened = Mutex::default();
        Ok(Self { store, authority, connected, jobs, catalog, url, stopping, opened })
    }

    /// Throws the catalog away and makes it anew from the pool.
    pub async fn rebuild_catalog(&self) -> Result<types::CatalogStatus, Failure> {
        let began = std::time::Instant::now();
        let view = view(&self.store).await?;
        let names = Names::load(&self.store).await.map_err(|error| of_store(&error))?;
        let status = types::CatalogStatus {
            points: view.points.len() as u64,
            sources: names.sources.values().filter(|source| !source.removed).count() as u64,
            machines: names.machines.len() as u64,
            jobs: view.jobs.len() as u64,
            seconds: 0.0,
        };
        self.catalog.rebuild(Arc::new(view)).map_err(of_catalog)?;
        Ok(types::CatalogStatus { seconds: began.elapsed().as_secs_f64(), ..status })
    }

    /// Notes in the catalog which state of the pool it shows, so that the next start believes it.
    pub async fn settle_catalog(&self) {
        let settled = async {
            let view = view(&self.store).await?;
            self.catalog.set_position(view.position).map_err(of_catalog)
        };
        if let Err(failure) = settled.await {
            tracing::info!(
                error = failure.message,
                "the catalog will be made anew at the next start"
            );
        }
    }

    pub async fn names(&self) -> Result<Names, Failure> {
        Names::load(&self.store).await.map_err(|error| of_store(&error))
    }

    pub async fn points(&self) -> Result<Vec<PointInfo>, Failure> {
        self.store.pool.call(|pool| async move { pool.points() }).await.map_err(of_closed)
    }

    /// The point, open for reading.
    pub async fn open_point(&self, id: PointId) -> Result<OpenPoint, Failure> {
        let known = |opened: &Option<(PointId, OpenPoint)>| {
            opened.as_ref().filter(|(of, _)| *of == id).map(|(_, point)| point.clone())
        };
        if let Some(point) = known(&self.opened.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(point);
        }
        let point = OpenPoint::open(&self.store.pool, id).await?;
        let kept = (id, point.clone());
        *self.opened.lock().unwrap_or_else(PoisonError::into_inner) = Some(kept);
        Ok(point)
    }

    /// Starts a backup, or joins the one that runs.
    pub async fn back_up(
        &self,
        name: &SourceName,
        request: &types::BackupRequest,
    ) -> Result<types::Started, Failure> {
        let (machine, source) = source::named(&self.store, name).await?;
        let away = || {
            if request.queue || self.connected.version(&machine.id).is_some() {
                return Ok(());
            }
            let text = format!("machine {} is not connected", machine.name);
            Err(Failure::new(Code::MachineAway, text))
        };
        let text = name.to_string();
        let started =
            self.jobs.accept_backup(&machine.id, &source.id, text, request.check, away).await?;
        if !started.joined {
            self.connected.command(&machine.id, Command::Run(started.job));
        }
        Ok(started)
    }

    /// Starts what a machine asks for itself.
    pub async fn back_up_machine(
        &self,
        machine: &MachineRecord,
        only: Option<&str>,
    ) -> Result<Vec<JobId>, Failure> {
        let names = self.names().await?;
        let mut sources: Vec<&SourceRecord> = names
            .sources
            .values()
            .filter(|source| source.machine == machine.id && !source.removed)
            .filter(|source| only.is_none_or(|only| source.name == only))
            .collect();
        sources.sort_by(|left, right| left.name.cmp(&right.name));
        if sources.is_empty() {
            let what = only.unwrap_or("any source");
            let text = format!("machine {} has no source {what}", machine.name);
            return Err(Failure::new(Code::SourceUnknown, text));
        }
        let mut jobs = Vec::new();
        for source in sources {
            let name = names.source(&source.id);
            let accepted =
                self.jobs.accept_backup(&machine.id, &source.id, name, false, || Ok(())).await?;
            jobs.push(accepted.job);
        }
        Ok(jobs)
    }

    /// Hands jobs that wait for this machine to its connection.
    pub fn wake_machine(&self, machine: &str) {
        if self.connected.version(machine).is_some() {
            for job in self.jobs.waiting(machine) {
                self.connected.command(machine, Command::Run(job));
            }
        }
    }

    /// What a backup job is about.
    pub async fn task(&self, job: JobId, source: &str, check: bool) -> Result<Task, Failure> {
        let record: Option<SourceRecord> =
            self.store.record(&source_key(source)).await.map_err(|error| of_store(&error))?;
        let gone = || Failure::new(Code::SourceUnknown, "the source of the job is gone");
        let source = record.filter(|source| !source.removed).ok_or_else(gone)?;
        let name = self.names().await?.source(&source.id);
        Ok(Task { job, source, check, name })
    }

    pub async fn job_failed(&self, job: JobId, failure: Failure) {
        self.jobs.log(job, format!("failed: {failure}"));
        let outcome = types::Outcome::Failed;
        if let Err(error) = self.jobs.finish(job, outcome, None, None, Some(failure)).await {
            tracing::warn!(job, error = chain(&error), "end of job not kept");
        }
    }

    pub async fn backup_ended(&self, job: JobId, end: End) {
        let End::Over { outcome, result, failure } = end else {
            self.jobs.log(job, "parked until the machine is back");
            self.jobs.park(job);
            return;
        };
        self.jobs.log(
            job,
            match &failure {
                Some(failure) => format!("failed: {failure}"),
                None => format!("{}: point made", outcome.word()),
            },
        );
        let point = result.point.clone();
        let details = Some(types::JobResult::Backup(*result));
        if let Err(error) = self.jobs.finish(job, outcome, point, details, failure).await {
            tracing::warn!(job, error = chain(&error), "end of job not kept");
        }
    }

    /// A point has been announced: lists show it from now on.
    pub async fn point_committed(&self, point: &PointInfo) {
        let Ok(points) = self.points().await else {
            return;
        };
        let order = points.iter().position(|each| each.id == point.id).unwrap_or(points.len());
        if let Err(error) = self.catalog.put_point(PointRow::new(order as u64, point)) {
            tracing::warn!(
                error = chain(&error),
                "catalog not changed, it is made anew at the next start"
            );
        }
    }

    /// Attaches a text to a point; an empty one takes it off.
    pub async fn set_note(&self, point: &PointInfo, text: String) -> Result<(), Failure> {
        let name = format!("{NOTE_PREFIX}{}", id_text::encode(&point.id.0));
        let change = async {
            let mut change = self.store.change().await;
            if text.is_empty() {
                change.remove(name);
            } else {
                change.put(name, &text)?;
            }
            change.commit().await
        };
        change.await.map_err(|error: StoreError| of_store(&error))
    }

    /// Ends a job nobody works on, or asks whoever does.
    pub async fn cancel(&self, job: JobId) -> Result<types::Job, Failure> {
        if self.jobs.cancel(job)? {
            self.end_parked_session(job).await;
            let text = format!("job {job} was cancelled");
            self.job_failed(job, Failure::new(Code::Cancelled, text)).await;
        }
        Ok(self.jobs.follow(job)?.job)
    }

    /// What the job's session left in the pool may be reclaimed.
    async fn end_parked_session(&self, job: JobId) {
        let Some(crate::job::Work::Backup { source, .. }) = self.jobs.work(job) else {
            return;
        };
        let Some(source) = id_text::decode(&source) else {
            return;
        };
        let now = self.store.clock.now();
        let end = move |pool: crate::pool_thread::LivePool| async move {
            let mut sessions = pool.sessions().into_iter();
            match sessions.find(|session| session.source.0 == source && !session.running) {
                Some(session) => pool.cancel(session.id, now).await,
                None => Ok(()),
            }
        };
        if let Ok(Err(error)) = self.store.pool.call(end).await {
            tracing::warn!(job, error = chain(&error), "session not ended; its lease will");
        }
    }

    pub async fn machines(&self) -> Result<Vec<types::Machine>, Failure> {
        let mut records = machine::all(&self.store).await.map_err(|error| of_store(&error))?;
        records.retain(|machine| machine.state != crate::record::MachineState::Removed);
        records.sort_by(|left, right| left.name.cmp(&right.name));
        Ok(records.into_iter().map(|record| self.machine(record)).collect())
    }

    #[must_use]
    pub fn machine(&self, record: MachineRecord) -> types::Machine {
        let connected = self.connected.version(&record.id);
        types::Machine {
            connected: connected.is_some(),
            last_seen: match &connected {
                Some(_) => Some(rfc3339(self.store.clock.now())),
                None => record.last_seen,
            },
            version: connected.or(record.version),
            name: record.name,
            id: record.id,
            state: record.state.word().to_owned(),
        }
    }
}

/// The appliance's authority; made with the first start over a new pool.
async fn authority(store: &Store) -> Result<Authority, Failure> {
    let failed = |error: AuthorityError| Failure::of(Code::Internal, &error);
    let mut change = store.change().await;
    let record: Option<AuthorityRecord> =
        store.record(AUTHORITY).await.map_err(|error| of_store(&error))?;
    if let Some(record) = record {
        return Authority::open(&record).map_err(failed);
    }
    let (authority, record) = Authority::create().map_err(failed)?;
    let kept = async {
        change.put(AUTHORITY.to_owned(), &record)?;
        change.commit().await
    };
    kept.await.map_err(|error: StoreError| of_store(&error))?;
    Ok(authority)
}

/// Everything lists show, with a name for this state of the pool.
async fn view(store: &Store) -> Result<View, Failure> {
    let read = |pool: crate::pool_thread::LivePool| async move {
        (pool.id(), pool.points(), pool.series(FINISHED_JOBS, 0, usize::MAX))
    };
    let (pool, points, jobs) = store.pool.call(read).await.map_err(of_closed)?;
    let points: Vec<PointRow> =
        points.iter().zip(0..).map(|(point, order)| PointRow::new(order, point)).collect();
    let jobs: Vec<FinishedJob> =
        jobs.iter().filter_map(|(_, entry)| FinishedJob::from_entry(entry)).collect();
    let mut hasher = blake3::Hasher::new();
    for point in &points {
        hasher.update(point.id.as_bytes());
        hasher.update(&serde_json::to_vec(&point.facts).unwrap_or_default());
    }
    let digest = hasher.finalize().to_hex();
    let position = format!("{} {} {} {digest}", pool, points.len(), jobs.len());
    Ok(View { position, points, jobs })
}
