//! Real daemon, real agent, real files.

mod attacks;
mod big_tree;
mod cuts;
mod demands;
mod disks;
mod encrypted;
mod forget;
mod frozen;
mod full;
mod groups;
mod hidden;
mod kills;
mod main_job;
mod manners;
mod never_wedged;
mod readme;
mod refusals;
mod rot;
mod scrub;
mod second_reader;
mod vault;
