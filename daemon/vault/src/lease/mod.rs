//! Locks that are leases (VAULT.md, section 11): what a manifest needs is locked for a while, and for
//! longer again when less than half of that is left.
//!
//! Renewing comes before the manifest: the rows it may carry are what was found, or was acknowledged and
//! partly read back, never what was only asked for (rule 5). How long each object is locked is known here
//! without asking; the file is a cache, and what it does not know is asked of the store.

mod book;
mod renew;

#[cfg(test)]
mod tests;

use thiserror::Error;

use crate::format::Class;
use crate::ids::IdsError;
use crate::store::StoreError;

pub use book::Book;
pub use renew::{Renewed, renew};

/// Thirty days.
pub const LEASE_DEFAULT: i64 = 30 * 86_400 * 1_000_000_000;
/// Requests on their way at a time.
pub const STREAMS_DEFAULT: usize = 16;

/// What is asked of the locks. Times in nanoseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// Witnessed.
    pub now: i64,
    pub lease: i64,
    /// When the last point of a class expires.
    pub expiry: Vec<(Class, i64)>,
    pub streams: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LeaseError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Ids(#[from] IdsError),
    #[error("{name} does not stay locked as long as was acknowledged")]
    Shorter { name: String },
}
