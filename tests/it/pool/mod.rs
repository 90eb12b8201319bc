//! The engine over simulated disks.

mod ages;
mod basics;
mod bounded;
mod content;
mod counting;
mod crash;
mod disks;
mod encrypted;
mod flips;
mod full;
mod image_within;
mod inspecting;
mod mutants;
mod opening;
mod outgoing;
mod rebuild;
mod reclaim;
mod roots;
mod scrub;
mod simulation;
mod strangers;
mod swapped;
mod verdict;
