//! What a device was asked to do. Tests assert on exact numbers, so everything is counted at one
//! place per implementation: when the operation is handed over.

use std::cell::Cell;
use std::ops::Sub;

/// Operations and bytes since the device was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub reads: u64,
    pub read_bytes: u64,
    pub writes: u64,
    pub written_bytes: u64,
    pub flushes: u64,
    pub discards: u64,
}

/// The operations between two readings.
impl Sub for Counters {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            reads: self.reads - earlier.reads,
            read_bytes: self.read_bytes - earlier.read_bytes,
            writes: self.writes - earlier.writes,
            written_bytes: self.written_bytes - earlier.written_bytes,
            flushes: self.flushes - earlier.flushes,
            discards: self.discards - earlier.discards,
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct CounterCells(Cell<Counters>);

impl CounterCells {
    pub(crate) fn read(&self, len: u64) {
        self.change(|now| {
            now.reads += 1;
            now.read_bytes += len;
        });
    }

    pub(crate) fn write(&self, len: u64) {
        self.change(|now| {
            now.writes += 1;
            now.written_bytes += len;
        });
    }

    pub(crate) fn flush(&self) {
        self.change(|now| now.flushes += 1);
    }

    pub(crate) fn discard(&self) {
        self.change(|now| now.discards += 1);
    }

    pub(crate) fn get(&self) -> Counters {
        self.0.get()
    }

    fn change(&self, by: impl FnOnce(&mut Counters)) {
        let mut now = self.0.get();
        by(&mut now);
        self.0.set(now);
    }
}
