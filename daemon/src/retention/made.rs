//! What a point is given when it is made: its tags, and how long it lives if nobody's schedule asked
//! for it.

use super::point::{nanos, tag_names, timestamp};
use crate::daemon::Daemon;
use crate::failure::Failure;
use crate::id_text;
use crate::job::Order;
use crate::point_facts::PointFacts;
use crate::record::SourceRecord;
use jiff::{Timestamp, ToSpan};
use keelhold_disk::pool::PointInfo;
use keelhold_disk::units::UnixNanos;
use keelhold_policy::calendar::Calendar;
use keelhold_policy::retain::{Made, tags_when_made};

/// A point made on demand is kept so long, unless somebody says otherwise.
const ON_DEMAND_DAYS: i64 = 30;
/// Slots that brought no point are looked for so far back.
const MISSED_MAX: usize = 10_000;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Given {
    pub tags: Vec<String>,
    pub keep_until: Option<i64>,
}

/// The runs of the schedule after the last complete point that are over and brought none.
fn missed(
    calendar: &Calendar,
    zone: &jiff::tz::TimeZone,
    last_complete: Timestamp,
    accounted: Timestamp,
    own: Option<Timestamp>,
) -> Vec<Timestamp> {
    let slots = calendar.iter(zone, last_complete).take_while(|slot| *slot <= accounted);
    slots.take(MISSED_MAX).filter(|slot| Some(*slot) != own).collect()
}

impl Daemon {
    /// For a point of this source made now.
    pub async fn given(&self, source: &SourceRecord, order: Order) -> Result<Given, Failure> {
        let (names, groups) = (self.names().await?, self.groups().await?);
        let Some(stated) = groups.of_source(source, &names) else {
            return Ok(Given { tags: Vec::new(), keep_until: order.keep_until });
        };
        let policy = stated.group.pool_policy(&self.settings.zone, self.settings.minimum);
        let own = order.slot.map(|slot| timestamp(UnixNanos(slot)));
        let calendar = Calendar::joined(stated.group.short_term.points.iter().cloned());
        let missed = match (calendar, self.last_complete(source).await?) {
            (Some(calendar), Some(last)) => {
                let accounted = self.schedule.accounted(&source.id).unwrap_or(last);
                missed(&calendar, &policy.zone, last, accounted, own)
            }
            _ => Vec::new(),
        };
        let made = own.map_or(Made::OnDemand, Made::Slot);
        let tags = tag_names(tags_when_made(&policy, made, missed));
        let keep_until = match (order.slot, order.keep_until) {
            (None, None) => {
                let now = timestamp(self.store.clock.now());
                let until = now.to_zoned(policy.zone).checked_add(ON_DEMAND_DAYS.days());
                until.ok().map(|until| nanos(until.timestamp()).0)
            }
            (_, until) => until,
        };
        Ok(Given { tags, keep_until })
    }

    /// The slot of the newest complete point, or when it was made on demand.
    async fn last_complete(&self, source: &SourceRecord) -> Result<Option<Timestamp>, Failure> {
        let points = self.points().await?;
        let of_source = |point: &&PointInfo| id_text::encode(&point.source.0) == source.id;
        let complete = points.iter().filter(of_source).filter(|point| !point.partial);
        let newest = complete.max_by_key(|point| point.committed_at);
        Ok(newest.map(|point| {
            let slot = PointFacts::parse(&point.attributes).slot;
            timestamp(slot.map_or(point.at, UnixNanos))
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::tz::TimeZone;

    #[test]
    fn what_is_due_and_not_yet_over_is_not_missed() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let calendar = Calendar::parse("daily 08:00").unwrap();
        let (monday, thursday) = (at("2026-11-16T08:00:00Z"), at("2026-11-19T08:00:00Z"));
        let missed = |accounted, own| missed(&calendar, &TimeZone::UTC, monday, accounted, own);
        let (tuesday, wednesday) = (at("2026-11-17T08:00:00Z"), at("2026-11-18T08:00:00Z"));
        assert_eq!(missed(wednesday, None), [tuesday, wednesday]);
        assert_eq!(missed(thursday, Some(thursday)), [tuesday, wednesday]);
        assert!(missed(monday, None).is_empty());
    }
}
