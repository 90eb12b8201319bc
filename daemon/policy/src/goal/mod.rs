//! Protection groups.

pub mod keep;
