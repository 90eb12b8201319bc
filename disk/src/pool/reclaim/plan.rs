//! Which containers to free and which to compact: a function of what they hold.

use std::collections::BTreeMap;

use roaring::RoaringTreemap;

use crate::format::Purpose;
use crate::pool::tables::{Shares, Tables};
use crate::units::ChunkNumber;

/// A sealed container of data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::pool) struct Candidate {
    pub(in crate::pool) container: u32,
    /// Stored bytes of its frames.
    pub(in crate::pool) stored_len: u64,
    pub(in crate::pool) shares: Shares,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::pool) struct Chosen {
    /// Nothing in them is needed.
    pub(in crate::pool) dead: Vec<Candidate>,
    /// Worth moving what is live in them, the emptiest first.
    pub(in crate::pool) sparse: Vec<Candidate>,
}

/// What a container holds that compaction fills.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::pool) struct Packing {
    /// Bytes that surely go into it: of frames, and of what tells of them.
    pub(in crate::pool) room: u64,
    /// Bytes that tell of a chunk: its row in a directory.
    pub(in crate::pool) row_len: u64,
}

impl Candidate {
    /// What its live chunks take elsewhere.
    fn need(&self, packing: Packing) -> u64 {
        let live = self.shares.indexed - self.shares.dead;
        self.shares.live_len() + live * packing.row_len
    }

    /// Stored bytes that nothing needs: dead, moved away or dropped.
    pub(in crate::pool) fn garbage_len(&self) -> u64 {
        self.stored_len - self.shares.live_len()
    }
}

/// Every container that could be reclaimed, with these shares.
pub(in crate::pool) fn candidates(
    tables: &Tables,
    shares: &BTreeMap<u32, Shares>,
    is_open: impl Fn(u32) -> bool,
) -> Vec<Candidate> {
    let mut candidates = Vec::new();
    for (number, container) in &tables.containers {
        let row = &container.row;
        let usable = row.purpose == Purpose::Data && row.sealed && row.freed_at == 0;
        if usable && !is_open(*number) {
            let shares = shares.get(number).copied().unwrap_or_default();
            let stored_len = row.stored_len.max(shares.indexed_len);
            candidates.push(Candidate { container: *number, stored_len, shares });
        }
    }
    candidates
}

/// Shares of the containers if these numbers were what is dead.
pub(in crate::pool) fn shares_with(
    tables: &Tables,
    dead: &RoaringTreemap,
) -> BTreeMap<u32, Shares> {
    let mut shares: BTreeMap<u32, Shares> = BTreeMap::new();
    for (number, container) in &tables.containers {
        let known = Shares { dead: 0, dead_len: 0, ..container.shares };
        shares.insert(*number, known);
    }
    for slot in dead.iter().filter_map(|number| tables.index.slot(ChunkNumber(number))) {
        if let Some(shares) = shares.get_mut(&slot.place.container) {
            shares.dead += 1;
            shares.dead_len += u64::from(slot.stored_len);
        }
    }
    shares
}

/// What to free, and what to compact because at least `least_dead` per cent of the room it takes
/// would come back.
pub(in crate::pool) fn choose(
    candidates: Vec<Candidate>,
    packing: Packing,
    least_dead: u8,
) -> Chosen {
    let is_dead = |candidate: &Candidate| candidate.shares.indexed == candidate.shares.dead;
    let (dead, others): (Vec<Candidate>, Vec<Candidate>) =
        candidates.into_iter().partition(is_dead);
    let most = packing.room * u64::from(100 - least_dead.min(100)) / 100;
    let mut sparse: Vec<Candidate> =
        others.into_iter().filter(|each| each.need(packing) <= most).collect();
    sparse.sort_by_key(|candidate| (candidate.shares.live_len(), candidate.container));
    // What is left of them must fill fewer containers than they are.
    let need: u64 = sparse.iter().map(|candidate| candidate.need(packing)).sum();
    if need.div_ceil(packing.room.max(1)) >= sparse.len() as u64 {
        sparse.clear();
    }
    Chosen { dead, sparse }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAMES: Packing = Packing { room: 100, row_len: 0 };

    fn candidate(container: u32, stored_len: u64, dead_len: u64) -> Candidate {
        let (indexed, dead) = (10, if stored_len == dead_len { 10 } else { 1 });
        let shares = Shares { indexed, indexed_len: stored_len, dead, dead_len };
        Candidate { container, stored_len, shares }
    }

    #[test]
    fn dead_containers_are_freed_and_sparse_ones_compacted_emptiest_first() {
        let all = vec![
            candidate(1, 90, 90),
            candidate(2, 90, 10),
            candidate(3, 90, 50),
            candidate(4, 90, 70),
            candidate(5, 90, 0),
        ];
        let chosen = choose(all, FRAMES, 25);
        let numbers = |of: &[Candidate]| of.iter().map(|each| each.container).collect::<Vec<_>>();
        assert_eq!((numbers(&chosen.dead), numbers(&chosen.sparse)), (vec![1], vec![4, 3]));
    }

    #[test]
    fn nothing_is_moved_that_would_fill_as_many_containers_again() {
        let chosen = choose(vec![candidate(1, 90, 0), candidate(2, 90, 60)], FRAMES, 25);
        assert_eq!(chosen.sparse, Vec::new());
        assert_eq!(choose(Vec::new(), FRAMES, 25), Chosen::default());
    }

    /// Of small chunks most of a container is directories: that is not room.
    #[test]
    fn what_tells_of_chunks_takes_room_too() {
        let packing = Packing { room: 100, row_len: 5 };
        let full = vec![candidate(1, 50, 2), candidate(2, 50, 2), candidate(3, 50, 2)];
        assert_eq!(choose(full.clone(), FRAMES, 25).sparse.len(), 3);
        assert_eq!(choose(full, packing, 25).sparse, Vec::new());
    }
}
