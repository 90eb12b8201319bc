//! What a changed policy means for the points that are there.

use super::judge::{Policy, Protection, Verdict, judge};
use super::point::{Now, Point};
use super::reason::Reason;
use crate::goal::keep::{Tag, Undercut};
use jiff::Timestamp;

/// What becomes of one point, in one word and a date.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// May be forgotten at the next cleanup.
    Goes,
    Until(Timestamp),
    /// Nothing ends it by itself.
    Stays,
}

impl Verdict {
    #[must_use]
    pub fn fate(&self) -> Fate {
        match self.expires_at {
            _ if self.goes() => Fate::Goes,
            Some(until) => Fate::Until(until),
            None => Fate::Stays,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    Gains,
    Loses,
    Keeps,
}

/// One point under the old and the new policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub before: Verdict,
    pub after: Verdict,
}

impl Change {
    #[must_use]
    pub fn effect(&self) -> Effect {
        match self.after.fate().cmp(&self.before.fate()) {
            std::cmp::Ordering::Greater => Effect::Gains,
            std::cmp::Ordering::Less => Effect::Loses,
            std::cmp::Ordering::Equal => Effect::Keeps,
        }
    }

    /// Whether the point may go under the new policy, and might not under the old one.
    #[must_use]
    pub fn is_removed(&self) -> bool {
        self.after.goes() && !self.before.goes()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preview {
    /// In the order of the points.
    pub changes: Vec<Change>,
    /// Rules that are gone, or let points live shorter, or mean fewer points.
    pub shortened: Vec<Tag>,
    /// Rules of the new policy that are shorter than the minimum it is held to.
    pub undercuts: Vec<Undercut>,
    /// Points are lost, and nothing is left but the last good one, if that.
    pub removes_everything: bool,
}

impl Preview {
    #[must_use]
    pub fn count(&self, effect: Effect) -> usize {
        self.changes.iter().filter(|change| change.effect() == effect).count()
    }

    #[must_use]
    pub fn removed_count(&self) -> usize {
        self.changes.iter().filter(|change| change.is_removed()).count()
    }

    /// Whether anything is kept for a shorter time than before: asked twice before it is done.
    #[must_use]
    pub fn shortens(&self) -> bool {
        !self.shortened.is_empty() || self.count(Effect::Loses) > 0
    }
}

/// The verdicts under both policies on the same points at the same moment.
#[must_use]
pub fn preview(
    old: (&Policy, Protection),
    new: (&Policy, Protection),
    points: &[Point],
    now: Now,
) -> Preview {
    let before = judge(old.0, old.1, points, now);
    let after = judge(new.0, new.1, points, now);
    let pairs = before.into_iter().zip(after);
    let changes: Vec<_> = pairs.map(|(before, after)| Change { before, after }).collect();
    let is_left =
        |change: &Change| change.after.kept_because.iter().any(|why| *why != Reason::LastGood);
    let loses = changes.iter().any(|change| change.effect() == Effect::Loses);
    Preview {
        removes_everything: loses && !changes.iter().any(is_left),
        shortened: shortened(old.0, new.0),
        undercuts: new.0.minimum.map_or_else(Vec::new, |least| least.undercut_by(&new.0.keep)),
        changes,
    }
}

/// Rules by which points yet to come live shorter, too.
fn shortened(old: &Policy, new: &Policy) -> Vec<Tag> {
    let means_less = |tag: Tag| {
        let (was, is) = (old.keep.times(tag), new.keep.times(tag));
        let times = was.zip(is).is_some_and(|(was, is)| {
            !is.is_all() && (was.is_all() || was.0.iter().any(|time| !is.0.contains(time)))
        });
        let weekdays = old.keep.weekly.as_ref().zip(new.keep.weekly.as_ref());
        let days = weekdays.is_some_and(|(was, is)| was.on.iter().any(|day| !is.on.contains(day)));
        times || (tag == Tag::Weekly && days)
    };
    let is_shorter = |tag: &Tag| match (old.keep.lifetime(*tag), new.keep.lifetime(*tag)) {
        (Some(was), Some(is)) => is.is_shorter_than(was) || means_less(*tag),
        (Some(_), None) => true,
        (None, _) => false,
    };
    Tag::ALL.into_iter().filter(is_shorter).collect()
}
