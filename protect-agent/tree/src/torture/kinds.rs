//! Kinds of entries, their modes, and their links.

use super::Maker;
use rustix::fs::{AtFlags, FileType, Mode};
use std::io;
use std::os::fd::OwnedFd;

fn node(
    maker: &mut Maker,
    dir: &OwnedFd,
    name: &str,
    kind: FileType,
    device: u64,
) -> io::Result<bool> {
    let mode = Mode::from_raw_mode(0o640);
    let done = rustix::fs::mknodat(dir, name, kind, mode, device);
    let made = maker.tried(&format!("{name} ({kind:?})"), done)?;
    maker.made.entry_count += usize::from(made);
    Ok(made)
}

pub(super) fn every(maker: &mut Maker, dir: &OwnedFd) -> io::Result<()> {
    maker.file(dir, b"empty", b"")?;
    maker.file(dir, b"text", b"text\n")?;
    maker.dir(dir, b"empty-directory")?;
    node(maker, dir, "fifo", FileType::Fifo, 0)?;
    node(maker, dir, "socket", FileType::Socket, 0)?;
    for (name, major, minor) in [("null", 1, 3), ("zero-zero", 0, 0), ("large", 4095, 1_048_575)] {
        let device = rustix::fs::makedev(major, minor);
        node(maker, dir, &format!("char-{name}"), FileType::CharacterDevice, device)?;
        node(maker, dir, &format!("block-{name}"), FileType::BlockDevice, device)?;
    }
    Ok(())
}

pub(super) fn symlinks(maker: &mut Maker, dir: &OwnedFd) -> io::Result<()> {
    let long = [&b"x/"[..]; 2047].concat();
    let links: [(&[u8], &[u8]); 12] = [
        (b"dangling", b"nowhere/at/all"),
        (b"itself", b"itself"),
        (b"loop-a", b"loop-b"),
        (b"loop-b", b"loop-a"),
        (b"absolute", b"/etc/passwd"),
        (b"root", b"/"),
        (b"up", b"../../../../../../.."),
        (b"directory", b"."),
        (b"slashes", b".//./"),
        (b"odd", b"\xff\n\x01 "),
        (b"long", &long),
        (b"empty-looking", b" "),
    ];
    for (name, target) in links {
        maker.symlink(dir, name, target)?;
    }
    let inner = maker.dir(dir, b"inner")?;
    maker.symlink(&inner, b"out", b"../../..")?;
    Ok(())
}

/// Groups within and across directories, of every kind that can have more than one name.
pub(super) fn hard_links(maker: &mut Maker, dir: &OwnedFd) -> io::Result<()> {
    let first = maker.dir(dir, b"first")?;
    let second = maker.dir(dir, b"second")?;
    let zero = maker.dir(dir, b"0-before")?;
    maker.file(&first, b"file", b"one inode, many names")?;
    maker.symlink(&first, b"symlink", b"../elsewhere")?;
    maker.file(&first, b"empty", b"")?;
    let mut names = vec!["file", "symlink", "empty"];
    for (name, kind, device) in [
        ("fifo", FileType::Fifo, 0),
        ("socket", FileType::Socket, 0),
        ("char", FileType::CharacterDevice, rustix::fs::makedev(1, 5)),
    ] {
        if node(maker, &first, name, kind, device)? {
            names.push(name);
        }
    }
    for name in names {
        for (dir, other) in [(&second, name.to_owned()), (&zero, format!("{name}-too"))] {
            rustix::fs::linkat(&first, name, dir, other, AtFlags::empty())?;
            maker.made.entry_count += 1;
        }
    }
    for number in 0..300 {
        let name = format!("again-{number}");
        rustix::fs::linkat(&first, "file", dir, name, AtFlags::empty())?;
        maker.made.entry_count += 1;
    }
    // Pairs that interleave: the group of a name cannot be told from its neighbour.
    for number in 0..100u32 {
        maker.file(&first, format!("pair-{number}").as_bytes(), &number.to_le_bytes())?;
        let other = format!("pair-{}", 99 - number);
        rustix::fs::linkat(&first, format!("pair-{number}"), &second, other, AtFlags::empty())?;
        maker.made.entry_count += 1;
    }
    Ok(())
}

pub(super) fn modes(maker: &mut Maker, dir: &OwnedFd) -> io::Result<()> {
    let odd = [0o000, 0o001, 0o111, 0o200, 0o400, 0o444, 0o777, 0o4755, 0o2755, 0o6755, 0o1644];
    let all = odd.into_iter().chain([0o4000, 0o2000, 0o1000, 0o7777, 0o7000, 0o2644, 0o0070]);
    for mode in all {
        let bits = Mode::from_raw_mode(mode);
        let file = maker.file(dir, format!("file-{mode:04o}").as_bytes(), b"mode")?;
        rustix::fs::fchmod(&file, bits)?;
        let inner = maker.dir(dir, format!("directory-{mode:04o}").as_bytes())?;
        let file = maker.file(&inner, b"in", b"below")?;
        rustix::fs::fchmod(&file, bits)?;
        maker.dir(&inner, b"below")?;
        rustix::fs::fchmod(&inner, bits)?;
    }
    for (name, mode) in [("fifo-000", 0o000), ("fifo-777", 0o777)] {
        if node(maker, dir, name, FileType::Fifo, 0)? {
            rustix::fs::chmodat(dir, name, Mode::from_raw_mode(mode), AtFlags::empty())?;
        }
    }
    Ok(())
}
