//! Creating an object when answers may be lost: what counts is what is there.

use bytes::Bytes;

use super::{Created, Store, StoreError, StoreFault, Until};

/// Whose object stands under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// These very bytes, whoever put them there.
    Ours,
    /// Others. They stay.
    Theirs,
}

/// Creates an object, or finds out whether an attempt before has done so. May be called again after
/// every error, with the same bytes.
pub async fn settle(
    store: &impl Store,
    name: &str,
    bytes: &Bytes,
    until: Option<Until>,
) -> Result<Settled, StoreError> {
    if store.create(name, bytes.clone(), until).await? == Created::Made {
        return Ok(Settled::Ours);
    }
    let len = bytes.len() as u64;
    // Deleted between the two questions: the next attempt makes it.
    let vanished = || StoreError::new(name, StoreFault::NotFound);
    if store.head(name).await?.ok_or_else(vanished)? != len {
        return Ok(Settled::Theirs);
    }
    let found = store.read(name, 0..len).await?;
    Ok(if found == *bytes { Settled::Ours } else { Settled::Theirs })
}
