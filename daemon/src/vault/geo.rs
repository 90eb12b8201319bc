//! The second place of a vault, and what is declared of the first.

use super::failure::of_store_error;
use super::local::{Vault, open_paced, open_place};
use crate::api::types::{self, NewGeo};
use crate::audit::Actor;
use crate::daemon::Daemon;
use crate::failure::{Code, Failure};
use crate::pool_failure::of_store;
use crate::record::{GeoRecord, VaultRecord, VaultSecret, vault_key, vault_secret_key};
use keelhold_vault::mirror::{MirrorError, Mirrored, mirror};
use keelhold_vault::store::Store as _;
use std::sync::PoisonError;

fn of_mirror(error: &MirrorError) -> Failure {
    match error {
        MirrorError::From(error) => of_store_error(error),
        MirrorError::To(failed) => Failure::new(of_store_error(failed).code, error.to_string()),
        MirrorError::Foreign { .. } => Failure::of(Code::VaultForeign, error),
        MirrorError::Damaged { .. } => Failure::of(Code::VaultDamaged, error),
    }
}

impl Daemon {
    /// Names the second place of a vault, or says that there is none any more. What is there stays.
    pub async fn set_vault_geo(
        &self,
        actor: &Actor,
        name: &str,
        new: NewGeo,
    ) -> Result<types::Vault, Failure> {
        let vault = self.vaults.named(name)?;
        let set = self.put_geo(&vault, new).await;
        self.store.audit(actor, "vault-geo", vec![name.to_owned()], &set).await;
        set?;
        self.vaults.wake();
        self.vault_status(&vault).await
    }

    async fn put_geo(&self, vault: &Vault, new: NewGeo) -> Result<(), Failure> {
        let mut record = vault.record();
        let secret = {
            let known = vault.secret.lock().unwrap_or_else(PoisonError::into_inner);
            VaultSecret { geo_credential: new.credential.clone(), ..known.clone() }
        };
        record.geo = match new.url {
            None => None,
            Some(url) => {
                let place = open_place(&url, new.endpoint.as_deref(), new.credential.as_deref())?;
                if url == record.url {
                    let text = "the second place is the first one";
                    return Err(Failure::new(Code::VaultUrl, text));
                }
                // Asked now: a place that does not answer is said at once.
                place.list("m/", "", 1).await.map_err(|error| of_store_error(&error))?;
                Some(GeoRecord { url, endpoint: new.endpoint })
            }
        };
        let kept = async {
            let mut change = self.store.change().await;
            change.put(vault_key(&record.name), &record)?;
            change.put(vault_secret_key(&record.name), &secret)?;
            change.commit().await
        };
        kept.await.map_err(|error: crate::store::StoreError| of_store(&error))?;
        *vault.secret.lock().unwrap_or_else(PoisonError::into_inner) = secret;
        vault.set_record(record);
        let mut state = vault.state();
        (state.seen.geo_number, state.seen.geo_at) = (0, None);
        state.geo_failure = None;
        Ok(())
    }

    /// Somebody says that the store keeps copies in several zones, or that it does not.
    pub async fn set_vault_zone(
        &self,
        actor: &Actor,
        name: &str,
        several: bool,
    ) -> Result<types::Vault, Failure> {
        let vault = self.vaults.named(name)?;
        let now = self.store.clock.now().0;
        let record = VaultRecord { zone_at: several.then_some(now), ..vault.record() };
        let set = self.put_vault_record(&vault, record).await;
        self.store.audit(actor, "vault-zone", vec![name.to_owned()], &set).await;
        set?;
        self.vault_status(&vault).await
    }

    /// Brings the second place up to the first. Nothing to do without one.
    pub(super) async fn keep_in_step(&self, vault: &Vault) -> Result<Mirrored, Failure> {
        let Some(geo) = vault.record().geo else { return Ok(Mirrored::default()) };
        let credential = {
            let secret = vault.secret.lock().unwrap_or_else(PoisonError::into_inner);
            secret.geo_credential.clone()
        };
        let copied = async {
            let (endpoint, credential) = (geo.endpoint.as_deref(), credential.as_deref());
            let to = open_paced(&geo.url, endpoint, credential, &vault.pace)?;
            let copied = mirror(&*vault.place()?, &to, &|_| {}).await;
            copied.map_err(|error| of_mirror(&error))
        };
        let copied = copied.await;
        let mut state = vault.state();
        state.geo_failure = copied.as_ref().err().cloned();
        if let Ok(Mirrored { newest: Some(number), .. }) = &copied {
            state.seen.geo_number = number.0;
            state.seen.geo_at = Some(self.store.clock.now().0);
        }
        copied
    }
}
