//! Seeded chance of the suites. A seed that failed is printed and can be given again.

/// A small generator: the same seed gives the same numbers.
#[derive(Debug, Clone)]
pub struct Chance(u64);

impl Chance {
    /// From `KEELHOLD_SEED`, or from the clock; said on standard output under the suite's name.
    ///
    /// # Panics
    /// If the variable holds no number.
    #[must_use]
    pub fn of_suite(name: &str) -> Self {
        let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        let seed = match std::env::var("KEELHOLD_SEED") {
            Ok(text) => text.parse().expect("KEELHOLD_SEED is a number"),
            Err(_) => since.as_nanos() as u64 >> 10 & 0xffff_ffff,
        };
        println!("{name}: KEELHOLD_SEED={seed}");
        Self::new(seed)
    }

    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut chance = Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        // Neighbouring seeds begin alike.
        for _ in 0..8 {
            chance.draw();
        }
        chance
    }

    pub fn draw(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// One of `0..end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.draw() % end.max(1)
    }

    /// Bytes that do not compress.
    pub fn noise(&mut self, len: usize) -> Vec<u8> {
        let words = std::iter::repeat_with(|| self.draw().to_le_bytes());
        let mut bytes: Vec<u8> = words.take(len.div_ceil(8)).flatten().collect();
        bytes.truncate(len);
        bytes
    }
}
