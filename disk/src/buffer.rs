//! Memory a device reads into and writes from: aligned to the block, owned, and counted.
//!
//! A buffer is handed to a device and comes back with the result, so nobody can look at bytes that
//! are still in flight. Buffers of a [`BufferPool`] go back to it when they are dropped, on whatever
//! thread that happens; the pool never has more memory out and kept than its limit.
//!
//! A buffer taken from a pool holds what its last user left there. Whoever writes one to a disk
//! fills all of it.

mod pool;

use std::fmt;
use std::ops::{Deref, DerefMut};

use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

use crate::units::BLOCK;
pub use pool::{BufferPool, Take};

/// One block of memory. The alignment of the type is what aligns every buffer made of it, so no
/// allocation by hand is needed.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(4096))]
struct Page([u8; BLOCK]);

const _: () = assert!(size_of::<Page>() == BLOCK && align_of::<Page>() == BLOCK);

/// Owned bytes, aligned to [`BLOCK`], a whole number of blocks long.
pub struct AlignedBuf {
    // A vector and not a box: its heap block may be written by the kernel while this handle moves.
    pages: Vec<Page>,
    len: usize,
    home: Option<BufferPool>,
}

impl AlignedBuf {
    /// `len` zero bytes outside any pool.
    ///
    /// # Panics
    /// If `len` is not a multiple of [`BLOCK`], or memory is exhausted.
    #[must_use]
    pub fn zeroed(len: usize) -> Self {
        Self {
            pages: allocate(len),
            len,
            home: None,
        }
    }

    /// `bytes`, followed by zeroes up to the next block.
    #[must_use]
    pub fn padded(bytes: &[u8]) -> Self {
        let mut buf = Self::zeroed(bytes.len().next_multiple_of(BLOCK));
        buf[..bytes.len()].copy_from_slice(bytes);
        buf
    }

    /// How long [`Self::resize`] may make this buffer.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.pages.len() * BLOCK
    }

    /// Makes the buffer shorter, or longer again up to its capacity. What appears at the end when
    /// it grows is what was there before.
    ///
    /// # Panics
    /// If `len` is not a multiple of [`BLOCK`] or is larger than the capacity.
    pub fn resize(&mut self, len: usize) {
        assert!(
            len.is_multiple_of(BLOCK),
            "{len} is not a whole number of blocks"
        );
        assert!(
            len <= self.capacity(),
            "{len} is more than the {} there are",
            self.capacity()
        );
        self.len = len;
    }
}

fn allocate(len: usize) -> Vec<Page> {
    assert!(
        len.is_multiple_of(BLOCK),
        "{len} is not a whole number of blocks"
    );
    Page::new_vec_zeroed(len / BLOCK).expect("memory for a buffer")
}

impl Drop for AlignedBuf {
    fn drop(&mut self) {
        if let Some(home) = self.home.take() {
            home.give_back(std::mem::take(&mut self.pages));
        }
    }
}

impl Deref for AlignedBuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.pages.as_slice().as_bytes()[..self.len]
    }
}

impl DerefMut for AlignedBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.pages.as_mut_slice().as_mut_bytes()[..self.len]
    }
}

impl AsRef<[u8]> for AlignedBuf {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for AlignedBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AlignedBuf({} of {})", self.len, self.capacity())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_aligned_zero_and_a_whole_number_of_blocks() {
        for blocks in [0, 1, 3, 64] {
            let buf = AlignedBuf::zeroed(blocks * BLOCK);
            assert_eq!(buf.len(), blocks * BLOCK);
            assert!(buf.iter().all(|byte| *byte == 0));
            assert_eq!(buf.as_ptr().addr() % BLOCK, 0);
        }
    }

    #[test]
    fn padding_is_zero() {
        let buf = AlignedBuf::padded(b"label");
        assert_eq!(&buf[..6], b"label\0");
        assert_eq!(buf.len(), BLOCK);
    }

    #[test]
    fn shrinks_and_grows_back() {
        let mut buf = AlignedBuf::zeroed(4 * BLOCK);
        buf[3 * BLOCK] = 7;
        buf.resize(BLOCK);
        assert_eq!(buf.len(), BLOCK);
        buf.resize(4 * BLOCK);
        assert_eq!(buf[3 * BLOCK], 7);
    }

    #[test]
    #[should_panic(expected = "not a whole number of blocks")]
    fn refuses_part_of_a_block() {
        let _ = AlignedBuf::zeroed(512);
    }
}
