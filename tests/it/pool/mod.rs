//! The engine over simulated disks.

mod basics;
mod content;
mod counting;
mod crash;
mod encrypted;
mod flips;
mod full;
mod inspecting;
mod mutants;
mod roots;
mod simulation;
mod strangers;
mod swapped;
mod verdict;
