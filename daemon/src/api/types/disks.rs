//! Disks of the pool, and those that join and leave it.

use super::Outcome;
use crate::failure::WireFailure;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Disk {
    pub id: String,
    /// Where it is, or was last seen.
    pub path: String,
    /// `ok`, `missing`, `fenced` after a failed write, `stale` while it lacks copies, `slow` while
    /// others are asked instead, `draining`, or `retired`.
    pub state: String,
    pub bytes_total: u64,
    pub direct: bool,
    pub bytes_used: u64,
    /// Bytes whose only copy is here, in a pool that keeps two.
    pub bytes_single: u64,
    /// Reads the disk refused, reads that gave wrong bytes, failed writes; since the daemon started.
    pub read_errors: u64,
    pub mismatches: u64,
    pub write_errors: u64,
}

/// What happens to the pool's disks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiskChange {
    AddDisk,
    DrainDisk,
    ReplaceDisk,
}

impl DiskChange {
    #[must_use]
    pub fn verb(self) -> &'static str {
        match self {
            Self::AddDisk => "pool add-disk",
            Self::DrainDisk => "pool drain-disk",
            Self::ReplaceDisk => "pool replace-disk",
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DiskRequest {
    pub change: DiskChange,
    /// The disk that leaves, by its id or path.
    pub disk: Option<String>,
    /// The disk that joins: hex of its path's bytes, and the size it is to be made with.
    pub path_hex: Option<String>,
    pub bytes: Option<u64>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DiskResult {
    pub result: Outcome,
    pub job: u64,
    pub change: DiskChange,
    /// The disk that joined, and the one that left or is to leave.
    pub joined: Option<String>,
    pub left: Option<String>,
    pub copies_moved: u64,
    pub bytes_moved: u64,
    /// The disk that was to leave is of the pool no more.
    pub retired: bool,
    /// What could not be moved: no copy of it can be read.
    pub unmoved: Vec<String>,
    pub seconds: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<WireFailure>,
}
