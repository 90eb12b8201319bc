//! How often each chunk number is referenced.

use std::collections::BTreeMap;

use keelhold_chunk::{Reader, Writer};
use roaring::RoaringTreemap;

use super::{EXTRA_COUNT_MAX, RefChange, SetDelta, SetError, bitmap};

/// A multiset of chunk numbers. Nearly every chunk of a tree is referenced once, so the members are
/// a bitmap and only what goes beyond the first reference is counted one by one.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct RefCounts {
    set: RoaringTreemap,
    /// References beyond the first; never 0, and only for members of `set`.
    extra: BTreeMap<u64, u64>,
}

impl RefCounts {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The numbers that are referenced at all: the reach set.
    #[must_use]
    pub fn set(&self) -> &RoaringTreemap {
        &self.set
    }

    #[must_use]
    pub fn into_set(self) -> RoaringTreemap {
        self.set
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.set.is_empty()
    }

    #[must_use]
    pub fn count(&self, number: u64) -> u64 {
        match self.set.contains(number) {
            true => 1 + self.extra.get(&number).copied().unwrap_or(0),
            false => 0,
        }
    }

    /// All references together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.set.len() + self.extra.values().sum::<u64>()
    }

    /// Numbers in order, each with how often it is referenced.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let mut extra = self.extra.iter().peekable();
        self.set.iter().map(move |number| match extra.next_if(|(key, _)| **key == number) {
            Some((_, more)) => (number, 1 + more),
            None => (number, 1),
        })
    }

    pub fn add(&mut self, number: u64) {
        self.add_times(number, 1);
    }

    /// One more reference to each of `count` consecutive numbers.
    pub fn add_run(&mut self, first: u64, count: u64) {
        if count == 1 {
            return self.add_times(first, 1);
        }
        let numbers = first..first + count;
        let known = self.set.range_cardinality(numbers.clone());
        if known > 0 {
            for number in numbers.clone().filter(|number| self.set.contains(*number)) {
                *self.extra.entry(number).or_insert(0) += 1;
            }
        }
        self.set.insert_range(numbers);
    }

    fn add_times(&mut self, number: u64, times: u64) {
        let beyond = if self.set.insert(number) { times - 1 } else { times };
        if beyond > 0 {
            *self.extra.entry(number).or_insert(0) += beyond;
        }
    }

    /// Adds every reference of `other`.
    pub fn add_all(&mut self, other: &Self) {
        for number in bitmap::common(&self.set, &other.set) {
            *self.extra.entry(number).or_insert(0) += 1;
        }
        self.set |= &other.set;
        for (number, more) in &other.extra {
            *self.extra.entry(*number).or_insert(0) += more;
        }
    }

    /// Takes one reference away.
    pub fn remove(&mut self, number: u64) -> Result<(), SetError> {
        if !self.set.contains(number) {
            return Err(SetError::NotReferenced { number });
        }
        self.take(number, 1);
        Ok(())
    }

    /// Takes `times` references of `number` away; there are that many.
    pub(super) fn take(&mut self, number: u64, times: u64) {
        let beyond = self.extra.remove(&number).unwrap_or(0);
        match (1 + beyond).checked_sub(times) {
            Some(0) => {
                self.set.remove(number);
            }
            Some(1) => {}
            Some(left) => {
                self.extra.insert(number, left - 1);
            }
            None => panic!("chunk number {number} dropped more often than referenced"),
        }
    }

    /// Makes this tree's counts those of the next one, and says what the step changed in its reach
    /// set. Nothing is changed when `change` does not fit.
    pub fn apply(&mut self, change: &RefChange) -> Result<SetDelta, SetError> {
        self.check_removal(change)?;
        let fresh = &change.added.set - &self.set;
        self.add_all(&change.added);
        let mut gone = self.once(&change.removed);
        self.set -= &gone;
        for (number, times) in change.removed.iter_beyond(&gone) {
            self.take(number, times);
            if !self.set.contains(number) {
                gone.insert(number);
            }
        }
        Ok(SetDelta { born: &fresh - &gone, died: &gone - &fresh })
    }

    fn check_removal(&self, change: &RefChange) -> Result<(), SetError> {
        let unknown = &(&change.removed.set - &self.set) - &change.added.set;
        if let Some(number) = unknown.min() {
            return Err(SetError::NotReferenced { number });
        }
        let held = |number| self.count(number) + change.added.count(number);
        let excess = change.removed.extra.iter().find(|(number, more)| held(**number) < 1 + **more);
        match excess {
            Some((number, _)) => Err(SetError::NotReferenced { number: *number }),
            None => Ok(()),
        }
    }

    /// Those of `removed` that are referenced once here and dropped once there: the common case,
    /// handled by whole sets.
    fn once(&self, removed: &Self) -> RoaringTreemap {
        let mut once = removed.set.clone();
        for number in removed.extra.keys() {
            once.remove(*number);
        }
        // Whichever side is shorter is walked: a small change must not pay for a large tree.
        if (self.extra.len() as u64) < once.len() {
            for number in self.extra.keys() {
                once.remove(*number);
            }
        } else if !self.extra.is_empty() {
            let shared: Vec<u64> = once.iter().filter(|n| self.extra.contains_key(n)).collect();
            shared.into_iter().for_each(|number| {
                once.remove(number);
            });
        }
        once
    }

    /// References to numbers that are not in `done`.
    fn iter_beyond(&self, done: &RoaringTreemap) -> Vec<(u64, u64)> {
        (&self.set - done).iter().map(|number| (number, self.count(number))).collect()
    }

    pub fn encode(&self, writer: &mut Writer) {
        bitmap::encode(&self.set, writer);
        writer.varint(self.extra.len() as u64);
        let mut after = 0;
        for (number, more) in &self.extra {
            writer.varint(number - after);
            writer.varint(more - 1);
            after = number + 1;
        }
    }

    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, SetError> {
        let set = bitmap::decode(reader)?;
        let count = reader.count(EXTRA_COUNT_MAX)?;
        let mut extra = BTreeMap::new();
        let mut after = 0u64;
        for _ in 0..count {
            let gap = reader.varint()?;
            let more = reader.varint()?;
            let number = after.checked_add(gap).filter(|number| set.contains(*number));
            // Sums of counts are taken without looking for overflow.
            let (Some(number), true) = (number, more < 1 << 40) else {
                return Err(reader.undefined("extra reference", gap).into());
            };
            extra.insert(number, more + 1);
            after = number + 1;
        }
        Ok(Self { set, extra })
    }
}
