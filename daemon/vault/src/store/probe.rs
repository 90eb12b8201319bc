//! What a store really does with "create only if absent": tried out, not believed.

use bytes::Bytes;

use super::{Created, Store, StoreError};
use crate::format::Name;
use crate::random::Random;
use crate::units::ObjectId;

/// What came of the trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probed {
    /// A second creation under one name was refused, and the first content stayed.
    pub creates_only: bool,
    /// What was acknowledged is in the next listing of its folder.
    pub lists_at_once: bool,
}

/// Creates a fresh name twice with different content, and looks. The object stays: the credential that
/// probes may have no right to delete.
pub async fn probe(store: &impl Store, random: &mut impl Random) -> Result<Probed, StoreError> {
    let name = Name::Probe(ObjectId::draw(random)).to_string();
    let (first, second) = (Bytes::from_static(b"keelhold 1"), Bytes::from_static(b"keelhold 2"));
    let len = first.len() as u64;
    let made = store.create(&name, first.clone(), None).await?;
    let again = store.create(&name, second, None).await?;
    let found = store.read(&name, 0..len).await?;
    let before = name.strip_suffix(|_: char| true).unwrap_or_default();
    let listed = store.list("probe/", before, 1).await?;
    Ok(Probed {
        creates_only: made == Created::Made && again == Created::Exists && found == first,
        lists_at_once: listed.entries.first().is_some_and(|entry| entry.name == name),
    })
}
