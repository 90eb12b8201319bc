//! Where a stream of bytes is cut into chunks.
//!
//! File content is cut where the content says so ([`ContentCutter`]): an insertion moves the cuts
//! around it and no others, so what follows is found again. Block data is cut at fixed lengths
//! ([`FixedCutter`]): nothing is ever inserted into a volume, and a block's place must be computable.
//!
//! Contract of both: a cut depends on the bytes from the window's start and on nothing else, neither
//! on how much was read at a time nor on what came before. A reader keeps a window, asks for the
//! length of the next chunk, takes it off the front and asks again; it reads more when told `None`.
//! A window of [`Cutter::window_len`] bytes always suffices. Nothing is allocated while cutting.
//!
//! The cutter is FastCDC as of 2020 (<https://ieeexplore.ieee.org/document/9055082>), normalised by
//! one level, over a table made from the seed. Cut points are format: golden vectors pin them.

mod params;
#[cfg(test)]
mod tests;

use std::fmt;

use fastcdc::v2020;

pub use params::{CutParams, CutParamsError};

/// One of the two ways to cut; what a source is decides which.
#[derive(Debug, Clone)]
pub enum Cutter {
    Content(ContentCutter),
    Fixed(FixedCutter),
}

impl Cutter {
    /// Length of the chunk that begins at the start of `window`; `None` when more bytes are needed
    /// to tell. With `at_end` nothing follows the window, and `None` means that it is empty.
    #[must_use]
    pub fn cut(&self, window: &[u8], at_end: bool) -> Option<usize> {
        match self {
            Self::Content(cutter) => cutter.cut(window, at_end),
            Self::Fixed(cutter) => cutter.cut(window, at_end),
        }
    }

    /// The longest chunk, and so the shortest window that never asks for more.
    #[must_use]
    pub fn window_len(&self) -> usize {
        match self {
            Self::Content(cutter) => cutter.window_len(),
            Self::Fixed(cutter) => cutter.len,
        }
    }

    /// Lengths of all chunks of content that is wholly in memory.
    pub fn lengths<'a>(&'a self, mut content: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
        std::iter::from_fn(move || {
            let len = self.cut(content, true)?;
            content = &content[len..];
            Some(len)
        })
    }
}

/// Cuts by content. Make one per seed and share it: the tables take 4 KiB and a microsecond.
#[derive(Clone)]
pub struct ContentCutter {
    params: CutParams,
    masks: Masks,
    tables: Box<Tables>,
}

#[derive(Debug, Clone)]
struct Masks {
    strict: u64,
    relaxed: u64,
}

#[derive(Clone)]
struct Tables {
    gear: [u64; 256],
    /// `gear` doubled: the loop takes two bytes at a time.
    gear_doubled: [u64; 256],
}

impl ContentCutter {
    pub fn new(params: &CutParams) -> Result<Self, CutParamsError> {
        params.check()?;
        let (strict, relaxed) =
            v2020::select_masks(params.average as usize, v2020::Normalization::Level1);
        Ok(Self {
            params: params.clone(),
            masks: Masks { strict, relaxed },
            tables: Box::new(Tables::from_seed(&params.seed)),
        })
    }

    /// As [`Cutter::cut`].
    #[must_use]
    pub fn cut(&self, window: &[u8], at_end: bool) -> Option<usize> {
        // A short window is not scanned on the chance of a cut in it: the scan would begin anew with
        // every piece that arrives.
        if window.is_empty() || (window.len() < self.window_len() && !at_end) {
            return None;
        }
        let (_, len) = v2020::cut_gear(
            window,
            self.params.min as usize,
            self.params.average as usize,
            self.params.max as usize,
            self.masks.strict,
            self.masks.relaxed,
            self.masks.strict << 1,
            self.masks.relaxed << 1,
            &self.tables.gear,
            &self.tables.gear_doubled,
        );
        assert!(len > 0 && len <= window.len(), "a cut of {len} in a window of {}", window.len());
        Some(len)
    }

    #[must_use]
    pub fn window_len(&self) -> usize {
        self.params.max as usize
    }

    #[must_use]
    pub fn params(&self) -> &CutParams {
        &self.params
    }
}

impl fmt::Debug for ContentCutter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContentCutter").field("params", &self.params).finish_non_exhaustive()
    }
}

impl Tables {
    /// The whole table is secret. The crate's own seeding (one word, exclusive-ored over a published
    /// table) would leave every difference between two entries known, and 64 bits to guess: lengths
    /// of chunks, which an observer of the vault sees, would soon give those away.
    fn from_seed(seed: &[u8; 32]) -> Self {
        let mut stream = blake3::Hasher::new_derive_key("keelhold 2026 cut table 1");
        stream.update(seed);
        let mut words = stream.finalize_xof();
        let gear = std::array::from_fn(|_| {
            let mut word = [0; 8];
            words.fill(&mut word);
            u64::from_le_bytes(word)
        });
        Self { gear, gear_doubled: gear.map(|word| word << 1) }
    }
}

/// Cuts every `len` bytes; only the last chunk is shorter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FixedCutter {
    len: usize,
}

impl FixedCutter {
    /// `len` must not be zero: a constant of the caller, never input.
    #[must_use]
    pub const fn new(len: usize) -> Self {
        assert!(len > 0, "chunks of no length");
        Self { len }
    }

    /// As [`Cutter::cut`].
    #[must_use]
    pub fn cut(&self, window: &[u8], at_end: bool) -> Option<usize> {
        if window.len() >= self.len {
            Some(self.len)
        } else {
            (at_end && !window.is_empty()).then_some(window.len())
        }
    }
}

/// Whether all bytes are zero: such stretches become holes instead of chunks.
#[must_use]
pub fn is_zero(bytes: &[u8]) -> bool {
    // Folded by blocks: the compiler turns a block into wide instructions, and data that is not
    // zero shows itself in the first one.
    bytes.chunks(512).all(|block| block.iter().fold(0, |seen, byte| seen | byte) == 0)
}
