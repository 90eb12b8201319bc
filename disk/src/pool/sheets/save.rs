//! Making sheets, as part of a checkpoint: what came since the last one becomes a sheet, and sheets
//! are joined a few at a time. Nothing of it is in force before the root that names it is durable.

use std::rc::Rc;

use roaring::RoaringTreemap;

use super::{Inner, Work};
use crate::device::Device;
use crate::error::{CommitError, ReadError};
use crate::format::{BlobRef, Codec, Purpose};
use crate::index::levels::{Levels, Placed, Sizes, Step};
use crate::index::segment::{Change, Entry, SegmentReader};
use crate::index::sheet::{ROW_LEN, Row, Sheet, decode_rows, encode_rows};
use crate::mutants::Mutant;
use crate::pool::run::RunParts;
use crate::pool::tables::Tables;
use crate::units::{ChunkNumber, DomainId, SessionId};

/// Rows that one checkpoint joins, or one step more: the next one goes on. Some 15 MB are read and twice
/// as many written.
const JOINED_MAX: u64 = 1 << 20;
/// Sheets are written anew for their dead rows alone when one of so many is dead.
const DEAD_MOST: u64 = 4;
/// Rows that are sorted in memory when sheets are made from segments, unless the segments would have
/// to be read more often than this.
const SORTED_MAX: u64 = 1 << 20;
const PASSES_MAX: u64 = 64;

/// What memory changes to when the root is durable.
#[derive(Default)]
pub(in crate::pool) struct Saved {
    /// None while the index is in memory.
    levels: Option<Levels>,
    /// Numbers that memory need not lead to any more.
    covered: RoaringTreemap,
    /// Dead numbers that stand in no sheet any more.
    purged: RoaringTreemap,
    /// Rows for which there was no room.
    left: Vec<Row>,
    refreshed_to: u64,
    /// Sheets could not be made: the index stays as it is until the pool is opened again.
    failed: bool,
}

impl Saved {
    /// As the root has them.
    pub(in crate::pool) fn rows(&self) -> Vec<(u64, BlobRef)> {
        let sheets = self.levels.iter().flat_map(Levels::iter);
        sheets.map(|(level, placed)| (level as u64, (*placed.blob).clone())).collect()
    }
}

impl Tables {
    /// Whether the index grew so much that a checkpoint is due for it.
    pub(in crate::pool) fn wants_sheets(&self, sizes: &Sizes) -> bool {
        match self.index.is_bounded() {
            true => self.unsaved.len() > sizes.fresh,
            false => self.index.len() > sizes.budget && !self.sheets_failed,
        }
    }

    /// Rows that no sheet has and a segment soon will.
    pub(in crate::pool) fn fresh_rows(&self) -> Vec<Row> {
        let unsaved = self.unsaved.iter().filter(|entry| {
            matches!(entry.change, Change::Stored { .. })
                && self.index.is_in_memory(entry.fingerprint, entry.number)
        });
        let unsaved = unsaved.map(|entry| (entry.fingerprint, entry.number));
        let mut rows: Vec<Row> = self.unsheeted.iter().copied().chain(unsaved).collect();
        rows.sort_unstable();
        rows.dedup();
        rows
    }

    /// The root that names what was saved is durable.
    pub(in crate::pool) fn sheets_saved(&mut self, saved: Saved) {
        self.sheets_failed |= saved.failed;
        let Some(levels) = saved.levels else { return };
        let was_bounded = self.index.is_bounded();
        self.index.put_in_sheets(levels, &saved.covered, &saved.purged);
        self.unsheeted = saved.left;
        self.refreshed_to = saved.refreshed_to;
        self.sheets_are_whole |= !saved.failed;
        if !was_bounded {
            // Lengths are rounded from now on.
            let dead = std::mem::take(&mut self.dead);
            self.count_shares();
            self.set_dead(dead);
        }
    }
}

impl<D: Device, W: Work> Inner<D, W> {
    /// `segments` hold everything that the state being saved knows; `fresh` is what no sheet has.
    pub(in crate::pool) async fn save_sheets(
        &self,
        segments: &[(u64, BlobRef)],
        fresh: Vec<Row>,
    ) -> Result<Saved, CommitError> {
        let sizes = self.index_sizes();
        let (levels, refreshed_to, is_whole) = {
            let tables = self.tables.borrow();
            if !tables.index.is_bounded() && (tables.sheets_failed || !tables.wants_sheets(&sizes))
            {
                return Ok(Saved::default());
            }
            let levels = tables.index.levels().cloned().unwrap_or_default();
            (levels, tables.refreshed_to, tables.sheets_are_whole)
        };
        if !self.mutants.keeps(Mutant::MemoryUntilRoot) && is_whole {
            let covered = fresh.iter().map(|(_, number)| number.0).collect();
            let mut tables = self.tables.borrow_mut();
            tables.index.put_in_sheets(levels.clone(), &covered, &RoaringTreemap::new());
        }
        let before = levels.clone();
        let mut saved = Saved { levels: Some(levels), refreshed_to, ..Saved::default() };
        let mut result = match is_whole {
            true => self.join_fresh(&mut saved, &fresh, &sizes).await,
            false => Err(ReadError::NoChunk { number: ChunkNumber(0) }.into()),
        };
        // A sheet that no copy has whole, or none yet: all of them from the segments.
        if let Err(CommitError::Read(error)) = &result
            && error.is_corruption()
        {
            saved = Saved { levels: Some(Levels::default()), ..Saved::default() };
            result = self.sheets_of_segments(segments, &mut saved, &sizes).await;
        }
        match result {
            Ok(()) => Ok(saved),
            // Without new sheets the pool goes on: memory has what they lack.
            Err(CommitError::Full { .. } | CommitError::Read(_)) => {
                let levels = self.tables.borrow().index.is_bounded().then_some(before);
                Ok(Saved {
                    levels,
                    left: fresh,
                    refreshed_to,
                    failed: !is_whole,
                    ..Saved::default()
                })
            }
            Err(error) => Err(error),
        }
    }

    /// What is fresh as a sheet of its own, and a few steps of joining.
    async fn join_fresh(
        &self,
        saved: &mut Saved,
        fresh: &[Row],
        sizes: &Sizes,
    ) -> Result<(), CommitError> {
        let mut levels = saved.levels.take().unwrap_or_default();
        self.bring_sheets_home(&mut levels).await?;
        let mut joined = 0;
        while joined < JOINED_MAX
            && let Some(step) = levels.next_step(sizes)
        {
            joined += self.take_step(saved, &mut levels, &step, sizes).await?;
        }
        let dead = self.tables.borrow().index.dead_rows().map_or(0, RoaringTreemap::len);
        if joined == 0
            && dead * DEAD_MOST > levels.rows()
            && let Some((step, next)) = levels.refresh(saved.refreshed_to)
        {
            saved.refreshed_to = next;
            self.take_step(saved, &mut levels, &step, sizes).await?;
        }
        for rows in fresh.chunks(sizes.sheet_rows) {
            levels.add(0, self.write_sheet(rows, 0, sizes).await?);
        }
        saved.covered.extend(fresh.iter().map(|(_, number)| number.0));
        saved.levels = Some(levels);
        Ok(())
    }

    /// Gives how many rows it had to read.
    async fn take_step(
        &self,
        saved: &mut Saved,
        levels: &mut Levels,
        step: &Step,
        sizes: &Sizes,
    ) -> Result<u64, CommitError> {
        let (mut made, purged) = self.join_sheets(step, sizes).await?;
        if !self.mutants.keeps(Mutant::JoinedSieve)
            && let Some(one) = step.inputs.iter().flatten().next()
        {
            made.iter_mut().for_each(|placed| placed.sheet = Rc::clone(&one.sheet));
        }
        saved.purged |= purged;
        levels.joined(step, made);
        Ok(step.inputs.iter().flatten().map(|placed| placed.sheet.rows()).sum())
    }

    async fn join_sheets(
        &self,
        step: &Step,
        sizes: &Sizes,
    ) -> Result<(Vec<Placed>, RoaringTreemap), CommitError> {
        // Those of the step before may be on their way still.
        self.writes_ended().await?;
        let mut inputs: Vec<Input> = step.inputs.iter().map(|sheets| Input::new(sheets)).collect();
        let (mut made, mut purged) = (Vec::new(), RoaringTreemap::new());
        let mut rows: Vec<Row> = Vec::with_capacity(sizes.sheet_rows);
        loop {
            for input in &mut inputs {
                while let Some(placed) = input.wanted() {
                    let bytes = self.read_sheet(&placed).await?;
                    input.give(bytes);
                }
            }
            let ended = {
                let tables = self.tables.borrow();
                let dead = tables.index.dead_rows();
                merge(&mut inputs, &mut rows, sizes.sheet_rows, |(_, number)| {
                    let is_dead = dead.is_some_and(|dead| dead.contains(number.0));
                    if is_dead {
                        purged.insert(number.0);
                    }
                    is_dead
                })
            };
            if rows.len() >= sizes.sheet_rows || ended && !rows.is_empty() {
                made.push(self.write_sheet(&rows, step.into, sizes).await?);
                rows.clear();
            }
            if ended {
                return Ok((made, purged));
            }
        }
    }

    /// All sheets anew, from the segments: when the index becomes too large for memory, and where
    /// sheets were lost.
    async fn sheets_of_segments(
        &self,
        segments: &[(u64, BlobRef)],
        saved: &mut Saved,
        sizes: &Sizes,
    ) -> Result<(), CommitError> {
        tracing::info!("sheets of the index are made from its segments");
        self.writes_ended().await?;
        let total: u64 = segments.iter().map(|(count, _)| count).sum();
        let level = Levels::level_for(total, sizes);
        let parts = total.div_ceil(SORTED_MAX).clamp(1, PASSES_MAX);
        let mut levels = Levels::default();
        for part in 0..parts {
            let of = |entry: &Entry| {
                ((u128::from(entry.fingerprint.0) * u128::from(parts)) >> 64) as u64 == part
            };
            let (mut rows, mut gone) = (Vec::new(), RoaringTreemap::new());
            for (_, blob) in segments {
                let bytes = self.read_blob(blob).await?;
                for entry in SegmentReader::new(&bytes).map_err(undecodable)? {
                    let entry = entry.map_err(undecodable)?;
                    match entry.change {
                        _ if !of(&entry) => {}
                        Change::Stored { .. } => rows.push((entry.fingerprint, entry.number)),
                        Change::Gone => drop(gone.insert(entry.number.0)),
                    }
                }
            }
            rows.retain(|(_, number)| !gone.contains(number.0));
            rows.sort_unstable();
            rows.dedup();
            for rows in rows.chunks(sizes.sheet_rows) {
                levels.add(level, self.write_sheet(rows, level, sizes).await?);
            }
            let mut numbers: Vec<u64> = rows.into_iter().map(|(_, number)| number.0).collect();
            numbers.sort_unstable();
            saved.covered.extend(numbers);
        }
        // Whatever was purged before stands in none of them.
        saved.purged = self.tables.borrow().index.dead_rows().cloned().unwrap_or_default();
        saved.levels = Some(levels);
        Ok(())
    }

    async fn write_sheet(
        &self,
        rows: &[Row],
        level: usize,
        sizes: &Sizes,
    ) -> Result<Placed, CommitError> {
        let sheet = Sheet::new(rows, sizes.leaf_rows, Levels::is_sharp(level));
        let blob = self.write_leaves(&encode_rows(rows), sizes.leaf_rows * ROW_LEN).await?;
        Ok(Placed::new(Rc::new(sheet), blob))
    }

    /// One run in each of two copies, a frame for each leaf. They fill containers of their own: what
    /// else checkpoints write is needed for a shorter time.
    async fn write_leaves(&self, bytes: &[u8], leaf_len: usize) -> Result<BlobRef, CommitError> {
        let mut frames = Vec::new();
        for leaf in bytes.chunks(leaf_len) {
            frames.push(self.build_frame(Codec::Raw, leaf.to_vec()).await);
        }
        let mut copies = Vec::new();
        for copy in 0..2u8 {
            self.check_room_for_sheets()?;
            let mut session = [0x5e; 16];
            session[0] = copy;
            let parts = RunParts {
                moved: false,
                purpose: Purpose::State,
                domain: DomainId([0; 16]),
                session: SessionId(session),
                frames: frames.iter().map(|frame| (frame.clone(), Vec::new())).collect(),
            };
            copies.push(vec![self.place_run(parts).await?]);
        }
        Ok(BlobRef { len: bytes.len() as u64, copies })
    }

    /// Sheets leave the reserve alone: checkpoints need it.
    fn check_room_for_sheets(&self) -> Result<(), CommitError> {
        let (tables, reserve) = (self.tables.borrow(), self.reserve_per_disk());
        let has_room = |disk: usize| tables.free_on(disk) > reserve + 1;
        let room = self.taking_disks().iter().all(|disk| has_room(disk.index));
        room.then_some(()).ok_or(CommitError::Full {
            needed: self.fixed.container_len,
            free: self.free_for_data(&tables) * self.fixed.container_len,
        })
    }

    /// Writes sheets anew that have a copy where none should be.
    async fn bring_sheets_home(&self, levels: &mut Levels) -> Result<(), CommitError> {
        let away = |placed: &Placed| self.noted.has_structures() || !self.is_at_home(&placed.blob);
        let moving: Vec<(usize, Placed)> = levels
            .iter()
            .filter(|(_, placed)| away(placed))
            .map(|(level, placed)| (level, placed.clone()))
            .collect();
        for (into, placed) in moving {
            let bytes = self.read_sheet(&placed).await?;
            let blob = self.write_leaves(&bytes, placed.sheet.leaf_len()).await?;
            let made = Placed::new(Rc::clone(&placed.sheet), blob);
            levels.joined(&Step { inputs: vec![vec![placed]], into }, vec![made]);
        }
        Ok(())
    }
}

fn undecodable(source: keelhold_chunk::DecodeError) -> ReadError {
    ReadError::Undecodable { number: ChunkNumber(0), source }
}

/// Rows of sheets that do not overlap, one sheet in memory at a time.
struct Input {
    /// Those to come, the next one last.
    sheets: Vec<Placed>,
    bytes: Vec<u8>,
    at: usize,
}

impl Input {
    fn new(sheets: &[Placed]) -> Self {
        Self { sheets: sheets.iter().rev().cloned().collect(), bytes: Vec::new(), at: 0 }
    }

    /// The sheet to be read before the merge can go on.
    fn wanted(&mut self) -> Option<Placed> {
        if self.peek().is_some() { None } else { self.sheets.pop() }
    }

    fn give(&mut self, bytes: Vec<u8>) {
        (self.bytes, self.at) = (bytes, 0);
    }

    fn peek(&self) -> Option<Row> {
        decode_rows(self.bytes.get(self.at..)?).next()
    }

    fn pop(&mut self) {
        self.at += ROW_LEN;
    }
}

/// Moves the lowest rows, until there are so many or an input must be read on. True at the end of all.
fn merge(
    inputs: &mut [Input],
    rows: &mut Vec<Row>,
    most: usize,
    mut is_dead: impl FnMut(&Row) -> bool,
) -> bool {
    while rows.len() < most {
        let heads = inputs.iter().enumerate().filter_map(|(at, input)| Some((input.peek()?, at)));
        let Some((row, at)) = heads.min() else {
            return true;
        };
        inputs[at].pop();
        if rows.last() != Some(&row) && !is_dead(&row) {
            rows.push(row);
        }
        if inputs[at].peek().is_none() && !inputs[at].sheets.is_empty() {
            return false;
        }
    }
    false
}
