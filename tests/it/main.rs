//! All suites, one binary: linking is the cost.

mod e2e;
mod house;
mod pool;
