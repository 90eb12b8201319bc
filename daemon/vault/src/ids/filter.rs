//! Says "not here" of most ids that are not: ten bits for each, in memory, so that a chunk that is new
//! costs no read. Ids are keyed hashes: their own bits are as good as any other's.

/// Bytes of a part: one line of the processor's cache.
pub(super) const PART_LEN: usize = 64;
const BITS_PER_ID: usize = 10;
const PROBES: usize = 6;

#[derive(Debug, Default)]
pub(super) struct Filter {
    pub bytes: Vec<u8>,
}

/// The first eight bytes, so that ascending ids have ascending parts.
fn first(id: &[u8; 32]) -> u64 {
    id[..8].iter().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

impl Filter {
    pub fn for_count(count: usize) -> Self {
        let parts = (count * BITS_PER_ID).div_ceil(PART_LEN * 8).max(1);
        Self { bytes: vec![0; parts * PART_LEN] }
    }

    fn bits(&self, id: &[u8; 32]) -> impl Iterator<Item = (usize, u8)> {
        let parts = (self.bytes.len() / PART_LEN) as u64;
        let part = ((u128::from(first(id)) * u128::from(parts)) >> 64) as usize;
        let mut rest = id[8..16].iter().fold(0u64, |value, byte| value << 8 | u64::from(*byte));
        (0..PROBES).map(move |_| {
            let bit = (rest % (PART_LEN as u64 * 8)) as usize;
            rest /= PART_LEN as u64 * 8;
            (part * PART_LEN + bit / 8, 1 << (bit % 8))
        })
    }

    pub fn insert(&mut self, id: &[u8; 32]) {
        let bits: Vec<_> = self.bits(id).collect();
        bits.into_iter().for_each(|(byte, bit)| self.bytes[byte] |= bit);
    }

    pub fn may_have(&self, id: &[u8; 32]) -> bool {
        !self.bytes.is_empty() && self.bits(id).all(|(byte, bit)| self.bytes[byte] & bit != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_knows_what_it_has_and_seldom_more() {
        let id = |at: u64| *blake3::hash(&at.to_le_bytes()).as_bytes();
        let mut filter = Filter::for_count(20_000);
        assert!(filter.bytes.len() <= 20_000 * 10 / 8 + PART_LEN);
        (0..20_000).for_each(|at| filter.insert(&id(at)));
        assert!((0..20_000).all(|at| filter.may_have(&id(at))));
        let wrong = (20_000..120_000).filter(|at| filter.may_have(&id(*at))).count();
        assert!(wrong < 3_000, "{wrong} of 100,000");
        assert!(!Filter::default().may_have(&id(0)));
    }
}
