//! What goes, what comes back, and what is left: the types of forgetting, reclaim and room.

use super::Outcome;
use crate::failure::WireFailure;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ForgetRequest {
    pub points: Vec<String>,
    /// Without the time in which it can be undone.
    #[serde(default)]
    pub now: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ForgottenPoint {
    pub id: String,
    pub source: String,
    pub at: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Forgotten {
    pub points: Vec<ForgottenPoint>,
    /// Until then it can be undone; null if it cannot.
    pub trashed_until: Option<String>,
}

/// What forgetting points and reclaiming afterwards would do. Stored bytes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ForgetForecast {
    pub points: Vec<ForgottenPoint>,
    /// What only these points need: what is really freed, sooner or later.
    pub bytes_exclusive: u64,
    /// What a reclaim gives back once they and what is in the trash are gone.
    pub bytes_freed: u64,
    /// What it would give back without them, too.
    pub bytes_freed_anyway: u64,
    /// Dead shares that stay in containers too full to be worth moving.
    pub bytes_left: u64,
    /// Points of the selection that `point forget` would refuse, and why.
    pub refused: Vec<RefusedPoint>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RefusedPoint {
    pub point: String,
    #[serde(flatten)]
    pub why: WireFailure,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NewPin {
    pub until: String,
    pub why: String,
}

/// Keeps a point until a day, whatever else is decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    pub until: String,
    pub why: String,
    pub by: String,
}

/// What is in the trash.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Trash {
    pub points: Vec<ForgottenPoint>,
    /// Stored bytes that only these points need.
    pub bytes: u64,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ReclaimRequest {
    /// Points in the trash that are given up now, by their ids.
    #[serde(default)]
    pub empty_trash: Vec<String>,
    /// Give up also far more than was expected.
    #[serde(default)]
    pub confirm: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReclaimResult {
    pub result: Outcome,
    pub job: u64,
    /// What it was started for.
    pub why: String,
    pub points_dropped: u64,
    pub sessions_ended: u64,
    pub containers_freed: u64,
    pub containers_compacted: u64,
    pub bytes_freed: u64,
    pub bytes_moved: u64,
    /// Dead shares that stay for now: their containers are too full to be worth moving.
    pub bytes_left: u64,
    /// What could not be moved because it is damaged.
    pub damaged: Vec<String>,
    pub seconds: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<WireFailure>,
}

/// Where giving space back stands.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReclaimStatus {
    /// `idle`, `running`, or `braked` while it waits for a confirmation.
    pub state: String,
    pub last_at: Option<String>,
    pub last: Option<ReclaimResult>,
    /// Stored bytes that nothing needs.
    pub bytes_dead: u64,
    /// Bytes that the next run is expected to find dead.
    pub bytes_expected: u64,
    /// Bytes that only points in the trash need.
    pub bytes_trash: u64,
    /// When the next point leaves the trash for good.
    pub next_at: Option<String>,
}

/// When the pool will be full if it goes on like this.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FullForecast {
    /// `on`, `not filling` or `not enough history`.
    pub state: String,
    /// The day, as YYYY-MM-DD.
    pub full_on: Option<String>,
    pub bytes_per_day: Option<i64>,
}

/// An action somebody took or was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    pub at: String,
    pub actor: String,
    pub action: String,
    pub what: Vec<String>,
    /// `ok`, or the code of the failure.
    pub result: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NewQuota {
    /// None takes it off.
    pub bytes: Option<u64>,
}

/// Where scrub stands. Passes are counted from 0.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ScrubStatus {
    pub state: String,
    /// End of the last whole pass, and what it found.
    pub last_at: Option<String>,
    pub last_found: u64,
    pub pass: u64,
    /// The pass up to whose end there is no pause.
    pub until_pass: Option<u64>,
    pub bytes_read: u64,
    /// Damaged places the running pass has found so far.
    pub found: u64,
    /// Of the places of the last pass and of this one, those that were mended from another copy.
    pub healed: u64,
    /// Damaged places that are there still and cost no chunk: structures, and disks that refuse to read.
    pub open: u64,
    /// Damaged places that are not mended, and how many points each touches.
    pub damage: Vec<String>,
    /// Why the last step was not done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<WireFailure>,
}
