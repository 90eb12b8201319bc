//! The agent: what runs on a protected machine.
//!
//! - [`enroll`]: a token for a certificate.
//! - [`connect`]: one outbound connection, kept up.
//! - [`backup`]: a session, from the walk to the point.
//! - [`shortcut`]: what need not be read again.
//! - [`snapshot`]: the frozen view that is read; [`script`]: what runs around it.
//! - [`condition`], [`mounted`]: what the server is told about the machine.
//! - [`restore`]: writes back, in a process of its own.
//!
//! The agent opens no port and takes no order but the server's: to back up, to restore below a
//! directory its own configuration names. It never deletes anything on the server.

#![forbid(unsafe_code)]

pub mod backoff;
pub mod backup;
pub mod clock;
pub mod condition;
pub mod config;
pub mod enroll;
pub mod failure;
pub mod host;
pub mod identity;
pub mod link;
pub mod local;
pub mod mounted;
pub mod notes;
pub mod outgoing;
pub mod restore;
pub mod run;
pub mod script;
pub mod shortcut;
pub mod snapshot;
pub mod state_dir;
pub mod status;
pub mod tls;

pub use enroll::enroll;
pub use run::{AgentConfig, run};
