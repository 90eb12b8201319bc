//! What retention has to know about a point.

use super::tag::Tags;
use jiff::{SignedDuration, Timestamp};

/// Time that passed while the appliance ran, in nanoseconds: no clock moves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Witnessed(pub i64);

impl Witnessed {
    /// What was witnessed since an earlier moment; nothing, if it is a later one.
    #[must_use]
    pub fn since(self, earlier: Self) -> SignedDuration {
        SignedDuration::from_nanos(self.0.saturating_sub(earlier.0).max(0))
    }
}

/// Both times at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    pub wall: Timestamp,
    pub witnessed: Witnessed,
}

/// What says how long a point lives besides its tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Term {
    /// A scheduled point: nothing but its tags.
    Tags,
    /// A point made on demand carries its own date.
    Until(Timestamp),
    /// Made when no policy spoke for the source: stays until somebody forgets it.
    Open,
}

/// Somebody wants this point kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    pub until: Witnessed,
    pub why: String,
}

/// A point in one place, the pool or a vault: its tags there are those of that place's rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Point {
    /// By the wall, when it was made.
    pub made_at: Timestamp,
    pub witnessed_at: Witnessed,
    pub tags: Tags,
    pub term: Term,
    pub pin: Option<Pin>,
    /// Complete, and not known to be damaged.
    pub is_good: bool,
}

impl Point {
    /// What must have been witnessed before a date of this point counts: as much as lay between when it
    /// was made and the date.
    #[must_use]
    pub fn must_witness(&self, until: Timestamp) -> SignedDuration {
        until.duration_since(self.made_at).max(SignedDuration::ZERO)
    }
}
