//! Whether a store keeps what it was told to lock: tried out, not believed.

use bytes::Bytes;

use super::{Created, Store, StoreError, StoreFault, Until};
use crate::format::Name;
use crate::random::Random;
use crate::units::ObjectId;

/// How long the probe is locked: as long as two clocks may differ at both providers, and a bit.
const PROBE_SECONDS: i64 = 20 * 60;

/// What came of the trial, with the credential that tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LockProof {
    /// The store took the lock, and shows it.
    pub locks: bool,
    /// Deleting the locked probe was refused, and it is still there.
    pub keeps: bool,
    /// Asked for a shorter lock, it kept the longer.
    pub never_shorter: bool,
    /// This credential deletes what is not locked: so it was the lock that refused. The uploader's
    /// credential should not be able to.
    pub may_delete: bool,
}

impl LockProof {
    /// Whether the vault may be called locked.
    #[must_use]
    pub fn is_proved(&self) -> bool {
        self.locks && self.keeps && self.never_shorter
    }
}

/// Locks a probe for twenty minutes from `now` (seconds since 1970), then tries to shorten the lock and
/// to delete the probe; and deletes another that is not locked. The locked one stays.
pub async fn probe_locks(
    store: &impl Store,
    now: i64,
    random: &mut impl Random,
) -> Result<LockProof, StoreError> {
    let mut proof = LockProof::default();
    let bytes = Bytes::from_static(b"keelhold lock");
    let name = Name::Probe(ObjectId::draw(random)).to_string();
    let until = Until(now.saturating_add(PROBE_SECONDS));
    match store.create(&name, bytes.clone(), Some(until)).await {
        Ok(Created::Made) => {}
        // A server that ignores conditions may call a name taken that nobody else can have drawn.
        Ok(Created::Exists) => return Ok(proof),
        Err(StoreError { fault: StoreFault::NoLocks, .. }) => return Ok(proof),
        Err(error) => return Err(error),
    }
    proof.locks = store.locked_until(&name).await? >= Some(until);
    if !proof.locks {
        return Ok(proof);
    }
    let shorter = Until(now.saturating_add(PROBE_SECONDS / 2));
    match store.extend(&name, shorter).await {
        Ok(()) => {}
        Err(error) if error.fault == StoreFault::Refused => {}
        Err(error) => return Err(error),
    }
    proof.never_shorter = store.locked_until(&name).await? >= Some(until);
    let is_refused = refuses_to_delete(store, &name).await?;
    let len = bytes.len() as u64;
    proof.keeps = is_refused && store.read(&name, 0..len).await.is_ok_and(|found| found == bytes);
    let other = Name::Probe(ObjectId::draw(random)).to_string();
    store.create(&other, bytes, None).await?;
    proof.may_delete = !refuses_to_delete(store, &other).await?;
    Ok(proof)
}

async fn refuses_to_delete(store: &impl Store, name: &str) -> Result<bool, StoreError> {
    match store.delete(name).await {
        Ok(()) => Ok(false),
        Err(error) if error.fault == StoreFault::Refused => Ok(true),
        Err(error) => Err(error),
    }
}
