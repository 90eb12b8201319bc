//! Sheets: the way from fingerprint to number on the disks, sorted by fingerprint.
//!
//! A sheet is a list of leaves, each read by itself; in memory stand where each begins and a
//! **sieve** in front of it. The sieve has each fingerprint of a leaf, its place scaled to so many
//! buckets as a leaf has rows: bucket by bucket so many ones and a zero, and of the rest of the place
//! eight or sixteen bits. It never holds back what is there, and lets through one of 256 (or 65,536)
//! of what is not.
//!
//! What a sheet says is true for ever, since a number never names another chunk: sheets are joined in
//! any order, and who died is told by the way from number to slot.

use std::fmt;

use super::Fingerprint;
use crate::units::ChunkNumber;

/// Fingerprint and number.
pub type Row = (Fingerprint, ChunkNumber);

/// Bytes of a row: the fingerprint, lowest byte first from the highest down, and 40 bits of number.
pub const ROW_LEN: usize = 13;
/// Rows of a leaf; fewer where budgets are small.
pub(super) const LEAF_ROWS: usize = 1024;

pub struct Sheet {
    leaf_rows: usize,
    rows: usize,
    /// First fingerprint of each leaf.
    starts: Box<[u64]>,
    last: u64,
    sieve: Sieve,
}

impl Sheet {
    /// `rows` in order, at least one. `sharp`: let through fewer, for twice the memory.
    #[must_use]
    pub fn new(rows: &[Row], leaf_rows: usize, sharp: bool) -> Self {
        let starts = rows.chunks(leaf_rows).map(|leaf| leaf[0].0.0).collect();
        let last = rows.last().map_or(0, |(fingerprint, _)| fingerprint.0);
        let mut sheet =
            Self { leaf_rows, rows: rows.len(), starts, last, sieve: Sieve::new(leaf_rows, sharp) };
        for (at, leaf) in rows.chunks(leaf_rows).enumerate() {
            let (first, end) = sheet.bounds(at);
            sheet.sieve.add(leaf, first, end);
        }
        sheet.sieve.shrink();
        sheet
    }

    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows as u64
    }

    #[must_use]
    pub fn first(&self) -> u64 {
        self.starts[0]
    }

    #[must_use]
    pub fn last(&self) -> u64 {
        self.last
    }

    #[must_use]
    pub fn leaves(&self) -> usize {
        self.starts.len()
    }

    /// Bytes of one leaf but the last.
    #[must_use]
    pub fn leaf_len(&self) -> usize {
        self.leaf_rows * ROW_LEN
    }

    /// Leaves that may have the fingerprint.
    pub fn leaves_with(&self, fingerprint: Fingerprint) -> impl Iterator<Item = usize> + '_ {
        let wanted = fingerprint.0;
        // Equal ones may stand on both sides of a border.
        let from = self.starts.partition_point(|start| *start < wanted).saturating_sub(1);
        let to = self.starts.partition_point(|start| *start <= wanted);
        let to = if wanted > self.last { from } else { to };
        (from..to).filter(move |leaf| {
            let (first, end) = self.bounds(*leaf);
            self.sieve.may_have(*leaf, fingerprint.0, first, end, self.leaf_count(*leaf))
        })
    }

    #[must_use]
    pub fn bytes_used(&self) -> usize {
        size_of::<Self>() + self.starts.len() * size_of::<u64>() + self.sieve.bytes_used()
    }

    fn leaf_count(&self, leaf: usize) -> usize {
        self.leaf_rows.min(self.rows - leaf * self.leaf_rows)
    }

    /// First fingerprint of a leaf, and of the next or the last of all.
    fn bounds(&self, leaf: usize) -> (u64, u64) {
        (self.starts[leaf], self.starts.get(leaf + 1).copied().unwrap_or(self.last))
    }
}

impl fmt::Debug for Sheet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sheet of {} rows", self.rows)
    }
}

/// What fits on the disk for these rows.
#[must_use]
pub fn encode_rows(rows: &[Row]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(rows.len() * ROW_LEN);
    for (fingerprint, number) in rows {
        bytes.extend_from_slice(&fingerprint.0.to_le_bytes());
        bytes.extend_from_slice(&number.0.to_le_bytes()[..ROW_LEN - 8]);
    }
    bytes
}

/// Rows of a leaf or of several; a part of a row at the end is none.
pub fn decode_rows(bytes: &[u8]) -> impl Iterator<Item = Row> + '_ {
    bytes.chunks_exact(ROW_LEN).map(|row| {
        let (mut fingerprint, mut number) = ([0; 8], [0; 8]);
        fingerprint.copy_from_slice(&row[..8]);
        number[..ROW_LEN - 8].copy_from_slice(&row[8..]);
        (Fingerprint(u64::from_le_bytes(fingerprint)), ChunkNumber(u64::from_le_bytes(number)))
    })
}

struct Sieve {
    buckets: usize,
    /// Bytes per row.
    width: usize,
    lows: Vec<u8>,
    /// Of each leaf `words` words: for each row a one, after each bucket a zero.
    highs: Vec<u64>,
}

impl Sieve {
    fn new(buckets: usize, sharp: bool) -> Self {
        Self { buckets, width: if sharp { 2 } else { 1 }, lows: Vec::new(), highs: Vec::new() }
    }

    fn words(&self) -> usize {
        (2 * self.buckets).div_ceil(u64::BITS as usize)
    }

    /// Bucket and rest of a fingerprint between `first` and `end`.
    fn place(&self, fingerprint: u64, first: u64, end: u64) -> (usize, u64) {
        let bits = 8 * self.width;
        let of = u128::from(end - first) + 1;
        let scaled = u128::from(fingerprint - first) * ((self.buckets as u128) << bits) / of;
        ((scaled >> bits) as usize, scaled as u64 & ((1 << bits) - 1))
    }

    fn add(&mut self, leaf: &[Row], first: u64, end: u64) {
        let start = self.highs.len();
        self.highs.resize(start + self.words(), 0);
        for (at, (fingerprint, _)) in leaf.iter().enumerate() {
            let (bucket, low) = self.place(fingerprint.0, first, end);
            let bit = bucket + at;
            self.highs[start + bit / 64] |= 1 << (bit % 64);
            self.lows.extend_from_slice(&low.to_le_bytes()[..self.width]);
        }
    }

    fn may_have(&self, leaf: usize, wanted: u64, first: u64, end: u64, count: usize) -> bool {
        if !(first..=end).contains(&wanted) {
            return false;
        }
        let (bucket, low) = self.place(wanted, first, end);
        let words = &self.highs[leaf * self.words()..(leaf + 1) * self.words()];
        let start = if bucket == 0 { 0 } else { nth_zero(words, bucket - 1) + 1 };
        let lows = &self.lows[leaf * self.buckets * self.width..];
        let ones =
            (start..2 * self.buckets).take_while(|bit| words[bit / 64] >> (bit % 64) & 1 == 1);
        ones.map(|bit| bit - bucket)
            .take_while(|at| *at < count)
            .any(|at| lows[at * self.width..][..self.width] == low.to_le_bytes()[..self.width])
    }

    fn shrink(&mut self) {
        self.lows.shrink_to_fit();
        self.highs.shrink_to_fit();
    }

    fn bytes_used(&self) -> usize {
        self.lows.capacity() + self.highs.capacity() * size_of::<u64>()
    }
}

/// Where the `n`th zero stands, counted from 0.
fn nth_zero(words: &[u64], n: usize) -> usize {
    let mut left = n;
    for (at, word) in words.iter().enumerate() {
        let zeros = word.count_zeros() as usize;
        if left < zeros {
            let mut rest = !word;
            for _ in 0..left {
                rest &= rest - 1;
            }
            return at * 64 + rest.trailing_zeros() as usize;
        }
        left -= zeros;
    }
    words.len() * 64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::model::Seeded;

    fn rows(random: &mut Seeded, count: usize, spread: u32) -> Vec<Row> {
        let mut rows: Vec<Row> = (0..count)
            .map(|_| (Fingerprint(random.next() >> spread), ChunkNumber(random.below(1 << 40))))
            .collect();
        rows.sort_unstable();
        rows
    }

    #[test]
    fn rows_come_back() {
        let rows = rows(&mut Seeded::new(1), 300, 0);
        assert!(decode_rows(&encode_rows(&rows)).eq(rows.iter().copied()));
        let row = (Fingerprint(0x0807060504030201), ChunkNumber(0x0d0c0b0a09));
        assert_eq!(encode_rows(&[row]), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13]);
    }

    #[test]
    fn what_is_there_is_never_held_back() {
        for seed in 0..60 {
            let mut random = Seeded::new(seed);
            let count = 1 + random.below(400) as usize;
            let spread = [0, 20, 50, 58, 63][seed as usize % 5];
            let rows = rows(&mut random, count, spread);
            let leaf_rows = 1 + random.below(70) as usize;
            for sharp in [false, true] {
                let sheet = Sheet::new(&rows, leaf_rows, sharp);
                for (at, (fingerprint, _)) in rows.iter().enumerate() {
                    let wanted = at / leaf_rows;
                    let found = sheet.leaves_with(*fingerprint).any(|leaf| leaf == wanted);
                    assert!(found, "seed {seed}");
                }
            }
        }
    }

    #[test]
    fn what_is_not_there_is_seldom_let_through() {
        let mut random = Seeded::new(3);
        let rows = rows(&mut random, 20_000, 0);
        for (sharp, most) in [(false, 500), (true, 10)] {
            let sheet = Sheet::new(&rows, LEAF_ROWS, sharp);
            let through = (0..100_000)
                .filter(|_| sheet.leaves_with(Fingerprint(random.next())).next().is_some())
                .count();
            println!("{through} of 100,000, {} bytes", sheet.bytes_used());
            assert!(through < most);
        }
        let sheet = Sheet::new(&rows, LEAF_ROWS, false);
        assert!(sheet.bytes_used() * 8 < 11 * rows.len());
    }
}
