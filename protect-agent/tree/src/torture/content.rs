//! Content: sizes around every border, holes in every place.

use super::{Maker, write_at};
use rustix::fs::FallocateFlags;
use std::io;
use std::os::fd::OwnedFd;

pub(super) fn sizes(maker: &mut Maker, dir: &OwnedFd) -> io::Result<()> {
    let borders = [1usize, 2, 511, 512, 4095, 4096, 4097, 16_384, 65_535, 65_536, 65_537, 1 << 20];
    for size in borders {
        let content = maker.bytes(size);
        maker.file(dir, format!("random-{size}").as_bytes(), &content)?;
        // Stored zeros are data, not a hole.
        maker.file(dir, format!("zeros-{size}").as_bytes(), &vec![0; size])?;
    }
    let block = maker.bytes(8192);
    maker.file(dir, b"repeating", &block.repeat(100))?;
    let large = maker.bytes(3 << 20);
    maker.file(dir, b"large-1", &large)?;
    maker.file(dir, b"large-1-again", &large)?;
    let shifted = [&b"!"[..], &large].concat();
    maker.file(dir, b"large-1-shifted", &shifted)?;
    Ok(())
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// Offset and length of random bytes.
type Data = (u64, usize);

/// A file of `size` with `len` random bytes at each offset.
fn with_holes(
    maker: &mut Maker,
    dir: &OwnedFd,
    name: &str,
    size: u64,
    data: &[Data],
) -> io::Result<()> {
    let file = maker.file(dir, name.as_bytes(), b"")?;
    for (offset, len) in data {
        let bytes = maker.bytes(*len);
        write_at(&file, *offset, &bytes)?;
    }
    let done = rustix::fs::ftruncate(&file, size);
    maker.tried(&format!("sparse file {name}"), done)?;
    Ok(())
}

pub(super) fn sparse(maker: &mut Maker, dir: &OwnedFd) -> io::Result<()> {
    let alternating: Vec<Data> = (0..200).map(|n| (n * 64 * KIB, 4096)).collect();
    let cases: [(&str, u64, &[Data]); 13] = [
        ("all-hole", 10 * MIB, &[]),
        ("all-hole-odd", 10 * MIB + 1, &[]),
        ("one-byte-hole", 1, &[]),
        ("terabyte", 1 << 40, &[(512 << 30, 4096)]),
        ("head", 2 * MIB, &[(MIB, MIB as usize)]),
        ("tail", 2 * MIB, &[(0, MIB as usize)]),
        ("tail-short", 4100, &[(0, 10)]),
        ("middle", 3 * MIB, &[(0, MIB as usize), (2 * MIB, MIB as usize)]),
        ("last-byte", MIB, &[(MIB - 1, 1)]),
        ("unaligned", 900 * KIB + 7, &[(100 * KIB + 3, 5), (500 * KIB + 1, 9000)]),
        ("alternating", 201 * 64 * KIB, &alternating),
        ("beyond-4g", (4 << 30) + 8192, &[(4 << 30, 4096), (0, 1)]),
        ("tail-unaligned", 5 * MIB + 3, &[(4 * MIB, 100)]),
    ];
    for (name, size, data) in cases {
        with_holes(maker, dir, name, size, data)?;
    }
    let file = maker.file(dir, b"punched", &vec![7; MIB as usize])?;
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    let done = rustix::fs::fallocate(&file, flags, 128 * KIB, 512 * KIB);
    maker.tried("a punched hole", done)?;
    let file = maker.file(dir, b"allocated-beyond-end", b"short")?;
    let done = rustix::fs::fallocate(&file, FallocateFlags::KEEP_SIZE, 0, MIB);
    maker.tried("space allocated beyond the end", done)?;
    Ok(())
}
