//! What of an open pool never changes: its keys, and the arithmetic of places.

use keelhold_chunk::IdKey;
use keelhold_chunk::cut::CutParams;

use crate::format::{ChecksumKey, SlotRef};
use crate::mutants::{Mutant, Mutants};
use crate::seal::DataKey;
use crate::units::{BLOCK_U64, PoolId};

/// Number of a state container: this bit, and its place. It is found before any table is read.
const STATE_BIT: u32 = 1 << 31;
/// Slots of a disk are counted in so many bits.
const SLOT_BITS: u32 = 20;

pub(super) struct Fixed {
    pub(super) pool: PoolId,
    pub(super) secret: [u8; 32],
    /// Of labels' followers that belong to no container: superblocks, journal, container headers.
    pub(super) key: ChecksumKey,
    pub(super) id_key: IdKey,
    pub(super) cut: CutParams,
    pub(super) index_secret: [u8; 32],
    /// What runs and journal entries are sealed under, in an encrypted pool.
    pub(super) seal: Option<DataKey>,
    pub(super) container_len: u64,
    pub(super) journal_len: u64,
    /// Copies every data container should have.
    pub(super) copies: u16,
    pub(super) mutants: Mutants,
}

/// Number of the state container in a slot.
pub(super) fn state_number(slot: SlotRef) -> u32 {
    assert!(slot.slot < 1 << SLOT_BITS && u32::from(slot.disk) < 1 << (31 - SLOT_BITS));
    STATE_BIT | u32::from(slot.disk) << SLOT_BITS | slot.slot
}

/// Where a state container lies; none for one of data, whose slots are in the tables.
pub(super) fn state_slot(container: u32) -> Option<SlotRef> {
    let place = container & !STATE_BIT;
    (container & STATE_BIT != 0).then_some(SlotRef {
        disk: (place >> SLOT_BITS) as u16,
        slot: place & ((1 << SLOT_BITS) - 1),
    })
}

/// Number of a new data container, given by its generation. The caller passes over those in use.
pub(super) fn data_number(generation: u64) -> u32 {
    (generation as u32) & !STATE_BIT
}

impl Fixed {
    /// Checksum key of the runs of a container's generation. Whoever has an image of a disk has the
    /// secret; what the salt of a container will be, nobody knows when its bytes are chosen.
    pub(super) fn run_key(&self, salt: &[u8; 16]) -> ChecksumKey {
        let salted = self.mutants.keeps(Mutant::ContainerSalt);
        ChecksumKey::new(&self.secret, if salted { salt } else { &[0; 16] })
    }

    pub(super) fn container_blocks(&self) -> u32 {
        (self.container_len / BLOCK_U64) as u32
    }

    /// Most operations that fit a journal entry, in bytes: four such entries always fit beside what two
    /// checkpoints still need.
    pub(super) fn entry_limit(&self) -> u64 {
        self.journal_len / 8
    }

    /// Longest journal entry, with header, seal and padding. Whoever looks for the entry behind a
    /// damaged one looks no further than that at first.
    pub(super) fn entry_len_max(&self) -> u64 {
        self.entry_limit().next_multiple_of(BLOCK_U64) + BLOCK_U64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_state_containers_come_apart_again() {
        for (disk, slot) in [(0, 0), (1, 7), (95, (1 << 20) - 1)] {
            let slot = SlotRef { disk, slot };
            assert_eq!(state_slot(state_number(slot)), Some(slot));
        }
        assert_eq!(state_slot(data_number(u64::MAX)), None);
    }
}
