//! Time and chance, so that tests can decide about both.

use std::fmt::Debug;
use std::time::{SystemTime, UNIX_EPOCH};

use keelhold_chunk::Timestamp;

pub trait Clock: Debug + Send + Sync {
    /// Wall time: compared with times in file systems, and nothing else.
    fn now(&self) -> Timestamp;

    /// A number that differs from machine to machine and from time to time.
    fn chance(&self) -> u64;
}

/// The system's.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => Timestamp { secs: since.as_secs() as i64, nanos: since.subsec_nanos() },
            // A clock before 1970 trusts nothing, which is right for a clock like that.
            Err(_) => Timestamp::default(),
        }
    }

    fn chance(&self) -> u64 {
        // Without the system's randomness the spread of reconnects is lost, nothing else.
        getrandom::u64().unwrap_or_else(|_| u64::from(std::process::id()))
    }
}
