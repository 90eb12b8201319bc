//! Why a store did not do what it was asked.

use thiserror::Error;

/// An operation on an object failed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{name}: {fault}")]
pub struct StoreError {
    /// The object, or the folder that was listed.
    pub name: String,
    #[source]
    pub fault: StoreFault,
}

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StoreFault {
    #[error("there is no such object")]
    NotFound,
    #[error("the store refuses: no right to do this, or the object is locked")]
    Refused,
    #[error("the store does not answer or is overloaded (status {status})")]
    Unavailable { status: u16 },
    #[error("the store said nothing for {seconds} s")]
    Silent { seconds: u64 },
    #[error("the store cannot be reached")]
    Unreachable,
    #[error("the answer broke off, or was none")]
    Cut,
    #[error("the answer is none to what was asked")]
    Unfit,
    #[error("the answer is longer than any object")]
    TooLong,
    #[error("the store does not know these credentials, or their secret is wrong")]
    Credentials,
    #[error("there is no such bucket or container")]
    NoBucket,
    #[error("the bucket is in another region ({expected})")]
    Region { expected: String },
    #[error("clocks differ: the store's is {ahead} s ahead of ours, and it refuses for that")]
    ClockSkew { ahead: i64 },
    #[error("the store refuses with status {status} {code}")]
    Answer { status: u16, code: String },
    #[error("the store has no room left")]
    Full,
    #[error("bytes {start} to {end} are not all there, the object has {len}")]
    Range { start: u64, end: u64, len: u64 },
    #[error("{found} bytes came where {expected} were asked for")]
    Short { expected: u64, found: u64 },
    #[error("the listing cannot be: {what}")]
    Listing { what: &'static str },
    #[error("this store knows no locks")]
    NoLocks,
    #[error("this is no name for an object")]
    Name,
    #[error("{limit} names cannot be listed at once")]
    Limit { limit: usize },
    #[error("the file system failed: {kind}")]
    Io { kind: std::io::ErrorKind },
}

impl StoreError {
    pub(crate) fn new(name: &str, fault: StoreFault) -> Self {
        Self { name: name.to_owned(), fault }
    }

    /// Whether the same request may succeed by itself later.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(
            self.fault,
            StoreFault::Unavailable { .. }
                | StoreFault::Short { .. }
                | StoreFault::Silent { .. }
                | StoreFault::Unreachable
                | StoreFault::Cut
        )
    }
}
