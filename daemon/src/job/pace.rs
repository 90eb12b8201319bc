//! How a running job gets on: where it is, how fast, until when, and whether it moves at all.

use crate::api::types::{Pace, Progress};
use std::time::Duration;

/// A job that moved nothing for so long is called stuck.
pub const STUCK_AFTER: Duration = Duration::from_secs(15 * 60);

/// Times are of the clock that nobody can set.
#[derive(Debug, Clone, Default)]
pub struct Moving {
    stage: &'static str,
    began: Option<Duration>,
    /// When anything moved last.
    moved: Duration,
    /// Entries the job will come to, about: as many as last time.
    expected: Option<u64>,
}

impl Moving {
    pub fn enter(&mut self, stage: &'static str, now: Duration) {
        self.stage = stage;
        self.began.get_or_insert(now);
        self.moved = now;
    }

    pub fn expect(&mut self, entries: u64) {
        self.expected = Some(entries);
    }

    /// The machine is away: time does not count until somebody works on the job again.
    pub fn leave(&mut self) {
        *self = Self { expected: self.expected, ..Self::default() };
    }

    pub fn note(&mut self, before: &Progress, after: &Progress, now: Duration) {
        if before != after {
            self.moved = now;
        }
    }

    /// What people are shown; nothing while nobody works on it.
    #[must_use]
    pub fn pace(&self, progress: &Progress, now: Duration) -> Option<Pace> {
        let elapsed = now.saturating_sub(self.began?);
        let silent = now.saturating_sub(self.moved);
        let bytes = progress.bytes_read.max(progress.bytes_sent).max(progress.bytes_written);
        let whole = elapsed.as_secs();
        Some(Pace {
            stage: self.stage.to_owned(),
            bytes_per_second: bytes.checked_div(whole).unwrap_or(bytes),
            seconds_left: self.seconds_left(progress, elapsed),
            seconds_silent: silent.as_secs(),
            stuck: silent >= STUCK_AFTER,
        })
    }

    fn seconds_left(&self, progress: &Progress, elapsed: Duration) -> Option<u64> {
        let left = self.expected?.checked_sub(progress.entries)?;
        // Of the first entries nobody can tell how long the others take.
        let done = progress.entries;
        let worth_it = done >= 100 && done >= self.expected? / 50;
        let seconds = u128::from(left) * elapsed.as_millis() / u128::from(done.max(1)) / 1_000;
        worth_it.then(|| u64::try_from(seconds).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn read(entries: u64, bytes_read: u64) -> Progress {
        Progress { entries, bytes_read, ..Progress::default() }
    }

    #[test]
    fn rate_and_end_follow_what_was_done() {
        let mut moving = Moving::default();
        assert!(moving.pace(&read(0, 0), SECOND).is_none(), "nobody works on it");
        moving.enter("reading", SECOND);
        moving.expect(1_000);
        let progress = read(250, 4_000);
        moving.note(&read(0, 0), &progress, 11 * SECOND);
        let pace = moving.pace(&progress, 11 * SECOND).unwrap();
        assert_eq!((pace.bytes_per_second, pace.seconds_left), (400, Some(30)));
        assert_eq!(moving.pace(&read(3, 9), 11 * SECOND).unwrap().seconds_left, None);
        assert_eq!(moving.pace(&read(2_000, 9), 11 * SECOND).unwrap().seconds_left, None);
    }

    #[test]
    fn a_job_is_stuck_when_nothing_moves_and_not_when_its_machine_is_away() {
        let mut moving = Moving::default();
        moving.enter("reading", SECOND);
        let still = read(7, 7);
        let late = SECOND + STUCK_AFTER;
        moving.note(&still, &still, late);
        assert!(moving.pace(&still, late).unwrap().stuck);
        moving.note(&still, &read(8, 7), late);
        assert!(!moving.pace(&still, late).unwrap().stuck);
        moving.leave();
        assert!(moving.pace(&still, late * 9).is_none());
    }
}
