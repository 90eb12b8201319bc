//! What more than one suite needs. The suites themselves are in `it/`, one binary.

pub mod appliance;
pub mod chance;
pub mod mapped;
pub mod removal;
pub mod rig;
