//! The appliance: the daemon, and the admin's command line for it.
//!
//! | module | what |
//! |---|---|
//! | [`cli`] | verbs; all but a few ask the daemon over its socket |
//! | [`api`] | `/api/v1`: addresses, types, answers |
//! | [`daemon`] | what the parts share, and the verbs in terms of it |
//! | [`server`] | agents: listener, enrolment, sessions |
//! | [`job`], [`restore`], [`point`] | work, and what it works on |
//! | [`machine`], [`source`], [`record`], [`store`] | who and what is protected, kept in the pool |
//! | [`pool_thread`], [`pool_open`], [`pool_work`], [`key_file`] | the pool's own thread and the way to it |
//! | [`forget`], [`reclaim`], [`upkeep`], [`room`], [`trend`] | what goes, what comes back, and when |
//! | [`scrub`], [`heal`], [`disks`] | damage found, copies made again, disks that join and leave |
//! | [`vault`] | the second copy: shipped, listed, read, adopted |
//! | [`audit`] | who did it |
//! | [`catalog`] | a view of the pool that can be thrown away |
//! | [`demo`] | the main job, shown |
//!
//! The pool is the truth: everything else here can be deleted and made again from it.

#![forbid(unsafe_code)]

pub mod api;
pub mod audit;
pub mod authority;
pub mod catalog;
pub mod cli;
pub mod clock;
pub mod config;
pub mod daemon;
pub mod demo;
pub mod disks;
pub mod failure;
pub mod forget;
pub mod group;
pub mod heal;
pub mod id_text;
pub mod job;
pub mod key_file;
pub mod machine;
pub mod point;
pub mod point_facts;
mod pool_failure;
pub mod pool_open;
pub mod pool_thread;
pub mod pool_work;
mod raised;
pub mod reclaim;
pub mod record;
pub mod restore;
pub mod retention;
pub mod room;
pub mod schedule;
pub mod scrub;
pub mod server;
pub mod settings;
pub mod size_text;
pub mod source;
pub mod state_dir;
pub mod store;
pub mod trend;
pub mod upkeep;
pub mod vault;
