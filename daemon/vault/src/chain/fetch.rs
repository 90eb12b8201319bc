//! The bytes under the number of a manifest.

use bytes::Bytes;

use super::error::VoidReason;
use crate::format::{BODY_LEN_MAX, ClearManifest, FormatFault, Name};
use crate::mutants::{Mutant, keeps};
use crate::store::{Store, StoreError, StoreFault, has_others};
use crate::units::ManifestNumber;

/// Head, slots and tag beside the body.
const MANIFEST_LEN_MAX: u64 = BODY_LEN_MAX as u64 + (64 << 10);

/// What is there, if it proves to be what is looked for. Bytes that prove nothing may lie on top of
/// ours: then those below are read.
pub(super) async fn proved<T>(
    store: &impl Store,
    number: ManifestNumber,
    listed: Option<u64>,
    mut prove: impl FnMut(Bytes) -> Result<T, VoidReason>,
) -> Result<Result<T, VoidReason>, StoreError> {
    let found = manifest(store, number, listed).await?.and_then(&mut prove);
    let Err(reason) = found else { return Ok(found) };
    let name = Name::Manifest(number).to_string();
    if reason == VoidReason::Missing
        || !keeps(Mutant::FirstVersion)
        || !has_others(store, &name).await?
    {
        return Ok(Err(reason));
    }
    Ok(manifest(store, number, None).await?.and_then(prove))
}

/// What is there, if it can be a manifest. `listed` is what a listing says of its length: it saves a
/// request when it is true.
pub(super) async fn manifest(
    store: &impl Store,
    number: ManifestNumber,
    listed: Option<u64>,
) -> Result<Result<Bytes, VoidReason>, StoreError> {
    let name = Name::Manifest(number).to_string();
    let listed = listed.filter(|len| *len <= MANIFEST_LEN_MAX);
    if let Some(len) = listed {
        match read(store, &name, len).await? {
            Read::Bytes(bytes) if has_its_length(&bytes) => return Ok(Ok(bytes)),
            Read::Missing => return Ok(Err(VoidReason::Missing)),
            // The listing may be wrong about the length.
            Read::Bytes(_) | Read::Shorter => {}
        }
    }
    let Some(len) = store.head(&name).await? else {
        return Ok(Err(VoidReason::Missing));
    };
    if len > MANIFEST_LEN_MAX {
        return Ok(Err(VoidReason::TooLong { len }));
    }
    match read(store, &name, len).await? {
        Read::Bytes(bytes) => Ok(Ok(bytes)),
        Read::Missing => Ok(Err(VoidReason::Missing)),
        Read::Shorter => {
            let fault = StoreFault::Range { start: 0, end: len, len };
            Err(StoreError::new(&name, fault))
        }
    }
}

enum Read {
    Bytes(Bytes),
    Missing,
    Shorter,
}

async fn read(store: &impl Store, name: &str, len: u64) -> Result<Read, StoreError> {
    match store.read(name, 0..len).await {
        Ok(bytes) => Ok(Read::Bytes(bytes)),
        Err(StoreError { fault: StoreFault::NotFound, .. }) => Ok(Read::Missing),
        Err(StoreError { fault: StoreFault::Range { .. }, .. }) => Ok(Read::Shorter),
        Err(error) => Err(error),
    }
}

fn has_its_length(bytes: &[u8]) -> bool {
    !matches!(ClearManifest::read(bytes), Err(FormatFault::Len { .. }))
}
