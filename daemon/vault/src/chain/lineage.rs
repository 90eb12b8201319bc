//! From the newest manifest back to the one that was seen, link by link.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::error::{ChainError, VoidReason};
use super::unlock::Opener;
use super::{Lineage, Seen, fetch};
use crate::format::{Link, Parent};
use crate::mutants::{Mutant, keeps};
use crate::store::Store;
use crate::units::ManifestNumber;

/// Longest way that is gone: the appliance opens the vault with every shipment.
const STEPS_MAX: usize = 256;

pub(super) async fn prove(
    store: &impl Store,
    opener: &mut Opener<'_>,
    lens: &BTreeMap<ManifestNumber, u64>,
    newest: Parent,
    mut parent: Option<Parent>,
    seen: Seen,
) -> Result<Lineage, ChainError> {
    let rollback = ChainError::Rollback { seen, found: newest };
    let mut current = newest;
    for _ in 0..STEPS_MAX {
        if current.number <= seen.number {
            let is_it = current.number == seen.number && current.link == seen.link;
            let is_kept = is_it || !keeps(Mutant::Rollback);
            return if is_kept { Ok(Lineage::Proved) } else { Err(rollback) };
        }
        // The first manifest is above the one that was seen, or a parent is below it: another history.
        let Some(below) = parent else {
            return Err(rollback);
        };
        if below.number <= seen.number {
            current = below;
            continue;
        }
        let listed = lens.get(&below.number).copied();
        let prove = |bytes: Bytes| {
            let is_named = Link::of(&bytes) == below.link || !keeps(Mutant::ParentLink);
            opener.open(below.number, &bytes).and_then(|believed| {
                if is_named { Ok(believed.manifest.parent) } else { Err(VoidReason::Link) }
            })
        };
        match fetch::proved(store, below.number, listed, prove).await? {
            Ok(above) => (current, parent) = (below, above),
            Err(_) => return Ok(Lineage::Broken { at: below.number }),
        }
    }
    Ok(Lineage::Broken { at: current.number })
}
