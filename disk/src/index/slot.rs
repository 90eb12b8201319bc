//! What the index knows of one chunk.

/// A chunk's share of its frame is below this: it is kept in 24 bits.
pub const STORED_LEN_LIMIT: u32 = 1 << 24;

/// Where a chunk is: an entry of the directory of one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    pub container: u32,
    /// Start of the run in its container, in blocks of 4 KiB.
    pub run_block: u16,
    /// Which chunk of the run's directory.
    pub ordinal: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    pub place: Place,
    /// Share of the stored length of its frame, by plain length; below [`STORED_LEN_LIMIT`].
    pub stored_len: u32,
    /// How many sources use the chunk; 255 means "so many or more".
    pub sources: u8,
}

/// A [`Slot`] without the gaps that alignment would leave.
#[derive(Clone, Copy)]
pub(super) struct Packed([u8; 12]);

impl Packed {
    pub const EMPTY: Self = Self([0; 12]);

    pub fn new(slot: Slot) -> Self {
        let Slot { place: Place { container, run_block, ordinal }, stored_len, sources } = slot;
        assert!(stored_len < STORED_LEN_LIMIT, "stored length {stored_len} of one chunk");
        let [c0, c1, c2, c3] = container.to_le_bytes();
        let [r0, r1] = run_block.to_le_bytes();
        let [o0, o1] = ordinal.to_le_bytes();
        let [l0, l1, l2, _] = stored_len.to_le_bytes();
        Self([c0, c1, c2, c3, r0, r1, o0, o1, l0, l1, l2, sources])
    }

    pub fn slot(self) -> Slot {
        let [c0, c1, c2, c3, r0, r1, o0, o1, l0, l1, l2, sources] = self.0;
        Slot {
            place: Place {
                container: u32::from_le_bytes([c0, c1, c2, c3]),
                run_block: u16::from_le_bytes([r0, r1]),
                ordinal: u16::from_le_bytes([o0, o1]),
            },
            stored_len: u32::from_le_bytes([l0, l1, l2, 0]),
            sources,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_comes_back() {
        for slot in [
            Slot {
                place: Place { container: 0x01020304, run_block: 0x0506, ordinal: 0x0708 },
                stored_len: 0x090a0b,
                sources: 12,
            },
            Slot {
                place: Place { container: u32::MAX, run_block: u16::MAX, ordinal: u16::MAX },
                stored_len: STORED_LEN_LIMIT - 1,
                sources: u8::MAX,
            },
        ] {
            assert_eq!(Packed::new(slot).slot(), slot);
        }
    }
}
