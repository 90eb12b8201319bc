//! The engine over simulated disks.

mod basics;
mod content;
mod counting;
mod crash;
mod disks;
mod flips;
mod full;
mod mutants;
mod roots;
mod simulation;
mod strangers;
mod swapped;
mod verdict;
