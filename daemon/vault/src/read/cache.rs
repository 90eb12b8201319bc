//! What was read last, up to so many bytes.

use std::collections::{BTreeMap, HashMap};

use super::FrameKey;

#[derive(Debug)]
pub(super) struct Cache<T> {
    kept: HashMap<FrameKey, (T, usize, u64)>,
    /// Keys by when they were used.
    ages: BTreeMap<u64, FrameKey>,
    len: usize,
    limit: usize,
    now: u64,
}

impl<T: Clone> Cache<T> {
    pub fn new(limit: usize) -> Self {
        Self { kept: HashMap::new(), ages: BTreeMap::new(), len: 0, limit, now: 0 }
    }

    pub fn get(&mut self, key: FrameKey) -> Option<T> {
        let (value, _, age) = self.kept.get_mut(&key)?;
        self.ages.remove(age);
        self.now += 1;
        *age = self.now;
        self.ages.insert(self.now, key);
        Some(value.clone())
    }

    pub fn has(&self, key: FrameKey) -> bool {
        self.kept.contains_key(&key)
    }

    pub fn keep(&mut self, key: FrameKey, value: T, len: usize) {
        self.now += 1;
        if let Some((_, old, age)) = self.kept.insert(key, (value, len, self.now)) {
            self.ages.remove(&age);
            self.len -= old;
        }
        self.ages.insert(self.now, key);
        self.len += len;
        while self.len > self.limit {
            let Some((_, oldest)) = self.ages.pop_first() else {
                break;
            };
            if let Some((_, len, _)) = self.kept.remove(&oldest) {
                self.len -= len;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::ObjectId;

    #[test]
    fn what_was_used_last_stays_and_no_more_than_fits() {
        let mut cache = Cache::new(30);
        let key = |index| (ObjectId([0; 16]), index);
        (0..3).for_each(|index| cache.keep(key(index), index, 10));
        assert_eq!(cache.get(key(0)), Some(0));
        cache.keep(key(3), 3, 10);
        assert!(cache.has(key(0)) && cache.has(key(3)) && !cache.has(key(1)));
        cache.keep(key(3), 4, 20);
        assert_eq!((cache.get(key(3)), cache.len), (Some(4), 30));
        cache.keep(key(5), 5, 31);
        assert_eq!((cache.len, cache.kept.len(), cache.ages.len()), (0, 0, 0));
    }
}
