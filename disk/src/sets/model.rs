//! Seeded comparison of the sets with the plainest thing that could work.

use std::collections::{BTreeMap, BTreeSet};

use keelhold_chunk::{Reader, Writer};
use roaring::RoaringTreemap;

use super::{RefChange, RefCounts, SetDelta, SetError};

/// SplitMix64 (<https://prng.di.unimi.it/splitmix64.c>).
pub(super) struct Dice(pub(super) u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// Numbers near each other, sometimes far away, so that every container shape turns up.
    fn number(&mut self) -> u64 {
        match self.below(8) {
            0 => self.below(1 << 40),
            1 => (1 << 32) + self.below(60),
            _ => self.below(40_000),
        }
    }
}

type Model = BTreeMap<u64, u64>;

fn counts_of(model: &Model) -> RefCounts {
    let mut counts = RefCounts::new();
    for (number, times) in model {
        (0..*times).for_each(|_| counts.add(*number));
    }
    counts
}

fn random_model(dice: &mut Dice, size: u64) -> Model {
    let mut model = Model::new();
    for _ in 0..dice.below(size) {
        let (first, count) = (dice.number(), 1 + dice.below(300));
        for number in first..first + count {
            *model.entry(number).or_insert(0) += 1;
        }
    }
    model
}

fn set_of(model: &Model) -> RoaringTreemap {
    model.keys().copied().collect()
}

#[test]
fn counts_do_what_a_map_does() {
    for seed in 0..60 {
        println!("seed {seed}");
        let mut dice = Dice(seed);
        let (mut model, mut counts) = (Model::new(), RefCounts::new());
        for _ in 0..200 {
            let (first, count) = (dice.number(), 1 + dice.below(64));
            if dice.below(3) > 0 {
                counts.add_run(first, count);
                (first..first + count).for_each(|n| *model.entry(n).or_insert(0) += 1);
            } else {
                let found = counts.remove(first);
                let held = model.get(&first).copied().unwrap_or(0);
                assert_eq!(found.is_ok(), held > 0);
                model.insert(first, held.saturating_sub(1));
                model.retain(|_, times| *times > 0);
            }
        }
        assert!(counts.iter().eq(model.iter().map(|(number, times)| (*number, *times))));
        assert_eq!(counts, counts_of(&model));
        assert_eq!(counts.total(), model.values().sum::<u64>());
    }
}

#[test]
fn a_change_leads_from_one_tree_to_the_next() {
    for seed in 0..80 {
        println!("seed {seed}");
        let mut dice = Dice(seed);
        let old = random_model(&mut dice, 40);
        let mut new = old.clone();
        let (mut added, mut removed) = (random_model(&mut dice, 20), Model::new());
        for (number, times) in &added {
            *new.entry(*number).or_insert(0) += times;
        }
        for number in new.keys().copied().collect::<Vec<_>>() {
            if dice.below(3) == 0 {
                let times = 1 + dice.below(new[&number]);
                removed.insert(number, times);
                new.insert(number, new[&number] - times);
            }
        }
        new.retain(|_, times| *times > 0);
        let mut change = RefChange { added: counts_of(&added), removed: counts_of(&removed) };
        let mut counts = counts_of(&old);
        let delta = counts.apply(&change).unwrap();
        assert_eq!(counts, counts_of(&new));
        assert_eq!(delta, SetDelta::between(&set_of(&old), &set_of(&new)));

        change.settle();
        for (number, times) in &mut added {
            let both = (*times).min(removed.get(number).copied().unwrap_or(0));
            *times -= both;
            removed.entry(*number).and_modify(|left| *left -= both);
        }
        added.retain(|_, times| *times > 0);
        removed.retain(|_, times| *times > 0);
        assert_eq!(change, RefChange { added: counts_of(&added), removed: counts_of(&removed) });
        let mut counts = counts_of(&old);
        assert_eq!(counts.apply(&change), Ok(delta));
        assert_eq!(counts, counts_of(&new));
    }
}

#[test]
fn a_change_that_does_not_fit_changes_nothing() {
    let mut counts = counts_of(&Model::from([(5, 2), (6, 1)]));
    let before = counts.clone();
    for removed in [Model::from([(5, 3)]), Model::from([(6, 2)]), Model::from([(7, 1)])] {
        let number = *removed.keys().next().unwrap();
        let change = RefChange { added: RefCounts::new(), removed: counts_of(&removed) };
        assert_eq!(counts.apply(&change), Err(SetError::NotReferenced { number }));
        assert_eq!(counts, before);
    }
}

#[test]
fn steps_compose() {
    for seed in 0..80 {
        println!("seed {seed}");
        let mut dice = Dice(seed);
        let sets: Vec<BTreeSet<u64>> = (0..3)
            .map(|_| (0..dice.below(900)).map(|_| dice.below(1000)).collect::<BTreeSet<_>>())
            .collect();
        let maps: Vec<RoaringTreemap> = sets.iter().map(|s| s.iter().copied().collect()).collect();
        let first = SetDelta::between(&maps[0], &maps[1]);
        let second = SetDelta::between(&maps[1], &maps[2]);
        let joined = SetDelta::compose(&first, &second);
        assert_eq!(joined, SetDelta::between(&maps[0], &maps[2]));
        let mut set = maps[0].clone();
        joined.apply(&mut set).unwrap();
        assert_eq!(set, maps[2]);
        joined.inverse().apply(&mut set).unwrap();
        assert_eq!(set, maps[0]);
        assert!(joined.is_empty() || joined.apply(&mut maps[2].clone()).is_err());
    }
}

#[test]
fn bytes_come_back_and_any_damage_is_refused_or_means_something_else() {
    for seed in 0..40 {
        println!("seed {seed}");
        let mut dice = Dice(seed);
        let mut change = RefChange {
            added: counts_of(&random_model(&mut dice, 12)),
            removed: counts_of(&random_model(&mut dice, 12)),
        };
        change.settle();
        let mut writer = Writer::new();
        change.encode(&mut writer);
        let bytes = writer.finish();
        let mut reader = Reader::new(&bytes);
        assert_eq!(RefChange::decode(&mut reader).as_ref(), Ok(&change));
        assert!(reader.is_at_end());
        for _ in 0..200 {
            let mut other = bytes.clone();
            let at = dice.below(other.len() as u64) as usize;
            other[at] ^= 1 + dice.below(255) as u8;
            let mut reader = Reader::new(&other);
            if let Ok(found) = RefChange::decode(&mut reader) {
                let mut writer = Writer::new();
                found.encode(&mut writer);
                assert_eq!(writer.finish(), other[..reader.offset()]);
            }
        }
    }
}
