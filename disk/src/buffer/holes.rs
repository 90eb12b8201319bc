//! Which parts of a region are free. Neighbouring holes are one, so what is given back in any order
//! becomes whole again.

use std::collections::BTreeMap;
use std::ops::Range;

#[derive(Debug)]
pub(super) struct Holes {
    /// Length by start.
    holes: BTreeMap<usize, usize>,
}

impl Holes {
    pub(super) fn new(len: usize) -> Self {
        let mut holes = BTreeMap::new();
        if len > 0 {
            holes.insert(0, len);
        }
        Self { holes }
    }

    /// The first hole that is large enough: low memory is used again and again and stays warm, high
    /// memory is touched only when it is needed.
    pub(super) fn take(&mut self, len: usize) -> Option<Range<usize>> {
        let (start, found) = self.holes.iter().find(|(_, found)| **found >= len)?;
        let (start, found) = (*start, *found);
        self.holes.remove(&start);
        if found > len {
            self.holes.insert(start + len, found - len);
        }
        Some(start..start + len)
    }

    pub(super) fn give_back(&mut self, range: Range<usize>) {
        let (mut start, mut end) = (range.start, range.end);
        if let Some((before, len)) = self.holes.range(..start).next_back().map(|(s, l)| (*s, *l)) {
            assert!(before + len <= start, "given back twice");
            if before + len == start {
                self.holes.remove(&before);
                start = before;
            }
        }
        if let Some((after, len)) = self.holes.range(start..).next().map(|(s, l)| (*s, *l)) {
            assert!(end <= after, "given back twice");
            if end == after {
                self.holes.remove(&after);
                end = after + len;
            }
        }
        self.holes.insert(start, end - start);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A fixed sequence without meaning, for choices.
    fn noise(step: usize) -> usize {
        step.wrapping_mul(2_654_435_761) >> 7
    }

    #[test]
    fn pieces_never_overlap_and_become_whole_again() {
        let mut holes = Holes::new(1000);
        let mut taken: Vec<Range<usize>> = Vec::new();
        for step in 0..20_000 {
            if noise(step) % 5 < 3 {
                if let Some(range) = holes.take(1 + noise(step + 7) % 60) {
                    assert!(range.end <= 1000);
                    assert!(taken.iter().all(|t| t.end <= range.start || range.end <= t.start));
                    taken.push(range);
                }
            } else if !taken.is_empty() {
                let which = noise(step + 3) % taken.len();
                holes.give_back(taken.swap_remove(which));
            }
            let free: usize = holes.holes.values().sum();
            assert_eq!(free + taken.iter().map(Range::len).sum::<usize>(), 1000);
        }
        taken.into_iter().for_each(|range| holes.give_back(range));
        assert_eq!(holes.take(1000), Some(0..1000));
        assert_eq!(holes.take(1), None);
    }

    #[test]
    #[should_panic(expected = "given back twice")]
    fn giving_back_twice_is_our_bug() {
        let mut holes = Holes::new(100);
        let range = holes.take(10).unwrap();
        holes.give_back(range.clone());
        holes.give_back(range);
    }
}
