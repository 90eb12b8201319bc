//! What the tests of trees are made of: a store in memory, seeded dice, and a plain model of a tree.

mod model;
mod store;

pub use model::{Model, ModelContent, ModelEntry, assert_sound, edit, items_between, random_model};
pub use store::{MemoryStore, StoreFault, TEST_KEY, block_on};

use keelhold_chunk::entry::{Kind, Timestamp};
use keelhold_chunk::{Attributes, IdKey};

use super::cut::CutRules;
use super::{BuildError, Item, TreeBuilder, TreeRoot};
use crate::sets::RefChange;

pub fn test_key() -> IdKey {
    IdKey::new(TEST_KEY)
}

pub fn attributes(kind: Kind) -> Attributes {
    Attributes {
        kind,
        mode: 0o644,
        uid: 1000,
        gid: 1000,
        mtime: Timestamp { secs: 1_790_000_000, nanos: 123_456_789 },
        link_group: None,
        xattrs: Vec::new(),
    }
}

pub fn build(
    store: &MemoryStore,
    basis: Option<TreeRoot>,
    items: impl IntoIterator<Item = Item>,
) -> Result<(TreeRoot, RefChange), BuildError<StoreFault>> {
    build_cut(store, basis, items, CutRules::STANDARD)
}

pub fn build_cut(
    store: &MemoryStore,
    basis: Option<TreeRoot>,
    items: impl IntoIterator<Item = Item>,
    rules: CutRules,
) -> Result<(TreeRoot, RefChange), BuildError<StoreFault>> {
    block_on(async {
        let mut builder = TreeBuilder::with_rules(store, test_key(), basis, rules);
        for item in items {
            builder.push(item).await?;
        }
        builder.finish().await
    })
}

/// SplitMix64 (<https://prng.di.unimi.it/splitmix64.c>).
#[derive(Debug, Clone)]
pub struct Dice(pub u64);

impl Dice {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len() as u64) as usize]
    }
}
