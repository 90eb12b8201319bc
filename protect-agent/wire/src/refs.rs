//! Sets of references and ordinals as runs, and the three messages that answer offers.
//!
//! Every chunk reference of a job has a number: 0, 1, 2 … in the order in which they stand in the
//! `Items` messages. Nothing on the wire repeats an id to say what is wanted or sent.

use bytes::Bytes;
use keelhold_chunk::{DecodeError, Reader, Writer};

use crate::field::{Field, codes, fields};
use crate::limits::{BODY_LEN_MAX, FRAME_CHUNK_COUNT_MAX, FRAME_PLAIN_LEN_MAX, RUN_COUNT_MAX};

/// `count` consecutive numbers from `first`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    pub first: u64,
    pub count: u64,
}

/// Ascending numbers as runs that neither touch nor overlap: equal sets are equal values.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Runs {
    runs: Vec<Run>,
}

impl Runs {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a number above all that are in. Lower ones are ignored and reported by `false`.
    pub fn push(&mut self, number: u64) -> bool {
        self.push_run(number, 1)
    }

    /// Adds `count` numbers above all that are in; false if they are not, or beyond 64 bits.
    pub fn push_run(&mut self, first: u64, count: u64) -> bool {
        if count == 0 || first.checked_add(count).is_none() || first < self.end() {
            return false;
        }
        match self.runs.last_mut() {
            Some(last) if last.first + last.count == first => last.count += count,
            _ => self.runs.push(Run { first, count }),
        }
        true
    }

    /// One more than the highest number, 0 when empty.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.runs.last().map_or(0, |run| run.first + run.count)
    }

    #[must_use]
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// How many numbers are in.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.runs.iter().map(|run| run.count).sum()
    }

    #[must_use]
    pub fn contains(&self, number: u64) -> bool {
        let after = self.runs.partition_point(|run| run.first <= number);
        after
            .checked_sub(1)
            .and_then(|at| self.runs.get(at))
            .is_some_and(|run| number - run.first < run.count)
    }

    pub fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        self.runs.iter().flat_map(|run| run.first..run.first + run.count)
    }
}

impl FromIterator<u64> for Runs {
    /// Keeps the ascending part of `numbers`.
    fn from_iter<I: IntoIterator<Item = u64>>(numbers: I) -> Self {
        let mut runs = Self::new();
        for number in numbers {
            runs.push(number);
        }
        runs
    }
}

impl Field for Runs {
    fn put(&self, writer: &mut Writer) {
        writer.varint(self.runs.len() as u64);
        let mut end = 0;
        for run in &self.runs {
            writer.varint(run.first - end);
            writer.varint(run.count);
            end = run.first + run.count;
        }
    }

    fn take(reader: &mut Reader<'_>, _body: &Bytes) -> Result<Self, DecodeError> {
        let count = reader.count(RUN_COUNT_MAX)?;
        let mut runs = Self::new();
        for at in 0..count {
            let gap = reader.varint()?;
            let len = reader.varint()?;
            let first = runs.end().checked_add(gap);
            if (at > 0 && gap == 0) || !first.is_some_and(|first| runs.push_run(first, len)) {
                return Err(reader.undefined("run of numbers", gap));
            }
        }
        Ok(runs)
    }
}

/// Answers every reference below `upto` that was not answered yet: those in `wanted` must be sent,
/// the others must not. A reference to an id that was already asked for in this job is not wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Want {
    pub job: u64,
    pub upto: u64,
    pub wanted: Runs,
}

fields!(Want { job, upto, wanted });

/// How the stored bytes of a frame were made of its plain bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    Raw,
    /// LZ4 block, no length in front.
    Lz4,
    /// One Zstandard frame.
    Zstd,
}

codes!(Codec, "codec" { Raw = 0, Lz4 = 1, Zstd = 2 });

/// Wanted chunks, one behind the other in the order of `refs`, compressed as one piece.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub job: u64,
    pub codec: Codec,
    pub plain_len: u32,
    pub refs: Runs,
    pub stored: Bytes,
}

impl Field for Frame {
    fn put(&self, writer: &mut Writer) {
        self.job.put(writer);
        self.codec.put(writer);
        self.plain_len.put(writer);
        self.refs.put(writer);
        writer.bytes(&self.stored);
    }

    fn take(reader: &mut Reader<'_>, body: &Bytes) -> Result<Self, DecodeError> {
        let job = u64::take(reader, body)?;
        let codec = Codec::take(reader, body)?;
        let plain_len = u32::take(reader, body)?;
        if plain_len == 0 || plain_len as usize > FRAME_PLAIN_LEN_MAX {
            return Err(reader.undefined("plain length of a frame", u64::from(plain_len)));
        }
        let refs = Runs::take(reader, body)?;
        // Each run is below 2^64, their sum need not be.
        let count = refs.runs.iter().fold(0u64, |sum, run| sum.saturating_add(run.count));
        if count == 0 || count > FRAME_CHUNK_COUNT_MAX as u64 {
            return Err(reader.undefined("chunk count of a frame", count));
        }
        let stored = body.slice_ref(reader.bytes(BODY_LEN_MAX)?);
        Ok(Self { job, codec, plain_len, refs, stored })
    }
}

/// What the receiver has dealt with since the job began. Both only grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Credit {
    pub job: u64,
    /// Every `Items` message up to this one is kept: its chunks have arrived, its bytes are no
    /// longer held.
    pub items_seq: u64,
    /// Sum of the body lengths of all `Frame` messages dealt with.
    pub frame_bytes: u64,
}

fields!(Credit { job, items_seq, frame_bytes });

#[cfg(test)]
mod tests {
    use super::*;

    fn round(runs: &Runs) -> Runs {
        let mut writer = Writer::new();
        runs.put(&mut writer);
        let body = Bytes::from(writer.finish());
        let mut reader = Reader::new(&body);
        let back = Runs::take(&mut reader, &body).unwrap();
        reader.finish().unwrap();
        back
    }

    #[test]
    fn equal_sets_are_equal_runs() {
        let runs: Runs = [0, 1, 2, 7, 8, u64::MAX - 1].into_iter().collect();
        assert_eq!(runs.runs().len(), 3);
        assert_eq!(runs.count(), 6);
        assert_eq!(round(&runs), runs);
        assert_eq!(runs.iter().collect::<Vec<_>>(), [0, 1, 2, 7, 8, u64::MAX - 1]);
        assert!([0, 2, 7, 8].iter().all(|number| runs.contains(*number)));
        assert!(![3, 6, 9, u64::MAX].iter().any(|number| runs.contains(*number)));
        assert_eq!(round(&Runs::new()), Runs::new());
    }

    #[test]
    fn touching_overlapping_and_endless_runs_are_refused() {
        for numbers in [&[2, 0, 1, 0, 1][..], &[1, 5, 0], &[2, u64::MAX - 2, 1, 1, 5]] {
            let mut writer = Writer::new();
            numbers.iter().for_each(|number| writer.varint(*number));
            let body = Bytes::from(writer.finish());
            assert!(Runs::take(&mut Reader::new(&body), &body).is_err(), "{numbers:?}");
        }
    }
}
