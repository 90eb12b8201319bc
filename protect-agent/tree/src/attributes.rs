//! The attributes of one entry, put together from a `stat` and what has to be asked beside it.

use crate::identity::{EntryKind, Stat};
use crate::skipped::SkippedReason;
use crate::xattrs::Subject;
use keelhold_chunk::{Attributes, Kind};
use std::os::fd::BorrowedFd;

/// Attributes of what `stat` was taken of: `name` in `dir`, or `dir` itself if `name` is empty.
pub(crate) fn read(
    stat: &Stat,
    dir: BorrowedFd<'_>,
    name: &[u8],
) -> Result<Attributes, SkippedReason> {
    let target = match stat.kind() {
        EntryKind::Symlink => rustix::fs::readlinkat(dir, name, Vec::new())
            .map_err(|errno| SkippedReason::unless_vanished(errno, SkippedReason::Target))?
            .into_bytes(),
        _ => Vec::new(),
    };
    Ok(assemble(stat, target, Subject::at(dir, name).read()?))
}

/// Attributes of an open file or directory.
pub(crate) fn read_open(stat: &Stat, fd: BorrowedFd<'_>) -> Result<Attributes, SkippedReason> {
    Ok(assemble(stat, Vec::new(), Subject::Open(fd).read()?))
}

fn assemble(stat: &Stat, target: Vec<u8>, xattrs: Vec<keelhold_chunk::Xattr>) -> Attributes {
    let (major, minor) = stat.device_number;
    let kind = match stat.kind() {
        EntryKind::File => Kind::File { size: stat.identity.size },
        EntryKind::Directory => Kind::Directory,
        EntryKind::Symlink => Kind::Symlink { target },
        EntryKind::Fifo => Kind::Fifo,
        EntryKind::Socket => Kind::Socket,
        EntryKind::CharDevice => Kind::CharDevice { major, minor },
        EntryKind::BlockDevice => Kind::BlockDevice { major, minor },
    };
    Attributes {
        kind,
        mode: stat.mode,
        uid: stat.uid,
        gid: stat.gid,
        mtime: stat.identity.mtime,
        link_group: stat.link_group(),
        xattrs,
    }
}
