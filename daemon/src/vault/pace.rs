//! The bandwidth of shipping to a vault, by hours of the week.
//!
//! Nothing is saved up: bytes are given out in slices, each behind the time the one before takes at the
//! limit of its moment. So no second carries more than the limit and a slice, and a change holds with
//! the next slice.

use crate::clock::SharedClock;
use crate::failure::{Code, Failure};
use crate::record::BandwidthRule;
use crate::retention::point::timestamp;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use keelhold_policy::calendar::Hours;
use keelhold_policy::goal::Rate;
use keelhold_vault::store::Pace;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// A slice begins each twentieth of a second.
const SLICES_A_SECOND: u64 = 20;

#[derive(Debug, Clone)]
struct Rule {
    when: Hours,
    limit: Rate,
}

#[derive(Debug)]
struct State {
    rules: Vec<Rule>,
    free_at: Option<Instant>,
}

/// Gives out what may be sent. Clones share one limit.
#[derive(Clone)]
pub struct VaultPace {
    zone: TimeZone,
    state: Arc<Mutex<State>>,
    clock: SharedClock,
}

impl std::fmt::Debug for VaultPace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VaultPace").field("state", &self.state).finish()
    }
}

fn read(rules: &[BandwidthRule]) -> Result<Vec<Rule>, Failure> {
    let wrong = |text: &str, why: String| {
        Failure::new(Code::BadRequest, format!("{text:?} is no limit: {why}"))
            .hint("write it like `mon..fri 08:00-18:00=2 MiB/s`")
    };
    let rule = |rule: &BandwidthRule| {
        let when =
            Hours::parse(&rule.when).map_err(|fault| wrong(&rule.when, fault.to_string()))?;
        let limit = Rate::parse(&rule.limit);
        let limit =
            limit.ok_or_else(|| wrong(&rule.limit, String::from("a rate is a size a second")))?;
        Ok(Rule { when, limit })
    };
    rules.iter().map(rule).collect()
}

/// Lines `HOURS=RATE` as rules.
pub fn parse_rules(lines: &[String]) -> Result<Vec<BandwidthRule>, Failure> {
    let split = |line: &String| {
        let (when, limit) = line.rsplit_once('=').unwrap_or((line, ""));
        BandwidthRule { when: when.trim().to_owned(), limit: limit.trim().to_owned() }
    };
    let rules: Vec<BandwidthRule> = lines.iter().map(split).collect();
    read(&rules).map(|_| rules)
}

impl VaultPace {
    #[must_use]
    pub fn new(rules: &[BandwidthRule], zone: TimeZone, clock: SharedClock) -> Self {
        // Rules are read before they are kept: what cannot be read limits nothing.
        let rules = read(rules).unwrap_or_default();
        let state = State { rules, free_at: None };
        Self { zone, state: Arc::new(Mutex::new(state)), clock }
    }

    /// Other limits from now on.
    pub fn set(&self, rules: &[BandwidthRule]) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.rules = read(rules).unwrap_or_default();
        state.free_at = None;
    }

    /// How much of `len` goes next, and from when on.
    fn slice(&self, len: u64, wall: Timestamp, now: Instant) -> (u64, Instant) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let holds = |rule: &&Rule| rule.when.contains(&self.zone, wall);
        let Some(rate) = state.rules.iter().filter(holds).map(|rule| rule.limit.bytes.max(1)).min()
        else {
            state.free_at = None;
            return (len, now);
        };
        // One more than a second's worth of slices may begin within a second.
        let whole = (rate / (SLICES_A_SECOND + 1)).max(1);
        let part = len.min(whole);
        let takes = u128::from(part) * 1_000_000_000 / u128::from(whole * SLICES_A_SECOND);
        let takes = Duration::from_nanos(u64::try_from(takes).unwrap_or(u64::MAX));
        let start = state.free_at.map_or(now, |free| free.max(now));
        state.free_at = start.checked_add(takes);
        (part, start)
    }
}

impl Pace for VaultPace {
    fn take(&self, most: u64) -> BoxFuture<'_, u64> {
        // A slice at a time, so that a change of the limit is noticed within a second.
        let (part, start) = self.slice(most, timestamp(self.clock.now()), Instant::now());
        Box::pin(async move {
            tokio::time::sleep_until(start).await;
            part
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(rules: &[(&str, &str)]) -> VaultPace {
        let rule = |(when, limit): &(&str, &str)| BandwidthRule {
            when: (*when).to_owned(),
            limit: (*limit).to_owned(),
        };
        let rules: Vec<_> = rules.iter().map(rule).collect();
        VaultPace::new(&rules, TimeZone::UTC, Arc::new(crate::clock::SystemClock))
    }

    /// Bytes sent in each second of so many, by somebody who sends objects of 16 MiB.
    fn by_second(
        pace: &VaultPace,
        wall: &str,
        seconds: u64,
        change: Option<(u64, &str)>,
    ) -> Vec<u64> {
        let (began, wall): (Instant, Timestamp) = (Instant::now(), wall.parse().unwrap());
        let (mut now, mut sent) = (began, vec![0; usize::try_from(seconds).unwrap()]);
        let mut change = change;
        loop {
            let mut left = 16 << 20;
            while left > 0 {
                let passed = now.duration_since(began);
                if let Some((_, limit)) = change.take_if(|(at, _)| passed.as_secs() >= *at) {
                    let rule =
                        BandwidthRule { when: "mon..sun 00:00-24:00".into(), limit: limit.into() };
                    pace.set(&[rule]);
                }
                let (part, start) = pace.slice(left, wall + passed, now);
                now = start.max(now + Duration::from_micros(1));
                left -= part;
                match sent.get_mut(usize::try_from(now.duration_since(began).as_secs()).unwrap()) {
                    Some(second) => *second += part,
                    None => return sent,
                }
            }
        }
    }

    #[test]
    fn no_second_carries_more_than_the_limit() {
        let pace = pace(&[("mon..fri 08:00-18:00", "2 MiB/s")]);
        let sent = by_second(&pace, "2026-11-23T09:00:00Z", 20, None);
        assert!(sent.iter().all(|sent| *sent <= 2 << 20), "{sent:?}");
        let all: u64 = sent.iter().sum();
        assert!(all >= 38 << 20, "the limit is used: {all}");
    }

    #[test]
    fn a_change_holds_within_a_second() {
        let pace = pace(&[("mon..sun 00:00-24:00", "8 MiB/s")]);
        let sent = by_second(&pace, "2026-11-23T09:00:00Z", 12, Some((5, "1 MiB/s")));
        assert!(sent[..5].iter().all(|sent| *sent >= 7 << 20), "{sent:?}");
        assert!(sent[6..].iter().all(|sent| *sent <= 1 << 20), "{sent:?}");
        let slow = self::pace(&[("mon..sun 00:00-24:00", "1 MiB/s")]);
        let sent = by_second(&slow, "2026-11-23T09:00:00Z", 12, Some((5, "8 MiB/s")));
        assert!(sent[6..].iter().all(|sent| *sent > 7 << 20), "{sent:?}");
    }

    #[test]
    fn hours_end_within_a_second() {
        let pace = pace(&[("mon..fri 08:00-18:00", "2 MiB/s")]);
        let sent = by_second(&pace, "2026-11-23T17:59:50Z", 12, None);
        assert!(sent[..9].iter().all(|sent| *sent <= 2 << 20), "{sent:?}");
        assert!(sent[11] > 50 << 20, "{sent:?}");
    }

    #[test]
    fn rules_are_read_before_they_are_kept() {
        let lines = [String::from("mon..fri 08:00-18:00=2 MiB/s")];
        assert_eq!(parse_rules(&lines).unwrap()[0].limit, "2 MiB/s");
        for wrong in ["2 MiB/s", "mon=fast", "=2 MiB/s", ""] {
            assert!(parse_rules(&[wrong.to_owned()]).is_err(), "{wrong}");
        }
    }
}
