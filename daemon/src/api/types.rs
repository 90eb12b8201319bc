//! The types of `/api/v1`. The command line prints them as they are with `--json`; their field names
//! are a contract. Times are RFC 3339 in UTC, sizes are bytes.

mod disks;
mod group;
mod space;
mod vault;

use crate::failure::WireFailure;
pub use disks::*;
pub use group::*;
use serde::{Deserialize, Serialize};
pub use space::*;
pub use vault::*;

/// How something ended. `Missed` is for what never began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    Ok,
    Partial,
    Failed,
    Missed,
}

impl Outcome {
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Partial => "partial",
            Self::Failed => "failed",
            Self::Missed => "missed",
        }
    }
}

/// A path that is not in a point, with the reason. `path_hex` stands beside paths that are no text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    pub path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_hex: Option<String>,
    pub reason: String,
}

/// A path that could not be restored. `place` names disk and offset where stored bytes are damaged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedPath {
    pub path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    pub reason: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BackupResult {
    pub result: Outcome,
    pub job: u64,
    pub point: Option<String>,
    pub source: String,
    pub bytes_source: u64,
    pub bytes_read: u64,
    pub bytes_sent: u64,
    pub bytes_new: u64,
    pub bytes_stored: u64,
    pub files: u64,
    pub files_changed: u64,
    /// Entries that differ although the unchanged rule said they would not. Only a check finds them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wrong_shortcuts: Option<u64>,
    pub skipped: Vec<Skipped>,
    pub skipped_count: u64,
    pub not_covered: Vec<Skipped>,
    pub seconds: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<WireFailure>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RestoreResult {
    pub result: Outcome,
    pub job: u64,
    pub point: String,
    pub target: String,
    pub bytes_written: u64,
    pub files: u64,
    pub seconds: f64,
    pub verified: bool,
    pub skipped: Vec<Skipped>,
    pub failed: Vec<FailedPath>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<WireFailure>,
}

/// What a job came to.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub enum JobResult {
    Backup(BackupResult),
    Restore(RestoreResult),
    Reclaim(ReclaimResult),
    Disk(DiskResult),
    Ship(ShipResult),
    Verify(VerifyResult),
    Prune(PruneResult),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobKind {
    Backup,
    /// A synchronisation: the working state, and no point.
    Sync,
    Check,
    Restore,
    Reclaim,
    #[serde(rename = "add-disk")]
    AddDisk,
    #[serde(rename = "drain-disk")]
    DrainDisk,
    #[serde(rename = "replace-disk")]
    ReplaceDisk,
    /// To a vault.
    Ship,
    /// Of a vault.
    Verify,
    Prune,
    /// From a vault into another.
    Copy,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// Waits for its machine.
    Queued,
    Running,
    /// Stopped by a lost connection or a stop of the daemon; goes on by itself.
    Parked,
    Done,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    pub entries: u64,
    pub files: u64,
    pub bytes_read: u64,
    pub bytes_sent: u64,
    pub bytes_written: u64,
    /// Of a reclaim: containers that are to be looked at, and those that were; of a disk that leaves:
    /// those that are to be moved, and those that were.
    #[serde(default)]
    pub containers: u64,
    #[serde(default)]
    pub containers_done: u64,
}

/// How a running job gets on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pace {
    pub stage: String,
    pub bytes_per_second: u64,
    /// Where what was done before tells it.
    pub seconds_left: Option<u64>,
    /// Since anything moved.
    pub seconds_silent: u64,
    pub stuck: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Job {
    pub id: u64,
    pub kind: JobKind,
    pub source: String,
    pub state: JobState,
    pub result: Option<Outcome>,
    pub created_at: String,
    pub started_at: Option<String>,
    pub finished_at: Option<String>,
    pub progress: Progress,
    /// While somebody works on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pace: Option<Pace>,
    pub point: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<WireFailure>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<JobResult>,
}

/// Answer to a request that starts a job.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Started {
    pub job: u64,
    /// The source was running already; this is that job.
    pub joined: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LogLine {
    pub at: String,
    pub text: String,
}

/// One line of following a job: how far it is, or its end.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "event")]
pub enum JobEvent {
    Progress { job: Job },
    Done { job: Job },
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Point {
    pub id: String,
    pub source: String,
    pub at: String,
    pub result: Outcome,
    pub skipped_count: u64,
    pub places: Vec<String>,
    pub consistency: String,
    pub bytes_source: u64,
    /// What deleting the point would free. Null where the pool does not count it.
    pub bytes_exclusive: Option<u64>,
    pub tags: Vec<String>,
    pub kept_because: Vec<String>,
    pub expires_at: Option<String>,
    /// Until then forgetting the point can be undone.
    pub trashed_until: Option<String>,
    #[serde(default)]
    pub pin: Option<Pin>,
    pub note: Option<String>,
    pub entries: u64,
}

/// A point with everything that is known about it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PointDetails {
    #[serde(flatten)]
    pub point: Point,
    pub committed_at: String,
    pub files: u64,
    pub root: String,
    pub skipped: Vec<Skipped>,
    pub not_covered: Vec<Skipped>,
}

/// One entry of a point. `path` is relative to the source's root.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FileEntry {
    pub path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_hex: Option<String>,
    pub kind: String,
    pub size: u64,
    pub mode: u16,
    pub uid: u32,
    pub gid: u32,
    pub mtime: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_hex: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub xattrs: Vec<Xattr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<(u32, u32)>,
    /// Entries with equal values are names of one file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link_group: Option<String>,
}

/// An extended attribute, its bytes in hex.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Xattr {
    pub name_hex: String,
    pub value_hex: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Found {
    pub point: String,
    pub source: String,
    pub at: String,
    #[serde(flatten)]
    pub entry: FileEntry,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    Added,
    Removed,
    Content,
    Attributes,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DiffLine {
    pub change: Change,
    pub path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_hex: Option<String>,
    pub kind: String,
    pub size_before: Option<u64>,
    pub size_after: Option<u64>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Token {
    pub machine: String,
    pub token: String,
    pub url: String,
    pub line: String,
    pub expires_at: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Machine {
    pub name: String,
    pub id: String,
    pub connected: bool,
    pub version: Option<String>,
    pub last_seen: Option<String>,
    /// `active`, `revoked`, or `invited` while its first token is out.
    pub state: String,
    /// Most bytes of the pool the machine may need alone.
    #[serde(default)]
    pub quota_bytes: Option<u64>,
    /// Stored bytes that only its points need. Counted for machines with a quota.
    #[serde(default)]
    pub bytes_exclusive: Option<u64>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Source {
    pub name: String,
    pub machine: String,
    pub id: String,
    pub kind: String,
    pub tree: String,
    pub exclude: Vec<String>,
    pub all_file_systems: bool,
    pub default_excludes: bool,
    pub points: u64,
    pub last_point: Option<String>,
    pub last_result: Option<Outcome>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NewSource {
    pub machine: String,
    pub name: String,
    pub tree: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tree_hex: Option<String>,
    pub exclude: Vec<String>,
    pub all_file_systems: bool,
    pub default_excludes: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NewToken {
    pub machine: String,
    pub ttl_seconds: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NewName {
    pub name: String,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct BackupRequest {
    pub queue: bool,
    /// Read everything, mend what differs.
    #[serde(default)]
    pub check: bool,
    /// Bring the newest state over and make no point.
    #[serde(default)]
    pub sync: bool,
    /// Until when the point is to be kept: a date or a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_until: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum OnClash {
    Skip,
    Copy,
    Overwrite,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RestoreRequest {
    pub point: String,
    /// Hex of the path's bytes: a target need not be text.
    pub to_hex: Option<String>,
    pub paths_hex: Vec<String>,
    pub on_clash: Option<OnClash>,
    pub machine: Option<String>,
    pub original: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Note {
    pub text: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PoolStatus {
    pub id: String,
    pub bytes_total: u64,
    pub bytes_used: u64,
    pub bytes_free: u64,
    pub bytes_reserved: u64,
    pub bytes_logical: u64,
    pub dedup_ratio: f64,
    pub compression_ratio: f64,
    pub chunks: u64,
    pub points: u64,
    pub index_bytes: u64,
    /// Disks every byte is kept on.
    pub copies: u16,
    /// False once a failure ended all writing until the next start.
    pub writable: bool,
    /// Bytes that have fewer copies than they should, and those no copy of which can be read because
    /// their disks are missing.
    pub bytes_single: u64,
    pub bytes_unreadable: u64,
    /// Chunks that scrub found damaged in every copy and nobody has sent again.
    pub chunks_lost: u64,
    pub disks: Vec<Disk>,
    pub scrub: ScrubStatus,
    pub reclaim: ReclaimStatus,
    pub forecast: FullForecast,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CatalogStatus {
    pub points: u64,
    pub sources: u64,
    pub machines: u64,
    pub jobs: u64,
    pub seconds: f64,
}

/// `keelhold status`: one sentence, then a few lines.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Status {
    pub sentence: String,
    pub at_risk: bool,
    pub version: String,
    pub at: String,
    pub machines: u64,
    pub machines_connected: u64,
    pub sources: u64,
    pub sources_protected: u64,
    pub points: u64,
    pub jobs_running: u64,
    pub agents_url: String,
    pub pool: PoolStatus,
    pub lines: Vec<String>,
}
