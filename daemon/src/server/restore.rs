//! placeholder
use super::budget::Arrivals;
use super::outbox::Outbox;
use crate::daemon::Daemon;
use crate::job::{JobId, RestorePlan};
use tokio::sync::watch;
pub async fn run(_daemon: &Daemon, _job: JobId, _plan: &RestorePlan, _outbox: &Outbox, _arrivals: &mut Arrivals, _stopping: &mut watch::Receiver<bool>) {}
