//! A tree of everything odd a Linux file system can hold.
//!
//! Made for tests of anything that has to bring a tree back: every kind of entry, names of every byte,
//! paths beyond `PATH_MAX`, holes, hard links of every kind, owners, modes, times of five centuries,
//! extended attributes, ACLs, capabilities. What this user or this file system does not allow is left
//! out and named.

mod content;
mod kinds;
mod names;
mod special;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

/// What was made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Torture {
    /// Entries below the root.
    pub entry_count: usize,
    /// What the machine did not allow, one clause each.
    pub left_out: Vec<String>,
}

/// Fills `root`, which is made. The same seed gives the same tree.
pub fn make(root: &Path, seed: u64) -> io::Result<Torture> {
    std::fs::create_dir_all(root)?;
    let root = open(CWD, root.as_os_str().as_encoded_bytes())?;
    let mut maker = Maker { seed, made: Torture::default() };
    type Section = fn(&mut Maker, &OwnedFd) -> io::Result<()>;
    let sections: [(&str, Section); 14] = [
        ("names", names::odd),
        ("order", names::order),
        ("deep", names::deep),
        ("levels", names::levels),
        ("many", names::many),
        ("kinds", kinds::every),
        ("symlinks", kinds::symlinks),
        ("links", kinds::hard_links),
        ("modes", kinds::modes),
        ("content", content::sizes),
        ("sparse", content::sparse),
        ("owners", special::owners),
        ("times", special::times),
        ("xattrs", special::xattrs),
    ];
    for (name, section) in sections {
        let dir = maker.dir(&root, name.as_bytes())?;
        section(&mut maker, &dir)?;
    }
    Ok(maker.made)
}

#[derive(Debug)]
struct Maker {
    seed: u64,
    made: Torture,
}

impl Maker {
    /// splitmix64: small, and the same everywhere.
    fn random(&mut self) -> u64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.seed;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        let words = (0..len.div_ceil(8)).flat_map(|_| self.random().to_le_bytes());
        let mut bytes: Vec<u8> = words.collect();
        bytes.truncate(len);
        bytes
    }

    /// Counts what was made; names in `left_out` what is not allowed here, and fails otherwise.
    fn tried(&mut self, what: &str, done: rustix::io::Result<()>) -> io::Result<bool> {
        use rustix::io::Errno as E;
        match done {
            Ok(()) => Ok(true),
            Err(E::PERM | E::ACCESS | E::NOTSUP | E::NOSPC | E::TOOBIG | E::INVAL | E::FBIG) => {
                self.made.left_out.push(format!("{what}: not allowed here"));
                Ok(false)
            }
            Err(errno) => Err(errno.into()),
        }
    }

    fn dir(&mut self, parent: &OwnedFd, name: &[u8]) -> io::Result<OwnedFd> {
        rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o755))?;
        self.made.entry_count += 1;
        open(parent, name)
    }

    fn file(&mut self, dir: &OwnedFd, name: &[u8], content: &[u8]) -> io::Result<OwnedFd> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(dir, name, flags, Mode::from_raw_mode(0o644))?;
        self.made.entry_count += 1;
        write_at(&fd, 0, content)?;
        Ok(fd)
    }

    fn symlink(&mut self, dir: &OwnedFd, name: &[u8], target: &[u8]) -> io::Result<()> {
        rustix::fs::symlinkat(target, dir, name)?;
        self.made.entry_count += 1;
        Ok(())
    }
}

fn open(dir: impl std::os::fd::AsFd, name: &[u8]) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(dir, name, flags, Mode::empty())?)
}

fn write_at(fd: &OwnedFd, offset: u64, mut data: &[u8]) -> io::Result<()> {
    let mut at = offset;
    while !data.is_empty() {
        let len = rustix::io::pwrite(fd, data, at)?;
        (at, data) = (at + len as u64, &data[len..]);
    }
    Ok(())
}

fn set_mtime(dir: &OwnedFd, name: &[u8], secs: i64, nanos: u32) -> rustix::io::Result<()> {
    let times = Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: secs, tv_nsec: i64::from(nanos) },
    };
    rustix::fs::utimensat(dir, name, &times, AtFlags::SYMLINK_NOFOLLOW)
}
