//! Numbers of few bits, one after another.

#[derive(Default)]
pub(super) struct BitWriter {
    bytes: Vec<u8>,
    /// Bits not in `bytes` yet, the first of them lowest.
    rest: u64,
    rest_len: u32,
}

impl BitWriter {
    pub fn with_capacity(bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), ..Self::default() }
    }

    /// The lowest `len` bits of `value`, at most 32.
    pub fn bits(&mut self, value: u32, len: u32) {
        self.rest |= u64::from(value) << self.rest_len;
        self.rest_len += len;
        while self.rest_len >= 8 {
            self.bytes.push(self.rest as u8);
            self.rest >>= 8;
            self.rest_len -= 8;
        }
    }

    /// A number above zero, in twice as many bits as it has, less one.
    pub fn gamma(&mut self, value: u32) {
        let len = value.ilog2();
        self.bits(1 << len, len + 1);
        self.bits(value & !(1 << len), len);
    }

    pub fn finish(mut self) -> Box<[u8]> {
        self.bits(0, 7);
        self.bytes.into_boxed_slice()
    }
}

/// Reads what a [`BitWriter`] wrote; behind its end there are zeros.
pub(super) struct BitReader<'a> {
    bytes: &'a [u8],
    rest: u64,
    rest_len: u32,
}

impl<'a> BitReader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, rest: 0, rest_len: 0 }
    }

    pub fn bits(&mut self, len: u32) -> u32 {
        while self.rest_len < len {
            let (first, others) = self.bytes.split_first().unwrap_or((&0, &[]));
            self.rest |= u64::from(*first) << self.rest_len;
            self.rest_len += 8;
            self.bytes = others;
        }
        let value = self.rest & ((1 << len) - 1);
        self.rest >>= len;
        self.rest_len -= len;
        value as u32
    }

    pub fn bit(&mut self) -> bool {
        self.bits(1) == 1
    }

    pub fn gamma(&mut self) -> u32 {
        let mut len = 0;
        while len < 31 && !self.bit() {
            len += 1;
        }
        1 << len | self.bits(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::model::Seeded;

    #[test]
    fn what_was_written_comes_back() {
        for seed in 0..20 {
            let mut random = Seeded::new(seed);
            let numbers: Vec<(u32, u32)> = (0..500)
                .map(|_| {
                    let len = random.below(33) as u32;
                    ((random.next() & ((1 << len) - 1)) as u32, len)
                })
                .collect();
            let mut writer = BitWriter::default();
            for (value, len) in &numbers {
                writer.bits(*value, *len);
                writer.gamma((value >> 1) + 1);
            }
            let bytes = writer.finish();
            let mut reader = BitReader::new(&bytes);
            for (value, len) in &numbers {
                assert_eq!((reader.bits(*len), reader.gamma()), (*value, (value >> 1) + 1));
            }
        }
    }
}
