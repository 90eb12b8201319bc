//! Giving a created entry its attributes, through a descriptor of it.

use super::report::UnwrittenReason;
use super::shared::Shared;
use crate::skipped::Errno;
use crate::xattrs::Subject;
use keelhold_chunk::{Attributes, Kind, Timestamp};
use rustix::fs::{AtFlags, CWD, Gid, Mode, Timespec, Timestamps, UTIME_OMIT, Uid};
use std::os::fd::{AsRawFd, BorrowedFd};

const SETUID_SETGID: u16 = 0o6000;

/// What the attributes go to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Onto<'a> {
    /// A file or directory that is open.
    Open(BorrowedFd<'a>),
    /// Anything else, by an `O_PATH` descriptor.
    Pinned(BorrowedFd<'a>),
}

/// What is known about the inode before.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Before {
    pub(crate) uid: u32,
    /// None where it is not known, here and below.
    pub(crate) gid: Option<u32>,
    pub(crate) mode: Option<u16>,
    /// It may carry extended attributes that the entry does not have: it was there before, or
    /// inherited an ACL from its directory.
    pub(crate) may_have_xattrs: bool,
}

/// Sets everything; what cannot be set is reported under `path` and the rest still is.
pub(crate) fn apply(
    onto: Onto<'_>,
    attributes: &Attributes,
    before: Before,
    shared: &Shared,
    path: impl Fn() -> Vec<u8>,
) {
    let report = |reason| shared.unwritten(&path(), reason);
    let owner = set_owner(onto, attributes, before, shared, report);
    set_xattrs(onto, attributes, before, shared, report);
    let mode = wanted_mode(attributes, owner, shared, report);
    let is_symlink = matches!(attributes.kind, Kind::Symlink { .. });
    // A change of owner clears setuid and setgid.
    if !is_symlink && (owner != Owner::AsBefore || before.mode != Some(mode)) {
        set_mode(onto, mode, shared, report);
    }
    if let Err(errno) = set_mtime(onto, attributes.mtime) {
        report(UnwrittenReason::Times(errno.into()));
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    AsBefore,
    Set,
    /// Not the one the entry had: not asked for, or not allowed.
    Another,
}

fn set_owner(
    onto: Onto<'_>,
    attributes: &Attributes,
    before: Before,
    shared: &Shared,
    report: impl Fn(UnwrittenReason),
) -> Owner {
    if (before.uid, before.gid) == (attributes.uid, Some(attributes.gid)) {
        return Owner::AsBefore;
    }
    if !shared.options.owners {
        return Owner::Another;
    }
    // All ones means "leave it" to the kernel and is no owner any file can have.
    if attributes.uid == u32::MAX || attributes.gid == u32::MAX {
        report(UnwrittenReason::Owner(Errno(rustix::io::Errno::INVAL)));
        return Owner::Another;
    }
    let owner = Some(Uid::from_raw(attributes.uid));
    let group = Some(Gid::from_raw(attributes.gid));
    let done = match onto {
        Onto::Open(fd) => rustix::fs::fchown(fd, owner, group),
        Onto::Pinned(fd) => rustix::fs::chownat(fd, c"", owner, group, AtFlags::EMPTY_PATH),
    };
    match done {
        Ok(()) => Owner::Set,
        Err(errno) => {
            report(UnwrittenReason::Owner(errno.into()));
            Owner::Another
        }
    }
}

fn set_xattrs(
    onto: Onto<'_>,
    attributes: &Attributes,
    before: Before,
    shared: &Shared,
    report: impl Fn(UnwrittenReason),
) {
    if attributes.xattrs.is_empty() && !before.may_have_xattrs {
        return;
    }
    let subject = match onto {
        Onto::Open(fd) => Subject::Open(fd),
        Onto::Pinned(fd) => Subject::pinned(fd),
    };
    let mut present = Vec::new();
    if before.may_have_xattrs {
        match subject.names() {
            Ok(names) => present = names,
            Err(errno) => report(UnwrittenReason::ListXattrs(errno.into())),
        }
    }
    let present = present.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    for name in present {
        // A label the system gives by itself is not the restore's to take away.
        let wanted = attributes.xattrs.iter().any(|xattr| xattr.name == name);
        if wanted || name == b"security.selinux" || !asked(name, shared) {
            continue;
        }
        if let Err(errno) = subject.remove(name) {
            report(UnwrittenReason::Xattr { name: name.to_vec(), errno: errno.into() });
        }
    }
    for xattr in &attributes.xattrs {
        let name = xattr.name.clone();
        if !asked(&name, shared) {
            report(UnwrittenReason::XattrNotAsked { name });
        } else if let Err(errno) = subject.set(&name, &xattr.value) {
            report(UnwrittenReason::Xattr { name, errno: errno.into() });
        }
    }
}

fn asked(name: &[u8], shared: &Shared) -> bool {
    let privileged = name.starts_with(b"security.") || name.starts_with(b"trusted.");
    shared.options.privileged_xattrs || !privileged
}

/// Setuid and setgid of anything but a directory only where they were asked for, and never for an
/// owner other than the one who set them: that would lend somebody else's rights.
fn wanted_mode(
    attributes: &Attributes,
    owner: Owner,
    shared: &Shared,
    report: impl Fn(UnwrittenReason),
) -> u16 {
    let mode = attributes.mode;
    let lends = attributes.kind != Kind::Directory && mode & SETUID_SETGID != 0;
    if !lends || (shared.options.privileged_modes && owner != Owner::Another) {
        return mode;
    }
    report(UnwrittenReason::ModeNotKept);
    mode & !SETUID_SETGID
}

fn set_mode(onto: Onto<'_>, mode: u16, shared: &Shared, report: impl Fn(UnwrittenReason)) {
    let bits = Mode::from_raw_mode(u32::from(mode));
    let (done, fd) = match onto {
        Onto::Open(fd) => (rustix::fs::fchmod(fd, bits), fd),
        // The kernel resolves this to the inode the descriptor holds, whatever its name is now.
        Onto::Pinned(fd) => (rustix::fs::chmodat(CWD, proc_path(fd), bits, AtFlags::empty()), fd),
    };
    if let Err(errno) = done {
        return report(UnwrittenReason::Mode(errno.into()));
    }
    // Linux drops setgid in silence for a group that this user is not in.
    if mode & SETUID_SETGID != 0 && shared.uid != 0 {
        let kept = crate::identity::Stat::at(fd, b"").is_ok_and(|stat| stat.mode == mode);
        if !kept {
            report(UnwrittenReason::Mode(Errno(rustix::io::Errno::PERM)));
        }
    }
}

fn set_mtime(onto: Onto<'_>, mtime: Timestamp) -> rustix::io::Result<()> {
    let times = Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: mtime.secs, tv_nsec: i64::from(mtime.nanos) },
    };
    match onto {
        Onto::Open(fd) => rustix::fs::futimens(fd, &times),
        Onto::Pinned(fd) => rustix::fs::utimensat(CWD, proc_path(fd), &times, AtFlags::empty()),
    }
}

fn proc_path(fd: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}
