//! Memory a device reads into and writes from: aligned to the block, owned, and counted.
//!
//! A buffer is handed to a device and comes back with the result, so nobody can look at bytes that
//! are still in flight. Buffers of a [`BufferPool`] go back to it when they are dropped, on whatever
//! thread that happens; the pool never has more bytes out than its limit.
//!
//! A pool's memory is one region that the kernel is asked to back with huge pages. A transfer of
//! 4 MiB to or from such memory costs the processor a tenth of what scattered small pages cost
//! (40 µs instead of 470 µs, measured), because the kernel pins and describes two pages instead of a
//! thousand. It is the same saving that registering buffers with a ring aims at, and it works for
//! every way to the disk.
//!
//! A buffer taken from a pool holds what its last user left there. Whoever writes one to a disk
//! fills all of it.

mod holes;
mod pool;

use std::fmt;
use std::ops::{Deref, DerefMut, Range};
use std::ptr::NonNull;
use std::sync::Arc;

use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

use crate::units::BLOCK;
pub use pool::{BufferPool, Take};

const HUGE_PAGE: usize = 2 << 20;

/// One block of memory. The alignment of the type aligns every buffer made of it.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(4096))]
struct Page([u8; BLOCK]);

const _: () = assert!(size_of::<Page>() == BLOCK && align_of::<Page>() == BLOCK);

/// Owned bytes, aligned to [`BLOCK`], a whole number of blocks long.
pub struct AlignedBuf {
    memory: Memory,
    len: usize,
    /// Where the memory is counted.
    home: Option<BufferPool>,
}

enum Memory {
    // A vector and not a box: its heap block may be written by the kernel while this handle moves.
    Own(Vec<Page>),
    Lent(Piece),
}

impl AlignedBuf {
    /// `len` zero bytes outside any pool.
    ///
    /// # Panics
    /// If `len` is not a multiple of [`BLOCK`], or memory is exhausted.
    #[must_use]
    pub fn zeroed(len: usize) -> Self {
        Self { memory: Memory::own(len), len, home: None }
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
        match &self.memory {
            Memory::Own(pages) => pages.len() * BLOCK,
            Memory::Lent(piece) => piece.range.len(),
        }
    }

    /// Makes the buffer shorter, or longer again up to its capacity. What appears at the end when
    /// it grows is what was there before.
    ///
    /// # Panics
    /// If `len` is not a multiple of [`BLOCK`] or is larger than the capacity.
    pub fn resize(&mut self, len: usize) {
        assert!(len.is_multiple_of(BLOCK), "{len} is not a whole number of blocks");
        assert!(len <= self.capacity(), "{len} is more than the {} there are", self.capacity());
        self.len = len;
    }
}

impl Memory {
    fn own(len: usize) -> Self {
        assert!(len.is_multiple_of(BLOCK), "{len} is not a whole number of blocks");
        Self::Own(Page::new_vec_zeroed(len / BLOCK).expect("memory for a buffer"))
    }
}

impl Drop for AlignedBuf {
    fn drop(&mut self) {
        if let Some(home) = self.home.take() {
            let len = self.capacity();
            match std::mem::replace(&mut self.memory, Memory::Own(Vec::new())) {
                Memory::Own(pages) => {
                    drop(pages);
                    home.give_back(len, None);
                }
                Memory::Lent(piece) => home.give_back(len, Some(piece.range)),
            }
        }
    }
}

impl Deref for AlignedBuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.memory {
            Memory::Own(pages) => &pages.as_slice().as_bytes()[..self.len],
            Memory::Lent(piece) => &piece.bytes()[..self.len],
        }
    }
}

impl DerefMut for AlignedBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        match &mut self.memory {
            Memory::Own(pages) => &mut pages.as_mut_slice().as_mut_bytes()[..self.len],
            Memory::Lent(piece) => &mut piece.bytes_mut()[..self.len],
        }
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

/// A mapping of zeroes, cut into pieces by the pool that owns it.
struct Region {
    mapped: NonNull<u8>,
    mapped_len: usize,
    /// Bytes before the first that is used, so that this one begins a huge page.
    skipped: usize,
    len: usize,
}

/// A range of a region that is in nobody else's hands: made by the pool from a hole, and a hole
/// again when it is dropped.
struct Piece {
    region: Arc<Region>,
    range: Range<usize>,
}

#[expect(
    unsafe_code,
    reason = "a mapping shared by buffers is a thing the borrow checker cannot see"
)]
mod mapping {
    use std::ops::Range;
    use std::ptr::NonNull;
    use std::sync::Arc;

    use rustix::io::Errno;
    use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};

    use super::{HUGE_PAGE, Piece, Region};

    impl Region {
        /// `len` bytes of address space. Memory comes with the first touch.
        pub(super) fn map(len: usize) -> Result<Self, Errno> {
            let mapped_len = len + HUGE_PAGE;
            let (access, kind) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE);
            // SAFETY: without MAP_FIXED the kernel chooses a place that nothing else uses.
            // JUSTIFICATION: no allocator hands out memory that was not touched before, and advice
            // on huge pages comes too late for memory that was.
            let mapped = unsafe { mmap_anonymous(std::ptr::null_mut(), mapped_len, access, kind)? };
            let mapped = NonNull::new(mapped.cast::<u8>()).ok_or(Errno::NOMEM)?;
            let skipped = mapped.addr().get().next_multiple_of(HUGE_PAGE) - mapped.addr().get();
            let region = Self { mapped, mapped_len, skipped, len };
            // SAFETY: the range is inside the mapping made above, which nobody uses yet.
            // JUSTIFICATION: the only way to ask for huge pages. It is advice: a kernel without
            // them serves small ones.
            let _advice = unsafe { madvise(region.start().cast(), len, Advice::LinuxHugepage) };
            Ok(region)
        }

        fn start(&self) -> *mut u8 {
            // SAFETY: `skipped` is less than a huge page and the mapping is that much longer than
            // what is used of it.
            // JUSTIFICATION: pointer arithmetic that stays inside one mapping.
            unsafe { self.mapped.as_ptr().add(self.skipped) }
        }
    }

    impl Piece {
        pub(super) fn new(region: &Arc<Region>, range: Range<usize>) -> Self {
            assert!(range.start <= range.end && range.end <= region.len, "a hole in the region");
            Self { region: Arc::clone(region), range }
        }

        pub(super) fn bytes(&self) -> &[u8] {
            // SAFETY: the range lies inside the region (checked when the piece was made), which is
            // mapped for as long as the piece holds it; the kernel filled it with zeroes; no other
            // piece overlaps it, and a mutable slice needs this piece mutable.
            // JUSTIFICATION: pieces of one mapping, owned by different buffers on different
            // threads, have no safe form.
            unsafe {
                std::slice::from_raw_parts(
                    self.region.start().add(self.range.start),
                    self.range.len(),
                )
            }
        }

        pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
            // SAFETY: as above, and this piece is borrowed mutably.
            // JUSTIFICATION: as above.
            unsafe {
                std::slice::from_raw_parts_mut(
                    self.region.start().add(self.range.start),
                    self.range.len(),
                )
            }
        }
    }

    impl Drop for Region {
        fn drop(&mut self) {
            // SAFETY: the mapping is ours, whole, and no piece is left, for each holds the region.
            // JUSTIFICATION: what was mapped by hand is unmapped by hand. An error would leak it.
            let _leak = unsafe { munmap(self.mapped.as_ptr().cast(), self.mapped_len) };
        }
    }

    // SAFETY: the region itself is only an address; its bytes are reached through pieces, each of
    // which has its range for itself, so that the rules of `&` and `&mut` hold for each alone.
    // JUSTIFICATION: buffers travel to worker threads and come back.
    unsafe impl Send for Region {}
    // SAFETY: as above.
    // JUSTIFICATION: as above.
    unsafe impl Sync for Region {}
}

#[cfg(test)]
mod tests;
