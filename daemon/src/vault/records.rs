//! What of the pool's records goes into a vault: everything an adopted appliance needs, and nothing that
//! opens another vault or stands for a moment only.

use crate::failure::Failure;
use crate::pool_failure::of_closed;
use crate::record::{AUDIT, CLOCK, DISK_JOB, FINISHED_JOBS, GROUPS, SCHEDULE, SCRUB};
use crate::store::Store;
use keelhold_vault::format::{RecordEntry, RecordWhat};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Keys by which chunks are cut and named: with them an adopted appliance sends nothing twice.
pub const CONTENT_KEYS: &str = "content-keys";
/// Series that are shipped.
const SERIES: [&str; 3] = [AUDIT, GROUPS, FINISHED_JOBS];
const LEFT_OUT: [&str; 4] = [CLOCK, DISK_JOB, SCRUB, SCHEDULE];
const LEFT_OUT_PREFIXES: [&str; 5] =
    ["vault-secret/", "vault-seen/", "token/", "job/", "schedule/"];

#[derive(Clone, Serialize, Deserialize)]
pub struct ContentKeys {
    pub id_key_hex: String,
    pub cut_hex: String,
}

impl std::fmt::Debug for ContentKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ContentKeys")
    }
}

/// Records and series as they were found in a vault.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct AdoptedRecords {
    /// Values in hex: they are JSON today, and bytes by right.
    pub records: BTreeMap<String, String>,
    pub series: BTreeMap<String, BTreeMap<u64, String>>,
}

/// Versions of records, and numbers of entries, by name.
pub(super) type Known = BTreeSet<(String, u64)>;

pub(super) fn known(entries: &[RecordEntry]) -> Known {
    entries.iter().map(|entry| (entry.name.clone(), entry.version)).collect()
}

/// What of the records the vault has not got, and whether that is all there is: so it is told where
/// nobody knows what it has, and where something was removed.
pub(super) fn changed(all: Vec<RecordEntry>, has: Option<&Known>) -> (Vec<RecordEntry>, bool) {
    let Some(has) = has else { return (all, true) };
    let is_there = |name: &str| all.binary_search_by(|entry| entry.name.as_str().cmp(name)).is_ok();
    if !has.iter().all(|(name, _)| is_there(name)) {
        return (all, true);
    }
    let is_new = |entry: &RecordEntry| !has.contains(&(entry.name.clone(), entry.version));
    (all.into_iter().filter(is_new).collect(), false)
}

fn is_shipped(name: &str) -> bool {
    !LEFT_OUT.contains(&name) && !LEFT_OUT_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// All that is to be in the vault, in the order of names.
pub(super) async fn collect(store: &Store) -> Result<Vec<RecordEntry>, Failure> {
    let read = |pool: crate::pool_thread::LivePool| async move {
        let series: Vec<_> =
            SERIES.iter().map(|name| (*name, pool.series(name, 0, usize::MAX))).collect();
        (pool.records(""), series, pool.content_keys())
    };
    let (records, series, keys) = store.pool.call(read).await.map_err(of_closed)?;
    let mut entries: Vec<RecordEntry> = Vec::new();
    for (name, record) in records.into_iter().filter(|(name, _)| is_shipped(name)) {
        let (version, value) = (record.version, record.bytes.to_vec());
        entries.push(RecordEntry { name, what: RecordWhat::Record, version, value });
    }
    let keys = ContentKeys {
        id_key_hex: data_encoding::HEXLOWER.encode(&keys.id_key),
        cut_hex: data_encoding::HEXLOWER.encode(&keys.cut),
    };
    let value = serde_json::to_vec(&keys).unwrap_or_default();
    let name = CONTENT_KEYS.to_owned();
    entries.push(RecordEntry { name, what: RecordWhat::Record, version: 1, value });
    for (name, kept) in series {
        for (number, entry) in kept {
            entries.push(RecordEntry {
                name: name.to_owned(),
                what: RecordWhat::SeriesEntry,
                version: number,
                value: entry.to_vec(),
            });
        }
    }
    entries.sort_by(|left, right| (&left.name, left.version).cmp(&(&right.name, right.version)));
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_opens_a_vault_or_lets_a_machine_in_is_shipped() {
        for name in
            ["vault-secret/offsite", "vault-seen/a", "token/00ff", "job/7", "schedule/x", "clock"]
        {
            assert!(!is_shipped(name), "{name}");
        }
        for name in
            ["machine/a", "source/a", "group/default", "ca", "vault/offsite", "note/p", "jobs"]
        {
            assert!(is_shipped(name), "{name}");
        }
    }
}
