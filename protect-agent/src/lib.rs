//! The agent: what runs on a protected machine.
//!
//! - [`enroll`]: a token for a certificate.
//! - [`connect`]: one outbound connection, kept up.
//! - [`backup`]: a session, from the walk to the point.
//! - [`shortcut`]: what need not be read again.
//! - [`restore`]: writes back, in a process of its own.
//!
//! The agent opens no port and takes no order but the server's: to back up, to restore below a
//! directory its own configuration names. It never deletes anything on the server.

#![forbid(unsafe_code)]

pub mod backoff;
pub mod backup;
pub mod clock;
pub mod config;
pub mod enroll;
pub mod failure;
pub mod host;
pub mod identity;
pub mod link;
pub mod local;
pub mod outgoing;
pub mod restore;
pub mod run;
pub mod shortcut;
pub mod state_dir;
pub mod status;
pub mod tls;

pub use enroll::enroll;
pub use run::{AgentConfig, run};
