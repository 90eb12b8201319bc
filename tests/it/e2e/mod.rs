//! Real daemon, real agent, real files.

mod big_tree;
mod cuts;
mod hidden;
mod kills;
mod main_job;
mod readme;
mod refusals;
