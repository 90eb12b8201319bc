//! Vaults: where points are shipped to, on their own schedule, and read from when the pool has them no
//! more. What a vault is, byte by byte, is the crate `keelhold_vault`; here is what this appliance does
//! with its own.
//!
//! Protection on the pool never waits for a vault: whatever goes wrong here is shown and tried again.

mod add;
mod adopt;
mod adopted;
mod choose;
mod copy;
mod failure;
mod geo;
mod kit;
mod lease;
mod listing;
mod local;
mod outgoing;
mod pace;
mod place;
mod prune;
mod reading;
mod records;
mod repack;
mod ship;
mod shipment;
mod verify;

pub use adopt::adopt;
pub use adopted::Adopted;
pub(crate) use choose::is_named;
pub use copy::copy;
pub use failure::{of_chain, of_open_place, of_read, of_store_error};
pub use kit::combined;
pub use listing::Elsewhere;
pub use local::{Random, Vault, open_place};
pub use place::Place;
pub use prune::prune;
pub use reading::{InVault, PointInVault, VaultThread};
pub use records::{AdoptedRecords, ContentKeys};
pub use ship::{run, ship_by_hand, want};
pub use verify::verify;

use crate::daemon::Daemon;
use crate::failure::{Code, Failure, chain};
use crate::pool_failure::of_store;
use crate::pool_thread::PoolHandle;
use crate::record::{
    VAULT_PREFIX, VaultRecord, VaultSecret, VaultSeen, vault_secret_key, vault_seen_key,
};
use crate::store::Store;
use futures_util::future::join_all;
use jiff::tz::TimeZone;
use keelhold_disk::units::PointId;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// The vaults of this appliance, by name.
#[derive(Debug)]
pub struct Vaults {
    dir: PathBuf,
    zone: TimeZone,
    thread: VaultThread,
    wake: Notify,
    known: Mutex<BTreeMap<String, Arc<Vault>>>,
}

impl Vaults {
    /// Those the pool has records of. What a vault held when it was last seen is in the state directory;
    /// only where that was lost, or the vault just adopted, the vault is asked.
    pub async fn load(store: &Store, dir: PathBuf, zone: TimeZone) -> Result<Self, Failure> {
        let thread = VaultThread::start()?;
        let vaults = Self { dir, zone, thread, wake: Notify::new(), known: Mutex::default() };
        let records: Vec<VaultRecord> =
            store.records(VAULT_PREFIX).await.map_err(|error| of_store(&error))?;
        for record in records {
            let name = record.name.clone();
            match vaults.open(store, record).await {
                Ok(vault) => vaults.put(vault),
                Err(failure) => {
                    tracing::error!(
                        vault = name,
                        error = failure.message,
                        "a vault cannot be used"
                    );
                }
            }
        }
        join_all(vaults.all().iter().map(|vault| async { vault.look_first().await })).await;
        Ok(vaults)
    }

    async fn open(&self, store: &Store, record: VaultRecord) -> Result<Arc<Vault>, Failure> {
        let read = async {
            let secret: Option<VaultSecret> = store.record(&vault_secret_key(&record.name)).await?;
            let seen: Option<VaultSeen> = store.record(&vault_seen_key(&record.name)).await?;
            Ok::<_, crate::store::StoreError>((secret, seen))
        };
        let (secret, seen) = read.await.map_err(|error| of_store(&error))?;
        let none = || Failure::new(Code::VaultKey, "this appliance has no key of the vault");
        let (secret, seen) = (secret.ok_or_else(none)?, seen.unwrap_or_default());
        let vault = Vault::new(record, &secret, seen, self, store.clock.clone())?;
        vault.recall().await;
        Ok(Arc::new(vault))
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Vault>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, vault: Arc<Vault>) {
        self.known().insert(vault.name(), vault);
    }

    fn forget(&self, name: &str) {
        self.known().remove(name);
    }

    /// The vaults that have a point, those that answered last first.
    #[must_use]
    pub fn with_point(&self, point: &PointId) -> Vec<Arc<Vault>> {
        let mut vaults = self.all();
        vaults.retain(|vault| vault.has(point));
        vaults.sort_by_key(|vault| vault.state().failure.is_some());
        vaults
    }

    /// A vault that a point can be read from.
    pub async fn having(&self, pool: &PoolHandle, point: PointId) -> Option<InVault> {
        let vault = self.with_point(&point).into_iter().next()?;
        InVault::new(&self.thread, vault, pool, point).await.ok()
    }

    #[must_use]
    pub fn all(&self) -> Vec<Arc<Vault>> {
        self.known().values().cloned().collect()
    }

    fn thread(&self) -> &VaultThread {
        &self.thread
    }

    /// Something changed that may be worth a look.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    async fn woken(&self) {
        self.wake.notified().await;
    }

    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.known().keys().cloned().collect()
    }

    pub fn named(&self, name: &str) -> Result<Arc<Vault>, Failure> {
        let unknown = || Failure::new(Code::VaultUnknown, format!("there is no vault {name}"));
        self.known().get(name).cloned().ok_or_else(unknown)
    }
}

impl Daemon {
    /// Writes what was seen of a vault; a failure costs a question more after the next start.
    async fn keep_seen(&self, vault: &Vault) {
        let seen = vault.seen();
        let kept = async {
            let mut change = self.store.change().await;
            change.put(vault_seen_key(&vault.name()), &seen)?;
            change.commit().await
        };
        let kept: Result<(), crate::store::StoreError> = kept.await;
        if let Err(error) = kept {
            tracing::warn!(
                vault = vault.name(),
                error = chain(&error),
                "what was seen is not kept"
            );
        }
    }
}
