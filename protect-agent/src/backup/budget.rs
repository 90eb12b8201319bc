//! Permits that travel with the work they allow.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// So many units that can be out at once. Taken by one thread in the order of the stream.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    returned: Condvar,
    limit: u64,
}

#[derive(Debug, Default)]
struct State {
    out: u64,
    closed: bool,
}

/// Gives back its units when dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    shared: Arc<Shared>,
    units: u64,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Budget {
    pub(crate) fn new(limit: u64) -> Self {
        let shared = Shared { state: Mutex::default(), returned: Condvar::new(), limit };
        Self { shared: Arc::new(shared) }
    }

    /// Waits for `units`. More than the limit is allowed alone. `None` once closed.
    pub(crate) fn take(&self, units: u64) -> Option<Permit> {
        let mut state = self.shared.state();
        while !state.closed && state.out > 0 && state.out + units > self.shared.limit {
            state = self.shared.returned.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.closed {
            return None;
        }
        state.out += units;
        Some(Permit { shared: self.shared.clone(), units })
    }

    /// Wakes whoever waits; nothing is given out any more.
    pub(crate) fn close(&self) {
        self.shared.state().closed = true;
        self.shared.returned.notify_all();
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.shared.state().out -= self.units;
        self.shared.returned.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permits_come_back_and_a_giant_goes_alone() {
        let budget = Budget::new(10);
        let giant = budget.take(100).unwrap();
        let other = budget.clone();
        let waiting = std::thread::spawn(move || other.take(1).is_some());
        drop(giant);
        assert!(waiting.join().unwrap());
        let all = budget.take(10).unwrap();
        let other = budget.clone();
        let waiting = std::thread::spawn(move || other.take(1).is_none());
        budget.close();
        assert!(waiting.join().unwrap());
        drop(all);
    }
}
