//! Which sheets there are, and which are joined next.
//!
//! Level 0 takes what checkpoints bring, one sheet each; from level 1 on the sheets of a level do
//! not overlap, and each level may have eight times as many rows as the one before it. What is too
//! much goes down sheet by sheet, joined with those it overlaps there. So a step is short, however
//! large the index is, and a row is written anew a logarithmic number of times.

use std::cell::RefCell;
use std::rc::Rc;

use super::Fingerprint;
use super::sheet::{LEAF_ROWS, ROW_LEN, Sheet};
use crate::format::{BlobRef, Directory, FrameEntry, RunRef};

const FANOUT: u64 = 8;
/// Sheets of level 0 that are joined.
const FRESH_SHEETS: usize = 4;
/// Neighbours that are written anew together because much in them is dead.
const REFRESHED: usize = 4;

/// A sheet and where it lies: one run in each copy, one frame for each leaf.
#[derive(Debug, Clone)]
pub struct Placed {
    pub sheet: Rc<Sheet>,
    pub blob: Rc<BlobRef>,
    /// Where the leaves of each copy are, once somebody asked.
    pub heads: Rc<RefCell<[Option<Rc<Directory>>; 2]>>,
}

impl Placed {
    #[must_use]
    pub fn new(sheet: Rc<Sheet>, blob: BlobRef) -> Self {
        Self { sheet, blob: Rc::new(blob), heads: Rc::default() }
    }

    fn bytes_used(&self) -> usize {
        let heads = self.heads.borrow();
        let heads = heads
            .iter()
            .flatten()
            .map(|head| size_of::<Directory>() + head.frames.capacity() * size_of::<FrameEntry>());
        let runs = self.blob.runs().count() * size_of::<RunRef>();
        let own = size_of::<Self>() + size_of::<BlobRef>() + 2 * size_of::<Vec<RunRef>>();
        self.sheet.bytes_used() + own + runs + heads.sum::<usize>()
    }
}

/// Lengths that follow from the budget.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// Chunks above which ids are looked up on the disks.
    pub budget: u64,
    /// Chunks since the last checkpoint that are reason for the next.
    pub fresh: usize,
    pub sheet_rows: usize,
    pub leaf_rows: usize,
}

impl Sizes {
    /// `run_len`: bytes that surely fit a run.
    #[must_use]
    pub fn new(budget: u64, run_len: usize) -> Self {
        let fresh = (budget / 64).clamp(32, 1 << 16) as usize;
        let sheet_rows = (2 * fresh).min(run_len / 2 / ROW_LEN);
        Self { budget, fresh, sheet_rows, leaf_rows: (sheet_rows / 8).clamp(1, LEAF_ROWS) }
    }

    fn most(&self, level: usize) -> u64 {
        self.sheet_rows as u64 * FANOUT.saturating_pow(level as u32)
    }
}

#[derive(Debug, Clone, Default)]
pub struct Levels {
    levels: Vec<Vec<Placed>>,
}

/// Sheets to be joined into one level.
#[derive(Debug)]
pub struct Step {
    /// Each a list of sheets that do not overlap, in order.
    pub inputs: Vec<Vec<Placed>>,
    pub into: usize,
}

impl Levels {
    /// More rows than there are numbers.
    pub const MOST: usize = 16;

    pub fn iter(&self) -> impl Iterator<Item = (usize, &Placed)> {
        let levels = self.levels.iter().enumerate();
        levels.flat_map(|(level, placed)| placed.iter().map(move |placed| (level, placed)))
    }

    pub fn add(&mut self, level: usize, placed: Placed) {
        if self.levels.len() <= level {
            self.levels.resize_with(level + 1, Vec::new);
        }
        let sheets = &mut self.levels[level];
        let at = if level == 0 {
            sheets.len()
        } else {
            sheets.partition_point(|other| other.sheet.first() < placed.sheet.first())
        };
        sheets.insert(at, placed);
    }

    /// Whether the sheets of each level follow one another, as joining needs them to.
    #[must_use]
    pub fn is_in_order(&self) -> bool {
        let follow = |two: &[Placed]| two[0].sheet.last() <= two[1].sheet.first();
        self.levels.iter().skip(1).all(|sheets| sheets.windows(2).all(follow))
    }

    /// Replaces what a step took by what it made.
    pub fn joined(&mut self, step: &Step, made: Vec<Placed>) {
        let taken = |placed: &Placed| {
            step.inputs.iter().flatten().any(|input| Rc::ptr_eq(&input.blob, &placed.blob))
        };
        self.levels.iter_mut().for_each(|level| level.retain(|placed| !taken(placed)));
        made.into_iter().for_each(|placed| self.add(step.into, placed));
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.levels.iter().all(Vec::is_empty)
    }

    /// Leaves that may have the fingerprint.
    pub fn leaves_with(&self, fingerprint: Fingerprint) -> Vec<(Placed, usize)> {
        let mut found = Vec::new();
        for (level, sheets) in self.levels.iter().enumerate() {
            let from = match level {
                0 => 0,
                _ => sheets.partition_point(|placed| placed.sheet.last() < fingerprint.0),
            };
            let near = sheets[from..]
                .iter()
                .take_while(|placed| level == 0 || placed.sheet.first() <= fingerprint.0);
            for placed in near {
                let leaves = placed.sheet.leaves_with(fingerprint);
                found.extend(leaves.map(|leaf| (placed.clone(), leaf)));
            }
        }
        found
    }

    /// Whether the sheets of a level let through fewer: those of the small ones, of which a look-up
    /// meets several.
    #[must_use]
    pub fn is_sharp(level: usize) -> bool {
        level < 2
    }

    /// What to join next, if something is too much.
    #[must_use]
    pub fn next_step(&self, sizes: &Sizes) -> Option<Step> {
        let fresh = self.levels.first().map_or(0, Vec::len);
        if fresh >= FRESH_SHEETS {
            let mut inputs: Vec<Vec<Placed>> =
                self.levels[0].iter().map(|placed| vec![placed.clone()]).collect();
            inputs.extend(self.levels.get(1).cloned());
            return Some(Step { inputs, into: 1 });
        }
        let rows = |sheets: &[Placed]| sheets.iter().map(|placed| placed.sheet.rows()).sum::<u64>();
        let (level, sheets) = self
            .levels
            .iter()
            .enumerate()
            .skip(1)
            .find(|(level, sheets)| rows(sheets) > sizes.most(*level))?;
        let overlapped = |placed: &Placed| -> Vec<Placed> {
            let (first, last) = (placed.sheet.first(), placed.sheet.last());
            let below = self.levels.get(level + 1).map_or(&[][..], Vec::as_slice);
            let from = below.partition_point(|other| other.sheet.last() < first);
            let near = below[from..].iter().take_while(|other| other.sheet.first() <= last);
            near.cloned().collect()
        };
        let cheapest = sheets.iter().min_by_key(|placed| {
            let rows = rows(&overlapped(placed));
            // Of two that cost the same, the larger one.
            (rows, u64::MAX - placed.sheet.rows())
        })?;
        let inputs = vec![vec![cheapest.clone()], overlapped(cheapest)];
        Some(Step { inputs, into: level + 1 })
    }

    /// Sheets to be written anew so that their dead rows go, from a fingerprint on; and where to go
    /// on the next time.
    #[must_use]
    pub fn refresh(&self, from: u64) -> Option<(Step, u64)> {
        let (into, sheets) = self.levels.iter().enumerate().skip(1).max_by_key(|(_, sheets)| {
            sheets.iter().map(|placed| placed.sheet.rows()).sum::<u64>()
        })?;
        let at = sheets.partition_point(|placed| placed.sheet.first() < from);
        let at = if at == sheets.len() { 0 } else { at };
        let taken: Vec<Placed> = sheets[at..].iter().take(REFRESHED).cloned().collect();
        let next = taken.last()?.sheet.last().wrapping_add(1);
        Some((Step { inputs: vec![taken], into }, next))
    }

    /// The lowest level that takes so many rows at once.
    #[must_use]
    pub fn level_for(rows: u64, sizes: &Sizes) -> usize {
        (1..).find(|level| sizes.most(*level) >= rows).unwrap_or(1)
    }

    #[must_use]
    pub fn rows(&self) -> u64 {
        self.iter().map(|(_, placed)| placed.sheet.rows()).sum()
    }

    #[must_use]
    pub fn bytes_used(&self) -> u64 {
        self.iter().map(|(_, placed)| placed.bytes_used() as u64).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::model::Seeded;
    use crate::index::sheet::Row;
    use crate::units::ChunkNumber;
    use std::collections::{BTreeMap, BTreeSet};

    struct Model {
        levels: Levels,
        sizes: Sizes,
        /// Rows of each sheet, by where it is.
        disk: BTreeMap<*const BlobRef, Vec<Row>>,
        all: BTreeSet<Row>,
    }

    impl Model {
        fn place(&mut self, level: usize, rows: &[Row]) -> Placed {
            let sheet = Sheet::new(rows, self.sizes.leaf_rows, Levels::is_sharp(level));
            let placed = Placed::new(Rc::new(sheet), BlobRef::default());
            self.disk.insert(Rc::as_ptr(&placed.blob), rows.to_vec());
            placed
        }

        fn checkpoint(&mut self, random: &mut Seeded) {
            let rows: BTreeSet<Row> = (0..1 + random.below(40))
                .map(|_| (Fingerprint(random.next()), ChunkNumber(random.below(1 << 30))))
                .collect();
            let rows: Vec<Row> = rows.into_iter().collect();
            let placed = self.place(0, &rows);
            self.levels.add(0, placed);
            self.all.extend(rows);
        }

        /// Gives how many rows were read.
        fn join(&mut self, step: &Step) -> usize {
            let inputs = step.inputs.iter().flatten();
            let rows: BTreeSet<Row> =
                inputs.flat_map(|placed| self.disk[&Rc::as_ptr(&placed.blob)].clone()).collect();
            let rows: Vec<Row> = rows.into_iter().collect();
            let pieces = rows.chunks(self.sizes.sheet_rows);
            let made = pieces.map(|rows| self.place(step.into, rows)).collect();
            self.levels.joined(step, made);
            rows.len()
        }
    }

    #[test]
    fn every_row_is_found_and_no_step_is_long() {
        for seed in 0..10 {
            let mut random = Seeded::new(seed);
            let sizes = Sizes::new(0, 4096);
            let (levels, disk, all) = (Levels::default(), BTreeMap::new(), BTreeSet::new());
            let mut model = Model { levels, sizes, disk, all };
            let (mut moved, mut longest) = (0, 0);
            for _ in 0..1_000 {
                model.checkpoint(&mut random);
                while let Some(step) = model.levels.next_step(&model.sizes) {
                    let rows = model.join(&step);
                    (moved, longest) = (moved + rows, longest.max(rows));
                }
            }
            let depth = model.levels.levels.len();
            println!("{} rows in {depth} levels, {moved} moved, {longest}", model.all.len());
            assert!(moved < 12 * depth * model.all.len() && longest < 40 * sizes.sheet_rows);
            for (fingerprint, number) in &model.all {
                let mut leaves = model.levels.leaves_with(*fingerprint).into_iter();
                let found = leaves.any(|(placed, leaf)| {
                    let rows = &model.disk[&Rc::as_ptr(&placed.blob)];
                    let mut leaf = rows.chunks(sizes.leaf_rows).nth(leaf).unwrap().iter();
                    leaf.any(|row| *row == (*fingerprint, *number))
                });
                assert!(found, "seed {seed}");
            }
            for (level, sheets) in model.levels.levels.iter().enumerate().skip(1) {
                let apart = sheets.windows(2).all(|two| two[0].sheet.last() < two[1].sheet.first());
                assert!(apart, "level {level} overlaps");
            }
        }
    }
}
