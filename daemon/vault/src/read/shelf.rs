//! Which leaves cover a number, without looking at all of them.

use std::collections::BTreeMap;

use crate::format::{LeafPlace, Manifest};
use crate::units::PoolId;

/// A leaf: index object, and leaf in it, as rows of the manifest.
pub(crate) type Slot = (usize, usize);

#[derive(Debug)]
struct Span {
    first: u64,
    last: u64,
    /// Highest `last` of this and all before.
    reach: u64,
    slot: Slot,
}

/// Leaves of each pool by their first number.
#[derive(Debug)]
pub(super) struct Shelf {
    pools: BTreeMap<PoolId, Vec<Span>>,
}

impl Shelf {
    pub fn new(view: &Manifest) -> Self {
        let mut pools: BTreeMap<PoolId, Vec<Span>> = BTreeMap::new();
        for (index, object) in view.indexes.iter().enumerate() {
            for (row, leaf) in object.leaves.iter().enumerate() {
                let LeafPlace { pool, first, last, .. } = *leaf;
                let span = Span { first, last, reach: last, slot: (index, row) };
                pools.entry(pool).or_default().push(span);
            }
        }
        for spans in pools.values_mut() {
            spans.sort_by_key(|span| (span.first, span.slot));
            let mut reach = 0;
            for span in spans {
                reach = span.last.max(reach);
                span.reach = reach;
            }
        }
        Self { pools }
    }

    /// The leaf to ask for a number after `depth` others that cover it were asked. Index objects stand
    /// by rank in a manifest, so the last that covers it is the first to ask.
    pub fn at(&self, pool: PoolId, number: u64, depth: usize) -> Option<Slot> {
        let spans = self.pools.get(&pool)?;
        let end = spans.partition_point(|span| span.first <= number);
        let reaching = spans[..end].iter().rev().take_while(|span| span.reach >= number);
        let mut slots: Vec<Slot> =
            reaching.filter(|span| span.last >= number).map(|span| span.slot).collect();
        slots.sort_unstable();
        slots.len().checked_sub(depth + 1).map(|at| slots[at])
    }
}
