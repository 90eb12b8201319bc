//! All suites, one binary: linking is the cost.

mod house;
mod pool;
