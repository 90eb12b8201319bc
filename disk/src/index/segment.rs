//! The index as a checkpoint writes it: what changed, sorted by number, in pieces.
//!
//! A segment is a version byte and entries up to its end; the table "Index segment" of `FORMAT.md`
//! is this file in words. An entry begins with a varint that holds the distance to the number before
//! it and the kind of the entry, then come the eight bytes of the fingerprint. A chunk that follows
//! the one before it in the same run (nearly all do) adds its stored length in three bytes; any other
//! has its place before that. So an entry takes 12 bytes, or 20 far from its neighbours: never more
//! than 24 on average in a segment of at least 200.
//!
//! Segments are applied oldest first. A tombstone carries the fingerprint too: it is the only way
//! back to the cell of the id.

use keelhold_chunk::codec::{DecodeError, Reader, Writer};

use super::slot::{Place, STORED_LEN_LIMIT};
use super::{Fingerprint, NUMBER_LIMIT};
use crate::units::ChunkNumber;

const VERSION: u8 = 1;

/// Follows the live chunk before it: same run, next ordinal.
const NEXT: u64 = 0;
/// Lies elsewhere; the place is written out.
const ELSEWHERE: u64 = 1;
const GONE: u64 = 2;
const KIND_BITS: u32 = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    pub number: ChunkNumber,
    pub fingerprint: Fingerprint,
    pub change: Change,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Stored { place: Place, stored_len: u32 },
    Gone,
}

/// What an entry is written relative to.
#[derive(Debug, Default)]
struct Before {
    /// One more than the number before.
    number: u64,
    place: Option<Place>,
}

impl Before {
    /// Where the chunk is that would follow the one before in its run.
    fn next_place(&self) -> Option<Place> {
        let before = self.place?;
        Some(Place { ordinal: before.ordinal.checked_add(1)?, ..before })
    }
}

/// Writes one segment. The caller begins another when [`SegmentWriter::len`] is as long as it wants.
#[derive(Debug)]
pub struct SegmentWriter {
    writer: Writer,
    before: Before,
}

impl SegmentWriter {
    /// No entry is longer.
    pub const ENTRY_LEN_MAX: usize = 6 + 8 + 8 + 3;

    #[must_use]
    pub fn new() -> Self {
        let mut writer = Writer::new();
        writer.u8(VERSION);
        Self { writer, before: Before::default() }
    }

    /// Entries come in the order of their numbers, each number once.
    pub fn push(&mut self, entry: &Entry) {
        let number = entry.number.0;
        assert!(number >= self.before.number, "entry {number} is out of order");
        assert!(number < NUMBER_LIMIT, "entry {number} is beyond the index");
        let distance = (number - self.before.number) << KIND_BITS;
        self.before.number = number + 1;
        let fingerprint = entry.fingerprint.0;
        match entry.change {
            Change::Gone => {
                self.writer.varint(distance | GONE);
                self.writer.u64(fingerprint);
            }
            Change::Stored { place, stored_len } => {
                assert!(stored_len < STORED_LEN_LIMIT, "stored length {stored_len}");
                if self.before.next_place() == Some(place) {
                    self.writer.varint(distance | NEXT);
                    self.writer.u64(fingerprint);
                } else {
                    self.writer.varint(distance | ELSEWHERE);
                    self.writer.u64(fingerprint);
                    self.writer.u32(place.container);
                    self.writer.u16(place.run_block);
                    self.writer.u16(place.ordinal);
                }
                let [low, middle, high, _] = stored_len.to_le_bytes();
                self.writer.raw(&[low, middle, high]);
                self.before.place = Some(place);
            }
        }
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.writer.len()
    }

    /// Whether no entry was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.before.number == 0
    }

    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.writer.finish()
    }
}

impl Default for SegmentWriter {
    fn default() -> Self {
        Self::new()
    }
}

/// Reads one segment, entry by entry; ends after the first error. Allocates nothing.
#[derive(Debug)]
pub struct SegmentReader<'a> {
    reader: Reader<'a>,
    before: Before,
    failed: bool,
}

impl<'a> SegmentReader<'a> {
    pub fn new(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let version = reader.u8()?;
        if version != VERSION {
            return Err(reader.undefined("index segment version", u64::from(version)));
        }
        Ok(Self { reader, before: Before::default(), failed: false })
    }

    fn entry(&mut self) -> Result<Entry, DecodeError> {
        let head = self.reader.varint()?;
        let number = (head >> KIND_BITS)
            .checked_add(self.before.number)
            .filter(|number| *number < NUMBER_LIMIT)
            .ok_or_else(|| self.reader.undefined("distance of chunk numbers", head))?;
        let kind = head & ((1 << KIND_BITS) - 1);
        let fingerprint = Fingerprint(self.reader.u64()?);
        let change = match kind {
            GONE => Change::Gone,
            NEXT => {
                let next = self.before.next_place();
                self.stored(next.ok_or_else(|| self.reader.undefined("entry kind", kind))?)?
            }
            ELSEWHERE => {
                let place = self.place()?;
                // Written in full although a bit would have said it: not our writer's bytes.
                if self.before.next_place() == Some(place) {
                    return Err(self.reader.undefined("entry kind", kind));
                }
                self.stored(place)?
            }
            kind => return Err(self.reader.undefined("entry kind", kind)),
        };
        self.before.number = number + 1;
        Ok(Entry { number: ChunkNumber(number), fingerprint, change })
    }

    fn place(&mut self) -> Result<Place, DecodeError> {
        Ok(Place {
            container: self.reader.u32()?,
            run_block: self.reader.u16()?,
            ordinal: self.reader.u16()?,
        })
    }

    fn stored(&mut self, place: Place) -> Result<Change, DecodeError> {
        let [low, middle, high] = self.reader.array()?;
        self.before.place = Some(place);
        Ok(Change::Stored { place, stored_len: u32::from_le_bytes([low, middle, high, 0]) })
    }
}

impl Iterator for SegmentReader<'_> {
    type Item = Result<Entry, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed || self.reader.is_at_end() {
            return None;
        }
        let entry = self.entry();
        self.failed = entry.is_err();
        Some(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::model::Seeded;

    fn entries(random: &mut Seeded, count: usize, spread: u64) -> Vec<Entry> {
        let (mut number, mut place) = (0, Place { container: 9, run_block: 1, ordinal: 0 });
        let mut entries = Vec::new();
        for _ in 0..count {
            number += 1 + random.below(spread);
            place.ordinal = place.ordinal.wrapping_add(1);
            if random.below(60) == 0 {
                place.ordinal = random.next() as u16;
                place.run_block = random.next() as u16;
                place.container = random.next() as u32;
            }
            let stored_len = random.below(u64::from(STORED_LEN_LIMIT)) as u32;
            let gone = random.below(10) == 0;
            let change = if gone { Change::Gone } else { Change::Stored { place, stored_len } };
            let fingerprint = Fingerprint(random.next());
            entries.push(Entry { number: ChunkNumber(number), fingerprint, change });
        }
        entries
    }

    fn write(entries: &[Entry]) -> Vec<u8> {
        let mut writer = SegmentWriter::new();
        entries.iter().for_each(|entry| writer.push(entry));
        assert_eq!(writer.is_empty(), entries.is_empty());
        writer.finish()
    }

    fn read(bytes: &[u8]) -> Result<Vec<Entry>, DecodeError> {
        SegmentReader::new(bytes)?.collect()
    }

    #[test]
    fn entries_come_back() {
        for seed in 0..50 {
            let spread = [1, 2, 100, 1 << 30][seed as usize % 4];
            let entries = entries(&mut Seeded::new(seed), 200, spread);
            assert_eq!(read(&write(&entries)), Ok(entries), "seed {seed}");
        }
        assert_eq!(read(&write(&[])), Ok(vec![]));
    }

    /// The bytes of version 1.
    #[test]
    fn the_encoding_is_pinned() {
        let stored = |number, ordinal| Entry {
            number: ChunkNumber(number),
            fingerprint: Fingerprint(0x0807060504030201),
            change: Change::Stored {
                place: Place { container: 3, run_block: 300, ordinal },
                stored_len: 5,
            },
        };
        let gone = Entry { change: Change::Gone, ..stored(130, 0) };
        let mut expected = vec![1];
        // 64 << 2 | ELSEWHERE, fingerprint, container, run block, ordinal, length.
        expected.extend([0x81, 2, 1, 2, 3, 4, 5, 6, 7, 8, 3, 0, 0, 0, 44, 1, 7, 0, 5, 0, 0]);
        expected.extend([0, 1, 2, 3, 4, 5, 6, 7, 8, 5, 0, 0]);
        expected.extend([0x82, 2, 1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(write(&[stored(64, 7), stored(65, 8), gone]), expected);
    }

    #[test]
    fn an_entry_takes_at_most_24_bytes_on_average() {
        // The costliest there is: numbers as far apart as they can be, no chunk beside another.
        let (mut random, count) = (Seeded::new(1), 200);
        let place = Place { container: u32::MAX, run_block: u16::MAX, ordinal: u16::MAX };
        let costly = |at: u64| Entry {
            number: ChunkNumber(at * (NUMBER_LIMIT / count)),
            fingerprint: Fingerprint(u64::MAX),
            change: Change::Stored { place, stored_len: STORED_LEN_LIMIT - 1 },
        };
        let worst = write(&(0..count).map(costly).collect::<Vec<_>>());
        assert!(worst.len() as u64 <= 24 * count, "{} bytes", worst.len());
        let usual = write(&entries(&mut random, 10_000, 2));
        assert!(usual.len() < 13 * 10_000, "{} bytes", usual.len());
    }

    #[test]
    fn bytes_that_were_not_written_are_refused() {
        let mut random = Seeded::new(4);
        let bytes = write(&entries(&mut random, 100, 3));
        for _ in 0..20_000 {
            let mut changed = bytes.clone();
            let at = random.below(bytes.len() as u64) as usize;
            match random.below(3) {
                0 => changed.truncate(at),
                1 => changed[at] = random.next() as u8,
                _ => drop(changed.splice(at..at, random.next().to_le_bytes())),
            }
            // Nothing panics, and what is accepted is what would have been written.
            if let Ok(entries) = read(&changed) {
                assert_eq!(write(&entries), changed);
            }
        }
        assert!(read(&[]).is_err() && read(&[2]).is_err());
    }
}
