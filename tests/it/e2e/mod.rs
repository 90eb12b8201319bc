//! Real daemon, real agent, real files.

mod kills;
mod main_job;
mod readme;
mod refusals;
