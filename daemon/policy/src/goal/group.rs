//! The model of a group.

use super::amount::{Length, Rate};
use super::keep::Keep;
use crate::calendar::{Calendar, Hours};

/// Stands for every machine that no other group names.
pub const ANY_MACHINE: &str = "*";

#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    pub name: String,
    /// None: the appliance's.
    pub zone: Option<String>,
    pub members: Vec<Member>,
    pub short_term: ShortTerm,
    pub online: Vec<Online>,
    pub window: Window,
    pub bandwidth: Vec<Bandwidth>,
    pub jobs: Jobs,
    pub scripts: Scripts,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub machine: String,
    pub cover: Cover,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cover {
    Source(String),
    /// Every mounted file system of the machine.
    FileSystems {
        new: New,
    },
}

/// What becomes of a file system that was not there before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum New {
    #[default]
    Join,
    /// Shown as "new, not covered".
    Show,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct ShortTerm {
    pub points: Vec<Calendar>,
    pub sync: Sync,
    pub consistency: Consistency,
    /// None: from the schedule.
    pub deadline: Option<Length>,
    pub keep: Keep,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Sync {
    #[default]
    BeforePoint,
    Every(Length),
}

/// The least a point must be to count as good.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Consistency {
    #[default]
    None,
    Crash,
    FileSystem,
    Application,
}

impl Consistency {
    pub const ALL: [Self; 4] = [Self::None, Self::Crash, Self::FileSystem, Self::Application];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Crash => "crash",
            Self::FileSystem => "file-system",
            Self::Application => "application",
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Online {
    pub vault: String,
    pub schedule: OnlineWhen,
    pub keep: Keep,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub enum OnlineWhen {
    #[default]
    AfterNewestPoint,
    At(Vec<Calendar>),
}

/// When jobs may run. Both lengths are counted from the slot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Window {
    /// None: always.
    pub allow: Vec<Hours>,
    pub start_within: Option<Length>,
    pub must_end_within: Option<Length>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bandwidth {
    pub when: Hours,
    pub limit: Rate,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Jobs {
    /// None: as many as the appliance runs.
    pub slots: Option<u32>,
    /// None: all begin at once.
    pub spread: Option<Length>,
}

/// Programs that run on the machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scripts {
    pub pre: Option<String>,
    pub post: Option<String>,
    pub time_limit: Option<Length>,
}
