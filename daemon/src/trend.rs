//! When the pool will be full, from what it took and gave back on each day.

use crate::api::types::{FullForecast, JobResult};
use crate::clock::parse_time;
use crate::job::FinishedJob;
use std::collections::BTreeMap;

const DAY: i64 = 86_400 * 1_000_000_000;
/// Days that are looked at.
const WINDOW: i64 = 30;
/// Less history than this says nothing: days it must span, and days on which something happened.
const SPAN_MIN: i64 = 7;
const ACTIVE_MIN: usize = 4;
/// Whatever is further away than this is not seen from here.
const FAR: f64 = 3_650.0;

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Full {
    /// A day, counted from 1970.
    On {
        day: i64,
        per_day: i64,
    },
    NotFilling {
        per_day: i64,
    },
    Unknown,
}

/// Bytes the pool took on each day, less what it gave back.
#[must_use]
pub fn by_day(jobs: &[FinishedJob]) -> BTreeMap<i64, i64> {
    let mut days = BTreeMap::new();
    for FinishedJob { job, .. } in jobs {
        let at = job.finished_at.as_deref().and_then(parse_time);
        let signed = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        let change = match &job.details {
            Some(JobResult::Backup(result)) => signed(result.bytes_stored),
            Some(JobResult::Reclaim(result)) => -signed(result.bytes_freed),
            _ => continue,
        };
        if let Some(at) = at {
            *days.entry(at.0.div_euclid(DAY)).or_insert(0) += change;
        }
    }
    days
}

/// A straight line through the last days, drawn on until no room is left.
#[must_use]
pub fn full_on(days: &BTreeMap<i64, i64>, today: i64, room: u64) -> Full {
    let recent: BTreeMap<i64, i64> =
        days.range(today - WINDOW + 1..=today).map(|(day, change)| (*day, *change)).collect();
    let Some((first, _)) = recent.first_key_value() else {
        return Full::Unknown;
    };
    if today - first + 1 < SPAN_MIN || recent.len() < ACTIVE_MIN {
        return Full::Unknown;
    }
    let mut level = 0.0;
    let levels: Vec<(f64, f64)> = (*first..=today)
        .map(|day| {
            level += recent.get(&day).copied().unwrap_or(0) as f64;
            ((day - first) as f64, level)
        })
        .collect();
    let count = levels.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| levels.iter().map(of).sum::<f64>() / count;
    let (middle, height) = (mean(|at| at.0), mean(|at| at.1));
    let covariance: f64 = levels.iter().map(|(x, y)| (x - middle) * (y - height)).sum();
    let variance: f64 = levels.iter().map(|(x, _)| (x - middle) * (x - middle)).sum();
    let slope = covariance / variance;
    let (per_day, left) = (slope as i64, room as f64 / slope);
    if slope < 1.0 || left > FAR {
        return Full::NotFilling { per_day };
    }
    Full::On { day: today + left.ceil() as i64, per_day }
}

#[must_use]
pub fn forecast(
    jobs: &[FinishedJob],
    now: keelhold_disk::units::UnixNanos,
    room: u64,
) -> FullForecast {
    let said = |state: &str, full_on, bytes_per_day| FullForecast {
        state: state.to_owned(),
        full_on,
        bytes_per_day,
    };
    match full_on(&by_day(jobs), now.0.div_euclid(DAY), room) {
        Full::Unknown => said("not enough history", None, None),
        Full::NotFilling { per_day } => said("not filling", None, Some(per_day)),
        Full::On { day, per_day } => {
            let at = jiff::Timestamp::from_second(day.saturating_mul(86_400));
            let date = at.ok().map(|at| at.strftime("%Y-%m-%d").to_string());
            said("on", date, Some(per_day))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TODAY: i64 = 20_000;

    fn days(of: impl Iterator<Item = (i64, i64)>) -> BTreeMap<i64, i64> {
        of.collect()
    }

    #[test]
    fn a_steady_growth_is_drawn_on() {
        // A first full backup of any size changes nothing: the growth counts.
        let steady = days((0..20).map(|ago| (TODAY - ago, if ago == 19 { 90_000 } else { 100 })));
        let full = full_on(&steady, TODAY, 1_000);
        assert_eq!(full, Full::On { day: TODAY + 10, per_day: 100 });
        let gaps = days((0..30).step_by(3).map(|ago| (TODAY - ago, 300)));
        let Full::On { day, per_day } = full_on(&gaps, TODAY, 1_000) else {
            panic!("it fills");
        };
        assert!((90..=110).contains(&per_day) && (9..=12).contains(&(day - TODAY)), "{per_day}");
    }

    #[test]
    fn what_is_given_back_counts() {
        let level = days((0..20).map(|ago| (TODAY - ago, if ago % 2 == 0 { 100 } else { -100 })));
        assert!(matches!(full_on(&level, TODAY, 1 << 20), Full::NotFilling { .. }));
        let less = days((0..20).map(|ago| (TODAY - ago, -5)));
        assert_eq!(full_on(&less, TODAY, 9), Full::NotFilling { per_day: -5 });
        let slow = days((0..20).map(|ago| (TODAY - ago, 1)));
        assert!(matches!(full_on(&slow, TODAY, 1 << 40), Full::NotFilling { .. }));
    }

    #[test]
    fn little_history_says_nothing() {
        assert_eq!(full_on(&BTreeMap::new(), TODAY, 5), Full::Unknown);
        let few = days((0..6).map(|ago| (TODAY - ago, 100)));
        assert_eq!(full_on(&few, TODAY, 5), Full::Unknown);
        let rare = days([0, 10, 20].into_iter().map(|ago| (TODAY - ago, 100)));
        assert_eq!(full_on(&rare, TODAY, 5), Full::Unknown);
        // What is older than the window is forgotten.
        let old = days((40..90).map(|ago| (TODAY - ago, 100)));
        assert_eq!(full_on(&old, TODAY, 5), Full::Unknown);
    }
}
