//! The server's side of one backup stream, as pure transitions: what arrived, what is still wanted,
//! and which items may be handed to the pool.
//!
//! The agent is not trusted. Everything it may not do is a [`Breach`], and a breach ends the
//! session; nothing of it is guessed or mended. Items are handed on in their order, and only when
//! every chunk they name is in the pool: by then each has been hashed again by the pool.

use keelhold_disk::units::ChunkRef;
use keelhold_wire::{Content, Extent, Frame, Item, Items, Runs};
use std::collections::{BTreeMap, HashMap, VecDeque};
use thiserror::Error;

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Breach {
    #[error("items message {found} came where {expected} belongs")]
    SequenceGap { expected: u64, found: u64 },
    #[error("a frame holds chunk reference {reference}, which was not wanted")]
    NotWanted { reference: u64 },
    #[error("a frame of {claimed} plain bytes holds chunks of {chunks}")]
    FrameLen { claimed: u64, chunks: u64 },
    #[error("an entry was begun inside another one")]
    EntryInside,
    #[error("a piece of an entry came without its beginning")]
    NoEntryOpen,
    #[error("something followed the end of the stream")]
    AfterFinish,
    #[error("the stream was ended with {wanted} wanted chunks not sent")]
    FinishTooSoon { wanted: u64 },
    #[error("the stream was ended inside an entry")]
    FinishInside,
    #[error("the stream described nothing, not even a root")]
    Empty,
    #[error("the job was not started")]
    NotStarted,
    #[error("message {name} does not belong to a backup")]
    Misplaced { name: &'static str },
    #[error("more than {limit} bytes of {what} came before they were acknowledged")]
    Window { what: &'static str, limit: usize },
    #[error("path and reason of skipped entries exceed {limit} bytes")]
    SkippedTooLong { limit: usize },
}

/// Chunks the agent names, to be asked of the pool in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    seq: u64,
    first: u64,
    pub chunks: Vec<ChunkRef>,
}

/// The answer to an offer, as the wire says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    pub upto: u64,
    pub wanted: Runs,
}

#[derive(Debug)]
struct Batch {
    seq: u64,
    items: Vec<Item>,
    answered: bool,
    /// Chunks that are on their way.
    missing: usize,
}

#[derive(Debug, Default)]
pub struct Intake {
    last_seq: u64,
    next_ref: u64,
    entry_open: bool,
    described: bool,
    finished: bool,
    queue: VecDeque<Batch>,
    /// References that were wanted and have not come.
    wanted: BTreeMap<u64, ChunkRef>,
    /// Chunks wanted and not yet in the pool, with the batches that wait for them.
    on_the_way: HashMap<ChunkRef, Vec<u64>>,
}

impl Intake {
    /// Takes a piece of the stream in. `None`: it was a repetition.
    pub fn items(&mut self, message: Items) -> Result<Option<Offer>, Breach> {
        if message.seq <= self.last_seq {
            return Ok(None);
        }
        if self.finished {
            return Err(Breach::AfterFinish);
        }
        if message.seq != self.last_seq + 1 {
            let (expected, found) = (self.last_seq + 1, message.seq);
            return Err(Breach::SequenceGap { expected, found });
        }
        self.last_seq = message.seq;
        self.described |= !message.items.is_empty();
        let mut chunks = Vec::new();
        for item in &message.items {
            self.follow_entry(item)?;
            let extents = match item {
                Item::EntryMore { extents } => extents,
                Item::Entry { content: Content::Extents(extents), .. } => extents,
                _ => continue,
            };
            chunks.extend(extents.iter().filter_map(|extent| match extent {
                Extent::Chunk { id, len } => Some(ChunkRef { id: *id, len: *len }),
                Extent::Hole { .. } => None,
            }));
        }
        let first = self.next_ref;
        self.next_ref += chunks.len() as u64;
        let answered = chunks.is_empty();
        self.queue.push_back(Batch {
            seq: message.seq,
            items: message.items,
            answered,
            missing: 0,
        });
        Ok(Some(Offer { seq: message.seq, first, chunks }))
    }

    fn follow_entry(&mut self, item: &Item) -> Result<(), Breach> {
        match (item, self.entry_open) {
            (Item::EntryOpen { .. }, false) => self.entry_open = true,
            (Item::EntryMore { .. }, true) => {}
            (Item::EntryClose { .. }, true) => self.entry_open = false,
            (Item::EntryMore { .. } | Item::EntryClose { .. }, false) => {
                return Err(Breach::NoEntryOpen);
            }
            (_, true) => return Err(Breach::EntryInside),
            (_, false) => {}
        }
        Ok(())
    }

    /// What to ask for, given which of the offered chunks the pool has for this machine.
    pub fn answer(&mut self, offer: &Offer, have: &[bool]) -> Wanted {
        assert_eq!(offer.chunks.len(), have.len(), "the pool answers every chunk of an offer");
        let mut wanted = Runs::new();
        let mut missing = 0;
        for ((chunk, have), reference) in offer.chunks.iter().zip(have).zip(offer.first..) {
            if *have {
                continue;
            }
            missing += 1;
            let waiting = self.on_the_way.entry(*chunk).or_default();
            if waiting.is_empty() {
                wanted.push(reference);
                self.wanted.insert(reference, *chunk);
            }
            waiting.push(offer.seq);
        }
        if let Some(batch) = self.batch(offer.seq) {
            batch.answered = true;
            batch.missing = missing;
        }
        Wanted { upto: offer.first + offer.chunks.len() as u64, wanted }
    }

    fn batch(&mut self, seq: u64) -> Option<&mut Batch> {
        let first = self.queue.front()?.seq;
        let at = usize::try_from(seq.checked_sub(first)?).ok()?;
        self.queue.get_mut(at)
    }

    /// The chunks a frame must hold, in order.
    pub fn frame(&mut self, frame: &Frame) -> Result<Vec<ChunkRef>, Breach> {
        let mut chunks = Vec::new();
        let mut len = 0;
        for reference in frame.refs.iter() {
            let Some(chunk) = self.wanted.remove(&reference) else {
                return Err(Breach::NotWanted { reference });
            };
            len += u64::from(chunk.len);
            chunks.push(chunk);
        }
        if len != u64::from(frame.plain_len) {
            return Err(Breach::FrameLen { claimed: u64::from(frame.plain_len), chunks: len });
        }
        Ok(chunks)
    }

    /// The pool has proved and kept these.
    pub fn kept(&mut self, chunks: &[ChunkRef]) {
        for chunk in chunks {
            for seq in self.on_the_way.remove(chunk).unwrap_or_default() {
                if let Some(batch) = self.batch(seq) {
                    batch.missing -= 1;
                }
            }
        }
    }

    /// The next items that may go to the pool, with their sequence number.
    pub fn ready(&mut self) -> Option<(u64, Vec<Item>)> {
        let next = self.queue.front()?;
        if !next.answered || next.missing > 0 {
            return None;
        }
        self.queue.pop_front().map(|batch| (batch.seq, batch.items))
    }

    /// The agent says that everything was sent.
    pub fn finish(&mut self) -> Result<(), Breach> {
        if self.finished {
            return Err(Breach::AfterFinish);
        }
        if self.entry_open {
            return Err(Breach::FinishInside);
        }
        if !self.described {
            return Err(Breach::Empty);
        }
        if !self.wanted.is_empty() {
            return Err(Breach::FinishTooSoon { wanted: self.wanted.len() as u64 });
        }
        self.finished = true;
        Ok(())
    }

    /// Everything said was handed on, and nothing more will be said.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.finished && self.queue.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use keelhold_chunk::ChunkId;
    use keelhold_wire::Codec;

    fn chunk(byte: u8) -> Extent {
        Extent::Chunk { id: ChunkId::from_bytes([byte; 32]), len: 10 }
    }

    fn entry(extents: Vec<Extent>) -> Item {
        let content = Content::Extents(extents);
        Item::Entry { path: b"a".to_vec(), attributes: Vec::new(), content }
    }

    fn items(seq: u64, items: Vec<Item>) -> Items {
        Items { job: 1, seq, items }
    }

    fn frame(refs: &[u64], plain_len: u32) -> Frame {
        let refs = refs.iter().copied().collect();
        Frame { job: 1, codec: Codec::Raw, plain_len, refs, stored: Bytes::new() }
    }

    #[test]
    fn items_wait_for_their_chunks_and_keep_their_order() {
        let mut intake = Intake::default();
        let first = vec![entry(vec![chunk(1), Extent::Hole { len: 5 }, chunk(2), chunk(1)])];
        let offer = intake.items(items(1, first)).unwrap().unwrap();
        assert_eq!(offer.chunks.len(), 3);
        let wanted = intake.answer(&offer, &[false, true, false]);
        // The third reference names what was asked for already.
        assert_eq!(wanted, Wanted { upto: 3, wanted: [0].into_iter().collect() });
        let same = intake.items(items(2, vec![Item::Same { first: 0, count: 9 }])).unwrap();
        intake.answer(&same.unwrap(), &[]);
        assert!(intake.ready().is_none());
        let chunks = intake.frame(&frame(&[0], 10)).unwrap();
        assert!(intake.ready().is_none());
        intake.kept(&chunks);
        assert_eq!(intake.ready().map(|(seq, _)| seq), Some(1));
        assert_eq!(intake.ready().map(|(seq, _)| seq), Some(2));
        intake.finish().unwrap();
        assert!(intake.is_complete());
    }

    #[test]
    fn repetitions_are_ignored_and_gaps_are_not() {
        let mut intake = Intake::default();
        assert!(intake.items(items(1, Vec::new())).unwrap().is_some());
        assert!(intake.items(items(1, vec![entry(vec![chunk(1)])])).unwrap().is_none());
        let gap = intake.items(items(3, Vec::new()));
        assert_eq!(gap, Err(Breach::SequenceGap { expected: 2, found: 3 }));
    }

    #[test]
    fn frames_hold_exactly_what_was_wanted() {
        let mut intake = Intake::default();
        let offer = intake.items(items(1, vec![entry(vec![chunk(1), chunk(2)])])).unwrap().unwrap();
        intake.answer(&offer, &[false, true]);
        let unwanted = intake.frame(&frame(&[1], 10));
        assert_eq!(unwanted, Err(Breach::NotWanted { reference: 1 }));
        let wrong = intake.frame(&frame(&[0], 11));
        assert_eq!(wrong, Err(Breach::FrameLen { claimed: 11, chunks: 10 }));
        let twice = intake.frame(&frame(&[0], 10));
        assert_eq!(twice, Err(Breach::NotWanted { reference: 0 }));
    }

    #[test]
    fn large_entries_are_whole() {
        let open = || Item::EntryOpen { path: b"big".to_vec() };
        let more = || Item::EntryMore { extents: vec![chunk(1)] };
        let close = || Item::EntryClose { attributes: Vec::new() };
        let mut intake = Intake::default();
        assert!(intake.items(items(1, vec![open(), more(), more(), close()])).is_ok());
        assert_eq!(intake.items(items(2, vec![more()])), Err(Breach::NoEntryOpen));
        let mut intake = Intake::default();
        assert_eq!(intake.items(items(1, vec![open(), open()])), Err(Breach::EntryInside));
        let mut intake = Intake::default();
        intake.items(items(1, vec![open()])).unwrap();
        assert_eq!(intake.finish(), Err(Breach::FinishInside));
    }

    #[test]
    fn nothing_follows_the_end_and_the_end_needs_everything() {
        let mut intake = Intake::default();
        let offer = intake.items(items(1, vec![entry(vec![chunk(1)])])).unwrap().unwrap();
        intake.answer(&offer, &[false]);
        assert_eq!(intake.finish(), Err(Breach::FinishTooSoon { wanted: 1 }));
        let chunks = intake.frame(&frame(&[0], 10)).unwrap();
        intake.finish().unwrap();
        assert!(!intake.is_complete());
        intake.kept(&chunks);
        intake.ready().unwrap();
        assert!(intake.is_complete());
        assert_eq!(intake.items(items(2, Vec::new())), Err(Breach::AfterFinish));
        assert_eq!(intake.finish(), Err(Breach::AfterFinish));
    }
}
