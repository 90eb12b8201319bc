//! Memory for the slots of chunks, in granules of 32: all of one size, and no gaps between them.
//!
//! Arrays that grow and shrink, each by itself, leave holes that the allocator cannot use again:
//! measured, four times the memory that was in use once nine of ten chunks had died. Here whoever
//! gives a granule back has it filled with the last one, so what is live is always in front, and
//! whole slabs go back to the allocator.

use super::slot::Packed;

/// Chunks of one granule.
pub(super) const CHUNKS: usize = 32;
const SLAB: usize = 128;

/// Sorted by offset; how many are live is known to the owner.
#[derive(Clone)]
pub(super) struct Granule {
    /// The block it belongs to.
    owner: u32,
    pub offsets: [u16; CHUNKS],
    pub slots: [Packed; CHUNKS],
}

impl Granule {
    const EMPTY: Self = Self { owner: 0, offsets: [0; CHUNKS], slots: [Packed::EMPTY; CHUNKS] };

    /// Makes room at `at` among `len` live chunks, and fills it.
    pub fn insert(&mut self, at: usize, len: usize, offset: u16, packed: Packed) {
        self.offsets.copy_within(at..len, at + 1);
        self.slots.copy_within(at..len, at + 1);
        (self.offsets[at], self.slots[at]) = (offset, packed);
    }

    pub fn remove(&mut self, at: usize, len: usize) {
        self.offsets.copy_within(at + 1..len, at);
        self.slots.copy_within(at + 1..len, at);
    }
}

/// A granule changed its place: whoever owns it must be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moved {
    pub owner: u32,
    pub from: u32,
    pub to: u32,
}

#[derive(Default)]
pub(super) struct Granules {
    slabs: Vec<Box<[Granule]>>,
    len: usize,
}

impl Granules {
    pub fn get(&self, at: u32) -> &Granule {
        &self.slabs[at as usize / SLAB][at as usize % SLAB]
    }

    pub fn get_mut(&mut self, at: u32) -> &mut Granule {
        &mut self.slabs[at as usize / SLAB][at as usize % SLAB]
    }

    pub fn take(&mut self, owner: u32) -> u32 {
        if self.len == self.slabs.len() * SLAB {
            self.slabs.push(vec![Granule::EMPTY; SLAB].into_boxed_slice());
        }
        let Ok(at) = u32::try_from(self.len) else {
            unreachable!("more than 2^32 granules are more than 2^40 numbers fill")
        };
        self.get_mut(at).owner = owner;
        self.len += 1;
        at
    }

    /// The last granule takes the place of the one given back.
    pub fn give_back(&mut self, at: u32) -> Option<Moved> {
        self.len -= 1;
        let from = self.len as u32;
        assert!(at <= from, "granule {at} of {from} given back");
        let moved = (at != from).then(|| {
            let last = self.get(from).clone();
            let owner = last.owner;
            *self.get_mut(at) = last;
            Moved { owner, from, to: at }
        });
        // One slab stays in hand, so that a granule that comes and goes does not allocate.
        while self.slabs.len() > self.len.div_ceil(SLAB) + 1 {
            self.slabs.pop();
        }
        moved
    }

    pub fn bytes_used(&self) -> usize {
        self.slabs.len() * SLAB * size_of::<Granule>()
            + self.slabs.capacity() * size_of::<Box<[Granule]>>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_live_stays_in_front() {
        let mut granules = Granules::default();
        let taken: Vec<u32> = (0..300).map(|owner| granules.take(owner)).collect();
        assert!(taken.iter().copied().eq(0..300));
        assert_eq!(granules.give_back(299), None);
        assert_eq!(granules.give_back(5), Some(Moved { owner: 298, from: 298, to: 5 }));
        assert_eq!(granules.get(5).owner, 298);
        assert_eq!(granules.take(7), 298);
        for _ in 0..299 {
            granules.give_back(0);
        }
        assert_eq!((granules.len, granules.slabs.len()), (0, 1));
    }
}
