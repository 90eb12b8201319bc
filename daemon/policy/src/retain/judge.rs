//! The verdict on each point of one source in one place.

use super::point::{Now, Point, Term};
use super::reason::Reason;
use crate::goal::keep::{Keep, Lifetime, Minimum, Tag, Unit};
use crate::mutants::{Mutant, Mutants};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// What the rules are on the day of asking.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    pub zone: TimeZone,
    pub keep: Keep,
    /// The appliance's, where it demands one.
    pub minimum: Option<Minimum>,
    #[doc(hidden)]
    pub mutants: Mutants,
}

impl Policy {
    #[must_use]
    pub fn new(zone: TimeZone, keep: Keep, minimum: Option<Minimum>) -> Self {
        Self { zone, keep, minimum, mutants: Mutants::default() }
    }
}

/// Whether the source is still backed up, and what was said about its points when that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protection {
    On,
    /// Stopped: every point stays.
    KeepForEver,
    /// Stopped: points go as their time comes, the last good one excepted.
    KeepByPolicy,
    /// Stopped: points go, but for pins and what the minimum demands.
    Delete,
}

/// What is to become of one point.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Empty: it may go.
    pub kept_because: Vec<Reason>,
    /// When it may go if everything stays as it is: the day its last reason ends. None: nothing ends it
    /// by itself. Of a point that may go already, when that began, where a date says so.
    pub expires_at: Option<Timestamp>,
}

impl Verdict {
    #[must_use]
    pub fn goes(&self) -> bool {
        self.kept_because.is_empty()
    }
}

/// The verdicts, in the order of the points.
#[must_use]
pub fn judge(policy: &Policy, protection: Protection, points: &[Point], now: Now) -> Vec<Verdict> {
    let last = last_good(points).filter(|_| policy.mutants.keeps(Mutant::LastGood));
    let judged = points.iter().enumerate();
    judged.map(|(index, point)| one(policy, protection, point, last == Some(index), now)).collect()
}

/// The newest good point, or the newest of any kind if none is good. Newest is what was witnessed last:
/// a clock that stood in the future once must not make its point the newest for ever.
#[must_use]
pub fn last_good(points: &[Point]) -> Option<usize> {
    let order = |index: &usize| {
        let point = &points[*index];
        (point.is_good, point.witnessed_at, point.made_at, *index)
    };
    (0..points.len()).max_by_key(order)
}

fn one(policy: &Policy, protection: Protection, point: &Point, last: bool, now: Now) -> Verdict {
    let forever = protection == Protection::KeepForEver;
    if forever && policy.mutants.keeps(Mutant::StoppedForEver) {
        return Verdict { kept_because: vec![Reason::StoppedForEver], expires_at: None };
    }
    let mut held = Held { policy, point, now, verdict: Verdict::default(), left: None };
    held.by_tags(protection);
    if protection != Protection::Delete {
        held.by_term();
    }
    held.by_pin();
    let mut verdict = held.done();
    if last && protection != Protection::Delete {
        if verdict.goes() {
            verdict.expires_at = None;
        }
        verdict.kept_because.push(Reason::LastGood);
    }
    if verdict.kept_because.contains(&Reason::Open) {
        verdict.expires_at = None;
    }
    verdict
}

/// Reasons as they are gathered for one point.
struct Held<'a> {
    policy: &'a Policy,
    point: &'a Point,
    now: Now,
    verdict: Verdict,
    /// What must still be witnessed, where the wall is past every date.
    left: Option<SignedDuration>,
}

impl Held<'_> {
    fn by_tags(&mut self, protection: Protection) {
        for tag in self.point.tags.iter() {
            let floor =
                self.policy.minimum.filter(|_| self.policy.mutants.keeps(Mutant::MinimumFloor));
            let floor = floor.map(|minimum| self.end_of(minimum.of(tag)));
            let rule = self.policy.keep.rule_for(tag).filter(|_| protection != Protection::Delete);
            let rule = rule.map(|(by, lifetime)| (by, self.end_of(lifetime)));
            match (rule, floor) {
                (Some((by, until)), floor) if floor.is_none_or(|floor| floor <= until) => {
                    self.until(until, Reason::Tag { tag, by, until });
                }
                (_, Some(until)) => self.until(until, Reason::Minimum { tag, until }),
                (_, None) => {}
            }
        }
    }

    fn by_term(&mut self) {
        match self.point.term {
            Term::Tags => {}
            Term::Until(until) => self.until(until, Reason::OnDemand { until }),
            Term::Open => self.verdict.kept_because.push(Reason::Open),
        }
    }

    fn by_pin(&mut self) {
        let Some(pin) = &self.point.pin else { return };
        let left = pin.until.since(self.now.witnessed);
        if left > SignedDuration::ZERO {
            let until = self.now.wall.checked_add(left).unwrap_or(Timestamp::MAX);
            self.verdict.expires_at = self.verdict.expires_at.max(Some(until));
            self.verdict.kept_because.push(Reason::Pinned { until, why: pin.why.clone() });
        }
    }

    fn end_of(&self, lifetime: Lifetime) -> Timestamp {
        if !self.policy.mutants.keeps(Mutant::MonthEnd) {
            return spilled(lifetime, self.point.made_at, &self.policy.zone);
        }
        lifetime.after(self.point.made_at, &self.policy.zone)
    }

    /// A reason that ends on a date: by the wall, and when as much was witnessed as was promised.
    fn until(&mut self, until: Timestamp, reason: Reason) {
        let must = self.point.must_witness(until);
        let left = must.saturating_sub(self.now.witnessed.since(self.point.witnessed_at));
        let waits = left > SignedDuration::ZERO && self.policy.mutants.keeps(Mutant::WitnessedTime);
        let expires = if waits {
            let end = self.now.wall.checked_add(left).unwrap_or(Timestamp::MAX);
            // Clocks are adjusted by a little all the time: nearer than a minute is the same date.
            if end.duration_since(until) < SignedDuration::from_mins(1) { until } else { end }
        } else {
            until
        };
        self.verdict.expires_at = self.verdict.expires_at.max(Some(expires));
        if self.now.wall < until {
            self.verdict.kept_because.push(reason);
        } else if waits {
            self.left = self.left.max(Some(left));
        }
    }

    fn done(mut self) -> Verdict {
        if let Some(left) = self.left {
            self.verdict.kept_because.push(Reason::NotWitnessed { left });
        }
        self.verdict
    }
}

/// What the clamp to the month's end protects from: a day the month does not have, counted on.
fn spilled(lifetime: Lifetime, at: Timestamp, zone: &TimeZone) -> Timestamp {
    let end = lifetime.after(at, zone);
    let days = zone.to_datetime(at).day() - zone.to_datetime(end).day();
    let is_clamped = matches!(lifetime.unit, Unit::Months | Unit::Years) && days > 0;
    let days = if is_clamped { u32::from(days.unsigned_abs()) } else { 0 };
    Lifetime::new(days, Unit::Days).after(end, zone)
}

impl Policy {
    /// Which tag's rule lets points live longest, for people.
    #[must_use]
    pub fn longest(&self) -> Option<(Tag, Lifetime)> {
        let rules = Tag::ALL.into_iter().filter_map(|tag| Some((tag, self.keep.lifetime(tag)?)));
        rules.reduce(|a, b| if a.1.is_shorter_than(b.1) { b } else { a })
    }
}
