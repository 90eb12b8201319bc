//! What opens a vault when the appliance is gone: the recovery kit and the passphrase.

use super::failure::of_chain;
use super::local::{Random, Vault};
use crate::api::types::{self, Kit, KitShapeRequest};
use crate::audit::Actor;
use crate::daemon::Daemon;
use crate::failure::{Code, Failure};
use crate::pool_failure::of_store;
use crate::record::{VaultSecret, vault_key, vault_secret_key};
use data_encoding::HEXLOWER;
use keelhold_vault::chain::{self as manifests, Opened};
use keelhold_vault::format::Manifest;
use keelhold_vault::keys::{KdfParams, KitSecret, KitShape, Passphrase, Slots};
use keelhold_vault::kit;
use std::sync::{Arc, PoisonError};
use zeroize::Zeroizing;

/// A new passphrase costs so much to guess on a machine of this memory.
pub(super) fn kdf() -> KdfParams {
    let memory = rustix::system::sysinfo();
    KdfParams::for_machine(memory.totalram.saturating_mul(u64::from(memory.mem_unit)))
}

pub(super) fn passphrase(text: &str) -> Result<Passphrase, Failure> {
    Passphrase::new(text).map_err(|fault| Failure::of(Code::VaultKeyInvalid, &fault))
}

/// The secret behind the shares in these texts.
pub fn combined(texts: &[String]) -> Result<KitSecret, Failure> {
    let mut shares = Vec::new();
    for text in texts {
        let parsed =
            kit::parse(text).map_err(|fault| Failure::of(Code::VaultKeyInvalid, &fault))?;
        shares.extend(parsed);
    }
    kit::combine(&shares).map_err(|error| Failure::of(Code::VaultKey, &error))
}

pub(super) fn secret_of(hex: &str) -> Option<KitSecret> {
    let bytes: [u8; 32] = HEXLOWER.decode(hex.as_bytes()).ok()?.try_into().ok()?;
    Some(KitSecret::from_bytes(Zeroizing::new(bytes)))
}

impl Daemon {
    /// Prints the recovery kit. The first one of one share is what the vault was made with; every
    /// other is a new secret, in the vault's next manifest.
    pub async fn vault_kit(
        &self,
        actor: &Actor,
        name: &str,
        shape: KitShapeRequest,
    ) -> Result<Kit, Failure> {
        let vault = self.vaults.named(name)?;
        let made = self.make_kit(&vault, shape).await;
        self.store.audit(actor, "vault-kit", vec![name.to_owned()], &made).await;
        made
    }

    async fn make_kit(&self, vault: &Arc<Vault>, wanted: KitShapeRequest) -> Result<Kit, Failure> {
        let shape = KitShape::new(wanted.need, wanted.shares).ok_or_else(|| {
            let text = format!("{} of {} shares cannot be", wanted.need, wanted.shares);
            Failure::new(Code::VaultKeyInvalid, text)
                .hint("1 to 16 shares, of which 1 to all open it")
        })?;
        let first = {
            let secret = vault.secret.lock().unwrap_or_else(PoisonError::into_inner);
            secret.kit_hex.clone()
        };
        let is_first = first.as_deref().filter(|_| wanted.shares == 1).and_then(secret_of);
        let secret = match is_first {
            Some(secret) => secret,
            None => {
                let secret = KitSecret::draw(&mut Random);
                let now = self.store.clock.now().0;
                let set = |slots: &mut Slots| {
                    slots.set_kit(&vault.master, &secret, shape, now, &mut Random);
                    Ok(())
                };
                self.change_slots(vault, set).await?;
                secret
            }
        };
        let shares = kit::split(&secret, vault.master.vault(), shape, &mut Random);
        let texts = shares.iter().map(|share| text_of(vault, share)).collect();
        let kit = secret.id(vault.master.vault()).to_string();
        self.kit_printed(vault).await?;
        Ok(Kit { vault: vault.name(), kit, need: wanted.need, shares: texts })
    }

    async fn kit_printed(&self, vault: &Vault) -> Result<(), Failure> {
        let mut record = vault.record();
        record.kit_at = Some(self.store.clock.now().0);
        let secret = {
            let known = vault.secret.lock().unwrap_or_else(PoisonError::into_inner);
            VaultSecret { kit_hex: None, ..known.clone() }
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
        Ok(())
    }

    pub async fn set_vault_passphrase(
        &self,
        actor: &Actor,
        name: &str,
        text: String,
    ) -> Result<types::Vault, Failure> {
        let vault = self.vaults.named(name)?;
        let text = Zeroizing::new(text);
        let changed = async {
            let (passphrase, now) = (passphrase(&text)?, self.store.clock.now().0);
            let set = |slots: &mut Slots| {
                let set = slots.set_passphrase(&vault.master, &passphrase, kdf(), now, &mut Random);
                set.map_err(|error| Failure::of(Code::VaultKeyInvalid, &error))
            };
            self.change_slots(&vault, set).await?;
            let mut record = vault.record();
            record.has_passphrase = true;
            self.put_vault_record(&vault, record).await
        };
        let changed = changed.await;
        self.store.audit(actor, "vault-passphrase", vec![name.to_owned()], &changed).await;
        changed?;
        self.vault_status(&vault).await
    }

    /// A manifest that differs from the newest in its slots only.
    async fn change_slots(
        &self,
        vault: &Vault,
        change: impl FnOnce(&mut Slots) -> Result<(), Failure>,
    ) -> Result<Opened, Failure> {
        let _turn = vault.writing.lock().await;
        let opened = vault.look().await?;
        let mut slots = opened.slots.clone();
        change(&mut slots)?;
        let terms = vault.terms().await?;
        let next = Manifest {
            made_at: self.store.clock.now().0,
            witnessed: self.store.pool.now().0,
            ..(*opened.view).clone()
        };
        let committed =
            manifests::commit(&*vault.place()?, &opened, &next, &slots, terms, &mut Random).await;
        let opened = committed.map_err(|error| of_chain(&error))?;
        vault.saw(opened.clone()).await;
        self.keep_seen(vault).await;
        Ok(opened)
    }
}

fn text_of(vault: &Vault, share: &kit::Share) -> String {
    let (record, shape) = (vault.record(), share.shape);
    let seen = vault.seen().number;
    let mut text = format!(
        "Keelhold recovery kit {} - share {} of {}, {} open the vault\n\n\
         Vault {} ({}) at {}\nPrinted when its newest manifest was number {seen}: an adopted \
         vault must show this number or a higher one.\n\n",
        share.kit,
        share.number,
        shape.shares(),
        shape.need(),
        record.name,
        record.id,
        record.url
    );
    text.push_str(&kit::print(share));
    text.push_str(
        "\nOn an empty machine: keelhold adopt --vault URL --kit FILE ...\n\
         Whoever has enough shares reads everything in the vault. Keep them apart, and away from the appliance.\n",
    );
    text
}
