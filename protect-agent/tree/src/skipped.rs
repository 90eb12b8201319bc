//! What a backup could not or may not read, by path and reason.

use std::fmt;

/// An error number of the kernel, shown as its text.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(pub rustix::io::Errno);

impl Errno {
    /// The thing is not there (any more).
    #[must_use]
    pub fn is_vanished(self) -> bool {
        matches!(self.0, rustix::io::Errno::NOENT | rustix::io::Errno::STALE)
    }
}

impl From<rustix::io::Errno> for Errno {
    fn from(errno: rustix::io::Errno) -> Self {
        Self(errno)
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The number behind the text ("(os error 13)") helps nobody who reads a job's result.
        let text = std::io::Error::from(self.0).to_string();
        f.write_str(text.split(" (os error").next().unwrap_or(&text))
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Errno({self})")
    }
}

impl std::error::Error for Errno {}

/// Something of the tree that is not in the backup, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// Relative to the root; "" is the root.
    pub path: Vec<u8>,
    pub reason: SkippedReason,
}

impl Skipped {
    pub(crate) fn new(path: &[u8], reason: SkippedReason) -> Self {
        Self { path: path.to_vec(), reason }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SkippedReason {
    #[error("vanished while it was read")]
    Vanished,
    #[error("could not be opened: {0}")]
    Open(Errno),
    #[error("could not be listed: {0}")]
    List(Errno),
    #[error("its attributes could not be read: {0}")]
    Stat(Errno),
    #[error("its extended attributes could not be listed: {0}")]
    ListXattrs(Errno),
    #[error("its extended attribute {} could not be read: {errno}", name.escape_ascii())]
    Xattr { name: Vec<u8>, errno: Errno },
    #[error("its extended attributes take more than {limit} bytes")]
    XattrsTooLong { limit: usize },
    #[error("its target could not be read: {0}")]
    Target(Errno),
    #[error("its content could not be read at byte {offset}: {errno}")]
    Content { offset: u64, errno: Errno },
    #[error("changed while it was read")]
    Changed,
    #[error("its name takes more than {limit} bytes")]
    NameTooLong { limit: usize },
    #[error("its path takes more than {limit} bytes")]
    PathTooLong { limit: usize },
    #[error("another file system is mounted here ({file_system}): not covered")]
    OtherFileSystem { file_system: String },
    #[error("a kernel file system is mounted here ({file_system}): not covered")]
    KernelFileSystem { file_system: String },
    #[error("belongs to the backup itself: not covered")]
    KeptOut,
    #[error("line {line} of this list of exclusions is not understood and leaves nothing out")]
    BadRule { line: usize },
}

impl SkippedReason {
    /// Whether a backup that skipped this holds less than its policy promises. What the policy says
    /// is not covered is named in the result and does not make it partial.
    #[must_use]
    pub fn makes_partial(&self) -> bool {
        !matches!(
            self,
            Self::OtherFileSystem { .. } | Self::KernelFileSystem { .. } | Self::KeptOut
        )
    }

    /// `or` for an error other than "is not there any more".
    pub(crate) fn unless_vanished(errno: rustix::io::Errno, or: fn(Errno) -> Self) -> Self {
        let errno = Errno(errno);
        if errno.is_vanished() { Self::Vanished } else { or(errno) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_one_clause() {
        let reason = SkippedReason::Open(Errno(rustix::io::Errno::ACCESS));
        assert_eq!(reason.to_string(), "could not be opened: Permission denied");
        let gone = SkippedReason::unless_vanished(rustix::io::Errno::NOENT, SkippedReason::Open);
        assert_eq!(gone, SkippedReason::Vanished);
        assert!(gone.makes_partial() && !SkippedReason::KeptOut.makes_partial());
    }
}
