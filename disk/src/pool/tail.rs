//! Where the journal ends.
//!
//! A torn tail is what a crash leaves: nothing valid follows. If something does, an announced entry was
//! damaged, and cutting there would lose what was announced. The entry behind the one at the tail, if
//! there is one, begins no further away than an entry is long: so much is read at once. Only if
//! something there says that more was written, the rest of the ring is read, too.

use super::journal::Tail;
use super::{Inner, Work};
use crate::device::Device;
use crate::error::OpenError;
use crate::format::{Head, Magic};
use crate::mutants::Mutant;
use crate::units::{BLOCK, BLOCK_U64};

/// Bytes of the ring looked at with one read.
const LOOK_LEN: u64 = 256 << 10;

/// What a stretch of the ring says of entries behind the tail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Trace {
    Nothing,
    /// A block that cannot be read, or the head of a later entry that is not sound.
    Doubt,
    /// A sound entry of this opening and a higher sequence.
    Later,
}

impl<D: Device, W: Work> Inner<D, W> {
    /// Fails if an entry behind the tail was written: then the one at the tail was, too.
    pub(super) async fn check_no_hole(&self, tail: &Tail) -> Result<(), OpenError> {
        if !self.mutants.keeps(Mutant::JournalHole) {
            return Ok(());
        }
        let ring_len = self.fixed.journal_len;
        let mut trace = Trace::Nothing;
        for (from, upto) in self.behind(tail) {
            trace = trace.max(self.traces(tail, from, upto).await);
        }
        if trace == Trace::Doubt {
            trace = self.traces(tail, 0, ring_len).await;
        }
        match trace {
            Trace::Later => Err(OpenError::JournalHole { sequence: tail.sequence }),
            _ => Ok(()),
        }
    }

    /// Where the entry behind the one at the tail may begin: also at the ring's start, if that at the
    /// tail may have been too long for the rest of the ring.
    fn behind(&self, tail: &Tail) -> Vec<(u64, u64)> {
        let ring_len = self.fixed.journal_len;
        let longest = self.fixed.entry_len_max() + BLOCK_U64;
        let from = tail.position % ring_len;
        let mut stretches = vec![(from, (from + longest).min(ring_len))];
        if from + longest > ring_len {
            stretches.push((0, longest.min(ring_len)));
        }
        stretches
    }

    async fn traces(&self, tail: &Tail, from: u64, upto: u64) -> Trace {
        let mut trace = Trace::Nothing;
        let mut at = from;
        while at < upto && trace < Trace::Later {
            let len = LOOK_LEN.min(upto - at);
            for copy in 0..2 {
                trace = trace.max(self.trace_within(tail, copy, at, len).await);
            }
            at += len;
        }
        trace
    }

    async fn trace_within(&self, tail: &Tail, copy: usize, within: u64, len: u64) -> Trace {
        let (disk, offset) = self.journal_place(copy, within);
        let blocks = (within..within + len).step_by(BLOCK);
        let Ok(bytes) = disk.read(offset, len as usize).await else {
            let mut trace = Trace::Doubt;
            for block in blocks {
                trace = trace.max(self.trace_at(tail, copy, block).await);
            }
            return trace;
        };
        let mut trace = Trace::Nothing;
        for (block, bytes) in blocks.zip(bytes.chunks(BLOCK)) {
            let is_later = Head::peek(bytes, Magic::JournalEntry)
                .is_ok_and(|head| head.sequence() > tail.sequence);
            if is_later {
                trace = trace.max(self.trace_at(tail, copy, block).await);
            }
        }
        trace
    }

    /// What stands at a block that may be the head of a later entry.
    async fn trace_at(&self, tail: &Tail, copy: usize, block: u64) -> Trace {
        match self.read_closed_entry(copy, block).await {
            Ok(Some((entry, _, _))) => {
                let later = entry.header.sequence > tail.sequence;
                match later && entry.header.epoch == tail.epoch {
                    true => Trace::Later,
                    // Sound, and of an opening that is over.
                    false => Trace::Nothing,
                }
            }
            Ok(None) | Err(_) => Trace::Doubt,
        }
    }
}
