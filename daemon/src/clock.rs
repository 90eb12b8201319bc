//! The only reader of wall time. Everything else is handed a clock, so that a month can pass in a
//! test without anybody waiting.

use jiff::Timestamp;
use keelhold_disk::units::UnixNanos;
use std::sync::Arc;

pub trait Clock: Send + Sync + 'static {
    fn now(&self) -> UnixNanos;
}

/// The clock of this computer.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> UnixNanos {
        let now = Timestamp::now().as_nanosecond();
        UnixNanos(i64::try_from(now).unwrap_or(i64::MAX))
    }
}

pub type SharedClock = Arc<dyn Clock>;

/// RFC 3339 in UTC, to the millisecond: what every time in JSON looks like.
#[must_use]
pub fn rfc3339(at: UnixNanos) -> String {
    match Timestamp::from_nanosecond(i128::from(at.0)) {
        Ok(timestamp) => format!("{timestamp:.3}"),
        Err(_) => String::from("out of range"),
    }
}

/// Reads a time as people give it: RFC 3339, or a date, or a local date and time taken as UTC.
#[must_use]
pub fn parse_time(text: &str) -> Option<UnixNanos> {
    let timestamp = text.parse::<Timestamp>().ok().or_else(|| {
        let civil = text.parse::<jiff::civil::DateTime>().ok()?;
        Some(civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
    })?;
    i64::try_from(timestamp.as_nanosecond()).ok().map(UnixNanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_utc_with_milliseconds() {
        assert_eq!(rfc3339(UnixNanos(1_500_000_000)), "1970-01-01T00:00:01.500Z");
        assert_eq!(parse_time("1970-01-01T00:00:01.5Z"), Some(UnixNanos(1_500_000_000)));
        assert_eq!(parse_time("1970-01-01T01:00:00+01:00"), Some(UnixNanos(0)));
        assert_eq!(parse_time("1970-01-02"), Some(UnixNanos(86_400_000_000_000)));
        assert_eq!(parse_time("yesterday"), None);
    }
}
