//! A file written through a shared mapping: bytes change without a call that the kernel would stamp.

#![expect(unsafe_code, reason = "a mapping is memory the kernel hands out")]

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// A whole file in memory, shared with whoever reads it.
#[derive(Debug)]
pub struct Mapped {
    start: *mut std::ffi::c_void,
    len: usize,
}

impl Mapped {
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::options().read(true).write(true).open(path)?;
        let len = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: the kernel chooses the place; nothing of ours is there.
        let start =
            unsafe { mmap(std::ptr::null_mut(), len, protection, MapFlags::SHARED, &file, 0)? };
        Ok(Self { start, len })
    }

    /// # Panics
    /// If `at` is not inside the file.
    pub fn store(&mut self, at: usize, byte: u8) {
        assert!(at < self.len);
        // SAFETY: inside the mapping, which lives as long as `self`, and no reference into it is
        // ever made.
        unsafe { self.start.cast::<u8>().add(at).write_volatile(byte) }
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: mapped by `open` with this length, and used by nobody after this.
        let _ = unsafe { munmap(self.start, self.len) };
    }
}
