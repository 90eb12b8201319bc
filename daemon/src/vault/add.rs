//! Vaults come and go.

use super::failure::{of_chain, of_store_error};
use super::kit::{combined, kdf, passphrase};
use super::lease::Wish;
use super::local::{Random, Vault, open_place};
use super::pace::parse_rules;
use super::place::Place;
use crate::api::types::{self, NewVault};
use crate::audit::Actor;
use crate::daemon::Daemon;
use crate::failure::{Code, Failure};
use crate::id_text;
use crate::pool_failure::of_store;
use crate::record::{
    VaultRecord, VaultSecret, VaultSeen, check_name, vault_key, vault_secret_key, vault_seen_key,
};
use data_encoding::HEXLOWER;
use keelhold_vault::VaultId;
use keelhold_vault::chain::{self as manifests, Opened, Terms, Unlock};
use keelhold_vault::keys::{KitSecret, KitShape, MasterKey, Slots};
use keelhold_vault::store::{Store as _, Until, probe, probe_locks};
use std::sync::Arc;

/// Vaults of one appliance.
const VAULTS_MAX: usize = 1_000;
/// The first manifest says little: a lease is enough for it.
const YEAR: i64 = 366 * 86_400;

struct Made {
    opened: Opened,
    kit_hex: Option<String>,
    is_new: bool,
}

impl Daemon {
    /// A new vault at an empty place, or the one that is there.
    pub async fn add_vault(&self, actor: &Actor, new: NewVault) -> Result<types::Vault, Failure> {
        let name = new.name.clone();
        let added = self.add_vault_now(new).await;
        self.store.audit(actor, "vault-add", vec![name], &added).await;
        let (vault, findings) = added?;
        self.schedule.wake();
        let shown = self.vault_status(&vault).await?;
        Ok(types::Vault { findings: [findings, shown.findings].concat(), ..shown })
    }

    async fn add_vault_now(&self, new: NewVault) -> Result<(Arc<Vault>, Vec<String>), Failure> {
        check_name(&new.name).map_err(|error| Failure::of(Code::NameInvalid, &error))?;
        let names = self.vaults.names();
        if names.contains(&new.name) || names.len() >= VAULTS_MAX {
            let text = format!("there is a vault {} already", new.name);
            return Err(Failure::new(Code::NameTaken, text));
        }
        let place = open_place(&new.url, new.endpoint.as_deref(), new.credential.as_deref())?;
        let probed = probe(&*place, &mut Random).await.map_err(|error| of_store_error(&error))?;
        let mut findings = Vec::new();
        if !probed.creates_only {
            findings.push(String::from(
                "this store overwrites what it should refuse: numbers of manifests are claimed first",
            ));
        }
        let listed = place.list("m/", "", 1).await.map_err(|error| of_store_error(&error))?;
        let lease =
            self.lease_of(&place, Wish::parse(new.lease.as_deref())?, &mut findings).await?;
        let until =
            lease.map(|lease| Until(self.store.clock.now().0 / 1_000_000_000 + lease.min(YEAR)));
        let terms = Terms { creates_only: probed.creates_only, until };
        let made = match listed.entries.is_empty() {
            true => self.make_vault(&place, &new, terms).await?,
            false => self.take_vault(&place, &new).await?,
        };
        if !made.is_new {
            findings.push(String::from("a vault was there already, and is gone on with"));
        }
        let id = id_text::encode(&made.opened.master.vault().0);
        let taken = self.vaults.all().into_iter().find(|vault| vault.record().id == id);
        if let Some(taken) = taken {
            let text = format!("this is the vault {} already", taken.name());
            return Err(Failure::new(Code::NameTaken, text));
        }
        let record = VaultRecord {
            name: new.name.clone(),
            id,
            url: new.url,
            endpoint: new.endpoint,
            added_at: self.store.clock.now().0,
            bandwidth: Vec::new(),
            lease,
            closed: false,
            geo: None,
            zone_at: None,
            kit_at: None,
            has_passphrase: made.opened.slots.all().iter().any(|slot| slot.is_passphrase()),
        };
        let secret = VaultSecret {
            master_hex: HEXLOWER.encode(&made.opened.master.expose()[..]),
            number: made.opened.master.number(),
            credential: new.credential,
            kit_hex: made.kit_hex,
            geo_credential: None,
        };
        let clock = self.store.clock.clone();
        let vault = Vault::new(record, &secret, VaultSeen::default(), &self.vaults, clock)?;
        vault.saw(made.opened).await;
        self.put_vault(&vault, &secret).await?;
        let vault = Arc::new(vault);
        self.vaults.put(Arc::clone(&vault));
        Ok((vault, findings))
    }

    /// Tries out whether the store keeps what is locked. Seconds of a lease; none: nothing is locked.
    async fn lease_of(
        &self,
        place: &Place,
        wish: Wish,
        findings: &mut Vec<String>,
    ) -> Result<Option<i64>, Failure> {
        if wish == Wish::Never {
            findings.push(String::from("nothing is locked: whoever may delete there, can"));
            return Ok(None);
        }
        let now = self.store.clock.now().0 / 1_000_000_000;
        let proof = probe_locks(place, now, &mut Random).await;
        let proof = proof.map_err(|error| of_store_error(&error))?;
        if !proof.is_proved() {
            let text = match proof.locks {
                false => "this store locks nothing: whoever may delete there, can",
                true => "this store takes locks and does not keep them: nothing is locked",
            };
            if let Wish::For(_) = wish {
                return Err(Failure::new(Code::VaultLocks, text));
            }
            findings.push(text.to_owned());
            return Ok(None);
        }
        if proof.may_delete {
            findings.push(String::from(
                "this credential may delete what is not locked: shipping needs no such right",
            ));
        }
        Ok(wish.lease())
    }

    async fn make_vault(
        &self,
        place: &Place,
        new: &NewVault,
        terms: Terms,
    ) -> Result<Made, Failure> {
        let now = self.store.clock.now().0;
        let master = MasterKey::draw(VaultId::draw(&mut Random), &mut Random);
        let mut slots = Slots::new(&master);
        if let Some(text) = &new.passphrase {
            let set = slots.set_passphrase(&master, &passphrase(text)?, kdf(), now, &mut Random);
            set.map_err(|error| Failure::of(Code::VaultKeyInvalid, &error))?;
        }
        // There is a kit from the first manifest on: printing it later changes nothing.
        let secret = KitSecret::draw(&mut Random);
        let one = KitShape::new(1, 1).expect("one of one is a kit");
        slots.set_kit(&master, &secret, one, now, &mut Random);
        let (master, mut random) = (Arc::new(master), Random);
        let founded = manifests::found(place, &master, &slots, terms, now, &mut random).await;
        let opened = founded.map_err(|error| of_chain(&error))?;
        Ok(Made { opened, kit_hex: Some(HEXLOWER.encode(&secret.expose()[..])), is_new: true })
    }

    async fn take_vault(&self, place: &Place, new: &NewVault) -> Result<Made, Failure> {
        let opened = match (new.kit.is_empty(), &new.passphrase) {
            (false, _) => {
                let secret = combined(&new.kit)?;
                manifests::open(place, Unlock::Kit(&secret), None).await
            }
            (true, Some(text)) => {
                let passphrase = passphrase(text)?;
                manifests::open(place, Unlock::Passphrase(&passphrase), None).await
            }
            (true, None) => {
                let text =
                    "a vault is there already, and neither its kit nor its passphrase was given";
                return Err(Failure::new(Code::VaultKey, text)
                    .hint("add --kit FILE or --passphrase-file FILE, or choose an empty place"));
            }
        };
        let opened = opened.map_err(|error| of_chain(&error))?;
        Ok(Made { opened, kit_hex: None, is_new: false })
    }

    async fn put_vault(&self, vault: &Vault, secret: &VaultSecret) -> Result<(), Failure> {
        let (record, seen) = (vault.record(), vault.seen());
        let kept = async {
            let mut change = self.store.change().await;
            change.put(vault_key(&record.name), &record)?;
            change.put(vault_secret_key(&record.name), secret)?;
            change.put(vault_seen_key(&record.name), &seen)?;
            change.commit().await
        };
        kept.await.map_err(|error: crate::store::StoreError| of_store(&error))
    }

    pub(super) async fn put_vault_record(
        &self,
        vault: &Vault,
        record: VaultRecord,
    ) -> Result<(), Failure> {
        let kept = async {
            let mut change = self.store.change().await;
            change.put(vault_key(&record.name), &record)?;
            change.commit().await
        };
        kept.await.map_err(|error: crate::store::StoreError| of_store(&error))?;
        vault.set_record(record);
        Ok(())
    }

    /// Nothing is shipped to it any more. What is in it is not touched.
    pub async fn remove_vault(&self, actor: &Actor, name: &str) -> Result<types::Vault, Failure> {
        let vault = self.vaults.named(name)?;
        let removed = async {
            let shown = self.vault_status(&vault).await?;
            let _turn = vault.writing.lock().await;
            let kept = async {
                let mut change = self.store.change().await;
                change.remove(vault_key(name));
                change.remove(vault_secret_key(name));
                change.remove(vault_seen_key(name));
                change.commit().await
            };
            kept.await.map_err(|error: crate::store::StoreError| of_store(&error))?;
            self.vaults.forget(name);
            Ok(shown)
        };
        let removed = removed.await;
        self.store.audit(actor, "vault-remove", vec![name.to_owned()], &removed).await;
        removed
    }

    pub async fn set_vault_bandwidth(
        &self,
        actor: &Actor,
        name: &str,
        lines: Vec<String>,
    ) -> Result<types::Vault, Failure> {
        let vault = self.vaults.named(name)?;
        let changed = async {
            let mut record = vault.record();
            record.bandwidth = parse_rules(&lines)?;
            self.put_vault_record(&vault, record).await
        };
        let changed = changed.await;
        self.store.audit(actor, "vault-bandwidth", vec![name.to_owned()], &changed).await;
        changed?;
        self.vault_status(&vault).await
    }
}
