//! The vault: what leaves the appliance, under which keys, and how it is found again. Every byte and
//! the order of writing are in `VAULT.md`.
//!
//! - [`keys`]: the master key, the slots that wrap it, and every key that is derived from it.
//! - [`chain`]: which manifest is the newest, and how the next one comes to be.
//! - [`format`]: every byte that is stored: objects, index, manifests.
//! - [`kit`]: the recovery kit on paper, in shares.
//! - [`pack`], [`ids`], [`ship`]: putting objects together, what the vault has already, sending the rest.
//! - [`lease`], [`repack`], [`prune`]: locks that are renewed, objects that are mostly dead, deleting.
//! - [`read`]: records, chunks and points, proved.
//! - [`mirror`]: the same vault at a second place.
//! - [`store`]: where objects lie, and what is not believed of it.
//! - [`verify`]: whether everything is there, and is what it was.
//!
//! The crate reads no clock, starts no thread and draws no randomness: what it needs of these is given
//! to it.

#![forbid(unsafe_code)]

pub mod chain;
pub mod format;
pub mod ids;
pub mod keys;
pub mod kit;
#[cfg(test)]
mod layout;
pub mod lease;
pub mod mirror;
pub mod mutants;
pub mod pack;
pub mod prune;
pub mod random;
pub mod read;
pub mod repack;
pub mod ship;
pub mod store;
#[cfg(test)]
mod testing;
pub mod units;
pub mod verify;
pub mod work;

pub use random::Random;
pub use units::{ManifestNumber, ObjectId, PointId, PoolId, SourceId, VaultId};
