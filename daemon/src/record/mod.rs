//! What the daemon keeps inside the pool as records: JSON of these types under these names.
//!
//! | record | type | meaning |
//! |---|---|---|
//! | `ca` | [`AuthorityRecord`] | the appliance's own certificate authority |
//! | `machine/ID` | [`MachineRecord`] | a protected machine, removed ones included: their points name it |
//! | `source/ID` | [`SourceRecord`] | a data source, removed ones included |
//! | `token/HASH` | [`TokenRecord`] | an enrolment token, by the hash of its secret |
//! | `job/NUMBER` | [`JobRecord`] | a job that is not over |
//! | `group/NAME` | [`GroupRecord`] | a protection group |
//! | `schedule/ID` | history of `keelhold_policy::schedule` | where the schedule of a source stands |
//! | `vault/NAME` | [`VaultRecord`] | a vault this appliance ships to |
//! | `vault-secret/NAME` | [`VaultSecret`] | what opens it; never shipped |
//! | `vault-seen/NAME` | [`VaultSeen`] | the newest manifest that was seen there |
//! | `disk-job` | [`DiskJobRecord`] | the change of the pool's disks that is not over |
//! | `note/POINT` | text | a note somebody attached to a point |
//! | `jobs` | [`JobCounter`] | the last job number given |
//! | `clock` | witnessed time | written now and then, so that a crash loses little of it |
//!
//! Jobs that are over are entries of the series `jobs`, actions entries of the series `audit`. Names and fields are format: a pool outlives
//! the daemon that wrote it, so fields are only added, with a default.

mod name;
mod vault;

pub use name::{NameError, SourceName, check_name};
pub use vault::{BandwidthRule, GeoRecord, VaultRecord, VaultSecret, VaultSeen};

use crate::api::types::DiskChange;
use crate::job::Order;
use serde::{Deserialize, Serialize};

pub const SOURCE_PREFIX: &str = "source/";
pub const NOTE_PREFIX: &str = "note/";
pub const AUTHORITY: &str = "ca";
pub const JOB_COUNTER: &str = "jobs";
pub const FINISHED_JOBS: &str = "jobs";
pub const CLOCK: &str = "clock";
pub const SCRUB: &str = "scrub";
/// The clock as the schedule has seen it.
pub const SCHEDULE: &str = "schedule";
/// Series of every text of a group that was ever in force.
pub const GROUPS: &str = "groups";
pub const DISK_JOB: &str = "disk-job";
/// Series of what was done, by whom.
pub const AUDIT: &str = "audit";

pub const VAULT_PREFIX: &str = "vault/";

#[must_use]
pub fn vault_key(name: &str) -> String {
    format!("{VAULT_PREFIX}{name}")
}

#[must_use]
pub fn vault_secret_key(name: &str) -> String {
    format!("vault-secret/{name}")
}

#[must_use]
pub fn vault_seen_key(name: &str) -> String {
    format!("vault-seen/{name}")
}

#[must_use]
pub fn machine_key(id: &str) -> String {
    format!("machine/{id}")
}

#[must_use]
pub fn source_key(id: &str) -> String {
    format!("{SOURCE_PREFIX}{id}")
}

#[must_use]
pub fn token_key(hash: &str) -> String {
    format!("token/{hash}")
}

#[must_use]
pub fn group_key(name: &str) -> String {
    format!("group/{name}")
}

/// Where the schedule of a source stands.
#[must_use]
pub fn schedule_key(source: &str) -> String {
    format!("schedule/{source}")
}

#[must_use]
pub fn job_key(id: u64) -> String {
    format!("job/{id}")
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorityRecord {
    pub certificate_der: String,
    /// PKCS#8, base64. The pool is as secret as what it protects.
    pub key_der: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MachineState {
    /// A token was made; nobody has used it yet.
    Invited,
    Active,
    Revoked,
    Removed,
}

impl MachineState {
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Invited => "invited",
            Self::Active => "active",
            Self::Revoked => "revoked",
            Self::Removed => "removed",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineRecord {
    pub id: String,
    pub name: String,
    pub state: MachineState,
    /// Fingerprint of the one public key that is accepted.
    pub key: Option<String>,
    /// Keys that were accepted once and never will be again.
    #[serde(default)]
    pub denied_keys: Vec<String>,
    #[serde(default)]
    pub version: Option<String>,
    #[serde(default)]
    pub last_seen: Option<String>,
    /// Most stored bytes that only this machine's points may need.
    #[serde(default)]
    pub quota_bytes: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceRecord {
    pub id: String,
    pub machine: String,
    pub name: String,
    pub kind: SourceKind,
    #[serde(default)]
    pub removed: bool,
    /// Of a source that is not protected any more: what becomes of its points.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<Stopped>,
    /// Witnessed time: points made before were to stay when protection was stopped, and stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept_before: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopped {
    pub how: StoppedHow,
    /// The group it was in.
    #[serde(default)]
    pub group: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StoppedHow {
    /// Every point stays until somebody forgets it.
    Keep,
    /// Points go as their time comes, the last good one excepted.
    Policy,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SourceKind {
    Tree {
        /// Bytes of the path in hex: it need not be text.
        root_hex: String,
        #[serde(default)]
        exclude: Vec<String>,
        #[serde(default)]
        all_file_systems: bool,
        #[serde(default = "yes")]
        default_excludes: bool,
    },
}

fn yes() -> bool {
    true
}

/// A protection group as somebody stated it. Entries of the series `groups` are the same, and one
/// with an empty text says that the group was removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupRecord {
    pub name: String,
    /// Counted from 1.
    pub version: u64,
    pub text: String,
    pub applied_at: i64,
    #[serde(default)]
    pub applied_by: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRecord {
    pub machine: String,
    /// Nanoseconds since 1970.
    pub expires_at: i64,
    #[serde(default)]
    pub used: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobCounter {
    pub last: u64,
}

/// A job that must survive a stop of the daemon. Restores do not: their caller is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRecord {
    pub id: u64,
    pub source: String,
    #[serde(flatten)]
    pub order: Order,
    pub created_at: i64,
    #[serde(default)]
    pub started_at: Option<i64>,
}

/// A change of the pool's disks. There is one at a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskJobRecord {
    pub id: u64,
    pub change: DiskChange,
    /// The id of the disk that leaves.
    pub left: Option<String>,
    /// Path of the disk that joins, and the size its file is made with.
    pub path_hex: Option<String>,
    pub bytes: Option<u64>,
    /// There was nothing at the path where its file is to be made: what is there is ours.
    #[serde(default)]
    pub making: bool,
    /// The disk that joins was looked at and is free: from now on it may carry what was begun.
    #[serde(default)]
    pub begun: bool,
    pub created_at: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an older daemon wrote is read for ever.
    #[test]
    fn first_forms_of_the_records_are_read() {
        let machine: MachineRecord =
            serde_json::from_str(r#"{"id":"a","name":"web","state":"active","key":"00"}"#).unwrap();
        assert_eq!((machine.state, machine.version), (MachineState::Active, None));
        let source: SourceRecord = serde_json::from_str(
            r#"{"id":"a","machine":"b","name":"etc","kind":{"tree":{"root_hex":"2f"}}}"#,
        )
        .unwrap();
        let SourceKind::Tree { default_excludes, exclude, .. } = source.kind;
        assert!(default_excludes && exclude.is_empty() && !source.removed);
        let token = r#"{"machine":"a","expires_at":5}"#;
        assert!(!serde_json::from_str::<TokenRecord>(token).unwrap().used);
        let change = r#"{"id":1,"change":"add-disk","left":null,"path_hex":"2f","bytes":null,"created_at":5}"#;
        assert!(!serde_json::from_str::<DiskJobRecord>(change).unwrap().begun);
        let job = r#"{"id":1,"source":"a","check":false,"created_at":5}"#;
        assert!(serde_json::from_str::<JobRecord>(job).unwrap().started_at.is_none());
    }
}
