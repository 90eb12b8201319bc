//! Jobs: units of work with progress, a log and a result.
//!
//! A backup's job is a record from the moment it is accepted until it is over, so it survives every
//! stop of the daemon. A job that is over is one entry of the series `jobs`; the record goes after
//! the entry is written, and a job found in both places at start counts as over. Restores live and
//! die with the daemon.

mod finished;
mod missed;
mod order;
mod pace;
mod table;
mod trim;

pub use finished::{FinishedJob, LOG_LINES_MAX};
pub use order::Order;
pub use table::{Asked, Follow, JobError, Jobs, Notice, RestorePlan, Work};

pub type JobId = u64;
