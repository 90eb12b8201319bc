//! Points as the policy looks at them.

use crate::catalog::PointRow;
use crate::clock::Look;
use crate::point_facts::PointFacts;
use jiff::Timestamp;
use keelhold_disk::units::UnixNanos;
use keelhold_policy::retain::{Now, Pin, Point, Tag, Tags, Term, Witnessed};

/// A moment the pool or a person named. Times beyond the calendar are at its end.
#[must_use]
pub fn timestamp(at: UnixNanos) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(at.0)).unwrap_or(Timestamp::MAX)
}

#[must_use]
pub fn nanos(at: Timestamp) -> UnixNanos {
    let (least, most) = (i128::from(i64::MIN), i128::from(i64::MAX));
    UnixNanos(i64::try_from(at.as_nanosecond().clamp(least, most)).unwrap_or(i64::MAX))
}

#[must_use]
pub fn now_of(look: Look) -> Now {
    Now { wall: timestamp(look.wall), witnessed: Witnessed(look.witnessed.0) }
}

#[must_use]
pub fn tags_of(facts: &PointFacts) -> Tags {
    facts.tags.iter().filter_map(|name| Tag::from_name(name)).collect()
}

#[must_use]
pub fn tag_names(tags: Tags) -> Vec<String> {
    tags.iter().map(|tag| tag.name().to_owned()).collect()
}

fn term(facts: &PointFacts) -> Term {
    match (facts.keep_until, facts.slot) {
        (Some(until), _) => Term::Until(timestamp(UnixNanos(until))),
        (None, Some(_)) => Term::Tags,
        (None, None) => Term::Open,
    }
}

#[must_use]
pub fn to_policy(row: &PointRow) -> Point {
    let facts = &row.facts;
    let made_at = if facts.made_at == 0 { row.at } else { facts.made_at };
    Point {
        made_at: timestamp(UnixNanos(made_at)),
        witnessed_at: Witnessed(row.committed_at),
        tags: tags_of(facts),
        term: term(facts),
        pin: facts
            .pin
            .as_ref()
            .map(|pin| Pin { until: Witnessed(pin.until), why: pin.why.clone() }),
        is_good: !row.partial,
    }
}
