//! When to give space back: a function of what is known, and of the time.

use keelhold_disk::units::UnixNanos;
use std::time::Duration;

const SECOND: i64 = 1_000_000_000;
/// What is due and could not go (somebody reads it) is tried again after this.
const TRY_AGAIN: i64 = 600 * SECOND;
/// While space is short no more often than this.
const SHORT_PAUSE: i64 = 60 * SECOND;
/// For garbage alone no more often than this.
const CALM_PAUSE: i64 = 3_600 * SECOND;
/// The brake is tried again after a day: what it found may have gone by itself.
const BRAKE_PAUSE: i64 = 86_400 * SECOND;
/// Longest time without a look.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Why space is given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    Asked,
    /// Asked, and told that more may go than was expected.
    Confirmed,
    /// Points or sessions whose time is over.
    Due,
    /// Room is short, or somebody waits for it.
    Space,
    /// Enough garbage to be worth it.
    Garbage,
}

impl Why {
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Asked => "asked for",
            Self::Confirmed => "asked for and confirmed",
            Self::Due => "time in the trash or a session's lease is over",
            Self::Space => "space is short",
            Self::Garbage => "garbage has gathered",
        }
    }
}

/// All times are witnessed ones.
#[derive(Debug, Clone, Copy)]
pub struct Facts {
    pub now: UnixNanos,
    pub running: bool,
    /// When the daemon was started: it has better to do than to look for garbage at once.
    pub begun_at: UnixNanos,
    pub last_at: Option<UnixNanos>,
    pub braked_at: Option<UnixNanos>,
    /// When the first point in the trash or idle session is due.
    pub next_due: Option<UnixNanos>,
    /// Stored bytes dead or expected to be, beyond what the last run left.
    pub bytes_garbage: u64,
    /// Bytes free beyond the reserve.
    pub bytes_room: u64,
    pub bytes_total: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    Run(Why),
    /// Nothing to do before that, unless somebody wakes us.
    Wait(Duration),
}

#[must_use]
pub fn decide(facts: &Facts) -> Decision {
    let since = |at: Option<UnixNanos>| at.map_or(i64::MAX, |at| facts.now.0.saturating_sub(at.0));
    if facts.running || since(facts.braked_at) < BRAKE_PAUSE {
        return Decision::Wait(LOOK_EVERY);
    }
    let since_last = since(facts.last_at);
    if let Some(due) = facts.next_due.filter(|due| due.0 <= facts.now.0) {
        let is_new = facts.last_at.is_none_or(|last| last.0 < due.0);
        if is_new || since_last >= TRY_AGAIN {
            return Decision::Run(Why::Due);
        }
    }
    let is_short = facts.bytes_room < facts.bytes_total / 10;
    if is_short && facts.bytes_garbage > 0 && since_last >= SHORT_PAUSE {
        return Decision::Run(Why::Space);
    }
    let in_use = facts.bytes_total.saturating_sub(facts.bytes_room);
    let calm = since_last.min(since(Some(facts.begun_at))) >= CALM_PAUSE;
    if facts.bytes_garbage > in_use / 20 && calm {
        return Decision::Run(Why::Garbage);
    }
    let ahead =
        facts.next_due.map(|due| due.0.saturating_sub(facts.now.0)).filter(|nanos| *nanos > 0);
    let ahead = ahead.and_then(|nanos| u64::try_from(nanos).ok()).map(Duration::from_nanos);
    Decision::Wait(ahead.map_or(LOOK_EVERY, |ahead| ahead.min(LOOK_EVERY)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALM: Facts = Facts {
        now: UnixNanos(1_000_000 * SECOND),
        running: false,
        begun_at: UnixNanos(0),
        last_at: None,
        braked_at: None,
        next_due: None,
        bytes_garbage: 0,
        bytes_room: 900,
        bytes_total: 1_000,
    };

    fn ago(seconds: i64) -> Option<UnixNanos> {
        Some(UnixNanos(CALM.now.0 - seconds * SECOND))
    }

    #[test]
    fn what_is_due_goes_at_once_and_what_cannot_go_is_not_tried_all_the_time() {
        assert_eq!(decide(&CALM), Decision::Wait(LOOK_EVERY));
        let due = Facts { next_due: ago(0), ..CALM };
        assert_eq!(decide(&due), Decision::Run(Why::Due));
        assert_eq!(decide(&Facts { last_at: ago(30), ..due }), Decision::Run(Why::Due));
        let tried = Facts { next_due: ago(40), last_at: ago(30), ..CALM };
        assert_eq!(decide(&tried), Decision::Wait(LOOK_EVERY));
        let again = Facts { next_due: ago(900), last_at: ago(700), ..CALM };
        assert_eq!(decide(&again), Decision::Run(Why::Due));
        let soon = Facts { next_due: ago(-7), ..CALM };
        assert_eq!(decide(&soon), Decision::Wait(Duration::from_secs(7)));
    }

    #[test]
    fn garbage_waits_for_an_hour_unless_space_is_short() {
        let some = Facts { bytes_garbage: 5, last_at: ago(120), ..CALM };
        assert_eq!(decide(&some), Decision::Wait(LOOK_EVERY));
        let short = Facts { bytes_room: 50, ..some };
        assert_eq!(decide(&short), Decision::Run(Why::Space));
        assert_eq!(decide(&Facts { last_at: ago(30), ..short }), Decision::Wait(LOOK_EVERY));
        assert_eq!(decide(&Facts { bytes_garbage: 0, ..short }), Decision::Wait(LOOK_EVERY));
        let much = Facts { bytes_garbage: 6, ..some };
        assert_eq!(decide(&much), Decision::Wait(LOOK_EVERY));
        let calm = Facts { last_at: ago(3_600), ..much };
        assert_eq!(decide(&calm), Decision::Run(Why::Garbage));
        let begun_at = UnixNanos(CALM.now.0 - SECOND);
        assert_eq!(decide(&Facts { begun_at, ..calm }), Decision::Wait(LOOK_EVERY));
    }

    #[test]
    fn never_two_at_once_and_never_against_the_brake() {
        let pressing = Facts { next_due: ago(1), bytes_room: 0, bytes_garbage: 500, ..CALM };
        assert_eq!(decide(&Facts { running: true, ..pressing }), Decision::Wait(LOOK_EVERY));
        let braked = Facts { braked_at: ago(3_600), ..pressing };
        assert_eq!(decide(&braked), Decision::Wait(LOOK_EVERY));
        assert_eq!(decide(&Facts { braked_at: ago(90_000), ..braked }), Decision::Run(Why::Due));
    }
}
