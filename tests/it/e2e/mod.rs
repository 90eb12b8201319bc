//! Real daemon, real agent, real files.

mod cuts;
mod hidden;
mod kills;
mod main_job;
mod refusals;
