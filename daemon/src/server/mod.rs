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
mod terms;
mod throttle;
pub mod tls;

pub use session::{End, Task};
pub use terms::Terms;
pub use throttle::Throttle;

#[cfg(test)]
mod tests;
