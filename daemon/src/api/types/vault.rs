//! Vaults.

use super::{Outcome, Started};
use crate::failure::WireFailure;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NewVault {
    pub name: String,
    pub url: String,
    pub endpoint: Option<String>,
    /// Text of the credential's file.
    pub credential: Option<String>,
    pub passphrase: Option<String>,
    /// Texts of the kit's files, for a vault that is there already.
    #[serde(default)]
    pub kit: Vec<String>,
    /// `none`, `expiry`, or for how long objects are locked; none given: thirty days, if the store can.
    #[serde(default)]
    pub lease: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Vault {
    pub name: String,
    pub id: String,
    pub url: String,
    /// `ok`, `behind`, `shipping`, `unreachable`, `refused`.
    pub state: String,
    /// Why, where it is not well.
    pub why: Option<String>,
    pub points: u64,
    pub backlog_points: u64,
    pub backlog_bytes: u64,
    /// Since when the oldest point waits that is not there yet.
    pub backlog_since: Option<String>,
    pub last_shipped_at: Option<String>,
    pub objects: u64,
    pub bytes: u64,
    /// Number of the newest manifest.
    pub manifest: u64,
    pub last_verified_at: Option<String>,
    pub verified_ok: bool,
    /// When the recovery kit was last printed.
    pub kit_at: Option<String>,
    pub has_passphrase: bool,
    /// Until when everything that is needed is locked at least.
    pub locked_until: Option<String>,
    /// `local`, `zone` (declared) or `geo`.
    pub redundancy: String,
    /// When several zones were last declared.
    pub zone_checked_at: Option<String>,
    pub geo: Option<Geo>,
    /// What was found that should not be: void numbers, a rollback.
    pub findings: Vec<String>,
}

/// The second place of a vault.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Geo {
    pub url: String,
    /// The newest manifest that is there, and how many it is behind.
    pub manifest: u64,
    pub behind: u64,
    pub copied_at: Option<String>,
    /// Why the last copying did not work.
    pub why: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NewGeo {
    /// None: there is no second place any more.
    pub url: Option<String>,
    pub endpoint: Option<String>,
    pub credential: Option<String>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct NewZone {
    pub several: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct VaultPoint {
    pub id: String,
    pub source: String,
    pub at: String,
    pub result: Outcome,
    pub bytes_source: u64,
    pub entries: u64,
    pub tags: Vec<String>,
    pub kept_because: Vec<String>,
    pub expires_at: Option<String>,
    /// Also in the pool.
    pub in_pool: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ShipResult {
    pub result: Outcome,
    pub job: u64,
    pub vault: String,
    pub points: u64,
    pub points_gone: u64,
    pub objects: u64,
    pub chunks: u64,
    /// Chunks that were there under other numbers.
    pub chunks_known: u64,
    /// Sent.
    pub bytes: u64,
    /// Of them chunks of files' content, as they are framed.
    pub bytes_data: u64,
    /// Chunks that an interrupted shipment had sent.
    pub chunks_taken_over: u64,
    /// To the store, all of them but those that renew locks.
    pub requests: u64,
    /// Objects whose locks were renewed, and those that were asked for theirs.
    #[serde(default)]
    pub locks_renewed: u64,
    #[serde(default)]
    pub locks_asked: u64,
    /// Objects that were mostly dead and are needed no more, and bytes sent for that.
    #[serde(default)]
    pub repacked: u64,
    #[serde(default)]
    pub bytes_repacked: u64,
    pub manifest: u64,
    pub seconds: f64,
    /// Points that could not be shipped, and why.
    pub left_out: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<WireFailure>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct VerifyResult {
    pub result: Outcome,
    pub job: u64,
    pub vault: String,
    pub whole: bool,
    pub objects: u64,
    pub frames: u64,
    pub chunks: u64,
    pub points: u64,
    pub bytes: u64,
    pub seconds: f64,
    pub findings: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<WireFailure>,
}

/// What deleting came to, or with `dry_run` would come to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PruneResult {
    pub result: Outcome,
    pub job: u64,
    pub vault: String,
    pub dry_run: bool,
    /// Deleted, manifests too, and their bytes.
    pub objects: u64,
    pub bytes: u64,
    /// Of the whole vault before.
    pub bytes_all: u64,
    /// Not needed any more and locked for now.
    pub locked: u64,
    pub bytes_locked: u64,
    pub seconds: f64,
    /// Some of the objects, and why each may go; the audit has all that were deleted.
    pub names: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<WireFailure>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CopyRequest {
    /// The other vault.
    pub to: String,
    /// The first vault lets go what the other was proved to have, and gets nothing any more.
    pub moves: bool,
}

#[derive(Clone, Serialize, Deserialize)]
pub struct PruneRequest {
    /// Text of the file with the credential that may delete.
    pub credential: Option<String>,
    pub dry_run: bool,
    /// Go on although it is much.
    pub confirmed: bool,
    /// At the second place.
    #[serde(default)]
    pub second: bool,
}

impl std::fmt::Debug for PruneRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PruneRequest(dry_run: {})", self.dry_run)
    }
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct KitShapeRequest {
    pub shares: u8,
    pub need: u8,
}

/// The recovery kit, as it is printed.
#[derive(Clone, Serialize, Deserialize)]
pub struct Kit {
    pub vault: String,
    pub kit: String,
    pub need: u8,
    pub shares: Vec<String>,
}

impl std::fmt::Debug for Kit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Kit({})", self.kit)
    }
}

/// What a restore will fetch from a vault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetch {
    pub requests: u64,
    pub bytes: u64,
    pub objects: u64,
}

/// Answer to a request for a restore.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RestoreStarted {
    #[serde(flatten)]
    pub started: Started,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fetch: Option<Fetch>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NewPassphrase {
    pub passphrase: String,
}

/// Lines `HOURS=RATE`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Bandwidth {
    pub rules: Vec<String>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct VerifyRequest {
    pub whole: bool,
}
