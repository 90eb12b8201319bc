//! The scheduler: what to start now, what waits and why, what was missed, when to look again.
//!
//! [`decide`] is one step: goals, [`History`], what is known of machines, and [`Now`]. It writes into
//! the history what it decides, so the same slot is never decided twice; whoever calls it keeps the
//! history first and acts then. The rules:
//!
//! - A **slot** is an instant of a calendar. Each is accounted for exactly once: a job is started that
//!   stands for it, or it is missed and told. Of several that passed, one job stands for the newest.
//! - Slots that were handled stay handled when a clock goes back. When it goes further than a day, it
//!   is another [`clock`] reign with slots of its own, and one alarm.
//! - What is due and cannot start waits with a reason. A machine that is away has failed nothing.
//! - Every source has a deadline. A newest good point older than that is told once, also if there
//!   never was one.
//! - A point brings the newest state: a synchronisation that is due with it is accounted for by it.
//! - A job that failed stands for its slot all the same: the next slot tries again.
//!
//! [`plan`] lists what will run when, and what of it will not fit.

mod candidates;
pub mod clock;
mod decide;
mod goals;
mod history;
mod limits;
mod plan;
mod slots;
#[cfg(test)]
mod tests;

pub use clock::{Clock, Jump, Moment, Now};
pub use decide::{
    Decision, LOOK_WITHIN, Missed, Overdue, Park, Promise, Start, Wait, WaitReason, decide,
};
pub use goals::{Facts, Goals, Group, Kind, Machines, Online, OnlineWhen, Source, Sync, Window};
pub use history::{History, Outcome, Record, State, Track};
pub use limits::{TooClose, default_deadline, has_sync_between};
pub use plan::{Planned, Trouble, plan};
pub use slots::{COUNT_MAX, Passed};
