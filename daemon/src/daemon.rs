//! What the daemon's parts share, and the verbs of the API in terms of them.

use crate::api::types;
use crate::authority::{Authority, AuthorityError};
use crate::catalog::{Catalog, PointRow, View};
use crate::clock::{SharedClock, parse_time, rfc3339};
use crate::disks::KnownDisks;
use crate::failure::{Code, Failure, chain};
use crate::id_text;
use crate::job::{FinishedJob, JobId, Jobs, Order};
use crate::machine;
use crate::machine::connected::{Command, Connected};
use crate::point::OpenPoint;
use crate::pool_failure::{of_closed, of_store};
use crate::pool_thread::PoolHandle;
use crate::record::{
    AUTHORITY, AuthorityRecord, FINISHED_JOBS, MachineRecord, NOTE_PREFIX, SourceName,
    SourceRecord, source_key,
};
use crate::server::{End, Task, Terms, Throttle};
use crate::settings::Settings;
use crate::source::{self, Names};
use crate::store::{Store, StoreError};
use crate::upkeep::Upkeep;
use keelhold_disk::pool::PointInfo;
use keelhold_disk::units::PointId;
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
    pub settings: Settings,
    pub upkeep: Upkeep,
    pub scrub: crate::scrub::Scrub,
    pub schedule: crate::schedule::Schedule,
    pub vaults: crate::vault::Vaults,
    /// What groups' machines send together.
    pub throttle: Throttle,
    /// The groups in force, once somebody asked.
    pub(crate) groups_known: tokio::sync::Mutex<Option<Arc<crate::group::Groups>>>,
    pub heal: crate::heal::Heal,
    pub disks: KnownDisks,
    /// Points are forgotten and kept one by one: what was asked before is still so.
    pub forgetting: tokio::sync::Mutex<()>,
    /// Whoever holds it brings the catalog up to what the pool has.
    showing: tokio::sync::Mutex<()>,
    /// The point read last: a mount asks for the same one thousands of times.
    opened: Mutex<Option<(PointId, OpenPoint)>>,
}

fn said(changed: Result<(), crate::catalog::CatalogError>) {
    if let Err(error) = changed {
        let error = chain(&error);
        tracing::warn!(error, "catalog not changed, it is made anew at the next start");
    }
}

fn of_catalog(error: crate::catalog::CatalogError) -> Failure {
    error.into()
}

impl Daemon {
    pub async fn open(
        pool: PoolHandle,
        clock: SharedClock,
        disks: KnownDisks,
        url: String,
        settings: Settings,
        stopping: watch::Receiver<bool>,
    ) -> Result<Self, Failure> {
        let store = Store::new(pool, clock);
        let authority = authority(&store).await?;
        if settings.default_group {
            crate::group::make_default(&store).await?;
        }
        let catalog = Catalog::open(&disks.state().catalog()).map_err(of_catalog)?;
        let view = view(&store).await?;
        if catalog.position().as_deref() != Some(view.position.as_str()) {
            tracing::info!(points = view.points.len(), "catalog made anew from the pool");
            catalog.rebuild(Arc::new(view)).map_err(of_catalog)?;
        }
        let jobs = Jobs::load(store.clone(), catalog.clone()).await.map_err(|e| of_store(&e))?;
        let zone = settings.zone.clone();
        let vaults = crate::vault::Vaults::load(&store, disks.state().vaults(), zone).await?;
        let upkeep = Upkeep::load(&catalog, store.pool.now());
        Ok(Self {
            store,
            authority,
            connected: Connected::default(),
            jobs: Arc::new(jobs),
            upkeep,
            scrub: crate::scrub::Scrub::default(),
            schedule: crate::schedule::Schedule::default(),
            vaults,
            throttle: Throttle::default(),
            groups_known: tokio::sync::Mutex::default(),
            heal: crate::heal::Heal::default(),
            disks,
            catalog,
            url,
            stopping,
            settings,
            forgetting: tokio::sync::Mutex::default(),
            showing: tokio::sync::Mutex::default(),
            opened: Mutex::default(),
        })
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

    /// Lets go of the point that was read last: what is held open does not go.
    pub fn close_point(&self) {
        *self.opened.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The point, open for reading.
    pub async fn open_point(&self, id: PointId) -> Result<OpenPoint, Failure> {
        let known = |opened: &Option<(PointId, OpenPoint)>| {
            opened.as_ref().filter(|(of, _)| *of == id).map(|(_, point)| point.clone())
        };
        if let Some(point) = known(&self.opened.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(point);
        }
        let behind = self.vaults.having(&self.store.pool, id).await;
        let known = move |pool: crate::pool_thread::LivePool| async move { pool.has_point(&id) };
        let in_pool = self.store.pool.call(known).await.map_err(of_closed)?;
        let point = match behind {
            Some(place) if !in_pool => OpenPoint::in_vault(&place).await?,
            behind => OpenPoint::open(&self.store.pool, id, behind).await?,
        };
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
        self.needs_pool()?;
        let away = || {
            if request.queue || self.connected.version(&machine.id).is_some() {
                return Ok(());
            }
            let text = format!("machine {} is not connected", machine.name);
            Err(Failure::new(Code::MachineAway, text))
        };
        let text = name.to_string();
        let order = self.order(request)?;
        let started = self.jobs.accept_backup(&machine.id, &source.id, text, order, away).await?;
        if !started.joined {
            self.connected.command(&machine.id, Command::Run(started.job));
        }
        Ok(started)
    }

    /// Nothing is backed up to an appliance without disks.
    pub fn needs_pool(&self) -> Result<(), Failure> {
        let none = || Failure::new(Code::NoPoolYet, "there is no pool to back up to");
        self.settings.has_pool.then_some(()).ok_or_else(none)
    }

    /// What somebody asks for.
    fn order(&self, request: &types::BackupRequest) -> Result<Order, Failure> {
        let keep_until = match &request.keep_until {
            None => None,
            Some(text) => {
                let wrong = |what: String| Failure::new(Code::BadRequest, what);
                let until = parse_time(text).ok_or_else(|| {
                    wrong(format!("{text:?} is no date")).hint("write it like 2027-03-31")
                })?;
                if until <= self.store.clock.now() {
                    return Err(wrong(format!("{} is over", rfc3339(until))));
                }
                Some(until.0)
            }
        };
        let types::BackupRequest { check, sync, .. } = *request;
        Ok(Order { check, sync, slot: None, keep_until })
    }

    /// Starts what a machine asks for itself.
    pub async fn back_up_machine(
        &self,
        machine: &MachineRecord,
        only: Option<&str>,
    ) -> Result<Vec<JobId>, Failure> {
        self.needs_pool()?;
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
            let order = Order::default();
            let accepted =
                self.jobs.accept_backup(&machine.id, &source.id, name, order, || Ok(())).await?;
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

    /// What a backup job is about, and whether it may begin: then what its machine's quota leaves.
    pub async fn task(
        &self,
        job: JobId,
        source: &str,
        order: Order,
    ) -> Result<(Task, Result<Option<u64>, Failure>), Failure> {
        let record: Option<SourceRecord> =
            self.store.record(&source_key(source)).await.map_err(|error| of_store(&error))?;
        let gone = || Failure::new(Code::SourceUnknown, "the source of the job is gone");
        let source = record.filter(|source| !source.removed).ok_or_else(gone)?;
        let name = self.names().await?.source(&source.id);
        let (names, groups) = (self.names().await?, self.groups().await?);
        let stated = groups.of_source(&source, &names);
        let wire = self.connected.wire(&source.machine).unwrap_or(1);
        let terms = Terms::of(stated, &self.settings, wire);
        let task = Task { job, source, order, name, quota_left: None, terms };
        let quota_left = crate::room::admit(self, &task).await;
        Ok((task, quota_left))
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
            // Without room a job does not end up here: it waits for it, or is refused.
            self.jobs.log(job, "parked until the machine is back");
            self.jobs.park(job);
            return;
        };
        self.jobs.log(
            job,
            match &failure {
                Some(failure) => format!("failed: {failure}"),
                None if result.point.is_none() => {
                    format!("{}: the working state is the newest", outcome.word())
                }
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
        let _turn = self.showing.lock().await;
        said(self.catalog.put_point(PointRow::new(0, point)));
        self.schedule.points_changed();
    }

    /// Points were forgotten, changed or dropped: lists show it from now on.
    pub async fn show_points(&self) {
        let _turn = self.showing.lock().await;
        let Ok(points) = self.points().await else {
            return;
        };
        let rows = points.iter().map(|point| PointRow::new(0, point)).collect();
        said(self.catalog.set_points(rows));
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
        let now = self.store.pool.now();
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
        let mut machines = Vec::with_capacity(records.len());
        for record in records {
            machines.push(self.machine_with_quota(record).await?);
        }
        Ok(machines)
    }

    /// With what it takes of its quota, if it has one.
    pub async fn machine_with_quota(
        &self,
        record: MachineRecord,
    ) -> Result<types::Machine, Failure> {
        let bytes_exclusive = match record.quota_bytes {
            Some(_) => Some(self.exclusive_of(&record.id).await?),
            None => None,
        };
        Ok(types::Machine { bytes_exclusive, ..self.machine(record) })
    }

    /// Stored bytes that only this machine's points need.
    pub async fn exclusive_of(&self, machine: &str) -> Result<u64, Failure> {
        let names = self.names().await?;
        let of_machine = |point: &PointInfo| {
            let source = names.sources.get(&id_text::encode(&point.source.0));
            point.trashed_until.is_none() && source.is_some_and(|source| source.machine == machine)
        };
        let points = self.points().await?;
        let ids: Vec<PointId> =
            points.iter().filter(|point| of_machine(point)).map(|point| point.id).collect();
        let ask = move |pool: crate::pool_thread::LivePool| async move { pool.exclusive_len(&ids) };
        self.store.pool.call(ask).await.map_err(of_closed)
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
            quota_bytes: record.quota_bytes,
            bytes_exclusive: None,
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
        hasher.update(&point.trashed_until.unwrap_or(0).to_le_bytes());
        hasher.update(&serde_json::to_vec(&point.facts).unwrap_or_default());
    }
    let digest = hasher.finalize().to_hex();
    let position = format!("{} {} {} {digest}", pool, points.len(), jobs.len());
    Ok(View { position, points, jobs })
}
