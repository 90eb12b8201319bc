//! The agents' side of the daemon: their listener, enrolment, connections and sessions.

mod begin;
mod budget;
mod connection;
mod convert;
mod enrolment;
pub mod intake;
mod lanes;
pub mod listen;
mod outbox;
mod restore;
mod session;
mod strangers;
pub mod tls;

pub use session::{End, Task};

#[cfg(test)]
mod tests;
