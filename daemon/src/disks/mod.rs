//! Disks that join and leave the running pool, as jobs: one at a time, beside everything else.
//!
//! The job is a record of the pool until it is over, so that it goes on after every stop of the
//! daemon: a disk that had not joined joins from the beginning, one that was being emptied is emptied
//! on. Before a disk joins, `disks.json` names it: whatever happens then, the next start finds it.

mod known;
mod work;

pub use known::KnownDisks;

use crate::api::types::{DiskChange, DiskRequest, DiskResult, JobResult, Outcome, Started};
use crate::audit::Actor;
use crate::daemon::Daemon;
use crate::failure::{Code, Failure, chain};
use crate::pool_failure::{of_closed, of_store};
use crate::raised::raised;
use crate::record::{DISK_JOB, DiskJobRecord};
use crate::size_text::size;
use keelhold_disk::pool::{DiskState, DiskStatus};
use keelhold_disk::units::DiskId;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

impl Daemon {
    /// Starts a change of the pool's disks.
    pub async fn change_disks(
        self: &Arc<Self>,
        actor: &Actor,
        request: &DiskRequest,
    ) -> Result<Started, Failure> {
        let begun = async {
            let order = order(self, request).await?;
            let record = self.jobs.accept_disks(order).await?;
            let started = Started { job: record.id, joined: false };
            tokio::spawn(run(Arc::clone(self), record, "started"));
            Ok(started)
        };
        let begun = begun.await;
        let path = request.path_hex.as_deref().and_then(|hex| path_of(hex).ok());
        let path = path.map(|path| path.display().to_string());
        let what = request.disk.iter().cloned().chain(path).collect();
        self.store.audit(actor, request.change.verb(), what, &begun).await;
        begun
    }

    /// Goes on with the change that a stop of the daemon interrupted.
    pub async fn resume_disks(self: &Arc<Self>) {
        match self.store.record::<DiskJobRecord>(DISK_JOB).await {
            // Its end was kept, and then the daemon was stopped.
            Ok(Some(record)) if self.catalog.job(record.id).is_some() => {
                let mut change = self.store.change().await;
                change.remove(DISK_JOB.to_owned());
                if let Err(error) = change.commit().await {
                    tracing::warn!(error = chain(&error), "a change of disks that is over stays");
                }
                self.disks.settle(&self.store.pool).await;
            }
            Ok(Some(record)) => {
                self.jobs.resume_disks(&record);
                tokio::spawn(run(Arc::clone(self), record, "goes on after a stop of the daemon"));
            }
            Ok(None) => self.disks.settle(&self.store.pool).await,
            Err(error) => tracing::error!(error = chain(&error), "a change of disks is forgotten"),
        }
    }
}

fn path_of(hex: &str) -> Result<PathBuf, Failure> {
    let bytes = data_encoding::HEXLOWER.decode(hex.as_bytes());
    let bytes = bytes.map_err(|error| Failure::of(Code::BadRequest, &error))?;
    Ok(PathBuf::from(OsString::from_vec(bytes)))
}

/// What is asked for, checked as far as it can be without touching a disk.
async fn order(daemon: &Daemon, request: &DiskRequest) -> Result<DiskJobRecord, Failure> {
    let missing = |what: &str| {
        let verb = request.change.verb();
        Failure::new(Code::BadRequest, format!("{verb} needs to know {what}"))
    };
    let left = match (&request.disk, request.change) {
        (_, DiskChange::AddDisk) => None,
        (Some(named), _) => Some(member(daemon, named).await?),
        (None, _) => return Err(missing("the disk that leaves")),
    };
    let path_hex = match (&request.path_hex, request.change) {
        (_, DiskChange::DrainDisk) => None,
        (Some(hex), _) => Some(path_of(hex).map(|_| hex.clone())?),
        (None, _) => return Err(missing("the disk that joins")),
    };
    Ok(DiskJobRecord {
        id: 0,
        change: request.change,
        left,
        path_hex,
        bytes: request.bytes,
        making: false,
        begun: false,
        created_at: daemon.store.clock.now().0,
    })
}

async fn disks(daemon: &Daemon) -> Result<Vec<DiskStatus>, Failure> {
    let ask = |pool: crate::pool_thread::LivePool| async move { pool.status().disks };
    daemon.store.pool.call(ask).await.map_err(of_closed)
}

/// The disk of the pool that has this id, or is or was last seen at this path.
async fn member(daemon: &Daemon, named: &str) -> Result<String, Failure> {
    let disks = disks(daemon).await?;
    let is_path = |disk: &DiskStatus| {
        let there = disk.geometry.as_ref().is_some_and(|found| *found.name == *named);
        let known = daemon.disks.path(&disk.id.to_string());
        there || known.is_some_and(|known| known == Path::new(named))
    };
    let mut of_pool = disks.iter().filter(|disk| disk.state != DiskState::Retired);
    let found = of_pool.find(|disk| disk.id.to_string() == named || is_path(disk));
    let unknown = || Failure::new(Code::DiskUnknown, format!("the pool has no disk {named}"));
    found.map(|disk| disk.id.to_string()).ok_or_else(unknown)
}

/// The disk of the pool with this id, members of the past among them.
async fn disk_of(daemon: &Daemon, id: &str) -> Result<DiskStatus, Failure> {
    let mut disks = disks(daemon).await?.into_iter();
    let unknown = || Failure::new(Code::DiskUnknown, format!("the pool has no disk {id}"));
    disks.find(|disk| disk.id.to_string() == id).ok_or_else(unknown)
}

/// What a change came to.
#[derive(Debug, Default)]
struct Done {
    joined: Option<DiskId>,
    drained: Option<keelhold_disk::pool::DrainReport>,
}

async fn run(daemon: Arc<Daemon>, record: DiskJobRecord, how: &'static str) {
    let job = record.id;
    if let Err(error) = daemon.jobs.start(job).await {
        tracing::warn!(job, error = chain(&error), "start not noted");
    }
    daemon.jobs.log(job, how);
    let (began, mut stopping) = (Instant::now(), daemon.stopping.clone());
    let done = tokio::select! {
        done = work::change(&daemon, &record) => done,
        () = raised(&mut stopping) => return daemon.jobs.park(job),
    };
    let result = match done {
        // The record stays: the next start goes on.
        Err(failure) if failure.code == Code::Stopping => return daemon.jobs.park(job),
        Err(failure) => Err(failure),
        Ok(done) => {
            Ok(DiskResult { seconds: began.elapsed().as_secs_f64(), ..result(&record, &done) })
        }
    };
    daemon.disks.settle(&daemon.store.pool).await;
    daemon.heal.wake();
    match result {
        Err(failure) => daemon.job_failed(job, failure).await,
        Ok(result) => {
            let text = format!("{}: {} moved", result.result.word(), size(result.bytes_moved));
            daemon.jobs.log(job, text);
            let (outcome, details) = (result.result, Some(JobResult::Disk(result)));
            if let Err(error) = daemon.jobs.finish(job, outcome, None, details, None).await {
                tracing::warn!(job, error = chain(&error), "end of job not kept");
            }
        }
    }
}

fn result(record: &DiskJobRecord, done: &Done) -> DiskResult {
    let drained = done.drained.clone().unwrap_or_default();
    let is_whole = record.change == DiskChange::AddDisk || drained.retired;
    DiskResult {
        result: if is_whole { Outcome::Ok } else { Outcome::Partial },
        job: record.id,
        change: record.change,
        joined: done.joined.map(|id| id.to_string()),
        left: record.left.clone(),
        copies_moved: drained.copies_moved,
        bytes_moved: drained.bytes,
        retired: drained.retired,
        unmoved: drained.unmoved.iter().map(|error| chain(error)).collect(),
        seconds: 0.0,
        error: None,
    }
}

impl DiskJobRecord {
    fn path(&self) -> Result<PathBuf, Failure> {
        path_of(self.path_hex.as_deref().unwrap_or_default())
    }
}

/// The record as it is from now on.
async fn keep(daemon: &Daemon, record: &DiskJobRecord) -> Result<(), Failure> {
    let mut change = daemon.store.change().await;
    let kept = async {
        change.put(DISK_JOB.to_owned(), record)?;
        change.commit().await
    };
    kept.await.map_err(|error: crate::store::StoreError| of_store(&error))
}
