//! Which points may be forgotten: functions of what is known about them.

use crate::api::types::ForgottenPoint;
use crate::catalog::PointRow;
use crate::clock::{Look, rfc3339};
use crate::failure::{Code, Failure};
use keelhold_disk::units::UnixNanos;

/// Why a point may not be forgotten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    Pinned { until: String, why: String },
    LastGood,
    Working,
    Trashed,
}

/// The newest complete point of a source that is not in the trash, or the newest of any kind if none
/// is complete.
#[must_use]
pub fn last_good<'a>(points: &'a [PointRow], source: &str) -> Option<&'a PointRow> {
    let of_source = |row: &&PointRow| row.source == source && row.trashed_until.is_none();
    let listed = points.iter().filter(of_source);
    // Later commits win among equal times.
    listed.max_by_key(|row| (!row.partial, row.at))
}

/// Whether a pin still holds.
#[must_use]
pub fn is_pinned(row: &PointRow, witnessed: UnixNanos) -> bool {
    row.facts.pin.as_ref().is_some_and(|pin| pin.until > witnessed.0)
}

/// `protected` says that the source was not given up; `at_once`, that the time in the trash is skipped.
#[must_use]
pub fn refused(
    row: &PointRow,
    working: bool,
    all: &[PointRow],
    protected: bool,
    at_once: bool,
    look: Look,
) -> Option<Refused> {
    if working {
        return Some(Refused::Working);
    }
    if row.trashed_until.is_some() {
        // The window in force when it was forgotten stays; ending it early is another thing.
        return (!at_once).then_some(Refused::Trashed);
    }
    if let Some(pin) = row.facts.pin.as_ref().filter(|_| is_pinned(row, look.witnessed)) {
        let until = rfc3339(look.on_the_wall(UnixNanos(pin.until)));
        return Some(Refused::Pinned { until, why: pin.why.clone() });
    }
    let is_last = last_good(all, &row.source).is_some_and(|last| last.id == row.id);
    (protected && is_last).then_some(Refused::LastGood)
}

/// Whether the policy may let a point go that it does not keep: not against a pin, and never the last
/// good one.
#[must_use]
pub fn may_go(row: &PointRow, all: &[PointRow], protected: bool, look: Look) -> bool {
    refused(row, false, all, protected, false, look).is_none()
}

impl Refused {
    #[must_use]
    pub fn into_failure(self, point: &ForgottenPoint) -> Failure {
        let ForgottenPoint { id, source, .. } = point;
        match self {
            Self::Pinned { until, why } => {
                let text = format!("point {id} of {source} is pinned until {until}: {why}");
                Failure::new(Code::PointPinned, text).hint(format!(
                    "take the pin off with `keelhold point unpin {id}`, then forget it"
                ))
            }
            Self::LastGood => {
                let text = format!("point {id} is the last good point of {source}");
                Failure::new(Code::PointLastGood, text).hint(format!(
                    "make a newer one with `keelhold backup {source} --wait`, then forget this one; \
                     to give up the source and its points: `keelhold source remove {source} --points delete`"
                ))
            }
            Self::Working => {
                let text = format!("{source}@working is a working state, no point");
                Failure::new(Code::PointWorking, text)
            }
            Self::Trashed => {
                let text = format!("point {id} of {source} is in the trash already");
                Failure::new(Code::PointTrashed, text).hint(format!(
                    "bring it back with `keelhold point undo-forget {id}`, or end its time there with --now"
                ))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::point_facts::{PinFacts, PointFacts};
    use std::time::Duration;

    fn row(id: &str, source: &str, at: i64) -> PointRow {
        PointRow {
            order: 0,
            id: id.into(),
            source: source.into(),
            at,
            committed_at: at,
            partial: false,
            bytes_source: 0,
            entries: 0,
            trashed_until: None,
            facts: PointFacts::default(),
        }
    }

    fn look(now: i64) -> Look {
        Look { witnessed: UnixNanos(now), wall: UnixNanos(now), passed: Duration::ZERO }
    }

    #[test]
    fn the_newest_complete_point_outside_the_trash_is_the_last_good_one() {
        let partial = PointRow { partial: true, ..row("c", "s", 3) };
        let trashed = PointRow { trashed_until: Some(9), ..row("d", "s", 4) };
        let all =
            [row("a", "s", 1), row("b", "s", 2), partial.clone(), trashed, row("x", "other", 9)];
        assert_eq!(last_good(&all, "s").unwrap().id, "b");
        assert_eq!(last_good(&[partial], "s").unwrap().id, "c");
        assert!(last_good(&all, "nobody").is_none());
        let ask = |row: &PointRow| refused(row, false, &all, true, false, look(5));
        assert_eq!(ask(&all[1]), Some(Refused::LastGood));
        assert_eq!((ask(&all[0]), ask(&all[2])), (None, None));
        assert_eq!(ask(&all[3]), Some(Refused::Trashed));
        assert_eq!(refused(&all[3], false, &all, true, true, look(5)), None);
        // A source that was given up has nothing to be kept for.
        assert_eq!(refused(&all[1], false, &all, false, false, look(5)), None);
        assert_eq!(refused(&all[0], true, &all, true, false, look(5)), Some(Refused::Working));
    }

    #[test]
    fn a_pin_holds_until_its_day() {
        let pin = PinFacts { until: 100, why: "trial".into(), by: String::new() };
        let facts = PointFacts { pin: Some(pin), ..PointFacts::default() };
        let pinned = PointRow { facts, ..row("a", "s", 1) };
        let all = [pinned.clone(), row("b", "s", 2)];
        let ask = |now| refused(&pinned, false, &all, true, true, look(now));
        assert!(matches!(ask(99), Some(Refused::Pinned { why, .. }) if why == "trial"));
        assert_eq!(ask(100), None);
    }
}
