//! How long to wait before dialling again: doubling, with a part left to chance so that a hundred
//! machines do not come back in the same second.

use std::time::Duration;

use crate::clock::Clock;

const FIRST: Duration = Duration::from_millis(250);
pub const LONGEST: Duration = Duration::from_secs(60);

#[derive(Debug, Clone)]
pub struct Backoff {
    failures: u32,
    longest: Duration,
}

impl Backoff {
    /// Never waits longer than `longest`.
    #[must_use]
    pub fn new(longest: Duration) -> Self {
        Self { failures: 0, longest }
    }

    /// A connection was made and greeted: the next failure is a first one.
    pub fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// The wait after one more failure: between half and all of the doubled step.
    pub fn failed(&mut self, clock: &dyn Clock) -> Duration {
        let step = FIRST.saturating_mul(1 << self.failures.min(16)).min(self.longest);
        self.failures = self.failures.saturating_add(1);
        let half = step / 2;
        let spread = half.as_nanos().max(1) as u64;
        half + Duration::from_nanos(clock.chance() % spread)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keelhold_chunk::Timestamp;

    #[derive(Debug)]
    struct Fixed(u64);

    impl Clock for Fixed {
        fn now(&self) -> Timestamp {
            Timestamp::default()
        }

        fn chance(&self) -> u64 {
            self.0
        }
    }

    #[test]
    fn waits_double_up_to_a_minute_and_begin_anew() {
        let mut backoff = Backoff::new(LONGEST);
        let waits: Vec<u128> = (0..12).map(|_| backoff.failed(&Fixed(0)).as_millis()).collect();
        assert_eq!(waits[..4], [125, 250, 500, 1000]);
        assert!(waits[9..].iter().all(|wait| *wait == 30_000));
        assert!(backoff.failed(&Fixed(u64::MAX)) <= LONGEST);
        assert!(backoff.failed(&Fixed(u64::MAX)) > LONGEST / 2);
        backoff.succeeded();
        assert_eq!(backoff.failed(&Fixed(0)).as_millis(), 125);
    }

    #[test]
    fn a_machine_may_ask_for_shorter_waits() {
        let longest = Duration::from_millis(40);
        let mut backoff = Backoff::new(longest);
        assert!((0..20).all(|_| backoff.failed(&Fixed(u64::MAX)) <= longest));
    }
}
