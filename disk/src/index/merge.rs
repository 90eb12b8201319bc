//! Several segments as one: how a checkpoint keeps the number of segments small.
//!
//! The index cannot write itself out anew, since it keeps only part of each fingerprint; the segments
//! have all of it. Merging reads each of them once, front to back, and holds one entry of each.

use std::fmt;
use std::iter::Peekable;

use keelhold_chunk::DecodeError;

use super::segment::{Change, Entry};

/// What becomes of tombstones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tombstones {
    /// An older segment, not part of the merge, may still hold the chunk.
    Keep,
    /// The oldest segment is part of the merge: nothing is left that a tombstone could hide.
    Drop,
}

/// The entries of all segments in the order of their numbers; of several for one number, the newest.
pub struct Merge<I: Iterator> {
    /// Oldest first.
    segments: Vec<Peekable<I>>,
    tombstones: Tombstones,
}

impl<I: Iterator<Item = Result<Entry, DecodeError>>> Merge<I> {
    /// `segments` oldest first. Where one checkpoint wrote its segment in pieces, their entries
    /// follow one another and count as one.
    pub fn new(segments: impl IntoIterator<Item = I>, tombstones: Tombstones) -> Self {
        Self { segments: segments.into_iter().map(Iterator::peekable).collect(), tombstones }
    }

    fn next_of_any(&mut self) -> Option<Result<Entry, DecodeError>> {
        let mut least = None;
        for segment in &mut self.segments {
            match segment.peek() {
                Some(Ok(entry)) => {
                    least = Some(least.map_or(entry.number, |least| entry.number.min(least)));
                }
                Some(Err(error)) => {
                    let error = *error;
                    // Without that segment the rest would be another state: there is no rest.
                    self.segments.clear();
                    return Some(Err(error));
                }
                None => {}
            }
        }
        let least = least?;
        let same = |entry: &Result<Entry, _>| matches!(entry, Ok(entry) if entry.number == least);
        // Each segment lets go of its entry; the last one is the newest.
        self.segments.iter_mut().filter_map(|segment| segment.next_if(same)).last()
    }
}

impl<I: Iterator<Item = Result<Entry, DecodeError>>> Iterator for Merge<I> {
    type Item = Result<Entry, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.next_of_any()? {
                Ok(Entry { change: Change::Gone, .. }) if self.tombstones == Tombstones::Drop => {}
                entry => return Some(entry),
            }
        }
    }
}

impl<I: Iterator> fmt::Debug for Merge<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Merge of {} segments", self.segments.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::model::Seeded;
    use crate::index::{Fingerprint, Place};
    use crate::units::ChunkNumber;
    use std::collections::BTreeMap;

    fn segment(random: &mut Seeded) -> BTreeMap<ChunkNumber, Entry> {
        let mut entries = BTreeMap::new();
        for _ in 0..random.below(80) {
            let number = ChunkNumber(random.below(100));
            let place = Place { container: random.next() as u32, run_block: 0, ordinal: 0 };
            let change = match random.below(3) {
                0 => Change::Gone,
                _ => Change::Stored { place, stored_len: 1 },
            };
            entries.insert(number, Entry { number, fingerprint: Fingerprint(number.0), change });
        }
        entries
    }

    #[test]
    fn a_merge_says_what_its_segments_say_one_after_another() {
        for seed in 0..100 {
            let mut random = Seeded::new(seed);
            let segments: Vec<_> = (0..random.below(6)).map(|_| segment(&mut random)).collect();
            let mut all = BTreeMap::new();
            segments.iter().for_each(|segment| all.extend(segment.clone()));
            for tombstones in [Tombstones::Keep, Tombstones::Drop] {
                let sources = segments.iter().map(|segment| segment.values().copied().map(Ok));
                let merged: Result<Vec<Entry>, _> = Merge::new(sources, tombstones).collect();
                let kept = all
                    .values()
                    .copied()
                    .filter(|entry| tombstones == Tombstones::Keep || entry.change != Change::Gone);
                assert!(merged.unwrap().into_iter().eq(kept), "seed {seed}");
            }
        }
    }

    #[test]
    fn a_segment_that_cannot_be_read_ends_the_merge() {
        let mut random = Seeded::new(1);
        let good: Vec<_> = segment(&mut random).into_values().map(Ok).collect();
        let error = DecodeError::Varint { offset: 3 };
        let bad = vec![good[0], Err(error)];
        let mut merge = Merge::new([good.into_iter(), bad.into_iter()], Tombstones::Keep);
        assert!(merge.next().is_some_and(|entry| entry.is_ok()));
        assert_eq!(merge.next(), Some(Err(error)));
        assert_eq!(merge.next(), None);
    }
}
