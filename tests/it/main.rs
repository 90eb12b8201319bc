//! All suites, one binary: linking is the cost.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod e2e;
mod house;
mod policy;
mod pool;
mod stores;
