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

/// A text that was in force; an empty one says that the group was removed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GroupVersion {
    pub version: u64,
    pub applied_at: String,
    pub applied_by: String,
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

/// What becomes of the points of a source that is not protected any more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum AfterStop {
    /// They stay until they are forgotten
    Keep,
    /// They go as their group's rules say, the last good one excepted
    #[default]
    Policy,
    /// They go to the trash, the last good one too, and the working state goes
    Delete,
}

impl AfterStop {
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Policy => "policy",
            Self::Delete => "delete",
        }
    }

    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Keep, Self::Policy, Self::Delete].into_iter().find(|after| after.word() == word)
    }

    /// For people who are asked.
    #[must_use]
    pub fn fate(self) -> &'static str {
        match self {
            Self::Keep => "its points stay",
            Self::Policy => "its points go as their time comes, the last good one stays",
            Self::Delete => "its points go to the trash",
        }
    }
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
