//! Owners, times, extended attributes.

use super::{Maker, set_mtime};
use rustix::fs::{AtFlags, Gid, Mode, Uid, XattrFlags};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

pub(super) fn owners(maker: &mut Maker, dir: &OwnedFd) -> io::Result<()> {
    let pairs = [(0, 1), (1, 0), (1000, 1000), (65_534, 65_534), (1 << 31, 7), (u32::MAX - 1, 1)];
    for (uid, gid) in pairs {
        let name = format!("{uid}-{gid}");
        maker.file(dir, name.as_bytes(), b"owned")?;
        let link = format!("link-{name}");
        maker.symlink(dir, link.as_bytes(), b"anywhere")?;
        let inner = format!("directory-{name}");
        maker.dir(dir, inner.as_bytes())?;
        let setuid = format!("setuid-{name}");
        let file = maker.file(dir, setuid.as_bytes(), b"#!")?;
        for name in [&name, &link, &inner, &setuid] {
            let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
            let done = rustix::fs::chownat(dir, name.as_str(), uid, gid, AtFlags::SYMLINK_NOFOLLOW);
            maker.tried(&format!("owner of {name}"), done)?;
        }
        let done = rustix::fs::fchmod(&file, Mode::from_raw_mode(0o6755));
        maker.tried(&format!("setuid of {setuid}"), done)?;
    }
    Ok(())
}

/// Before 1970, around the ends of 32 bits, and as far as ext4 goes (2446).
pub(super) fn times(maker: &mut Maker, dir: &OwnedFd) -> io::Result<()> {
    let seconds = [
        i64::from(i32::MIN),
        -1_000_000_000,
        -2,
        -1,
        0,
        1,
        1_700_000_000,
        i64::from(i32::MAX),
        i64::from(i32::MAX) + 1,
        i64::from(u32::MAX),
        13_569_465_600,
        15_032_385_535,
    ];
    for secs in seconds {
        for nanos in [0, 1, 123_456_789, 999_999_999] {
            let name = format!("file{secs}.{nanos}");
            maker.file(dir, name.as_bytes(), b"")?;
            let link = format!("link{secs}.{nanos}");
            maker.symlink(dir, link.as_bytes(), b"x")?;
            let inner = format!("directory{secs}.{nanos}");
            let inner_fd = maker.dir(dir, inner.as_bytes())?;
            maker.file(&inner_fd, b"in", b"written after the time is known")?;
            for name in [name, link, inner] {
                let done = set_mtime(dir, name.as_bytes(), secs, nanos);
                maker.tried(&format!("time of {name}"), done)?;
            }
        }
    }
    Ok(())
}

/// `struct vfs_cap_data` version 2 with CAP_NET_RAW permitted and effective.
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// The kernel's form of an ACL: version 2, then tag, permissions and id of each entry.
fn acl(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let mut bytes = 2u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        bytes.extend_from_slice(&tag.to_le_bytes());
        bytes.extend_from_slice(&permissions.to_le_bytes());
        bytes.extend_from_slice(&id.to_le_bytes());
    }
    bytes
}

fn set(maker: &mut Maker, fd: &OwnedFd, name: &[u8], value: &[u8]) -> io::Result<bool> {
    let done = rustix::fs::fsetxattr(fd, name, value, XattrFlags::empty());
    maker.tried(&format!("extended attribute {}", name.escape_ascii()), done)
}

pub(super) fn xattrs(maker: &mut Maker, dir: &OwnedFd) -> io::Result<()> {
    let file = maker.file(dir, b"few", b"")?;
    set(maker, &file, b"user.empty", b"")?;
    set(maker, &file, b"user.binary", &(0..=255).collect::<Vec<u8>>())?;
    set(maker, &file, b"user.\xff\n odd", b"odd name")?;
    set(maker, &file, b"trusted.note", b"only for root")?;
    set(maker, &file, b"security.note", b"a label")?;
    let file = maker.file(dir, b"many", b"")?;
    for number in 0..60 {
        set(maker, &file, format!("user.number-{number}").as_bytes(), &[number; 16])?;
    }
    let file = maker.file(dir, b"large", b"")?;
    let large = maker.bytes(60_000);
    // ext4 without large values has room for one block.
    if !set(maker, &file, b"user.large", &large)? {
        set(maker, &file, b"user.large", &large[..3000])?;
    }
    let read_only = maker.file(dir, b"read-only", b"x")?;
    set(maker, &read_only, b"user.note", b"on a file nobody may write")?;
    rustix::fs::fchmod(&read_only, Mode::from_raw_mode(0o444))?;
    let inner = maker.dir(dir, b"directory")?;
    set(maker, &inner, b"user.note", b"on a directory")?;
    maker.symlink(dir, b"symlink", b"few")?;
    // The one kind of attribute a symbolic link may have.
    use std::os::fd::AsFd;
    let path = format!("/proc/self/fd/{}/symlink", dir.as_fd().as_raw_fd());
    let done = rustix::fs::lsetxattr(path, "trusted.note", b"link", XattrFlags::empty());
    maker.tried("extended attribute of a symbolic link", done)?;
    acls(maker, dir)?;
    let file = maker.file(dir, b"capable", b"#!")?;
    rustix::fs::fchmod(&file, Mode::from_raw_mode(0o755))?;
    let done = rustix::fs::fchown(&file, Some(Uid::from_raw(1000)), Some(Gid::from_raw(1000)));
    maker.tried("another owner of a file with capabilities", done)?;
    set(maker, &file, b"security.capability", &CAPABILITY)?;
    Ok(())
}

fn acls(maker: &mut Maker, dir: &OwnedFd) -> io::Result<()> {
    const NOBODY: u32 = u32::MAX;
    let access = acl(&[
        (0x01, 6, NOBODY),
        (0x02, 7, 1000),
        (0x02, 0, 1001),
        (0x04, 4, NOBODY),
        (0x08, 5, 2000),
        (0x10, 5, NOBODY),
        (0x20, 0, NOBODY),
    ]);
    for mode in [0o644, 0o600, 0o000, 0o777] {
        let file = maker.file(dir, format!("acl-{mode:03o}").as_bytes(), b"acl")?;
        set(maker, &file, b"system.posix_acl_access", &access)?;
        // Moves the mask of the ACL, so mode and ACL must come back together.
        rustix::fs::fchmod(&file, Mode::from_raw_mode(mode))?;
    }
    let inner = maker.dir(dir, b"acl-directory")?;
    maker.file(&inner, b"before", b"made before the default was set")?;
    set(maker, &inner, b"system.posix_acl_access", &access)?;
    set(maker, &inner, b"system.posix_acl_default", &access)?;
    maker.file(&inner, b"inherited", b"")?;
    let below = maker.dir(&inner, b"inherited-directory")?;
    let plain = maker.file(&below, b"without", b"its own inherited ACL was taken away")?;
    let done = rustix::fs::fremovexattr(&plain, "system.posix_acl_access");
    maker.tried(
        "removing an inherited ACL",
        done.or_else(|errno| match errno {
            rustix::io::Errno::NODATA => Ok(()),
            errno => Err(errno),
        }),
    )?;
    Ok(())
}
