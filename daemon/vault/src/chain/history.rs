//! Manifests that are not the newest: what deleting has to know of.

use super::error::VoidReason;
use super::{Opened, fetch};
use crate::format::{ClearManifest, Link, Manifest, Parent};
use crate::store::{Store, StoreError};
use crate::units::ManifestNumber;

/// A manifest as it stands, and as a full one if its base could be had.
#[derive(Debug)]
pub(crate) struct Found {
    pub is: Parent,
    pub len: u64,
    pub manifest: Manifest,
}

/// The manifest under a number, if there is one of this vault.
pub(crate) async fn manifest_at(
    store: &impl Store,
    opened: &Opened,
    number: ManifestNumber,
) -> Result<Result<Found, VoidReason>, StoreError> {
    let bytes = match fetch::manifest(store, number, None).await? {
        Ok(bytes) => bytes,
        Err(reason) => return Ok(Err(reason)),
    };
    let clear = match ClearManifest::read(&bytes) {
        Ok(clear) if clear.number == number => clear,
        Ok(clear) => return Ok(Err(VoidReason::Number { found: clear.number })),
        Err(fault) => return Ok(Err(VoidReason::Format(fault))),
    };
    Ok(clear.open(&opened.master).map_err(VoidReason::Format).map(|manifest| {
        let is = Parent { number, link: Link::of(&bytes) };
        Found { is, len: bytes.len() as u64, manifest }
    }))
}
