//! Where random bytes come from: the kernel in the daemon, a seed in tests.

/// A source of random bytes. Keys, salts and ids are drawn from it: a source that repeats itself
/// breaks every promise of secrecy, so only tests may use one that does.
pub trait Random {
    fn fill(&mut self, bytes: &mut [u8]);

    fn array<const N: usize>(&mut self) -> [u8; N]
    where
        Self: Sized,
    {
        let mut array = [0; N];
        self.fill(&mut array);
        array
    }
}

impl<F: FnMut(&mut [u8])> Random for F {
    fn fill(&mut self, bytes: &mut [u8]) {
        self(bytes);
    }
}

/// The bytes that follow from a seed, always the same.
#[cfg(test)]
pub(crate) fn seeded(seed: u64) -> impl Random {
    let mut stream = blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof();
    move |bytes: &mut [u8]| stream.fill(bytes)
}
