//! Algebra of chunk numbers: which chunks a tree needs, and what changed between two trees.
//!
//! - [`RefCounts`]: a multiset. How often each number is referenced by one tree, so that dropping one
//!   of two references does not drop the chunk.
//! - [`RefChange`]: what a new tree references more and less often than the one before.
//! - [`SetDelta`]: what was *born* and what *died* from one reach set to the next. Two consecutive
//!   ones join to one ([`SetDelta::compose`]), which is how a point leaves the middle of a history.
//! - [`Chain`]: the points of one source as such steps, and with [`Lives`] what only one of them holds.
//!
//! All of it is pure. The encodings are canonical: equal sets have equal bytes, whatever operations
//! made them, and a decoder refuses every other form. Their tables are in `tree/PAGES.md`.

mod bitmap;
mod chain;
mod change;
mod counts;
mod delta;
mod lives;
#[cfg(test)]
mod model;

pub(crate) use bitmap::common;
pub use chain::{Chain, Turnover};
pub use change::RefChange;
pub use counts::RefCounts;
pub use delta::SetDelta;
pub use lives::Lives;

use keelhold_chunk::DecodeError;
use thiserror::Error;

/// Longest encoded set a decoder looks at. Ten million scattered numbers take some 20 MiB; a sound
/// set is far below, and a damaged length must not cost more memory than this.
pub const SET_LEN_MAX: usize = 256 << 20;
/// Most numbers that one encoded multiset may reference more than once.
pub const EXTRA_COUNT_MAX: usize = 16 << 20;

/// Why sets do not fit together, or bytes are no set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SetError {
    #[error("chunk number {number} is dropped more often than it is referenced")]
    NotReferenced { number: u64 },
    #[error("chunk number {number} is born though it is there already")]
    BornTwice { number: u64 },
    #[error("chunk number {number} dies though it is not there")]
    DiedTwice { number: u64 },
    #[error("chunk number {number} is both born and dead")]
    BornAndDead { number: u64 },
    #[error("the bitmap of {len} bytes is not one in its only valid form")]
    Bitmap { len: usize },
    #[error("chunk number {number} exceeds what a pool can give")]
    NumberTooLarge { number: u64 },
    #[error("the set cannot be decoded")]
    Encoding(#[from] DecodeError),
}
