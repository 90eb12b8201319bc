//! Whose turn a job is: a connection's, nobody's, or the schedule's to give away.

use super::{Jobs, Live, Work};
use crate::api::types::{JobState, Outcome};
use crate::job::{JobId, Order};
use tokio::sync::{mpsc, watch};

/// What became of a backup, for whoever plans the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    pub job: JobId,
    pub source: String,
    pub order: Order,
    /// None: parked, it goes on.
    pub outcome: Option<Outcome>,
}

/// What whoever works on a job is asked to do.
#[derive(Debug)]
pub struct Asked {
    /// End it.
    pub cancel: watch::Receiver<bool>,
    /// Leave it as it is, to go on with it later.
    pub pause: watch::Receiver<bool>,
}

impl Live {
    fn waits_for(&self, machine: &str) -> bool {
        self.machine.as_deref() == Some(machine) && !self.assigned && !self.held
    }
}

impl Jobs {
    /// Where the ends of backups are told.
    pub fn tell_ends(&self, notices: mpsc::UnboundedSender<Notice>) {
        self.table().notices = Some(notices);
    }

    pub(super) fn notice(&self, job: JobId, outcome: Option<Outcome>) -> Option<Notice> {
        let table = self.table();
        match &table.live.get(&job)?.work {
            Work::Backup { source, order } => {
                Some(Notice { job, source: source.clone(), order: *order, outcome })
            }
            Work::Restore(_) | Work::Reclaim | Work::Disks | Work::Vault => None,
        }
    }

    pub(super) fn send(&self, notice: Option<Notice>) {
        if let (Some(notice), Some(notices)) = (notice, &self.table().notices) {
            // Without a schedule nobody listens.
            let _ = notices.send(notice);
        }
    }

    /// What a backup that is being committed comes to. From now on nobody can make it more.
    pub fn seal(&self, job: JobId) -> Option<Order> {
        let mut table = self.table();
        let live = table.live.get_mut(&job)?;
        live.sealed = true;
        match &live.work {
            Work::Backup { order, .. } => Some(*order),
            Work::Restore(_) | Work::Reclaim | Work::Disks | Work::Vault => None,
        }
    }

    /// Jobs of a machine that nobody runs, now the caller's.
    pub fn take_waiting(&self, machine: &str) -> Vec<JobId> {
        let mut table = self.table();
        let waiting = table.live.values_mut().filter(|live| live.waits_for(machine));
        waiting
            .map(|live| {
                live.assigned = true;
                live.job.id
            })
            .collect()
    }

    /// Jobs of a machine that nobody runs, left where they are.
    #[must_use]
    pub fn waiting(&self, machine: &str) -> Vec<JobId> {
        let table = self.table();
        let waiting = table.live.values().filter(|live| live.waits_for(machine));
        waiting.map(|live| live.job.id).collect()
    }

    /// Makes the job the caller's, unless it is somebody's or over.
    pub fn take(&self, job: JobId) -> bool {
        match self.table().live.get_mut(&job) {
            Some(live) if !live.assigned => {
                live.assigned = true;
                true
            }
            _ => false,
        }
    }

    /// The signals of those who want the job ended or left.
    #[must_use]
    pub fn asked(&self, job: JobId) -> Option<Asked> {
        let table = self.table();
        let live = table.live.get(&job)?;
        Some(Asked { cancel: live.cancel.subscribe(), pause: live.pause.subscribe() })
    }

    /// Nobody works on the job now. What was scheduled goes on when the schedule says so, other jobs
    /// when their machine is back.
    pub fn park(&self, job: JobId) {
        if let Some(live) = self.table().live.get_mut(&job) {
            (live.assigned, live.sealed) = (false, false);
            live.held = live.is_scheduled();
            live.moving.leave();
        }
        self.update(job, |job| {
            if job.state == JobState::Running {
                job.state = JobState::Parked;
            }
        });
        let notice = self.notice(job, None);
        self.send(notice);
    }

    /// Asks whoever works on a job to leave it as it is.
    pub fn pause(&self, job: JobId) {
        if let Some(live) = self.table().live.get(&job) {
            live.pause.send_replace(true);
        }
    }

    /// Lets a job that was held go on. False: there is none of that number.
    pub fn release(&self, job: JobId) -> bool {
        match self.table().live.get_mut(&job) {
            Some(live) => {
                live.held = false;
                live.pause.send_replace(false);
                true
            }
            None => false,
        }
    }

    /// Jobs that wait for the schedule, each with its source.
    #[must_use]
    pub fn held(&self) -> Vec<(JobId, String)> {
        let table = self.table();
        let held = table.live.values().filter(|live| live.held && !live.assigned);
        let of_source = held.filter_map(|live| match &live.work {
            Work::Backup { source, .. } => Some((live.job.id, source.clone())),
            Work::Restore(_) | Work::Reclaim | Work::Disks | Work::Vault => None,
        });
        of_source.collect()
    }

    /// The job's machine.
    #[must_use]
    pub fn machine(&self, job: JobId) -> Option<String> {
        self.table().live.get(&job).and_then(|live| live.machine.clone())
    }
}
