//! Restores: on the appliance by the daemon itself, or through a machine's agent.

mod local;
pub mod tar;

use crate::api::types::{Fetch, JobResult, OnClash, Outcome, RestoreRequest};
use crate::daemon::Daemon;
use crate::failure::{Code, Failure, chain};
use crate::id_text;
use crate::job::{JobId, RestorePlan};
use crate::machine::{self, connected::Command};
use crate::point::{OpenPoint, PointAddress};
use crate::pool_failure::of_store;
use data_encoding::HEXLOWER;
use keelhold_disk::pool::PointInfo;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;
use std::sync::Arc;

/// Of so many named paths it is said beforehand what they cost.
const PLANNED_MAX: usize = 64;

fn hex(text: &str) -> Result<Vec<u8>, Failure> {
    HEXLOWER.decode(text.as_bytes()).map_err(|error| Failure::of(Code::BadRequest, &error))
}

/// Accepts a restore; it runs as a job.
pub async fn start(
    daemon: &Arc<Daemon>,
    request: RestoreRequest,
) -> Result<(JobId, Option<Fetch>), Failure> {
    let (info, source) = daemon.point(&request.point).await?;
    let paths: Result<Vec<Vec<u8>>, Failure> =
        request.paths_hex.iter().map(|path| hex(path)).collect();
    let target = request.to_hex.as_deref().map(hex).transpose()?.unwrap_or_default();
    let plan = RestorePlan {
        point: info.id,
        point_text: id_text::encode(&info.id.0),
        target,
        original: request.original,
        paths: paths?,
        on_clash: request.on_clash,
    };
    // A wrong path is the caller's error, not a job's.
    let point = daemon.open_point(info.id).await?;
    let mut entries = Vec::new();
    for path in &plan.paths {
        let Some((_, entry)) = point.find(path.clone()).await? else {
            let text = String::from_utf8_lossy(path);
            let text = format!("the point has no path {text:?}");
            return Err(Failure::new(Code::PathUnknown, text));
        };
        entries.push(entry);
    }
    let fetch = match entries.len() <= PLANNED_MAX {
        true => point.plan(entries).await,
        false => None,
    };
    let job = match &request.machine {
        Some(name) => through_agent(daemon, name, source, plan).await,
        None if request.original => {
            let text = "a restore to the original place goes through a machine's agent";
            Err(Failure::new(Code::BadRequest, text).hint("name it with --machine"))
        }
        None => on_appliance(daemon, source, point, plan).await,
    };
    Ok((job?, fetch))
}

async fn through_agent(
    daemon: &Arc<Daemon>,
    name: &str,
    source: String,
    mut plan: RestorePlan,
) -> Result<JobId, Failure> {
    let machine = machine::named(&daemon.store, name).await?;
    if daemon.connected.version(&machine.id).is_none() {
        let text = format!("machine {name} is not connected");
        return Err(Failure::new(Code::MachineAway, text)
            .hint("start `keelhold-agent run` on it, then restore again"));
    }
    if plan.original {
        plan.target = daemon.root_of(&plan.point).await?;
    }
    let jobs = &daemon.jobs;
    let job = jobs.accept_restore(Some(machine.id.clone()), source, plan).await;
    let job = job.map_err(|error| of_store(&error))?;
    daemon.connected.command(&machine.id, Command::Run(job));
    Ok(job)
}

async fn on_appliance(
    daemon: &Arc<Daemon>,
    source: String,
    point: OpenPoint,
    plan: RestorePlan,
) -> Result<JobId, Failure> {
    let target = PathBuf::from(OsString::from_vec(plan.target.clone()));
    if !target.is_absolute() {
        return Err(Failure::new(Code::BadRequest, "the target is not an absolute path"));
    }
    let job = daemon.jobs.accept_restore(None, source, plan.clone()).await;
    let job = job.map_err(|error| of_store(&error))?;
    daemon.jobs.take(job);
    let daemon = Arc::clone(daemon);
    tokio::spawn(async move { run_on_appliance(&daemon, job, point, target, plan).await });
    Ok(job)
}

async fn run_on_appliance(
    daemon: &Daemon,
    job: JobId,
    point: OpenPoint,
    target: PathBuf,
    plan: RestorePlan,
) {
    let Some(cancelled) = daemon.jobs.asked(job).map(|asked| asked.cancel) else {
        return;
    };
    if let Err(error) = daemon.jobs.start(job).await {
        tracing::warn!(job, error = chain(&error), "start not noted");
    }
    let request = local::Request {
        job,
        point_text: plan.point_text.clone(),
        target,
        paths: plan.paths,
        on_clash: plan.on_clash.map(to_tree),
    };
    match local::restore(&daemon.jobs, point, request, cancelled).await {
        Err(failure) => daemon.job_failed(job, failure).await,
        Ok(result) => {
            let (outcome, failed) = (result.result, result.failed.len());
            daemon.jobs.log(job, format!("{}: {failed} paths failed", outcome.word()));
            let details = Some(JobResult::Restore(result));
            let failure = (failed > 0).then(|| {
                Failure::new(
                    Code::RestoreIncomplete,
                    format!("{failed} paths could not be restored"),
                )
            });
            let kept = daemon.jobs.finish(job, outcome, None, details, failure).await;
            if let Err(error) = kept {
                tracing::warn!(job, error = chain(&error), "end of job not kept");
            }
        }
    }
}

fn to_tree(on_clash: OnClash) -> keelhold_tree::OnClash {
    match on_clash {
        OnClash::Skip => keelhold_tree::OnClash::Skip,
        OnClash::Copy => keelhold_tree::OnClash::Copy,
        OnClash::Overwrite => keelhold_tree::OnClash::Overwrite,
    }
}

impl Daemon {
    /// The one point that is meant, wherever it is, and the name of its source.
    pub async fn point(&self, text: &str) -> Result<(PointInfo, String), Failure> {
        let points = self.points_anywhere().await?;
        let info = self.meant(points, &[text.to_owned()]).await?.remove(0);
        let source = self.names().await?.source(&id_text::encode(&info.source.0));
        Ok((info, source))
    }

    /// The points of the pool that are meant, one for each text, in their order.
    pub async fn points_named(&self, texts: &[String]) -> Result<Vec<PointInfo>, Failure> {
        let points = self.points().await?;
        self.meant(points, texts).await
    }

    async fn meant(
        &self,
        points: Vec<PointInfo>,
        texts: &[String],
    ) -> Result<Vec<PointInfo>, Failure> {
        let names = self.names().await?;
        let working = self.working_states(&names).await?;
        let mut meant: Vec<PointInfo> = Vec::with_capacity(texts.len());
        for text in texts {
            let address: PointAddress = text.parse().map_err(Failure::from)?;
            let info = address.resolve(&points, &names, |source| {
                working.iter().find(|state| state.source == source).cloned()
            })?;
            meant.push(info);
        }
        Ok(meant)
    }

    async fn working_states(
        &self,
        names: &crate::source::Names,
    ) -> Result<Vec<PointInfo>, Failure> {
        let ids: Vec<_> = names
            .sources
            .keys()
            .filter_map(|id| id_text::decode(id).map(keelhold_disk::units::SourceId))
            .collect();
        let ask = move |pool: crate::pool_thread::LivePool| async move {
            ids.iter().filter_map(|id| pool.working_state(id)).collect()
        };
        self.store.pool.call(ask).await.map_err(crate::pool_failure::of_closed)
    }

    /// Where the point's tree was on its machine.
    async fn root_of(&self, point: &keelhold_disk::units::PointId) -> Result<Vec<u8>, Failure> {
        let points = self.points_anywhere().await?;
        let info = points.into_iter().find(|info| info.id == *point);
        let facts = info.map(|info| crate::point_facts::PointFacts::parse(&info.attributes));
        hex(&facts.unwrap_or_default().root_hex)
    }
}

/// How a restore that did something is summed up.
#[must_use]
pub fn outcome(failed: usize, skipped: usize) -> Outcome {
    if failed + skipped == 0 { Outcome::Ok } else { Outcome::Partial }
}
