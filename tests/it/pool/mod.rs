//! The engine over simulated disks.

mod basics;
