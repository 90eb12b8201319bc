//! What a restore did and what it could not do.

use crate::skipped::Errno;
use keelhold_chunk::Kind;

/// Counts of what was written, and every entry or part of one that was not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    pub files: u64,
    pub directories: u64,
    /// Names that became hard links to a file written before.
    pub links: u64,
    /// Symbolic links, fifos, sockets, devices.
    pub others: u64,
    pub bytes_written: u64,
    pub unwritten: Vec<Unwritten>,
}

impl Report {
    /// Nothing but what policy or the machine forbids is missing.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.failed().next().is_none()
    }

    pub fn failed(&self) -> impl Iterator<Item = &Unwritten> {
        self.unwritten.iter().filter(|unwritten| unwritten.reason.is_failure())
    }

    pub fn skipped(&self) -> impl Iterator<Item = &Unwritten> {
        self.unwritten.iter().filter(|unwritten| !unwritten.reason.is_failure())
    }
}

/// An entry, or a part of it, that is not in the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unwritten {
    /// From the target; "" is the target itself.
    pub path: Vec<u8>,
    pub reason: UnwrittenReason,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnwrittenReason {
    #[error("something of that name is there and stays")]
    Exists,
    #[error("something of that name is there, and as the entry gets no other name, it stays")]
    NameTaken,
    #[error("a directory that is not empty is there and stays")]
    DirectoryInTheWay,
    #[error("its name may not stand in a tree")]
    UnsoundPath,
    #[error("it came out of order or twice")]
    OutOfOrder,
    #[error("its directory could not be written")]
    DirectoryMissing,
    #[error("what was made was replaced by somebody else")]
    Swapped,
    #[error("making a {kind} was not asked for")]
    NotAsked { kind: &'static str },
    #[error("setuid and setgid were not kept, as they were not asked for or the owner is another")]
    ModeNotKept,
    #[error("the extended attribute {} was not asked for", name.escape_ascii())]
    XattrNotAsked { name: Vec<u8> },
    #[error("the {kind} could not be made: {errno}")]
    Create { kind: &'static str, errno: Errno },
    #[error("the hard link could not be made: {0}")]
    Link(Errno),
    #[error("it could not be written at byte {offset}: {errno}")]
    Write { offset: u64, errno: Errno },
    #[error("it was not written to the end")]
    Unfinished,
    #[error("it could not take the place of what is there: {0}")]
    Replace(Errno),
    #[error("its owner could not be set: {0}")]
    Owner(Errno),
    #[error("its mode could not be set: {0}")]
    Mode(Errno),
    #[error("its times could not be set: {0}")]
    Times(Errno),
    #[error("its extended attribute {} could not be set: {errno}", name.escape_ascii())]
    Xattr { name: Vec<u8>, errno: Errno },
    #[error("its extended attributes could not be read: {0}")]
    ListXattrs(Errno),
    #[error("what was written may not be on the disk: {0}")]
    Sync(Errno),
}

impl UnwrittenReason {
    pub(crate) fn create(kind: &Kind, errno: rustix::io::Errno) -> Self {
        Self::Create { kind: kind.word(), errno: errno.into() }
    }

    /// The name was not free.
    pub(crate) fn is_taken(&self) -> bool {
        matches!(self, Self::Create { errno, .. } if errno.0 == rustix::io::Errno::EXIST)
    }

    /// Whether something went wrong, as opposed to what options, this user or this file system do not
    /// allow.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        use rustix::io::Errno as E;
        let forbidden =
            |errno: &Errno| matches!(errno.0, E::PERM | E::ACCESS | E::NOTSUP | E::NOSYS);
        match self {
            Self::Exists
            | Self::NotAsked { .. }
            | Self::ModeNotKept
            | Self::XattrNotAsked { .. } => false,
            Self::Owner(errno) | Self::Mode(errno) | Self::Xattr { errno, .. } => !forbidden(errno),
            Self::Create { kind, errno } => {
                let special = matches!(*kind, "char-device" | "block-device" | "socket" | "fifo");
                !(special && forbidden(errno))
            }
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_linux_forbids_is_no_failure() {
        let forbidden = Errno(rustix::io::Errno::PERM);
        let device = Kind::CharDevice { major: 1, minor: 3 };
        assert!(!UnwrittenReason::create(&device, forbidden.0).is_failure());
        assert!(UnwrittenReason::create(&Kind::File { size: 0 }, forbidden.0).is_failure());
        assert!(!UnwrittenReason::Owner(forbidden).is_failure());
        assert!(UnwrittenReason::Sync(forbidden).is_failure());
    }
}
