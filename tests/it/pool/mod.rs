//! The engine over simulated disks.

mod basics;
mod content;
mod crash;
mod simulation;
mod verdict;
