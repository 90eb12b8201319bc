//! Where pages end.
//!
//! A page may end before an item when a keyed hash of that item says so. The chance of it grows with
//! the length of the item just written, so that pages have the same mean length whatever entries are
//! like, and a change moves the cuts next to it and no others. Below `min_len` a page never ends, and
//! from `full_len` on it always does.

use keelhold_chunk::IdKey;

/// Lengths are those of a page's items, without its head.
#[derive(Debug, Clone, Copy)]
pub(super) struct CutRule {
    min_len: usize,
    /// Mean length beyond `min_len`.
    spread_len: usize,
    full_len: usize,
    /// An inner page of one item would make no tree: levels must shrink however long paths are.
    min_count: u64,
}

/// How far an open page is filled.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Filled {
    pub count: u64,
    pub len: usize,
    /// Length of the last item.
    pub last_len: usize,
}

impl Filled {
    /// Another item was written; the page now has `len` bytes.
    pub fn grow_to(&mut self, len: usize) {
        *self = Self { count: self.count + 1, len, last_len: len - self.len };
    }
}

/// The rules for all levels.
#[derive(Debug, Clone, Copy)]
pub(super) struct CutRules {
    lowest: CutRule,
    above: CutRule,
}

impl CutRules {
    /// Pages of entries and of extents of some 1 KiB: an edit writes one anew, and edits are
    /// scattered. Pages of references of some 20 KiB, so that three pages lead to one of a million
    /// entries.
    pub const STANDARD: Self = Self {
        lowest: CutRule { min_len: 512, spread_len: 512, full_len: 4 << 10, min_count: 1 },
        above: CutRule { min_len: 8 << 10, spread_len: 12 << 10, full_len: 56 << 10, min_count: 4 },
    };

    /// Trees of many levels out of a few hundred entries.
    #[cfg(test)]
    pub const TINY: Self = Self {
        lowest: CutRule { min_len: 100, spread_len: 300, full_len: 1500, min_count: 1 },
        above: CutRule { min_len: 100, spread_len: 200, full_len: 900, min_count: 2 },
    };

    pub fn of_level(&self, level: u8) -> &CutRule {
        if level == 0 { &self.lowest } else { &self.above }
    }
}

impl CutRule {
    /// Whether a page ends before the item of this hash. The hash is asked for only when it matters.
    pub fn cuts(&self, page: Filled, hash: impl FnOnce() -> u32) -> bool {
        if page.count < self.min_count || page.len < self.min_len {
            return false;
        }
        let below =
            |hash| u64::from(hash) * (self.spread_len as u64) < (page.last_len as u64) << 32;
        page.len >= self.full_len || below(hash())
    }
}

/// Hashes of paths, another one for each level: a path that ends a page would end all above it.
#[derive(Debug, Clone)]
pub(super) struct PathHash {
    key: [u8; 32],
}

impl PathHash {
    pub fn new(id_key: &IdKey) -> Self {
        Self { key: blake3::derive_key("keelhold 2026 page cut", id_key.as_bytes()) }
    }

    pub fn of(&self, path: &[u8], level: u8) -> u32 {
        let hash = blake3::keyed_hash(&self.key, path);
        let at = usize::from(level % 8) * 4;
        let mut word = [0; 4];
        word.copy_from_slice(&hash.as_bytes()[at..at + 4]);
        u32::from_le_bytes(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_have_their_mean_length_whatever_the_items_are() {
        let hash = PathHash::new(&IdKey::new([7; 32]));
        for item_len in [20, 60, 180] {
            let (mut page, mut pages, mut total) = (Filled::default(), 0u64, 0u64);
            for number in 0..40_000u32 {
                if CutRules::STANDARD.of_level(0).cuts(page, || hash.of(&number.to_le_bytes(), 0)) {
                    assert!((512..5 << 10).contains(&page.len));
                    (page, pages) = (Filled::default(), pages + 1);
                }
                page.grow_to(page.len + item_len);
                total += item_len as u64;
            }
            let mean = total / pages;
            assert!((850..1_300).contains(&mean), "items of {item_len}: pages of {mean}");
        }
    }

    #[test]
    fn levels_are_cut_independently() {
        let hash = PathHash::new(&IdKey::new([7; 32]));
        assert_ne!(hash.of(b"usr/bin", 0), hash.of(b"usr/bin", 1));
        assert_ne!(hash.of(b"usr/bin", 0), PathHash::new(&IdKey::new([8; 32])).of(b"usr/bin", 0));
    }
}
