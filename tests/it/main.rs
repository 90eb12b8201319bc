//! All suites, one binary: linking is the cost.

mod pool;
