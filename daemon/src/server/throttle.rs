//! The bandwidth of groups: what their machines may send together, by hours of the week.
//!
//! Nothing is saved up: after every frame its group's machines wait for as long as the frame takes at
//! the limit, so no second carries more than the limit and one frame. The limit is looked up with each
//! frame: a change takes effect with the next.

use crate::group::Stated;
use crate::settings::Settings;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use keelhold_policy::goal::{Bandwidth, Rate};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// What a session's group allows.
#[derive(Debug, Clone)]
pub struct Limits {
    group: String,
    zone: TimeZone,
    bandwidth: Vec<Bandwidth>,
}

impl Limits {
    /// None: the group limits nothing.
    #[must_use]
    pub fn of(stated: &Stated, settings: &Settings) -> Option<Self> {
        let bandwidth = stated.group.bandwidth.clone();
        let group = stated.record.name.clone();
        let zone = stated.group.time_zone(&settings.zone);
        (!bandwidth.is_empty()).then_some(Self { group, zone, bandwidth })
    }

    /// The least of the limits whose hours it is.
    fn at(&self, now: Timestamp) -> Option<Rate> {
        let holds = |each: &&Bandwidth| each.when.contains(&self.zone, now);
        self.bandwidth.iter().filter(holds).map(|each| each.limit).min()
    }
}

/// When each group may send again.
#[derive(Debug, Default)]
pub struct Throttle {
    free_at: Mutex<HashMap<String, Instant>>,
}

impl Throttle {
    /// A frame of the group has come: nothing more of it is taken before the moment this gives.
    pub fn took(&self, limits: &Limits, len: u64, wall: Timestamp, now: Instant) -> Instant {
        let Some(rate) = limits.at(wall) else { return now };
        let takes = u128::from(len) * 1_000_000_000 / u128::from(rate.bytes.max(1));
        let takes = Duration::from_nanos(u64::try_from(takes).unwrap_or(u64::MAX));
        let mut groups = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
        let free_at = groups.entry(limits.group.clone()).or_insert(now);
        *free_at = (*free_at).max(now).checked_add(takes).unwrap_or(now);
        *free_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keelhold_policy::calendar::Hours;

    const FRAME: u64 = 256 << 10;

    fn limits(rules: &[(&str, &str)]) -> Limits {
        let rule = |(when, limit): &(&str, &str)| Bandwidth {
            when: Hours::parse(when).unwrap(),
            limit: Rate::parse(limit).unwrap(),
        };
        let bandwidth = rules.iter().map(rule).collect();
        Limits { group: String::from("g"), zone: TimeZone::UTC, bandwidth }
    }

    /// Bytes taken in each second of so many, by so many sessions that send whenever they may.
    fn by_second(limits: &Limits, wall: &str, sessions: usize, seconds: u64) -> Vec<u64> {
        let (throttle, began) = (Throttle::default(), Instant::now());
        let wall: Timestamp = wall.parse().unwrap();
        let mut may_send = vec![began; sessions];
        let mut taken = vec![0; usize::try_from(seconds).unwrap()];
        loop {
            let next = may_send.iter_mut().min().unwrap();
            let at = next.duration_since(began).as_secs();
            if at >= seconds {
                return taken;
            }
            taken[usize::try_from(at).unwrap()] += FRAME;
            let wall = wall + (*next).duration_since(began);
            *next = throttle.took(limits, FRAME, wall, *next).max(*next + Duration::from_millis(1));
        }
    }

    #[test]
    fn no_second_carries_more_than_the_limit_and_a_frame_of_each_session() {
        let limits = limits(&[("mon..fri 08:00-18:00", "2 MiB/s")]);
        for sessions in [1, 4] {
            let taken = by_second(&limits, "2026-11-23T09:00:00Z", sessions, 20);
            let most = (2 << 20) + FRAME * sessions as u64;
            assert!(taken.iter().all(|taken| *taken <= most), "{taken:?}");
            let all: u64 = taken.iter().sum();
            assert!(all >= 38 << 20, "the limit is used: {all}");
        }
    }

    #[test]
    fn hours_end_within_a_second() {
        let limits = limits(&[("mon..fri 08:00-18:00", "2 MiB/s")]);
        let taken = by_second(&limits, "2026-11-23T17:59:50Z", 1, 12);
        assert!(taken[..9].iter().all(|taken| *taken <= (2 << 20) + FRAME), "{taken:?}");
        assert!(taken[11] > 50 << 20, "{taken:?}");
    }

    #[test]
    fn the_least_of_several_limits_holds() {
        let both = limits(&[("mon..sun 00:00-24:00", "8 MiB/s"), ("mon 00:00-24:00", "1 MiB/s")]);
        let at = |text: &str| both.at(text.parse().unwrap()).unwrap().bytes;
        assert_eq!(at("2026-11-23T09:00:00Z"), 1 << 20);
        assert_eq!(at("2026-11-24T09:00:00Z"), 8 << 20);
    }
}
