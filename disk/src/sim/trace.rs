//! Everything decided and done, folded into one hash.

use std::fmt;

pub(super) struct Trace {
    hasher: blake3::Hasher,
    events: u64,
}

impl Trace {
    pub(super) fn new(seed: u64) -> Self {
        let mut trace = Self { hasher: blake3::Hasher::new(), events: 0 };
        trace.event(b's', &[seed]);
        trace
    }

    pub(super) fn event(&mut self, kind: u8, facts: &[u64]) {
        self.events += 1;
        self.hasher.update(&[kind]);
        for fact in facts {
            self.hasher.update(&fact.to_le_bytes());
        }
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
    }

    pub(super) fn hash(&self) -> [u8; 32] {
        *self.hasher.finalize().as_bytes()
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Trace({} events)", self.events)
    }
}
