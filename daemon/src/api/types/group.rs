//! Protection groups, what a change of them would do, and what runs when.

use serde::{Deserialize, Serialize};

/// A protection group and what it covers now.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Group {
    pub name: String,
    /// Counted from 1; every text that was ever in force is kept.
    pub version: u64,
    pub applied_at: String,
    pub applied_by: String,
    pub zone: String,
    /// Its goals, a line each, in words.
    pub goals: Vec<String>,
    /// Sources it protects.
    pub sources: Vec<String>,
    /// What its rules found and nobody decided about: MACHINE:PATH.
    pub not_covered: Vec<String>,
    pub text: String,
}

/// Texts of groups that are in force together, or not at all.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct GroupTexts {
    pub groups: Vec<GroupText>,
    /// Points may get a shorter life by it.
    #[serde(default)]
    pub confirmed: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GroupText {
    /// Where the text came from, for messages.
    pub origin: String,
    pub text: String,
}

/// What applying texts would do. Nothing is changed by asking.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GroupPreview {
    pub groups: Vec<String>,
    pub sources: Vec<SourcePreview>,
    /// Something is kept for a shorter time than now: applying it must be confirmed.
    pub shortens: bool,
    /// Points that may go at once.
    pub points_removed: u64,
    /// Stored bytes that giving them up would really free.
    pub bytes_freed: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SourcePreview {
    pub source: String,
    pub group_before: Option<String>,
    pub group_after: Option<String>,
    pub gains: u64,
    pub loses: u64,
    pub keeps: u64,
    /// Those whose time changes.
    pub points: Vec<PointPreview>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PointPreview {
    pub id: String,
    pub at: String,
    pub place: String,
    /// `gains`, `loses` or `keeps`.
    pub effect: String,
    /// `goes`, `stays`, or a time.
    pub before: String,
    pub after: String,
}

/// What was done with texts.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GroupsApplied {
    pub groups: Vec<Group>,
    pub points_trashed: u64,
    pub trashed_until: Option<String>,
}

/// Something that runs, or would.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Planned {
    pub at: String,
    pub source: String,
    pub group: String,
    /// `point`, `sync`.
    pub what: String,
    /// `planned`, or `waiting`.
    pub state: String,
    /// Why it waits.
    pub why: Option<String>,
}
