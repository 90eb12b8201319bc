//! The only reader of time. Everything else is handed a clock, so that a month can pass in a test
//! without anybody waiting.
//!
//! There are two times. The *wall* is what people read, and anybody can set it. *Witnessed* time is
//! what the pool is told: it goes on by what passed while this daemon ran, and by nothing else, so no
//! clock that jumps can end the time in the trash or a session's lease early. While the appliance is
//! off no time is witnessed: whatever waits, waits longer.

use jiff::Timestamp;
use keelhold_disk::units::UnixNanos;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub trait Clock: Send + Sync + 'static {
    /// The wall.
    fn now(&self) -> UnixNanos;

    /// What has passed since some moment, sleep of the machine included. Nobody can set it.
    fn passed(&self) -> Duration;
}

/// The clock of this computer.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> UnixNanos {
        let now = Timestamp::now().as_nanosecond();
        UnixNanos(i64::try_from(now).unwrap_or(i64::MAX))
    }

    fn passed(&self) -> Duration {
        let passed = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let secs = u64::try_from(passed.tv_sec).unwrap_or(0);
        Duration::new(secs, u32::try_from(passed.tv_nsec).unwrap_or(0))
    }
}

pub type SharedClock = Arc<dyn Clock>;

/// A jump of the wall beyond this is worth a line in the log.
const JUMP: i64 = 86_400 * 1_000_000_000;
/// The wall is adjusted by a little all the time: nearer than this it counts as the same.
const MINUTE: i64 = 60 * 1_000_000_000;

/// Both times at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    pub witnessed: UnixNanos,
    pub wall: UnixNanos,
    pub passed: Duration,
}

impl Look {
    /// The next look. The wall is noted, and has no say in what was witnessed.
    #[must_use]
    pub fn next(self, wall: UnixNanos, passed: Duration) -> Self {
        let elapsed = passed.saturating_sub(self.passed).as_nanos();
        let elapsed = i64::try_from(elapsed).unwrap_or(i64::MAX);
        let witnessed = UnixNanos(self.witnessed.0.saturating_add(elapsed));
        Self { witnessed, wall, passed: passed.max(self.passed) }
    }

    /// How far the wall is before what was witnessed, in whole minutes.
    #[must_use]
    pub fn ahead(self) -> i64 {
        let ahead = self.wall.0.saturating_sub(self.witnessed.0);
        ahead.saturating_add(MINUTE / 2).div_euclid(MINUTE).saturating_mul(MINUTE)
    }

    /// When the wall will show, if it is left alone, what is a moment of witnessed time.
    #[must_use]
    pub fn on_the_wall(self, witnessed: UnixNanos) -> UnixNanos {
        UnixNanos(witnessed.0.saturating_add(self.ahead()))
    }

    /// The other way round.
    #[must_use]
    pub fn witnessed_at(self, wall: UnixNanos) -> UnixNanos {
        UnixNanos(wall.0.saturating_sub(self.ahead()))
    }
}

/// Witnessed time, going on from where the pool left it.
pub struct Witness {
    clock: SharedClock,
    last: Mutex<Look>,
}

impl std::fmt::Debug for Witness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Witness")
    }
}

impl Witness {
    #[must_use]
    pub fn new(clock: SharedClock) -> Self {
        let last = Look { witnessed: UnixNanos(0), wall: clock.now(), passed: clock.passed() };
        Self { clock, last: Mutex::new(last) }
    }

    fn last(&self) -> MutexGuard<'_, Look> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The pool was opened and has seen this much.
    pub fn begin(&self, witnessed: UnixNanos) {
        let mut last = self.last();
        *last = Look { witnessed, wall: self.clock.now(), passed: self.clock.passed() };
    }

    #[must_use]
    pub fn look(&self) -> Look {
        let mut last = self.last();
        let next = last.next(self.clock.now(), self.clock.passed());
        let jump = next.ahead().saturating_sub(last.ahead());
        if jump.saturating_abs() > JUMP {
            let days = jump / JUMP;
            tracing::warn!(
                days,
                "the clock of this computer jumped; what waits is not hurried by it"
            );
        }
        *last = next;
        next
    }

    /// What the pool is told.
    #[must_use]
    pub fn now(&self) -> UnixNanos {
        self.look().witnessed
    }
}

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
    // Times further away than 64 bits of nanoseconds are as far away as can be told.
    let (least, most) = (i128::from(i64::MIN), i128::from(i64::MAX));
    i64::try_from(timestamp.as_nanosecond().clamp(least, most)).ok().map(UnixNanos)
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
        assert_eq!(parse_time("2999-01-01"), Some(UnixNanos(i64::MAX)));
        assert_eq!(parse_time("yesterday"), None);
    }

    const DAY: i64 = 86_400 * 1_000_000_000;

    fn nanos(of: i64) -> Duration {
        Duration::from_nanos(u64::try_from(of).unwrap())
    }

    /// A wall that does what it wants, and time that passes all the same.
    fn schedule(seed: u64) -> Vec<(UnixNanos, Duration)> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut draw = |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            i64::try_from(state % below).unwrap()
        };
        let (mut wall, mut passed) = (20_600 * DAY, 0);
        let mut looks = Vec::new();
        for _ in 0..60 {
            // Seconds, or half a day asleep.
            let step = if draw(4) == 0 { draw(DAY as u64 / 2) } else { draw(3_600_000_000_000) };
            passed += step;
            wall = match draw(8) {
                0 => wall + 3650 * DAY,
                1 => wall - 3650 * DAY,
                2 => 0,
                3 => wall,
                _ => wall + step,
            };
            looks.push((UnixNanos(wall), nanos(passed)));
        }
        looks
    }

    #[test]
    fn no_clock_ends_the_time_in_the_trash_early() {
        let mut kept = 0;
        for seed in 0..500 {
            let begun = UnixNanos(20_600 * DAY);
            let mut look = Look { witnessed: begun, wall: begun, passed: Duration::ZERO };
            let until = UnixNanos(begun.0 + 2 * DAY);
            for (wall, passed) in schedule(seed) {
                look = look.next(wall, passed);
                let is_over = look.witnessed >= until;
                assert_eq!(is_over, passed >= nanos(2 * DAY), "seed {seed}: {look:?}");
                kept += u64::from(!is_over);
            }
        }
        assert!(kept > 1_000, "the schedules are over too soon to show anything: {kept}");
    }

    #[test]
    fn what_is_witnessed_is_shown_as_the_wall_will_have_it() {
        let begun = UnixNanos(20_600 * DAY);
        let look = Look { witnessed: begun, wall: begun, passed: Duration::ZERO };
        let day = nanos(DAY);
        let adjusted = look.next(UnixNanos(begun.0 + DAY + 7), day);
        assert_eq!(adjusted.on_the_wall(UnixNanos(begun.0 + 5)), UnixNanos(begun.0 + 5));
        // A boot in 1970, and the time in the trash is as long as ever.
        let early = look.next(UnixNanos(0), day);
        let until = UnixNanos(begun.0 + 15 * DAY);
        assert_eq!(early.on_the_wall(until), UnixNanos(14 * DAY));
        assert_eq!(early.witnessed_at(early.on_the_wall(until)), until);
        // A clock that went backwards has witnessed nothing.
        assert_eq!(early.next(begun, Duration::ZERO).witnessed, early.witnessed);
    }
}
