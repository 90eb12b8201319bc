//! What more than one suite needs. The suites themselves are in `it/`, one binary.

pub mod appliance;
pub mod liar;
pub mod rig;
