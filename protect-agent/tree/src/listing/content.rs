//! A digest of a file's content that costs nothing for holes and does not depend on where they are.

use crate::read::Extent;
use std::io;
use std::os::fd::OwnedFd;

const BLOCK: usize = 4096;
const BUFFER_LEN: usize = 64 * BLOCK;

/// Digest over offset and bytes of every aligned block that is not all zeros. Zeros that are stored
/// and zeros of a hole give the same.
pub(super) fn digest(fd: &OwnedFd, extents: &[Extent]) -> io::Result<[u8; 32]> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; BUFFER_LEN];
    let mut done = 0;
    for extent in extents {
        // File systems have blocks of other sizes: two extents may share one of ours.
        let mut offset = (extent.offset / BLOCK as u64 * BLOCK as u64).max(done);
        while offset < extent.end() {
            let len = fill(fd, offset, &mut buffer)?;
            if len == 0 {
                break;
            }
            for (index, block) in buffer[..len].chunks(BLOCK).enumerate() {
                if block.iter().any(|byte| *byte != 0) {
                    let at = offset + (index * BLOCK) as u64;
                    hasher.update(&at.to_le_bytes());
                    hasher.update(block);
                }
            }
            offset += len as u64;
        }
        done = offset;
    }
    Ok(*hasher.finalize().as_bytes())
}

fn fill(fd: &OwnedFd, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match rustix::io::pread(fd, &mut buffer[filled..], offset + filled as u64)? {
            0 => break,
            len => filled += len,
        }
    }
    Ok(filled)
}
