//! What is outstanding, as pure bookkeeping: references and their content, messages of items, frames.

use std::collections::VecDeque;

use bytes::Bytes;
use keelhold_wire::limits::{FRAMES_WINDOW_LEN, ITEMS_WEIGHT_MAX, ITEMS_WINDOW_WEIGHT};
use keelhold_wire::{Credit, Want};
use thiserror::Error;

use super::bounds::{HELD_COUNT, HELD_LEN};

/// The server broke the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum WindowError {
    #[error("references below {upto} are answered, only {offered} were offered")]
    AnswerAhead { upto: u64, offered: u64 },
    #[error("reference {reference} is wanted outside of the answered ones")]
    WantOutside { reference: u64 },
    #[error("reference {reference} is wanted, whose chunk was answered for before")]
    WantTwice { reference: u64 },
    #[error("items up to {seq} are acknowledged, only {sent} were sent")]
    ItemsAhead { seq: u64, sent: u64 },
    #[error("{bytes} bytes of frames are acknowledged, only {sent} were sent")]
    FramesAhead { bytes: u64, sent: u64 },
}

/// Content of references that were offered and not answered.
#[derive(Debug, Default)]
pub(crate) struct Held {
    chunks: VecDeque<Bytes>,
    first: u64,
    len: u64,
}

impl Held {
    /// In the place of a chunk that was offered before: a server wants it once at most.
    pub(crate) const KNOWN: Bytes = Bytes::new();

    pub(crate) fn push(&mut self, chunk: Bytes) {
        self.len += chunk.len() as u64;
        self.chunks.push_back(chunk);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    pub(crate) fn has_room(&self) -> bool {
        self.len < HELD_LEN && (self.chunks.len() as u64) < HELD_COUNT
    }

    /// Calls `take` with each wanted chunk; the others are let go.
    pub(crate) fn answer(
        &mut self,
        want: &Want,
        mut take: impl FnMut(u64, Bytes),
    ) -> Result<(), WindowError> {
        let offered = self.first + self.chunks.len() as u64;
        if want.upto > offered {
            return Err(WindowError::AnswerAhead { upto: want.upto, offered });
        }
        let runs = want.wanted.runs();
        if let Some(run) = runs.first().filter(|run| run.first < self.first) {
            return Err(WindowError::WantOutside { reference: run.first });
        }
        if want.wanted.end() > want.upto {
            return Err(WindowError::WantOutside { reference: want.wanted.end() - 1 });
        }
        let mut runs = runs.iter().peekable();
        while self.first < want.upto {
            let Some(chunk) = self.chunks.pop_front() else {
                break;
            };
            let reference = self.first;
            self.first += 1;
            self.len -= chunk.len() as u64;
            while runs.next_if(|run| run.first + run.count <= reference).is_some() {}
            if runs.peek().is_some_and(|run| run.first <= reference) {
                if chunk.is_empty() {
                    return Err(WindowError::WantTwice { reference });
                }
                take(reference, chunk);
            }
        }
        Ok(())
    }
}

/// Messages and frames that were sent and not acknowledged.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    items_seq: u64,
    /// Weights of the items messages after the acknowledged one.
    items: VecDeque<u64>,
    items_weight: u64,
    frames_len: u64,
    frames_acknowledged: u64,
}

impl Sent {
    /// The number of the next items message.
    pub(crate) fn next_seq(&self) -> u64 {
        self.items_seq + 1
    }

    pub(crate) fn items(&mut self, weight: u64) {
        self.items_seq += 1;
        self.items.push_back(weight);
        self.items_weight += weight;
    }

    /// Whether any one message of items fits.
    pub(crate) fn has_room_for_items(&self) -> bool {
        self.items_weight + ITEMS_WEIGHT_MAX <= ITEMS_WINDOW_WEIGHT
    }

    pub(crate) fn frame(&mut self, body_len: u64) {
        self.frames_len += body_len;
    }

    pub(crate) fn has_room_for_frame(&self, body_len: u64) -> bool {
        self.frames_len - self.frames_acknowledged + body_len <= FRAMES_WINDOW_LEN
    }

    pub(crate) fn acknowledge(&mut self, credit: &Credit) -> Result<(), WindowError> {
        if credit.items_seq > self.items_seq {
            let (seq, sent) = (credit.items_seq, self.items_seq);
            return Err(WindowError::ItemsAhead { seq, sent });
        }
        if credit.frame_bytes > self.frames_len {
            let (bytes, sent) = (credit.frame_bytes, self.frames_len);
            return Err(WindowError::FramesAhead { bytes, sent });
        }
        while self.items_seq - (self.items.len() as u64) < credit.items_seq {
            let Some(weight) = self.items.pop_front() else {
                break;
            };
            self.items_weight -= weight;
        }
        self.frames_acknowledged = self.frames_acknowledged.max(credit.frame_bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keelhold_wire::Runs;

    fn want(upto: u64, wanted: &[u64]) -> Want {
        Want { job: 1, upto, wanted: wanted.iter().copied().collect::<Runs>() }
    }

    #[test]
    fn wanted_chunks_come_out_and_the_rest_is_let_go() {
        let mut held = Held::default();
        (0..10u8).for_each(|byte| held.push(Bytes::from(vec![byte; 3])));
        let mut taken = Vec::new();
        held.answer(&want(4, &[0, 2]), |reference, _| taken.push(reference)).unwrap();
        held.answer(&want(4, &[]), |reference, _| taken.push(reference)).unwrap();
        held.answer(&want(10, &[4, 5, 9]), |reference, chunk| {
            assert_eq!(u64::from(chunk[0]), reference);
            taken.push(reference);
        })
        .unwrap();
        assert_eq!(taken, [0, 2, 4, 5, 9]);
        assert!(held.is_empty() && held.len == 0);
    }

    #[test]
    fn answers_to_what_was_not_asked_are_refused() {
        let mut held = Held::default();
        (0..4).for_each(|_| held.push(Bytes::from_static(b"x")));
        held.answer(&want(2, &[]), |_, _| {}).unwrap();
        let mut refused = |want: Want| held.answer(&want, |_, _| {}).unwrap_err();
        assert_eq!(refused(want(5, &[])), WindowError::AnswerAhead { upto: 5, offered: 4 });
        assert_eq!(refused(want(4, &[1])), WindowError::WantOutside { reference: 1 });
        assert_eq!(refused(want(3, &[3])), WindowError::WantOutside { reference: 3 });
    }

    #[test]
    fn credit_gives_room_back() {
        let mut sent = Sent::default();
        while sent.has_room_for_items() {
            sent.items(1 << 20);
        }
        assert_eq!(sent.next_seq(), 8);
        sent.acknowledge(&Credit { job: 1, items_seq: 2, frame_bytes: 0 }).unwrap();
        assert!(sent.has_room_for_items());
        sent.frame(FRAMES_WINDOW_LEN);
        assert!(!sent.has_room_for_frame(1));
        sent.acknowledge(&Credit { job: 1, items_seq: 3, frame_bytes: 5 }).unwrap();
        assert!(sent.has_room_for_frame(5) && !sent.has_room_for_frame(6));
        assert!(sent.acknowledge(&Credit { job: 1, items_seq: 9, frame_bytes: 5 }).is_err());
        let more = FRAMES_WINDOW_LEN + 1;
        assert!(sent.acknowledge(&Credit { job: 1, items_seq: 3, frame_bytes: more }).is_err());
    }
}
