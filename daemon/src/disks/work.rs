//! What a change of disks does, from the beginning or from where it was stopped.

use super::{Done, disk_of, disks, keep};
use crate::api::types::DiskChange;
use crate::daemon::Daemon;
use crate::failure::{Code, Failure};
use crate::job::JobId;
use crate::pool_failure::{of_closed, of_member};
use crate::pool_open::{Candidate, DiskSpec, MadeFiles, refuse_joining};
use crate::pool_thread::{Attach, LivePool};
use crate::record::DiskJobRecord;
use keelhold_disk::device::probe::OpenedDisk;
use keelhold_disk::error::MemberError;
use keelhold_disk::pool::{DiskState, DiskStatus, DrainReport};
use keelhold_disk::units::{DiskId, UnixNanos};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::oneshot;

/// How often a job that runs looks how far the pool is.
const LOOK_EVERY: Duration = Duration::from_millis(250);

pub(super) async fn change(daemon: &Daemon, record: &DiskJobRecord) -> Result<Done, Failure> {
    let left = match &record.left {
        Some(left) => Some(disk_of(daemon, left).await?),
        None => None,
    };
    if left.as_ref().is_some_and(|left| left.state == DiskState::Retired) {
        // The daemon was stopped between the last step and the answer.
        let drained = Some(DrainReport { retired: true, ..DrainReport::default() });
        return Ok(Done { joined: joined(daemon, record).await?, drained });
    }
    let left = left.map(|left| left.id);
    match (record.change, left) {
        (DiskChange::DrainDisk, Some(left)) => drain(daemon, record.id, left, None).await,
        _ => match joined(daemon, record).await? {
            Some(new) => match left {
                None => Ok(Done { joined: Some(new), drained: None }),
                // It joined before the daemon was stopped: what is left to do is to empty the other.
                Some(left) => drain(daemon, record.id, left, Some(new)).await,
            },
            None => join(daemon, record, left).await,
        },
    }
}

/// The disk that joins, if it did so before the daemon was stopped.
async fn joined(daemon: &Daemon, record: &DiskJobRecord) -> Result<Option<DiskId>, Failure> {
    if !record.begun || record.path_hex.is_none() {
        return Ok(None);
    }
    let path = record.path()?;
    let disks = disks(daemon).await?;
    Ok(disks.iter().find(|disk| is_member_at(disk, &path)).map(|disk| disk.id))
}

fn is_at(disk: &DiskStatus, path: &Path) -> bool {
    disk.geometry.as_ref().is_some_and(|found| *found.name == *path.display().to_string())
}

fn is_member_at(disk: &DiskStatus, path: &Path) -> bool {
    disk.state != DiskState::Retired && is_at(disk, path)
}

async fn drain(
    daemon: &Daemon,
    job: JobId,
    left: DiskId,
    joined: Option<DiskId>,
) -> Result<Done, Failure> {
    let now = daemon.store.pool.now();
    let work = daemon.store.pool.call(move |pool| async move { pool.drain_disk(left, now).await });
    let drained = watched(daemon, job, Some(left), async { work.await.map_err(of_closed) });
    let drained = drained.await?.map_err(|error| of_member(&error))?;
    Ok(Done { joined, drained: Some(drained) })
}

/// A disk joins, and one leaves for it if that is asked for.
async fn join(
    daemon: &Daemon,
    record: &DiskJobRecord,
    left: Option<DiskId>,
) -> Result<Done, Failure> {
    let path = record.path()?;
    for disk in disks(daemon).await? {
        refuse_own(&disk, &path)?;
    }
    let (disk, mut made) = candidate(daemon, record, &path).await?;
    let (vetted, is_vetted) = oneshot::channel();
    let (go, may_go) = oneshot::channel();
    let now = daemon.store.pool.now();
    let order = Order { path: path.clone(), begun: record.begun, left, now };
    let work = daemon.store.pool.call_attaching(move |pool, attach| async move {
        order.carry_out(pool, &attach, disk, (vetted, may_go)).await
    });
    let beside = async {
        if is_vetted.await.is_ok() {
            daemon.disks.joining(&path)?;
            keep(daemon, &DiskJobRecord { begun: true, ..record.clone() }).await?;
            // Whoever stops waiting from now on must not take the file away.
            made.keep();
            let _ = go.send(());
        }
        Ok(())
    };
    let both = async {
        let (done, prepared) = tokio::join!(work, beside);
        prepared.and(done.map_err(of_closed)?)
    };
    let done = watched(daemon, record.id, left, both).await;
    let was_made = record.bytes.is_some() && !record.begun;
    let failed = matches!(&done, Err(failure) if failure.code != Code::Stopping);
    // Whether it failed before or after it joined, the pool knows.
    if failed && was_made && !disks(daemon).await?.iter().any(|disk| is_member_at(disk, &path)) {
        made.take_back(path);
    }
    done
}

/// The disk that is to join, opened or made.
async fn candidate(
    daemon: &Daemon,
    record: &DiskJobRecord,
    path: &Path,
) -> Result<(OpenedDisk, MadeFiles), Failure> {
    // Once it was begun, a file that was to be made is there.
    let create_len = record.bytes.filter(|_| !record.begun).map(|len| len - len % 4096);
    if create_len.is_some() && !record.making && !path.exists() {
        keep(daemon, &DiskJobRecord { making: true, ..record.clone() }).await?;
    }
    let spec = DiskSpec { path: path.to_owned(), create_len };
    let half_made = create_len.is_some() && record.making;
    let opened = tokio::task::spawn_blocking(move || Candidate::open(&spec, half_made)).await;
    Ok(opened.map_err(|error| Failure::of(Code::Internal, &error))??.split())
}

/// A path that the pool itself holds.
fn refuse_own(disk: &DiskStatus, path: &Path) -> Result<(), Failure> {
    let (id, path_shown) = (disk.id, path.display());
    if !is_at(disk, path) {
        return Ok(());
    }
    if disk.state == DiskState::Retired {
        let text = format!("{path_shown} left the pool and is still held by the daemon");
        let hint = "restart the daemon: it lets go of disks that left the pool then";
        return Err(Failure::new(Code::DiskBusy, text).hint(hint));
    }
    let text = format!("{path_shown} is disk {id} of this pool already");
    Err(Failure::new(Code::DiskOccupied, text))
}

/// What the pool's thread needs to know.
struct Order {
    path: PathBuf,
    begun: bool,
    left: Option<DiskId>,
    now: UnixNanos,
}

impl Order {
    async fn carry_out(
        self,
        pool: LivePool,
        attach: &Attach,
        disk: OpenedDisk,
        (vetted, may_go): (oneshot::Sender<()>, oneshot::Receiver<()>),
    ) -> Result<Done, Failure> {
        let device = attach(disk);
        refuse_joining(&pool, &self.path, &device, self.begun).await?;
        let _ = vetted.send(());
        if may_go.await.is_err() {
            return Err(Failure::new(Code::Stopping, "nothing was written to the disk"));
        }
        let done: Result<Done, MemberError> = match self.left {
            None => {
                let joined = pool.add_disk(device, self.now).await;
                joined.map(|id| Done { joined: Some(id), drained: None })
            }
            Some(left) => {
                let replaced = pool.replace_disk(left, device, self.now).await;
                replaced.map(|(id, drained)| Done { joined: Some(id), drained: Some(drained) })
            }
        };
        done.map_err(|error| of_member(&error))
    }
}

/// Waits for `work` and shows meanwhile what is still on the disk that leaves.
async fn watched<T>(
    daemon: &Daemon,
    job: JobId,
    left: Option<DiskId>,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let mut work = std::pin::pin!(work);
    let mut of = None;
    loop {
        tokio::select! {
            done = &mut work => return done,
            () = tokio::time::sleep(LOOK_EVERY), if left.is_some() => {
                let disks = disks(daemon).await?;
                let Some(disk) = disks.iter().find(|disk| Some(disk.id) == left) else { continue };
                let all = *of.get_or_insert(disk.containers);
                daemon.jobs.progress(job, |shown| {
                    shown.containers = all;
                    shown.containers_done = all.saturating_sub(disk.containers);
                });
            }
        }
    }
}
