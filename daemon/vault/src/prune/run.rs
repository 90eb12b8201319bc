//! Deleting what was planned, name by name.

use super::{Deletion, Plan, PruneError, Terms};
use crate::store::{Store, StoreFault};

/// What came of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Each is a line of the audit.
    pub deleted: Vec<Deletion>,
    pub bytes: u64,
    /// Locked for now: tried again by another run.
    pub refused: u64,
    pub refused_bytes: u64,
}

/// Deletes. `store` is the one of the prune credential; `audit` is told of every deletion after it was
/// acknowledged.
pub async fn carry_out(
    store: &impl Store,
    plan: &Plan,
    terms: &Terms,
    audit: &mut (dyn FnMut(&Deletion) + Send),
) -> Result<Pruned, PruneError> {
    plan.brake(terms)?;
    let mut pruned = Pruned::default();
    for deletion in &plan.objects {
        delete(store, deletion, &mut pruned, audit).await?;
    }
    for deletion in &plan.manifests {
        // Oldest first: behind one that stays all stay, so the chain has no hole.
        if !delete(store, deletion, &mut pruned, audit).await? {
            break;
        }
    }
    Ok(pruned)
}

async fn delete(
    store: &impl Store,
    deletion: &Deletion,
    pruned: &mut Pruned,
    audit: &mut (dyn FnMut(&Deletion) + Send),
) -> Result<bool, PruneError> {
    match store.delete(&deletion.name).await {
        Ok(()) => {
            audit(deletion);
            pruned.bytes += deletion.bytes;
            pruned.deleted.push(deletion.clone());
            Ok(true)
        }
        Err(error) if error.fault == StoreFault::Refused => {
            pruned.refused += 1;
            pruned.refused_bytes += deletion.bytes;
            Ok(false)
        }
        // Somebody was quicker.
        Err(error) if error.fault == StoreFault::NotFound => Ok(true),
        Err(error) => Err(error.into()),
    }
}
