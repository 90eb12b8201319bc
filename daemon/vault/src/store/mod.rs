//! Where objects lie. The vault asks little of a store, so that any of them will do: an object is
//! created whole if it is absent, read by ranges, listed in order of names, deleted. Nothing is ever
//! changed.
//!
//! What a store says is evidence. [`Checked`] refuses answers that cannot be; who relies on more than
//! that, proves it by content (`format`) or tries it out ([`probe`]).
//!
//! Operations are asynchronous. [`DirectoryStore`] works on the thread that polls it, which must be one
//! that may wait for a disk.

mod any;
mod checked;
mod cloud;
mod directory;
mod error;
mod memory;
mod pace;
mod probe;
mod proof;
mod settle;

use std::future::Future;
use std::ops::Range;

use bytes::Bytes;

pub use any::AnyStore;
pub use checked::Checked;
pub use cloud::{CloudStore, Credential, CredentialError, OpenError, Patience};
pub use directory::DirectoryStore;
pub use error::{StoreError, StoreFault};
pub use memory::MemoryStore;
pub use pace::Pace;
pub use probe::{Probed, probe};
pub use proof::{LockProof, probe_locks};
pub use settle::{Settled, settle};

/// Most names one listing gives.
pub const LIST_MAX: usize = 1000;
const NAME_LEN_MAX: usize = 200;

/// When a lock ends: seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Until(pub i64);

/// What came of creating an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    Made,
    /// There is one of that name, whatever it holds. Nothing was changed.
    Exists,
}

/// A name and how long what is under it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    pub name: String,
    pub len: u64,
}

/// Names in ascending order of bytes, and whether there are more.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listing {
    pub entries: Vec<Entry>,
    pub has_more: bool,
}

/// A store of objects that never change.
///
/// After an error nothing is known of what was asked for: it may have been done.
pub trait Store: Send + Sync {
    /// Creates an object if there is none of that name. When this returns `Made`, the object is durable,
    /// everybody reads it, and until `until` nobody deletes it or ends its lock.
    fn create(
        &self,
        name: &str,
        bytes: Bytes,
        until: Option<Until>,
    ) -> impl Future<Output = Result<Created, StoreError>> + Send;

    /// Exactly these bytes of an object; a range that goes beyond its end is an error.
    fn read(
        &self,
        name: &str,
        range: Range<u64>,
    ) -> impl Future<Output = Result<Bytes, StoreError>> + Send;

    /// Length of an object; `None` if there is none.
    fn head(&self, name: &str) -> impl Future<Output = Result<Option<u64>, StoreError>> + Send;

    /// Names that begin with `folder` (empty, or ending in `/`) and are greater than `after`; at most
    /// `limit` of them, which is at most [`LIST_MAX`].
    fn list(
        &self,
        folder: &str,
        after: &str,
        limit: usize,
    ) -> impl Future<Output = Result<Listing, StoreError>> + Send;

    /// Until when an object is locked; `None` if it is not.
    fn locked_until(
        &self,
        name: &str,
    ) -> impl Future<Output = Result<Option<Until>, StoreError>> + Send;

    /// Locks an object for longer. One that is locked longer already stays so.
    fn extend(
        &self,
        name: &str,
        until: Until,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Deletes an object; whether there was one is not said, as half of the stores do not know.
    fn delete(&self, name: &str) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// For an object whose bytes turned out to be wrong. A store that keeps versions looks up the first
    /// one, which is the only one a writer of ours can have made, and gives that from now on. Says
    /// whether this is another one than was read before: then it is worth reading again.
    fn recall(&self, name: &str) -> impl Future<Output = Result<bool, StoreError>> + Send {
        let _ = name;
        async { Ok(false) }
    }
}

/// Whether an object whose bytes are not those that were written is worth reading again. A credential
/// that may not ask reads what it is given.
pub(crate) async fn has_others(store: &impl Store, name: &str) -> Result<bool, StoreError> {
    match store.recall(name).await {
        Err(error) if error.fault == StoreFault::Refused => Ok(false),
        answer => answer,
    }
}

/// Names are few letters, so that no store, shell or file system reads something else into them.
pub(crate) fn is_name(name: &str) -> bool {
    let is_part = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9'))
    };
    name.len() <= NAME_LEN_MAX && name.split('/').all(is_part)
}

pub(crate) fn is_folder(folder: &str) -> bool {
    folder.is_empty() || folder.strip_suffix('/').is_some_and(is_name)
}

fn named(name: &str) -> Result<(), StoreError> {
    if is_name(name) { Ok(()) } else { Err(StoreError::new(name, StoreFault::Name)) }
}

/// What a store without locks says to who asks for one.
fn unlocked(name: &str, until: Option<Until>) -> Result<(), StoreError> {
    until.map_or(Ok(()), |_| Err(StoreError::new(name, StoreFault::NoLocks)))
}

fn foldered(folder: &str, limit: usize) -> Result<(), StoreError> {
    if !is_folder(folder) {
        return Err(StoreError::new(folder, StoreFault::Name));
    }
    let is_bounded = (1..=LIST_MAX).contains(&limit);
    if is_bounded { Ok(()) } else { Err(StoreError::new(folder, StoreFault::Limit { limit })) }
}

#[cfg(any(test, feature = "testing"))]
pub mod conformance;
#[cfg(any(test, feature = "testing"))]
pub mod lying;
#[cfg(test)]
mod tests;
