//! Real daemon, real agent, real files.

mod attacks;
mod full;
mod kills;
mod main_job;
mod manners;
mod refusals;
