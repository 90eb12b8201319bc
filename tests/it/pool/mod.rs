//! The engine over simulated disks.

mod basics;
mod bounded;
mod content;
mod counting;
mod crash;
mod disks;
mod encrypted;
mod flips;
mod full;
mod inspecting;
mod mutants;
mod rebuild;
mod reclaim;
mod roots;
mod scrub;
mod simulation;
mod strangers;
mod swapped;
mod verdict;
