//! The way from number to slot in a tenth of the memory: blocks of 1,024 numbers, each written as a
//! string of bits that is opened when somebody asks.
//!
//! Most chunks follow the one before them: next number, next of the run, used by as many sources.
//! That takes two bits; the length takes ten. It is rounded down to seven significant bits, by less
//! than a sixty-fourth: whoever adds lengths up here and there must use the rounded ones throughout.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;

use super::bits::{BitReader, BitWriter};
use super::slot::{Place, Slot};
use crate::units::ChunkNumber;

/// Numbers of one block.
const NUMBERS: u64 = 1024;
/// Blocks kept open. Look-ups come in the order of numbers, from several streams.
const OPEN: usize = 8;
/// Bits of a length below its first one, and the most such lengths can be shifted.
const LEN_BITS: u32 = 6;
const LEN_SHIFT_BITS: u32 = 4;

type Slots = Vec<(u16, Slot)>;

#[derive(Default)]
pub(super) struct Compact {
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    /// Open blocks have their place here, too, as they were when they were opened.
    closed: BTreeMap<u32, Box<[u8]>>,
    /// The one used last is last.
    open: Vec<Open>,
    closed_bytes: usize,
    len: u64,
}

struct Open {
    at: u32,
    slots: Slots,
    changed: bool,
}

impl Compact {
    pub fn len(&self) -> u64 {
        self.state.borrow().len
    }

    pub fn slot(&self, number: ChunkNumber) -> Option<Slot> {
        let (at, offset) = split(number)?;
        let mut state = self.state.borrow_mut();
        let block = state.open(at)?;
        let found = block.slots.binary_search_by_key(&offset, |(offset, _)| *offset).ok()?;
        Some(block.slots[found].1)
    }

    /// Whether the number was free. It must be below [`ChunkNumber::LIMIT`].
    pub fn insert(&mut self, number: ChunkNumber, slot: Slot) -> bool {
        let Some((at, offset)) = split(number) else {
            unreachable!("number {number} is beyond the limit")
        };
        let state = self.state.get_mut();
        state.closed.entry(at).or_default();
        let Some(block) = state.open(at) else { return false };
        let Err(place) = block.slots.binary_search_by_key(&offset, |(offset, _)| *offset) else {
            return false;
        };
        block.slots.insert(place, (offset, rounded(slot)));
        block.changed = true;
        state.len += 1;
        true
    }

    /// Whether the number was live.
    pub fn remove(&mut self, number: ChunkNumber) -> bool {
        let Some((at, offset)) = split(number) else { return false };
        let state = self.state.get_mut();
        let Some(block) = state.open(at) else { return false };
        let Ok(place) = block.slots.binary_search_by_key(&offset, |(offset, _)| *offset) else {
            return false;
        };
        block.slots.remove(place);
        block.changed = true;
        if block.slots.is_empty() {
            state.forget(at);
        }
        state.len -= 1;
        true
    }

    /// Whether the number is live.
    pub fn change(&mut self, number: ChunkNumber, change: impl FnOnce(&mut Slot)) -> bool {
        let Some((at, offset)) = split(number) else { return false };
        let Some(block) = self.state.get_mut().open(at) else { return false };
        let Ok(place) = block.slots.binary_search_by_key(&offset, |(offset, _)| *offset) else {
            return false;
        };
        let slot = &mut block.slots[place].1;
        change(slot);
        *slot = rounded(*slot);
        block.changed = true;
        true
    }

    pub fn change_all(&mut self, mut change: impl FnMut(&mut Slot)) {
        let state = self.state.get_mut();
        let blocks: Vec<u32> = state.closed.keys().copied().collect();
        for at in blocks {
            let Some(block) = state.open(at) else { continue };
            block.slots.iter_mut().for_each(|(_, slot)| change(slot));
            block.changed = true;
        }
    }

    pub fn range(
        &self,
        numbers: Range<ChunkNumber>,
    ) -> impl Iterator<Item = (ChunkNumber, Slot)> + '_ {
        let Range { start, end } = numbers;
        let last = ChunkNumber::LIMIT - 1;
        let mut next = Some((start.0.min(last) / NUMBERS) as u32);
        let blocks = std::iter::from_fn(move || {
            let (at, slots) = self.state.borrow().block_from(next?)?;
            next = at.checked_add(1);
            Some((at, slots))
        });
        blocks
            .flat_map(|(at, slots)| {
                let base = u64::from(at) * NUMBERS;
                slots.into_iter().map(move |(offset, slot)| (base + u64::from(offset), slot))
            })
            .skip_while(move |(number, _)| *number < start.0)
            .take_while(move |(number, _)| *number < end.0)
            .map(|(number, slot)| (ChunkNumber(number), slot))
    }

    /// The map's own nodes cannot be asked for: counted as half full, the emptiest they get.
    pub fn bytes_used(&self) -> usize {
        let state = self.state.borrow();
        let entry = size_of::<u32>() + size_of::<Box<[u8]>>() + size_of::<usize>();
        let open: usize =
            state.open.iter().map(|open| open.slots.capacity() * size_of::<(u16, Slot)>()).sum();
        state.closed_bytes + open + state.closed.len() * entry * 2
    }
}

impl State {
    fn open(&mut self, at: u32) -> Option<&mut Open> {
        if let Some(place) = self.open.iter().position(|open| open.at == at) {
            let last = self.open.len() - 1;
            if place != last {
                self.open[place..].rotate_left(1);
            }
            return self.open.last_mut();
        }
        let slots = read(self.closed.get(&at)?);
        if self.open.len() == OPEN {
            let oldest = self.open.remove(0);
            if oldest.changed {
                self.close(oldest.at, &oldest.slots);
            }
        }
        self.open.push(Open { at, slots, changed: false });
        self.open.last_mut()
    }

    fn close(&mut self, at: u32, slots: &Slots) {
        let bytes = write(slots);
        self.closed_bytes += bytes.len();
        if let Some(before) = self.closed.insert(at, bytes) {
            self.closed_bytes -= before.len();
        }
    }

    fn forget(&mut self, at: u32) {
        self.open.retain(|open| open.at != at);
        if let Some(before) = self.closed.remove(&at) {
            self.closed_bytes -= before.len();
        }
    }

    /// The first block that is not before `from`, without opening it for good.
    fn block_from(&self, from: u32) -> Option<(u32, Slots)> {
        let (at, bytes) = self.closed.range(from..).next()?;
        let open = self.open.iter().find(|open| open.at == *at);
        Some((*at, open.map_or_else(|| read(bytes), |open| open.slots.clone())))
    }
}

/// The length as this module keeps it.
pub(super) fn rounded_len(len: u32) -> u32 {
    let (shift, bits) = pack_len(len);
    unpack_len(shift, bits)
}

fn rounded(slot: Slot) -> Slot {
    Slot { stored_len: rounded_len(slot.stored_len), ..slot }
}

/// How far a length is shifted, and its bits: without the first one where it is shifted.
fn pack_len(len: u32) -> (u32, u32) {
    const MOST: u32 = (1 << LEN_SHIFT_BITS) - 1;
    let low = (1 << LEN_BITS) - 1;
    match (len >> LEN_BITS).checked_ilog2() {
        None => (0, len),
        Some(shift) if shift < MOST => (shift + 1, len >> shift & low),
        Some(_) => (MOST, low),
    }
}

fn unpack_len(shift: u32, bits: u32) -> u32 {
    if shift == 0 { bits } else { (1 << LEN_BITS | bits) << (shift - 1) }
}

/// What a slot is written relative to.
#[derive(Clone, Copy)]
struct Before {
    offset: i32,
    place: Option<Place>,
    sources: u8,
}

impl Before {
    const FIRST: Self = Self { offset: -1, place: None, sources: 0 };

    fn after(self, ordinals: u32) -> Option<Place> {
        let place = self.place?;
        let ordinal = place.ordinal.checked_add(u16::try_from(ordinals).ok()?)?;
        Some(Place { ordinal, ..place })
    }
}

fn write(slots: &Slots) -> Box<[u8]> {
    let mut writer = BitWriter::with_capacity(slots.len() * 2 + 16);
    writer.bits(slots.len() as u32, 11);
    let mut before = Before::FIRST;
    for (offset, slot) in slots {
        let distance = (i32::from(*offset) - before.offset) as u32;
        let place = Some(slot.place);
        if distance == 1 && before.after(1) == place {
            writer.bits(0, 1);
        } else if before.after(1) == place {
            // Moved together; those between them died before.
            writer.bits(0b001, 3);
            writer.gamma(distance);
        } else if before.after(distance) == place {
            // Those between them died where they are.
            writer.bits(0b101, 3);
            writer.gamma(distance);
        } else {
            writer.bits(0b11, 2);
            writer.gamma(distance);
            writer.bits(slot.place.container, 32);
            writer.bits(slot.place.run_block.into(), 16);
            writer.bits(slot.place.ordinal.into(), 16);
        }
        if slot.sources == before.sources {
            writer.bits(0, 1);
        } else {
            writer.bits(u32::from(slot.sources) << 1 | 1, 9);
        }
        let (shift, bits) = pack_len(slot.stored_len);
        writer.bits(shift | bits << LEN_SHIFT_BITS, LEN_SHIFT_BITS + LEN_BITS);
        before = Before { offset: i32::from(*offset), place, sources: slot.sources };
    }
    writer.finish()
}

fn read(bytes: &[u8]) -> Slots {
    let mut reader = BitReader::new(bytes);
    let count = reader.bits(11) as usize;
    let mut slots = Slots::with_capacity(count);
    let mut before = Before::FIRST;
    for _ in 0..count {
        let mut distance = 1;
        let follows = if !reader.bit() {
            before.after(1)
        } else if !reader.bit() {
            let stayed = reader.bit();
            distance = reader.gamma();
            before.after(if stayed { distance } else { 1 })
        } else {
            distance = reader.gamma();
            None
        };
        let place = follows.unwrap_or_else(|| Place {
            container: reader.bits(32),
            run_block: reader.bits(16) as u16,
            ordinal: reader.bits(16) as u16,
        });
        let sources = if reader.bit() { reader.bits(8) as u8 } else { before.sources };
        let stored_len = unpack_len(reader.bits(LEN_SHIFT_BITS), reader.bits(LEN_BITS));
        before.offset += distance as i32;
        slots.push((before.offset as u16, Slot { place, stored_len, sources }));
        before = Before { place: Some(place), sources, ..before };
    }
    slots
}

/// Block and offset in it; `None` beyond the numbers there are.
fn split(number: ChunkNumber) -> Option<(u32, u16)> {
    (number.0 < ChunkNumber::LIMIT)
        .then_some(((number.0 / NUMBERS) as u32, (number.0 % NUMBERS) as u16))
}

const _: () = assert!(ChunkNumber::LIMIT / NUMBERS <= 1 << u32::BITS);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::model::Seeded;

    #[test]
    fn a_length_loses_less_than_a_sixty_fourth() {
        for len in (0..2_080_768).step_by(7).chain(0..1000) {
            let kept = rounded_len(len);
            assert!(kept <= len && len - kept <= len / 64, "{len} became {kept}");
            assert_eq!(rounded_len(kept), kept);
        }
        assert_eq!(rounded_len((1 << 24) - 1), 127 << 14);
    }

    /// Numbers in order and out of it, in runs, moved together, dying in place.
    fn any_slot(random: &mut Seeded, number: u64) -> Slot {
        let run = number / 50;
        let together = random.below(8) > 0;
        let ordinal = if together { number % 50 } else { random.below(1 << 16) };
        let place = Place { container: run as u32, run_block: 7, ordinal: ordinal as u16 };
        let sources = if random.below(20) == 0 { random.next() as u8 } else { 1 };
        Slot { place, stored_len: rounded_len(random.below(1 << 21) as u32), sources }
    }

    #[test]
    fn it_does_what_a_map_does() {
        for seed in 0..6 {
            let mut random = Seeded::new(seed);
            let (mut compact, mut model) = (Compact::default(), BTreeMap::new());
            let limit = [3_000, 200_000][seed as usize % 2];
            let mut next = 0;
            for step in 0..40_000 {
                let number = ChunkNumber(random.below(limit));
                match random.below(8) {
                    0 => {
                        let found = model.remove(&number).is_some();
                        assert_eq!(compact.remove(number), found, "seed {seed}");
                    }
                    1 => {
                        let slot = any_slot(&mut random, number.0);
                        let found = model.get_mut(&number).map(|kept| *kept = slot).is_some();
                        assert_eq!(compact.change(number, |kept| *kept = slot), found);
                    }
                    2 => assert_eq!(compact.slot(number), model.get(&number).copied()),
                    turn => {
                        next = (next + 1) % limit;
                        let number = if turn == 3 { number } else { ChunkNumber(next) };
                        let slot = any_slot(&mut random, number.0);
                        let new = !model.contains_key(&number);
                        assert_eq!(compact.insert(number, slot), new, "seed {seed}");
                        model.entry(number).or_insert(slot);
                    }
                }
                if step % 5_000 == 0 {
                    let all = ChunkNumber(0)..ChunkNumber(ChunkNumber::LIMIT);
                    assert!(compact.range(all).eq(model.clone()), "seed {seed}");
                    let from = ChunkNumber(random.below(limit))..ChunkNumber(random.below(limit));
                    let expected = model.iter().filter(|(number, _)| from.contains(number));
                    assert!(compact.range(from.clone()).eq(expected.map(|(n, s)| (*n, *s))));
                    assert_eq!(compact.len(), model.len() as u64);
                }
            }
            compact.change_all(|slot| slot.sources = 0);
            model.values_mut().for_each(|slot| slot.sources = 0);
            for number in model.keys().copied().collect::<Vec<_>>() {
                assert_eq!(compact.slot(number), model.remove(&number));
                assert!(compact.remove(number));
            }
            assert_eq!(compact.state.borrow().closed_bytes, 0, "seed {seed}");
        }
    }
}
