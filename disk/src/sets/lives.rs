//! How often each chunk number comes to life in a history of points.

use roaring::RoaringTreemap;

use super::bitmap;

/// A multiset of numbers in layers: the first has all that live, each further one those that live
/// once more. Nearly all live once; one that went and came back costs a bit for each return.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Lives {
    set: RoaringTreemap,
    more: Vec<RoaringTreemap>,
}

impl Lives {
    /// Numbers that live at all.
    #[must_use]
    pub fn set(&self) -> &RoaringTreemap {
        &self.set
    }

    /// How often a number lives.
    #[must_use]
    pub fn count(&self, number: u64) -> u64 {
        let layers = std::iter::once(&self.set).chain(&self.more);
        layers.take_while(|layer| layer.contains(number)).count() as u64
    }

    /// `numbers` without those that live more than once.
    #[must_use]
    pub fn single(&self, numbers: RoaringTreemap) -> RoaringTreemap {
        match self.more.first() {
            Some(several) => numbers - several,
            None => numbers,
        }
    }

    /// One life more for each of `numbers`; gives those that had none.
    pub fn begin(&mut self, numbers: &RoaringTreemap) -> RoaringTreemap {
        let mut again = bitmap::common(numbers, &self.set);
        let first = numbers - &again;
        self.set |= numbers;
        for layer in &mut self.more {
            if again.is_empty() {
                return first;
            }
            let further = bitmap::common(&again, layer);
            *layer |= again;
            again = further;
        }
        if !again.is_empty() {
            self.more.push(again);
        }
        first
    }

    /// One life less for each of `numbers`; gives those that have none left.
    pub fn end(&mut self, numbers: &RoaringTreemap) -> RoaringTreemap {
        let mut left = numbers.clone();
        for layer in self.more.iter_mut().rev() {
            let ended = bitmap::common(&left, layer);
            *layer -= &ended;
            left -= &ended;
        }
        while self.more.last().is_some_and(RoaringTreemap::is_empty) {
            self.more.pop();
        }
        let gone = bitmap::common(&left, &self.set);
        self.set -= &gone;
        gone
    }

    /// Bytes the layers take when they are written down; in memory they take little more.
    #[must_use]
    pub fn byte_len(&self) -> usize {
        self.set.serialized_size()
            + self.more.iter().map(RoaringTreemap::serialized_size).sum::<usize>()
    }
}
