//! A world for tests: lying disks, virtual time and one seed behind every decision.
//!
//! A [`SimWorld`] owns disks. A disk keeps what was written in a volatile cache until a flush covers
//! it; [`SimWorld::crash`] lets any part of the rest persist, torn at sectors. Operations take
//! seeded virtual time, so completions arrive in seeded order. The engine under test runs on a
//! [`sim_executor`], which picks the next task by the same seed. Everything decided and everything
//! done goes into a trace hash: the same seed gives the same hash, or something in the engine reads
//! a clock, a hash seed or an address.

mod cache;
mod crash;
mod disk;
mod driver;
mod fault;
mod history;
mod image;
mod media;
mod persist;
mod rng;
mod state;
mod trace;
mod work;
mod world;

pub use cache::DeviceMutant;
pub use crash::{CrashImage, CrashPlan};
pub use disk::SimDisk;
pub use driver::{SimDriver, sim_executor};
pub use fault::{Fault, FaultRule, When};
pub use history::History;
pub use image::{Image, SECTOR};
pub use rng::Rng;
pub use work::SimWork;
pub use world::{DiskIndex, SimWorld};

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod fault_tests;
#[cfg(test)]
mod tests;
