//! The live ones among 4,096 consecutive numbers.
//!
//! A block is a list of parts, sorted, each a granule and how much of it is live. Nine of ten numbers
//! die in time, at random: as soon as a granule and a sixteenth of the block are spare, what lives is
//! moved together.

use super::granule::{CHUNKS, Granules, Moved};
use super::slot::{Packed, Slot};

/// Numbers of one block: those a stream leases at a time.
pub(super) const NUMBERS: u64 = 4096;

#[derive(Default)]
pub(super) struct Block {
    parts: Vec<Part>,
    len: u16,
}

#[derive(Clone, Copy)]
struct Part {
    granule: u32,
    first: u16,
    len: u8,
}

/// Where a chunk is or belongs: part and place in its granule.
type At = (usize, usize);

impl Block {
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    pub fn get(&self, granules: &Granules, offset: u16) -> Option<Slot> {
        let (part, at) = self.find(granules, offset).ok()?;
        Some(granules.get(self.parts[part].granule).slots[at].slot())
    }

    /// Whether the offset was free. `owner` is the number of this block.
    pub fn insert(&mut self, granules: &mut Granules, owner: u32, offset: u16, slot: Slot) -> bool {
        let Err(at) = self.find(granules, offset) else {
            return false;
        };
        let (part, at) = self.make_room(granules, owner, at);
        let Part { granule, len, .. } = self.parts[part];
        let granule = granules.get_mut(granule);
        granule.insert(at, usize::from(len), offset, Packed::new(slot));
        self.parts[part].len += 1;
        self.parts[part].first = granule.offsets[0];
        self.len += 1;
        true
    }

    /// Whether the offset was live.
    pub fn remove(&mut self, granules: &mut Granules, offset: u16) -> bool {
        let Ok((part, at)) = self.find(granules, offset) else {
            return false;
        };
        let Part { granule, len, .. } = self.parts[part];
        let granule = granules.get_mut(granule);
        granule.remove(at, usize::from(len));
        self.len -= 1;
        if len == 1 {
            // An empty part waits at the end for the owner of the granules to take it.
            let mut empty = self.parts.remove(part);
            empty.len = 0;
            self.parts.push(empty);
        } else {
            self.parts[part].len -= 1;
            self.parts[part].first = granule.offsets[0];
        }
        true
    }

    pub fn change(
        &mut self,
        granules: &mut Granules,
        offset: u16,
        change: impl FnOnce(&mut Slot),
    ) -> bool {
        let Ok((part, at)) = self.find(granules, offset) else {
            return false;
        };
        change_slot(&mut granules.get_mut(self.parts[part].granule).slots[at], change);
        true
    }

    pub fn change_all(&self, granules: &mut Granules, change: &mut impl FnMut(&mut Slot)) {
        for part in &self.parts {
            let granule = granules.get_mut(part.granule);
            granule.slots[..usize::from(part.len)]
                .iter_mut()
                .for_each(|packed| change_slot(packed, &mut *change));
        }
    }

    /// Live offsets from `from` on, in order.
    pub fn iter_from<'a>(
        &'a self,
        granules: &'a Granules,
        from: u16,
    ) -> impl Iterator<Item = (u16, Slot)> + 'a {
        let start = self.part_of(from);
        self.parts[start..]
            .iter()
            .flat_map(|part| {
                let granule = granules.get(part.granule);
                let slots = granule.slots.iter().map(|packed| packed.slot());
                granule.offsets.iter().copied().zip(slots).take(usize::from(part.len))
            })
            .skip_while(move |(offset, _)| *offset < from)
    }

    /// Moves what lives together when much is spare. Parts left empty are at the end.
    pub fn settle(&mut self, granules: &mut Granules) {
        let spare = self.parts.len() * CHUNKS - usize::from(self.len);
        if spare < CHUNKS + self.parts.len() * CHUNKS / 16 {
            return;
        }
        let (mut to, mut filled) = (0, 0);
        for from in 0..self.parts.len() {
            let Part { granule, len, .. } = self.parts[from];
            for at in 0..usize::from(len) {
                let source = granules.get(granule);
                let (offset, packed) = (source.offsets[at], source.slots[at]);
                if filled == CHUNKS {
                    (to, filled) = (to + 1, 0);
                }
                let target = granules.get_mut(self.parts[to].granule);
                (target.offsets[filled], target.slots[filled]) = (offset, packed);
                filled += 1;
            }
        }
        let mut left = usize::from(self.len);
        for part in &mut self.parts {
            part.len = left.min(CHUNKS) as u8;
            part.first = granules.get(part.granule).offsets[0];
            left -= usize::from(part.len);
        }
    }

    /// A granule nothing lives in, no longer part of the block.
    pub fn take_empty(&mut self) -> Option<u32> {
        let empty = self.parts.pop_if(|part| part.len == 0)?;
        if self.parts.len() * 2 <= self.parts.capacity() {
            self.parts.shrink_to(self.parts.len().next_power_of_two());
        }
        Some(empty.granule)
    }

    pub fn granule_moved(&mut self, moved: Moved) {
        let part = self.parts.iter_mut().find(|part| part.granule == moved.from);
        assert!(part.is_some(), "granule {} is not where its owner was told", moved.from);
        part.into_iter().for_each(|part| part.granule = moved.to);
    }

    /// Of the list of parts; the granules count for themselves.
    pub fn bytes_used(&self) -> usize {
        self.parts.capacity() * size_of::<Part>()
    }

    /// The part whose granule holds the offset if any does.
    fn part_of(&self, offset: u16) -> usize {
        let live = self.parts.partition_point(|part| part.len > 0 && part.first <= offset);
        live.saturating_sub(1)
    }

    fn find(&self, granules: &Granules, offset: u16) -> Result<At, At> {
        let part = self.part_of(offset);
        let Some(Part { granule, len, .. }) = self.parts.get(part) else {
            return Err((0, 0));
        };
        match granules.get(*granule).offsets[..usize::from(*len)].binary_search(&offset) {
            Ok(at) => Ok((part, at)),
            Err(at) => Err((part, at)),
        }
    }

    /// Sees to it that the part has a place free, and says where the new chunk belongs.
    fn make_room(&mut self, granules: &mut Granules, owner: u32, (part, at): At) -> At {
        if self.parts.get(part).is_some_and(|part| usize::from(part.len) < CHUNKS) {
            return (part, at);
        }
        let new = Part { granule: granules.take(owner), first: 0, len: 0 };
        if self.parts.is_empty() {
            self.parts.push(new);
            return (0, 0);
        }
        self.parts.insert(part + 1, new);
        // Numbers come in order: nearly always what is full is full for good, and the next begins.
        if at == CHUNKS {
            return (part + 1, 0);
        }
        const HALF: usize = CHUNKS / 2;
        let full = granules.get(self.parts[part].granule).clone();
        let upper = granules.get_mut(new.granule);
        upper.offsets[..HALF].copy_from_slice(&full.offsets[HALF..]);
        upper.slots[..HALF].copy_from_slice(&full.slots[HALF..]);
        self.parts[part].len = HALF as u8;
        self.parts[part + 1].len = HALF as u8;
        self.parts[part + 1].first = full.offsets[HALF];
        if at <= HALF { (part, at) } else { (part + 1, at - HALF) }
    }
}

fn change_slot(packed: &mut Packed, change: impl FnOnce(&mut Slot)) {
    let mut slot = packed.slot();
    change(&mut slot);
    *packed = Packed::new(slot);
}

const _: () = assert!(NUMBERS <= 1 << u16::BITS && size_of::<Part>() == 8);
