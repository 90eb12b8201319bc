//! Numbers where "create only if absent" means nothing: who wants one says so first, and looks whether
//! he is alone. Each creates before he lists, so of two at most one sees nobody else.

use bytes::Bytes;

use crate::format::Name;
use crate::mutants::{Mutant, keeps};
use crate::random::Random;
use crate::store::{Settled, Store, StoreError, settle};
use crate::units::{ManifestNumber, ObjectId};

/// Whether nobody else wants, or ever wanted, the number. Not alone, both leave it.
pub(super) async fn is_alone(
    store: &impl Store,
    number: ManifestNumber,
    random: &mut (impl Random + Send),
) -> Result<bool, StoreError> {
    let own = Name::Claim { number, claimant: ObjectId::draw(random) }.to_string();
    if settle(store, &own, &Bytes::from_static(b"claimed"), None).await? == Settled::Theirs {
        return Ok(false);
    }
    let listing = store.list(&Name::claims(number), "", 2).await?;
    let is_alone = matches!(&listing.entries[..], [only] if only.name == own) && !listing.has_more;
    Ok(is_alone || !keeps(Mutant::ClaimAlone))
}
