//! The pool: a deduplicating storage engine on raw disks.
//!
//! A pool is a log of numbered chunks; everything else is set algebra over the numbers.
//!
//! | layer | what it knows |
//! |---|---|
//! | [`pool`] | sessions, points, records, recovery, checkpoints |
//! | [`tree`] | pages of entries; nothing of disks |
//! | [`sets`], [`index`] | numbers: algebra, and where each is |
//! | [`mod@format`] | every byte on disk; nothing of what it means |
//! | [`seal`] | keys, and bytes sealed in place; nothing of what they mean |
//! | [`device`], [`buffer`] | a disk: read, write, flush |
//! | [`exec`], [`work`] | where things run: one thread, and workers for the processor |
//!
//! The engine starts no thread, reads no clock and draws no randomness; all three are given to it.
//! So the simulator (feature `sim`) runs the very same code over a lying disk, in seeded order.

pub mod buffer;
pub mod device;
pub mod error;
pub mod exec;
pub mod format;
pub mod index;
pub mod mutants;
pub mod pool;
pub mod seal;
pub mod sets;
#[cfg(feature = "sim")]
pub mod sim;
pub mod tree;
pub mod units;
pub mod work;

pub use error::{
    CommitError, CreateError, ForgetError, IngestError, MemberError, MoveError, OpenError,
    ReadError, ReclaimError,
};
pub use pool::Pool;
