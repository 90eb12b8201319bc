//! Randomness of the tests: seeded, printed, and the same everywhere.

pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From `low` to `high`, both included.
    pub fn within(&mut self, low: i64, high: i64) -> i64 {
        let width = u64::try_from(high - low).unwrap() + 1;
        low + i64::try_from(self.next() % width).unwrap()
    }

    pub fn one_in(&mut self, of: i64) -> bool {
        self.within(1, of) == 1
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        let index = self.within(0, i64::try_from(from.len()).unwrap() - 1);
        from[usize::try_from(index).unwrap()]
    }

    /// Some of these, in their order.
    pub fn some<T: Copy>(&mut self, from: &[T]) -> Vec<T> {
        from.iter().copied().filter(|_| self.one_in(2)).collect()
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// The first seed of a test and how many follow. One seed alone with `KEELHOLD_SEED`, more of them
/// with `KEELHOLD_CAMPAIGN`.
pub fn seeds(count: u64) -> std::ops::Range<u64> {
    match number("KEELHOLD_SEED") {
        Some(seed) => seed..seed + 1,
        None => 1..count * number("KEELHOLD_CAMPAIGN").unwrap_or(1) + 1,
    }
}
