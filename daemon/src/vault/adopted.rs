//! What was taken over from a vault, kept in the state directory until a pool has it.

use super::records::{AdoptedRecords, CONTENT_KEYS, ContentKeys};
use crate::failure::{Code, Failure};
use crate::pool_failure::{of_closed, of_commit, of_store};
use crate::record::{
    VAULT_PREFIX, VaultRecord, VaultSecret, VaultSeen, vault_key, vault_secret_key, vault_seen_key,
};
use crate::store::Store;
use data_encoding::HEXLOWER;
use keelhold_disk::pool::RecordChange;
use serde::{Deserialize, Serialize};

/// Records written together.
const BATCH: usize = 256;
/// A pool that has this record has everything of the vault it names.
const MARK: &str = "adopted";

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Adopted {
    pub vault: VaultRecord,
    pub secret: VaultSecret,
    pub seen: VaultSeen,
    pub records: AdoptedRecords,
    pub points: u64,
}

fn hex(text: &str) -> Option<Vec<u8>> {
    HEXLOWER.decode(text.as_bytes()).ok()
}

impl Adopted {
    /// By what chunks were cut and named; none in a vault that says nothing of it.
    #[must_use]
    pub fn content_keys(&self) -> Option<([u8; 32], Vec<u8>)> {
        let keys = hex(self.records.records.get(CONTENT_KEYS)?)?;
        let keys: ContentKeys = serde_json::from_slice(&keys).ok()?;
        Some((hex(&keys.id_key_hex)?.try_into().ok()?, hex(&keys.cut_hex)?))
    }

    /// The record of this vault in what it holds: the name it had.
    #[must_use]
    pub fn name_in(records: &AdoptedRecords, id: &str) -> Option<VaultRecord> {
        let vaults = records.records.range(VAULT_PREFIX.to_owned()..);
        let vaults = vaults.take_while(|(name, _)| name.starts_with(VAULT_PREFIX));
        let mut vaults = vaults
            .filter_map(|(_, value)| serde_json::from_slice::<VaultRecord>(&hex(value)?).ok());
        vaults.find(|record| record.id == id)
    }

    /// Writes everything into a pool that has not got it. A crash on the way is gone on with at the
    /// next start.
    pub async fn bring_into(&self, store: &Store) -> Result<(), Failure> {
        let mark: Option<String> = store.record(MARK).await.map_err(|error| of_store(&error))?;
        if mark.as_deref() == Some(&self.vault.id) {
            return Ok(());
        }
        for (series, entries) in &self.records.series {
            let asked = series.clone();
            let read = move |pool: crate::pool_thread::LivePool| async move {
                pool.series(&asked, 0, usize::MAX).len()
            };
            let there = store.pool.call(read).await.map_err(of_closed)?;
            for entry in entries.values().skip(there) {
                let entry = hex(entry).unwrap_or_default();
                store.append(series, entry).await.map_err(|error| of_store(&error))?;
            }
        }
        let mut changes = Vec::new();
        // Other vaults are opened by kits of their own.
        let is_taken = |name: &str| name != CONTENT_KEYS && !name.starts_with(VAULT_PREFIX);
        for (name, value) in self.records.records.iter().filter(|(name, _)| is_taken(name)) {
            let bytes = Some(hex(value).unwrap_or_default());
            changes.push(RecordChange { name: name.clone(), expected: None, bytes });
        }
        let name = &self.vault.name;
        changes.push(json(vault_key(name), &self.vault)?);
        changes.push(json(vault_secret_key(name), &self.secret)?);
        changes.push(json(vault_seen_key(name), &self.seen)?);
        changes.push(json(MARK.to_owned(), &self.vault.id)?);
        for batch in changes.chunks(BATCH) {
            let (batch, now) = (batch.to_vec(), store.pool.now());
            let write = move |pool: crate::pool_thread::LivePool| async move {
                pool.write_records(batch, now).await
            };
            let written = store.pool.call(write).await.map_err(of_closed)?;
            written.map_err(|error| of_commit(&error))?;
        }
        Ok(())
    }
}

fn json(name: String, value: &impl Serialize) -> Result<RecordChange, Failure> {
    let bytes = serde_json::to_vec(value).map_err(|error| Failure::of(Code::Internal, &error))?;
    Ok(RecordChange { name, expected: None, bytes: Some(bytes) })
}
