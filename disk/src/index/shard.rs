//! One shard of the way from fingerprint to number: a table of cells in ascending order with gaps.
//!
//! A cell is a tag of 24 bits over a number of 40. Its home is its tag scaled to the table, so homes
//! ascend with tags, and all cells stand in order: a cell is at its home or, with no gap between,
//! behind it. A search therefore begins at the home and ends at the first cell that is not lower,
//! found or not, after a few steps even in a table nearly full; others must keep theirs half empty.
//! Behind the last home follows a short tail for what is pushed out.

use super::cells::{Cells, EMPTY, PAGE};

/// Bits of a fingerprint kept in a cell.
pub(super) const TAG_BITS: u32 = 24;
const NUMBER_BITS: u32 = 40;
/// Cells behind the last home, at least.
const TAIL: usize = 32;

/// Fill in sixteenths of the homes: grows above the highest, shrinks below the lowest, and is
/// between the two after either.
const FILL_MOST: usize = 14;
const FILL_LEAST: usize = 11;
const FILL_AFTER_SHRINKING: usize = 13;

#[derive(Default)]
pub(super) struct Shard {
    cells: Cells,
    homes: usize,
    len: usize,
}

impl Shard {
    pub fn candidates(&self, tag: u32) -> impl Iterator<Item = u64> + '_ {
        (self.seek(cell(tag, 0))..self.cells.len())
            .map(|at| self.cells.get(at))
            .take_while(move |found| *found != EMPTY && tag_of(*found) == tag)
            .map(|found| found & ((1 << NUMBER_BITS) - 1))
    }

    pub fn contains(&self, tag: u32, number: u64) -> bool {
        let wanted = cell(tag, number);
        let at = self.seek(wanted);
        at < self.cells.len() && self.cells.get(at) == wanted
    }

    /// The cell must not be there yet.
    pub fn insert(&mut self, tag: u32, number: u64) {
        if self.len * 16 >= self.homes * FILL_MOST {
            self.rebuild(self.homes + self.homes / 8 + 1);
        }
        let mut pushed = cell(tag, number);
        let mut at = self.seek(pushed);
        // Each cell from there to the next gap moves on by one.
        while pushed != EMPTY {
            if at == self.cells.len() {
                self.cells.resize(self.cells.len() / PAGE + 1);
            }
            let next = self.cells.get(at);
            self.cells.set(at, pushed);
            pushed = next;
            at += 1;
        }
        self.len += 1;
    }

    /// Whether the cell was there.
    pub fn remove(&mut self, tag: u32, number: u64) -> bool {
        if !self.contains(tag, number) {
            return false;
        }
        let mut at = self.seek(cell(tag, number));
        // What was pushed out of its home moves back by one; whoever is at home stays.
        while at + 1 < self.cells.len() {
            let next = self.cells.get(at + 1);
            if next == EMPTY || home(next, self.homes) > at {
                break;
            }
            self.cells.set(at, next);
            at += 1;
        }
        self.cells.set(at, EMPTY);
        self.len -= 1;
        if self.len == 0 {
            *self = Self::default();
        } else if self.len * 16 < self.homes * FILL_LEAST {
            let homes = self.len * 16 / FILL_AFTER_SHRINKING;
            // A small shard may have no page to give.
            if pages_for(homes) < pages_for(self.homes) {
                self.rebuild(homes);
            }
        }
        true
    }

    /// All tags with their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (u32, u64)> + '_ {
        let cells = (0..self.cells.len()).map(|at| self.cells.get(at));
        let found = cells.filter(|found| *found != EMPTY);
        found.map(|found| (tag_of(found), found & ((1 << NUMBER_BITS) - 1)))
    }

    pub fn bytes_used(&self) -> usize {
        self.cells.bytes_used()
    }

    /// The first place whose cell is not lower than `wanted`, where it is or belongs; may be the end.
    fn seek(&self, wanted: u64) -> usize {
        let mut at = home(wanted, self.homes);
        while at < self.cells.len() && self.cells.get(at) < wanted {
            at += 1;
        }
        at
    }

    /// Spreads the cells over at least `homes` homes, as many as the pages hold; in place, because a
    /// second table beside the first would be memory that the largest reading counts.
    fn rebuild(&mut self, homes: usize) {
        let pages = pages_for(homes);
        let homes = pages * PAGE - TAIL;
        assert!(homes < 1 << TAG_BITS, "a shard of {homes} homes cannot tell its tags apart");
        // Many equal tags reach beyond the tail: their pages stay.
        let end = self.gather(homes);
        let pages = pages.max(end.div_ceil(PAGE));
        self.cells.resize(pages.max(self.cells.len() / PAGE));
        // From the far end each cell moves forward to its place. Those that follow it need room
        // behind it, so no place lies behind the cell's own: nothing unread is overwritten.
        let first = pages * PAGE - self.len;
        for at in (0..self.len).rev() {
            self.cells.set(first + at, self.cells.get(at));
        }
        let mut next = 0;
        for from in first..pages * PAGE {
            let found = self.cells.get(from);
            let to = home(found, homes).max(next);
            (next..to).for_each(|gap| self.cells.set(gap, EMPTY));
            self.cells.set(to, found);
            next = to + 1;
        }
        self.cells.resize(pages);
        (next..pages * PAGE).for_each(|gap| self.cells.set(gap, EMPTY));
        self.homes = homes;
    }

    /// Moves all cells to the front, in order, and says where the last would end among `homes`.
    fn gather(&mut self, homes: usize) -> usize {
        let (mut to, mut end) = (0, 0);
        for from in 0..self.cells.len() {
            let found = self.cells.get(from);
            if found != EMPTY {
                self.cells.set(to, found);
                to += 1;
                end = home(found, homes).max(end) + 1;
            }
        }
        assert_eq!(to, self.len, "cells of a shard were miscounted");
        end
    }
}

fn pages_for(homes: usize) -> usize {
    (homes + TAIL).div_ceil(PAGE)
}

fn cell(tag: u32, number: u64) -> u64 {
    u64::from(tag) << NUMBER_BITS | number
}

fn tag_of(cell: u64) -> u32 {
    (cell >> NUMBER_BITS) as u32
}

fn home(cell: u64, homes: usize) -> usize {
    ((u64::from(tag_of(cell)) * homes as u64) >> TAG_BITS) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::model::Seeded;
    use std::collections::BTreeSet;

    impl Shard {
        fn check(&self) {
            let live: Vec<(usize, u64)> = (0..self.cells.len())
                .map(|at| (at, self.cells.get(at)))
                .filter(|(_, found)| *found != EMPTY)
                .collect();
            assert_eq!(live.len(), self.len);
            assert!(live.is_sorted_by(|a, b| a.1 < b.1));
            for (at, found) in live {
                let home = home(found, self.homes);
                assert!(home <= at && (home..at).all(|between| self.cells.get(between) != EMPTY));
            }
        }
    }

    /// `tags` small: many cells share one, so that clusters and tails become long.
    fn against_a_set(seed: u64, tags: u64, steps: u64) {
        let mut random = Seeded::new(seed);
        let (mut shard, mut model) = (Shard::default(), BTreeSet::new());
        for step in 0..steps {
            // Grows for the first two thirds, then shrinks.
            let grows = random.below(10) < if step < steps * 2 / 3 { 7 } else { 2 };
            let tag = (random.below(tags) * ((1 << TAG_BITS) / tags)) as u32;
            let number = random.below(steps);
            if grows && model.insert((tag, number)) {
                shard.insert(tag, number);
            } else if !grows {
                let from = model.range((tag, 0)..).next().copied().unwrap_or((tag, number));
                assert_eq!(shard.remove(from.0, from.1), model.remove(&from), "seed {seed}");
            }
            if step % 97 == 0 {
                shard.check();
            }
            let expected = model.range((tag, 0)..(tag + 1, 0)).map(|(_, number)| *number);
            assert!(shard.candidates(tag).eq(expected), "seed {seed}, step {step}");
        }
        while let Some((tag, number)) = model.pop_first() {
            assert!(shard.remove(tag, number));
            assert!(!shard.remove(tag, number));
        }
        assert_eq!(shard.bytes_used(), 0);
    }

    #[test]
    fn a_shard_is_a_set_of_tagged_numbers() {
        for seed in 0..4 {
            against_a_set(seed, 1 << TAG_BITS, 20_000);
            against_a_set(seed, 256, 5_000);
            against_a_set(seed, 4, 2_000);
        }
    }

    #[test]
    fn the_last_tag_and_number_have_a_place() {
        let mut shard = Shard::default();
        let (tag, number) = ((1 << TAG_BITS) - 1, super::super::NUMBER_LIMIT - 1);
        shard.insert(tag, number);
        shard.insert(tag, 0);
        assert!(shard.candidates(tag).eq([0, number]));
        assert!(shard.contains(tag, number) && !shard.contains(tag, 1));
        assert!(shard.remove(tag, 0) && shard.remove(tag, number));
    }
}
