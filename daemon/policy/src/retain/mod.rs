//! Which points are kept, why, and until when (RETENTION.md).
//!
//! A point gets its tags once, when it is made. What a tag is worth is the rule of the policy in force
//! on the day of asking, so a changed policy speaks for points that are there already. Nothing is
//! removed here: a verdict without a reason to keep is leave to forget the point.

mod judge;
mod point;
mod preview;
mod reason;
mod tag;

pub use judge::{Policy, Protection, Verdict, judge, last_good};
pub use point::{Now, Pin, Point, Term, Witnessed};
pub use preview::{Change, Effect, Fate, Preview, preview};
pub use reason::Reason;
pub use tag::{Made, Tags, missed_runs, tags_when_made};

pub use crate::goal::keep::{Keep, Lifetime, Minimum, Tag, Undercut, Unit};
