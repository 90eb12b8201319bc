//! A local file for each index object: its entries by id, in blocks that prove themselves, and a tail
//! with everything that is kept in memory. Never flushed: what a crash leaves of it does not prove
//! itself, and is made again from the vault.
//!
//! Blocks of 4,096 bytes: 56 rows, 16 bytes of checksum, zeros. Tail: [`RawTail`], pools, objects with
//! their counts, first eight bytes of the first id of each block, filter, numbers of each pool. The last
//! 24 bytes of the file are the tail's length and checksum.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use roaring::RoaringTreemap;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::filter::Filter;
use super::row::{Entry, ROW_LEN, RawRow};
use crate::format::ObjectRef;
use crate::mutants::{Mutant, keeps};
use crate::units::PoolId;

const BLOCK_LEN: usize = 4096;
pub(super) const BLOCK_ROWS: usize = 56;
const ROWS_LEN: usize = BLOCK_ROWS * ROW_LEN;
const CHECK_LEN: usize = 16;
const END_LEN: usize = 8 + CHECK_LEN;
const MAGIC: u32 = u32::from_le_bytes(*b"KHVL");
const VERSION: u16 = 1;
const _: () = assert!(ROWS_LEN + CHECK_LEN <= BLOCK_LEN);

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawTail {
    magic: U32,
    version: U16,
    pool_count: U16,
    /// The index object that all of this was made from.
    index: [u8; ObjectRef::ROW_LEN],
    row_count: U64,
    object_count: U32,
    filter_len: U32,
}

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawObject {
    row: [u8; ObjectRef::ROW_LEN],
    chunks: U32,
    bytes: U64,
}

/// An object that entries of a file lie in, and how much of it they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Held {
    pub object: ObjectRef,
    pub chunks: u32,
    pub bytes: u64,
}

/// A file that is open: its rows are on disk, the rest is here.
#[derive(Debug)]
pub(super) struct IdFile {
    pub index: ObjectRef,
    file: File,
    row_count: u64,
    pub pools: Vec<PoolId>,
    pub objects: Vec<ObjectRef>,
    pub held: Vec<Held>,
    firsts: Vec<[u8; 8]>,
    filter: Filter,
    pub numbers: Vec<RoaringTreemap>,
}

fn check(what: u64, bytes: &[u8]) -> [u8; CHECK_LEN] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&what.to_le_bytes()).update(bytes);
    let mut check = [0; CHECK_LEN];
    check.copy_from_slice(&hasher.finalize().as_bytes()[..CHECK_LEN]);
    check
}

fn first_of(id: &[u8; 32]) -> [u8; 8] {
    id.first_chunk().copied().expect("an id is longer")
}

/// A table in order of first use.
struct Places<T>(Vec<T>, std::collections::HashMap<T, usize>);

impl<T: Copy + Eq + std::hash::Hash> Places<T> {
    fn place(&mut self, thing: T) -> usize {
        let next = self.0.len();
        let place = *self.1.entry(thing).or_insert(next);
        if place == next {
            self.0.push(thing);
        }
        place
    }
}

/// Writes the file of an index object. It counts once it is renamed to its name.
pub(super) fn write(
    path: &Path,
    index: &ObjectRef,
    entries: impl Iterator<Item = Entry>,
) -> io::Result<()> {
    let mut pools = Places(Vec::<PoolId>::new(), Default::default());
    let mut objects = Places(Vec::<ObjectRef>::new(), Default::default());
    let (mut numbers, mut counts) = (Vec::<RoaringTreemap>::new(), Vec::<(u32, u64)>::new());
    let mut rows: Vec<RawRow> = entries
        .map(|entry| {
            let pool = pools.place(entry.pool);
            let object = objects.place(entry.place.object);
            numbers.resize_with(pools.0.len(), RoaringTreemap::new);
            counts.resize(objects.0.len(), (0, 0));
            numbers[pool].insert(entry.number);
            let row = RawRow::new(&entry, pool as u16, object as u32);
            counts[object].0 += 1;
            counts[object].1 += row.stored_share();
            row
        })
        .collect();
    rows.sort_unstable_by_key(|row| row.id);
    let mut filter = Filter::for_count(rows.len());
    rows.iter().for_each(|row| filter.insert(&row.id));

    let mut out = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let salt = [U64::new(rows.len() as u64).as_bytes(), &index.check[..]].concat();
    for (at, rows) in (0u64..).zip(rows.chunks(BLOCK_ROWS)) {
        let mut block = [0; BLOCK_LEN];
        block[..rows.len() * ROW_LEN].copy_from_slice(rows.as_bytes());
        let sum = check(at, &[&block[..ROWS_LEN], &salt].concat());
        block[ROWS_LEN..ROWS_LEN + CHECK_LEN].copy_from_slice(&sum);
        out.write_all(&block)?;
    }
    let tail = RawTail {
        magic: U32::new(MAGIC),
        version: U16::new(VERSION),
        pool_count: U16::new(pools.0.len() as u16),
        index: index.to_row(),
        row_count: U64::new(rows.len() as u64),
        object_count: U32::new(objects.0.len() as u32),
        filter_len: U32::new(filter.bytes.len() as u32),
    };
    let mut bytes = tail.as_bytes().to_vec();
    pools.0.iter().for_each(|pool| bytes.extend_from_slice(&pool.0));
    for (object, (chunks, held)) in objects.0.iter().zip(&counts) {
        let (row, chunks, held) = (object.to_row(), U32::new(*chunks), U64::new(*held));
        bytes.extend_from_slice(RawObject { row, chunks, bytes: held }.as_bytes());
    }
    rows.chunks(BLOCK_ROWS).for_each(|rows| bytes.extend_from_slice(&first_of(&rows[0].id)));
    bytes.extend_from_slice(&filter.bytes);
    for numbers in &numbers {
        numbers.serialize_into(&mut bytes)?;
    }
    out.write_all(&bytes)?;
    out.write_all(&(bytes.len() as u64).to_le_bytes())?;
    out.write_all(&check(u64::MAX, &bytes))?;
    out.flush()
}

fn take<'a, T>(bytes: &mut &'a [u8], count: usize) -> Option<&'a [T]>
where
    T: FromBytes + Immutable + KnownLayout + Unaligned,
{
    let (rows, rest) = <[T]>::ref_from_prefix_with_elems(bytes, count).ok()?;
    *bytes = rest;
    Some(rows)
}

impl IdFile {
    /// `None` if it is not there, or not what was written for this index object.
    pub fn open(path: &Path, index: &ObjectRef) -> Option<Self> {
        let file = File::open(path).ok()?;
        let len = file.metadata().ok()?.len();
        let mut end = [0; END_LEN];
        file.read_exact_at(&mut end, len.checked_sub(END_LEN as u64)?).ok()?;
        let (tail_len, sum) = end.split_first_chunk::<8>()?;
        let tail_len = u64::from_le_bytes(*tail_len);
        let at = len.checked_sub(END_LEN as u64)?.checked_sub(tail_len)?;
        let mut tail = vec![0; usize::try_from(tail_len).ok()?];
        file.read_exact_at(&mut tail, at).ok()?;
        if sum != check(u64::MAX, &tail) && keeps(Mutant::LocalCheck) {
            return None;
        }
        Self::from_tail(file, index, &tail, at)
    }

    fn from_tail(file: File, index: &ObjectRef, tail: &[u8], blocks_len: u64) -> Option<Self> {
        let mut rest = tail;
        let head = take::<RawTail>(&mut rest, 1)?[0];
        let is_ours = head.magic.get() == MAGIC && head.version.get() == VERSION;
        if !is_ours || head.index != index.to_row() {
            return None;
        }
        let row_count = head.row_count.get();
        let block_count = row_count.div_ceil(BLOCK_ROWS as u64);
        if block_count.checked_mul(BLOCK_LEN as u64)? != blocks_len {
            return None;
        }
        let pools = take::<[u8; 16]>(&mut rest, head.pool_count.get().into())?;
        let held = take::<RawObject>(&mut rest, head.object_count.get() as usize)?;
        let firsts = take::<[u8; 8]>(&mut rest, block_count as usize)?;
        let filter = take::<u8>(&mut rest, head.filter_len.get() as usize)?;
        let mut numbers = Vec::with_capacity(pools.len());
        for _ in pools {
            numbers.push(RoaringTreemap::deserialize_from(&mut rest).ok()?);
        }
        let held = held
            .iter()
            .map(|raw| {
                let object = ObjectRef::from_row(&raw.row).ok()?;
                Some(Held { object, chunks: raw.chunks.get(), bytes: raw.bytes.get() })
            })
            .collect::<Option<Vec<_>>>()?;
        Some(Self {
            index: *index,
            file,
            row_count,
            pools: pools.iter().map(|pool| PoolId(*pool)).collect(),
            objects: held.iter().map(|held| held.object).collect(),
            held,
            firsts: firsts.to_vec(),
            filter: Filter { bytes: filter.to_vec() },
            numbers,
        })
    }

    pub fn row_count(&self) -> u64 {
        self.row_count
    }

    pub fn block_count(&self) -> usize {
        self.firsts.len()
    }

    /// Bytes it keeps in memory.
    pub fn resident(&self) -> usize {
        let numbers: usize = self.numbers.iter().map(RoaringTreemap::serialized_size).sum();
        let objects = self.objects.len() * (size_of::<ObjectRef>() + size_of::<Held>());
        self.filter.bytes.len() + self.firsts.len() * 8 + objects + numbers
    }

    /// The rows of a block, if it is what was written.
    pub fn block(&self, at: usize) -> Option<Vec<RawRow>> {
        let mut block = [0; BLOCK_LEN];
        self.file.read_exact_at(&mut block, (at * BLOCK_LEN) as u64).ok()?;
        let salt = [U64::new(self.row_count).as_bytes(), &self.index.check[..]].concat();
        let sum = check(at as u64, &[&block[..ROWS_LEN], &salt].concat());
        if block[ROWS_LEN..ROWS_LEN + CHECK_LEN] != sum && keeps(Mutant::LocalCheck) {
            return None;
        }
        let left = self.row_count as usize - at * BLOCK_ROWS;
        let mut rest = &block[..];
        Some(take::<RawRow>(&mut rest, left.min(BLOCK_ROWS))?.to_vec())
    }

    /// Looks for ids that stand in ascending order; calls back for each that is here. `None` if the file
    /// is damaged.
    pub fn find<'a>(
        &self,
        ids: impl Iterator<Item = (usize, &'a [u8; 32])>,
        mut found: impl FnMut(usize, Entry),
    ) -> Option<()> {
        let mut read: Option<(usize, Vec<RawRow>)> = None;
        for (which, id) in ids.filter(|(_, id)| self.filter.may_have(id)) {
            let first = first_of(id);
            // Several blocks can begin with the same bytes.
            let mut at = self.firsts.partition_point(|block| *block < first).saturating_sub(1);
            while self.firsts.get(at).is_some_and(|block| *block <= first) {
                if read.as_ref().is_none_or(|(block, _)| *block != at) {
                    read = Some((at, self.block(at)?));
                }
                let (_, rows) = read.as_ref()?;
                if let Some(row) = rows.iter().find(|row| is_meant(&row.id, id)) {
                    found(which, row.entry(&self.pools, &self.objects)?);
                    break;
                }
                at += 1;
            }
        }
        Some(())
    }
}

fn is_meant(found: &[u8; 32], id: &[u8; 32]) -> bool {
    if keeps(Mutant::WholeId) { found == id } else { found[..16] == id[..16] }
}
