//! The index: chunk id → number, and number → place with stored length.
//!
//! - The id is not kept. A keyed [`Fingerprint`] of it leads to **candidates**, seldom more than one;
//!   a hit is believed only after the full id was compared with the run's directory.
//! - The number leads to a [`Slot`]: where the chunk is, what it takes, how many sources use it.
//! - Both are compact and stay so while chunks come and go: at most 32 bytes per chunk in all, growth
//!   included, whatever share of the numbers ever given is dead (`examples/index_memory.rs`).
//! - Above a budget it becomes **bounded**: slots are written in bits ([`compact`]), and in memory are
//!   only the fingerprints that came since the last checkpoint. The others stand in sheets on the
//!   disks ([`levels`], [`sheet`]), sorted, with a sieve in front: some three bytes a chunk in all.
//!   Candidates may then be numbers that died: [`Index::contains`] tells.
//! - It is a cache: checkpoints carry it as sorted [`segment`]s, and the directories of the
//!   containers can make it again.
//!
//! Fingerprints are keyed by a secret no agent is given, so nobody outside can choose chunks that
//! crowd one place of the table.

mod bits;
mod block;
mod cells;
mod compact;
mod fingerprint;
mod granule;
pub mod levels;
pub mod merge;
#[cfg(test)]
mod model;
mod numbers;
pub mod segment;
mod shard;
pub mod sheet;
mod slot;

use std::fmt;
use std::ops::Range;

use keelhold_chunk::ChunkId;
use roaring::RoaringTreemap;
use thiserror::Error;

use crate::units::ChunkNumber;

pub use fingerprint::Fingerprint;
pub use slot::{Place, STORED_LEN_LIMIT, Slot};

use compact::{Compact, rounded_len};
use fingerprint::{Fingerprinter, Sharding};
use levels::Levels;
use numbers::Numbers;
use segment::{Change, Entry};
use shard::Shard;

/// Numbers the index takes: the highest one below [`ChunkNumber::LIMIT`] is its mark for "empty".
pub const NUMBER_LIMIT: u64 = ChunkNumber::LIMIT - 1;

/// What contradicts the index. It knows every live chunk, so each of these is damage in what it was
/// rebuilt from, or an error of the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum IndexError {
    #[error("chunk {number} is not in the index")]
    Unknown { number: ChunkNumber },
    #[error("chunk {number} is in the index already")]
    Present { number: ChunkNumber },
    #[error("chunk {number} stands under another fingerprint")]
    OtherFingerprint { number: ChunkNumber },
    #[error("chunk {number} is used by no source")]
    Unused { number: ChunkNumber },
}

/// Both directions of the index. Numbers and fingerprints are always changed together.
pub struct Index {
    fingerprinter: Fingerprinter,
    sharding: Sharding,
    /// Of a bounded index: what no sheet holds yet.
    shards: Vec<Shard>,
    slots: Slots,
    /// There in a bounded index.
    sheets: Option<Sheets>,
}

#[derive(Default)]
struct Sheets {
    levels: Levels,
    /// Numbers in them that died.
    dead: RoaringTreemap,
    /// Counts how often other sheets took the place of these.
    version: u64,
}

enum Slots {
    Wide(Numbers),
    Compact(Compact),
}

impl Index {
    /// For pools of up to some hundred million chunks.
    #[must_use]
    pub fn new(secret: [u8; 32]) -> Self {
        Self::for_chunks(secret, 0)
    }

    /// With as many shards as suit `expected` chunks; more or fewer may come.
    #[must_use]
    pub fn for_chunks(secret: [u8; 32], expected: u64) -> Self {
        Self::with_sharding(secret, Sharding::for_chunks(expected))
    }

    /// A bounded index without a slot and, so far, without a sheet.
    #[must_use]
    pub fn bounded(secret: [u8; 32]) -> Self {
        Self {
            slots: Slots::Compact(Compact::default()),
            sheets: Some(Sheets::default()),
            ..Self::for_chunks(secret, 0)
        }
    }

    fn with_sharding(secret: [u8; 32], sharding: Sharding) -> Self {
        Self {
            fingerprinter: Fingerprinter::new(secret),
            sharding,
            shards: (0..sharding.count()).map(|_| Shard::default()).collect(),
            slots: Slots::Wide(Numbers::default()),
            sheets: None,
        }
    }

    #[must_use]
    pub fn is_bounded(&self) -> bool {
        self.sheets.is_some()
    }

    /// The sheets of a bounded index.
    #[must_use]
    pub fn levels(&self) -> Option<&Levels> {
        self.sheets.as_ref().map(|sheets| &sheets.levels)
    }

    /// Grows whenever what memory had went to sheets: who found nothing looks again.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.sheets.as_ref().map_or(0, |sheets| sheets.version)
    }

    /// Numbers that died and still stand in sheets.
    #[must_use]
    pub fn dead_rows(&self) -> Option<&RoaringTreemap> {
        self.sheets.as_ref().map(|sheets| &sheets.dead)
    }

    /// From now on these are the sheets. They hold what memory had of the numbers `covered`, which
    /// forgets the way to them, and no longer hold `purged`. A length is from then on what
    /// [`Index::kept_len`] says: sums of lengths are to be made anew if the index was not bounded.
    pub fn put_in_sheets(
        &mut self,
        levels: Levels,
        covered: &RoaringTreemap,
        purged: &RoaringTreemap,
    ) {
        let sharding = Sharding::for_chunks(0);
        let mut kept: Vec<Shard> = (0..sharding.count()).map(|_| Shard::default()).collect();
        for (at, shard) in self.shards.iter().enumerate() {
            for (tag, number) in shard.iter().filter(|(_, number)| !covered.contains(*number)) {
                let (shard, tag) = sharding.split(self.sharding.join(at, tag));
                kept[shard].insert(tag, number);
            }
        }
        (self.shards, self.sharding) = (kept, sharding);
        if let Slots::Wide(numbers) = &self.slots {
            let mut compact = Compact::default();
            for (number, slot) in numbers.range(ChunkNumber(0)..ChunkNumber(ChunkNumber::LIMIT)) {
                compact.insert(number, slot);
            }
            self.slots = Slots::Compact(compact);
        }
        // What died on the way there.
        let died = covered.iter().filter(|number| !self.contains(ChunkNumber(*number)));
        let died: RoaringTreemap = died.collect();
        let sheets = self.sheets.get_or_insert_default();
        sheets.dead -= purged;
        sheets.dead |= died;
        sheets.levels = levels;
        sheets.version += 1;
    }

    /// The length as slots keep it.
    #[must_use]
    pub fn kept_len(&self, stored_len: u32) -> u32 {
        match &self.slots {
            Slots::Wide(_) => stored_len,
            Slots::Compact(_) => rounded_len(stored_len),
        }
    }

    /// Whether memory has the way from fingerprint to number: in a bounded index, whether no sheet
    /// needs to.
    #[must_use]
    pub fn is_in_memory(&self, fingerprint: Fingerprint, number: ChunkNumber) -> bool {
        let (shard, tag) = self.sharding.split(fingerprint);
        self.shards[shard].contains(tag, number.0)
    }

    #[must_use]
    pub fn fingerprint(&self, id: &ChunkId) -> Fingerprint {
        self.fingerprinter.of(id)
    }

    /// Chunks in the index.
    #[must_use]
    pub fn len(&self) -> u64 {
        match &self.slots {
            Slots::Wide(numbers) => numbers.len(),
            Slots::Compact(compact) => compact.len(),
        }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Numbers whose chunks may have the id behind `fingerprint`, lowest first. The caller compares
    /// the full id. In a bounded index there may be more in its [`levels`](Self::levels).
    pub fn candidates(&self, fingerprint: Fingerprint) -> impl Iterator<Item = ChunkNumber> + '_ {
        let (shard, tag) = self.sharding.split(fingerprint);
        self.shards[shard].candidates(tag).map(ChunkNumber)
    }

    #[must_use]
    pub fn slot(&self, number: ChunkNumber) -> Option<Slot> {
        match &self.slots {
            Slots::Wide(numbers) => numbers.slot(number),
            Slots::Compact(compact) => compact.slot(number),
        }
    }

    #[must_use]
    pub fn contains(&self, number: ChunkNumber) -> bool {
        self.slot(number).is_some()
    }

    /// Takes a new chunk. The number must be below [`NUMBER_LIMIT`].
    pub fn insert(
        &mut self,
        number: ChunkNumber,
        fingerprint: Fingerprint,
        slot: Slot,
    ) -> Result<(), IndexError> {
        assert!(number.0 < NUMBER_LIMIT, "number {number} is beyond the index");
        let new = match &mut self.slots {
            Slots::Wide(numbers) => numbers.insert(number, slot),
            Slots::Compact(compact) => compact.insert(number, slot),
        };
        if !new {
            return Err(IndexError::Present { number });
        }
        let (shard, tag) = self.sharding.split(fingerprint);
        self.shards[shard].insert(tag, number.0);
        Ok(())
    }

    /// Forgets a chunk whose bytes are gone.
    pub fn remove(
        &mut self,
        number: ChunkNumber,
        fingerprint: Fingerprint,
    ) -> Result<Slot, IndexError> {
        let slot = self.slot(number).ok_or(IndexError::Unknown { number })?;
        let (shard, tag) = self.sharding.split(fingerprint);
        if !self.shards[shard].remove(tag, number.0) {
            let sheets = self.sheets.as_mut();
            // There it stays until the sheet is written anew.
            sheets.ok_or(IndexError::OtherFingerprint { number })?.dead.insert(number.0);
        }
        let removed = match &mut self.slots {
            Slots::Wide(numbers) => numbers.remove(number),
            Slots::Compact(compact) => compact.remove(number),
        };
        assert!(removed, "chunk {number} is known and cannot be removed");
        Ok(slot)
    }

    /// A chunk moved: compaction wrote it elsewhere.
    pub fn set_place(&mut self, number: ChunkNumber, place: Place) -> Result<(), IndexError> {
        self.change(number, |slot| slot.place = place)
    }

    /// A chunk moved into a frame in which its share is another.
    pub fn set_stored(
        &mut self,
        number: ChunkNumber,
        place: Place,
        stored_len: u32,
    ) -> Result<(), IndexError> {
        self.change(number, |slot| (slot.place, slot.stored_len) = (place, stored_len))
    }

    /// One more source uses the chunk; gives how many do. From 255 on the count stands still.
    pub fn begin_use(&mut self, number: ChunkNumber) -> Result<u8, IndexError> {
        let mut slot = self.slot(number).ok_or(IndexError::Unknown { number })?;
        slot.sources = slot.sources.saturating_add(1);
        self.change(number, |kept| kept.sources = slot.sources)?;
        Ok(slot.sources)
    }

    /// One source fewer uses the chunk; gives how many still do. A count that reached 255 no longer
    /// knows and stays: the chunk counts as shared until an audit makes the counts again.
    pub fn end_use(&mut self, number: ChunkNumber) -> Result<u8, IndexError> {
        let mut slot = self.slot(number).ok_or(IndexError::Unknown { number })?;
        slot.sources = match slot.sources {
            0 => return Err(IndexError::Unused { number }),
            u8::MAX => u8::MAX,
            sources => sources - 1,
        };
        self.change(number, |kept| kept.sources = slot.sources)?;
        Ok(slot.sources)
    }

    /// All counts of sources to zero: before they are made again.
    pub fn clear_uses(&mut self) {
        match &mut self.slots {
            Slots::Wide(numbers) => numbers.change_all(|slot| slot.sources = 0),
            Slots::Compact(compact) => compact.change_all(|slot| slot.sources = 0),
        }
    }

    fn change(
        &mut self,
        number: ChunkNumber,
        change: impl FnOnce(&mut Slot),
    ) -> Result<(), IndexError> {
        let known = match &mut self.slots {
            Slots::Wide(numbers) => numbers.change(number, change),
            Slots::Compact(compact) => compact.change(number, change),
        };
        if known { Ok(()) } else { Err(IndexError::Unknown { number }) }
    }

    /// All chunks in the order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (ChunkNumber, Slot)> + '_ {
        self.range(ChunkNumber(0)..ChunkNumber(ChunkNumber::LIMIT))
    }

    /// The live chunks among `numbers`, in order.
    pub fn range(
        &self,
        numbers: Range<ChunkNumber>,
    ) -> impl Iterator<Item = (ChunkNumber, Slot)> + '_ {
        let (wide, compact) = match &self.slots {
            Slots::Wide(wide) => (Some(wide.range(numbers)), None),
            Slots::Compact(compact) => (None, Some(compact.range(numbers))),
        };
        wide.into_iter().flatten().chain(compact.into_iter().flatten())
    }

    /// Applies one entry of a checkpoint's segment. Segments are applied oldest first; a chunk that a
    /// later one names again has moved. Counts of sources are not part of segments. The way from the
    /// fingerprint is not taken into the memory of a bounded index: its sheets have it.
    pub fn apply(&mut self, entry: &Entry) -> Result<(), IndexError> {
        let Entry { number, fingerprint, change } = *entry;
        match change {
            Change::Gone if !self.contains(number) => Ok(()),
            Change::Gone => self.remove(number, fingerprint).map(|_| ()),
            Change::Stored { place, stored_len } if self.contains(number) => {
                let (shard, tag) = self.sharding.split(fingerprint);
                if !self.is_bounded() && !self.shards[shard].contains(tag, number.0) {
                    return Err(IndexError::OtherFingerprint { number });
                }
                self.set_stored(number, place, stored_len)
            }
            Change::Stored { place, stored_len } => {
                let slot = Slot { place, stored_len, sources: 0 };
                if let Slots::Compact(compact) = &mut self.slots {
                    compact.insert(number, slot);
                    return Ok(());
                }
                self.insert(number, fingerprint, slot)
            }
        }
    }

    /// Memory held, in bytes: the capacity of every allocation, not only what is in use.
    #[must_use]
    pub fn bytes_used(&self) -> u64 {
        let shards: usize = self.shards.iter().map(Shard::bytes_used).sum();
        let shards = shards + self.shards.capacity() * size_of::<Shard>();
        let slots = match &self.slots {
            Slots::Wide(numbers) => numbers.bytes_used(),
            Slots::Compact(compact) => compact.bytes_used(),
        };
        let sheets = self
            .sheets
            .as_ref()
            .map_or(0, |sheets| sheets.levels.bytes_used() + sheets.dead.serialized_size() as u64);
        (shards + slots) as u64 + sheets
    }
}

#[cfg(test)]
impl Index {
    fn check(&self) {
        if let Slots::Wide(numbers) = &self.slots {
            numbers.check();
        }
    }
}

impl fmt::Debug for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Index({} chunks in {} shards)", self.len(), self.shards.len())
    }
}
