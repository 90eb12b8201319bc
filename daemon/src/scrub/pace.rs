//! How fast a pass goes by itself: a function of what is known.

use std::time::Duration;

/// A pass by itself takes so long.
const PASS: Duration = Duration::from_secs(10 * 24 * 3_600);
/// No more often than this: a small pool is not read round the clock.
const PAUSE_MAX: Duration = Duration::from_secs(3_600);
/// No less: beyond that a step reads more.
const PAUSE_MIN: Duration = Duration::from_secs(60);
/// Damage is local in space and time: how much faster a pass goes on once it found some.
const SPRINT: u32 = 10;
/// Containers a step reads while somebody waits: after each of them others have their turn.
const ASKED_COUNT: u64 = 16;

#[derive(Debug, Clone, Copy)]
pub struct Facts {
    /// Containers of data, and the length of one.
    pub containers: u64,
    pub container_len: u64,
    pub sources: u64,
    /// This pass has found something.
    pub found: bool,
    /// Somebody waits for the pass.
    pub asked: bool,
}

/// How long to wait before the next step, and how much it reads.
#[must_use]
pub fn pace(facts: &Facts) -> (Duration, u64) {
    if facts.asked {
        return (Duration::ZERO, ASKED_COUNT * facts.container_len);
    }
    let at_once = facts.containers.div_ceil(PASS.as_secs() / PAUSE_MIN.as_secs()).max(1);
    // Structures and counts are a step each, the sets of a source are one.
    let steps = facts.containers.div_ceil(at_once) + facts.sources + 2;
    let pause = Duration::from_secs(PASS.as_secs() / steps).clamp(PAUSE_MIN, PAUSE_MAX);
    let pause = if facts.found { pause / SPRINT } else { pause };
    (pause, at_once * facts.container_len)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const SMALL: Facts =
        Facts { containers: 3, container_len: 32 * MIB, sources: 1, found: false, asked: false };

    fn days(facts: &Facts) -> f64 {
        let (pause, budget) = pace(facts);
        let steps = (facts.containers * facts.container_len).div_ceil(budget) + facts.sources + 2;
        pause.as_secs_f64() * steps as f64 / 86_400.0
    }

    #[test]
    fn a_small_pool_is_left_in_peace() {
        assert_eq!(pace(&SMALL), (PAUSE_MAX, 32 * MIB));
        let empty = Facts { containers: 0, sources: 0, ..SMALL };
        assert_eq!(pace(&empty), (PAUSE_MAX, 32 * MIB));
    }

    #[test]
    fn a_pass_takes_ten_days_whatever_the_size() {
        for containers in [240, 1_000, 10_000, 14_000, 14_401, 100_000, 3_000_000] {
            let facts = Facts { containers, ..SMALL };
            let days = days(&facts);
            assert!((4.9..=10.1).contains(&days), "{containers} containers: {days} days");
            let (pause, budget) = pace(&facts);
            assert!((PAUSE_MIN..=PAUSE_MAX).contains(&pause), "{pause:?}");
            assert_eq!(budget % facts.container_len, 0);
        }
        assert_eq!(pace(&Facts { containers: 2_398, ..SMALL }).0, Duration::from_secs(359));
    }

    #[test]
    fn what_found_damage_hurries_and_who_waits_does_not_wait() {
        for containers in [3, 5_000, 100_000] {
            let calm = Facts { containers, ..SMALL };
            let hurried = pace(&Facts { found: true, ..calm });
            assert_eq!(hurried, (pace(&calm).0 / 10, pace(&calm).1));
        }
        assert_eq!(pace(&Facts { asked: true, ..SMALL }).0, Duration::ZERO);
    }
}
