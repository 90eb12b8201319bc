//! Where the copies of a container lie.

use keelhold_chunk::{DecodeError, Reader, Writer};

/// A container's room on a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SlotRef {
    /// Position of the disk in the superblock's list.
    pub disk: u16,
    pub slot: u32,
}

/// One or two slots, on different disks. Each holds all of the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slots {
    first: SlotRef,
    second: Option<SlotRef>,
}

impl SlotRef {
    pub(super) fn encode(&self, writer: &mut Writer) {
        writer.u16(self.disk);
        writer.u32(self.slot);
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { disk: reader.u16()?, slot: reader.u32()? })
    }

    #[must_use]
    pub fn on(&self, disk: usize) -> bool {
        usize::from(self.disk) == disk
    }
}

impl Slots {
    #[must_use]
    pub fn one(slot: SlotRef) -> Self {
        Self { first: slot, second: None }
    }

    /// # Panics
    /// If both are on the same disk: that is no second copy.
    #[must_use]
    pub fn two(first: SlotRef, second: SlotRef) -> Self {
        assert!(first.disk != second.disk, "both copies of a container on one disk");
        Self { first, second: Some(second) }
    }

    #[must_use]
    pub fn first(&self) -> SlotRef {
        self.first
    }

    #[must_use]
    pub fn second(&self) -> Option<SlotRef> {
        self.second
    }

    pub fn iter(&self) -> impl Iterator<Item = SlotRef> + use<> {
        [Some(self.first), self.second].into_iter().flatten()
    }

    #[must_use]
    pub fn count(&self) -> usize {
        1 + usize::from(self.second.is_some())
    }

    #[must_use]
    pub fn on(&self, disk: usize) -> Option<SlotRef> {
        self.iter().find(|slot| slot.on(disk))
    }

    /// Those of them that `keep` says; none if that is none.
    #[must_use]
    pub fn filtered(&self, keep: impl Fn(SlotRef) -> bool) -> Option<Self> {
        let mut kept = self.iter().filter(|slot| keep(*slot));
        let first = kept.next()?;
        Some(Self { first, second: kept.next() })
    }

    pub(super) fn encode(&self, writer: &mut Writer) {
        writer.u8(self.count() as u8);
        self.iter().for_each(|slot| slot.encode(writer));
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let count = reader.u8()?;
        let wrong = reader.undefined("copies of a container", u64::from(count));
        match count {
            1 => Ok(Self::one(SlotRef::decode(reader)?)),
            2 => {
                let (first, second) = (SlotRef::decode(reader)?, SlotRef::decode(reader)?);
                if first.disk == second.disk {
                    return Err(wrong);
                }
                Ok(Self::two(first, second))
            }
            _ => Err(wrong),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_come_back_and_two_on_one_disk_do_not() {
        let (left, right) = (SlotRef { disk: 1, slot: 2 }, SlotRef { disk: 3, slot: 4 });
        for slots in [Slots::one(left), Slots::two(left, right)] {
            let mut writer = Writer::new();
            slots.encode(&mut writer);
            let mut bytes = writer.finish();
            assert_eq!(Slots::decode(&mut Reader::new(&bytes)), Ok(slots));
            if slots.count() == 2 {
                bytes[7] = 1;
                assert!(Slots::decode(&mut Reader::new(&bytes)).is_err());
            }
        }
        assert_eq!(Slots::two(left, right).filtered(|slot| !slot.on(1)), Some(Slots::one(right)));
    }
}
