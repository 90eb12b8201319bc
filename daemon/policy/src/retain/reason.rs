//! Why a point is kept, for programs and for people.

use crate::goal::keep::Tag;
use jiff::{SignedDuration, Timestamp};
use std::fmt;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// A tag lives. `by` is the rule that says how long: another one where the tag's own was given up.
    Tag {
        tag: Tag,
        by: Tag,
        until: Timestamp,
    },
    /// The rule would let it go; the minimum does not.
    Minimum {
        tag: Tag,
        until: Timestamp,
    },
    OnDemand {
        until: Timestamp,
    },
    /// No policy spoke for it when it was made.
    Open,
    Pinned {
        until: Timestamp,
        why: String,
    },
    LastGood,
    /// Protection was stopped, and its points are to stay.
    StoppedForEver,
    /// The wall is past every date, and less has passed than the point was promised.
    NotWitnessed {
        left: SignedDuration,
    },
}

impl Reason {
    /// A stable word for programs.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Tag { tag, .. } => tag.name(),
            Self::Minimum { .. } => "minimum",
            Self::OnDemand { .. } => "on-demand",
            Self::Open => "open",
            Self::Pinned { .. } => "pinned",
            Self::LastGood => "last-good",
            Self::StoppedForEver => "stopped",
            Self::NotWitnessed { .. } => "not-witnessed",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag { tag, by, until } if tag == by => write!(f, "{tag} point until {until}"),
            Self::Tag { tag, by, until } => {
                write!(f, "{tag} point, kept by the {by} rule until {until}")
            }
            Self::Minimum { tag, until } => {
                write!(f, "minimum retention of {tag} points until {until}")
            }
            Self::OnDemand { until } => write!(f, "made on demand, to be kept until {until}"),
            Self::Open => f.write_str("no policy says when it may go"),
            Self::Pinned { until, why } => write!(f, "pinned until {until}: {why}"),
            Self::LastGood => f.write_str("the last good point, until there is a newer one"),
            Self::StoppedForEver => f.write_str("protection was stopped and its points stay"),
            Self::NotWitnessed { left } => {
                let hours = left.as_hours().saturating_add(1);
                write!(f, "the clock is past its date, but {hours} h less have passed here")
            }
        }
    }
}
