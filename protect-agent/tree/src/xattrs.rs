//! Extended attributes of every kind of entry: all names the kernel shows to this process, ACLs and
//! capabilities among them.
//!
//! What is open is asked through its descriptor. What cannot be opened (symbolic links, sockets,
//! devices) is asked as `/proc/self/fd/DIRECTORY/NAME` by the calls that do not follow a link in the
//! last component: one system call, and no path of the tree is walked.

use crate::skipped::SkippedReason;
use keelhold_chunk::Xattr;
use keelhold_chunk::entry::{XATTR_VALUE_LEN_MAX, XATTRS_LEN_MAX};
use rustix::fs::XattrFlags;
use rustix::io::Errno;
use std::ffi::CString;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};

/// `XATTR_LIST_MAX` of Linux.
const LIST_LEN_MAX: usize = 64 << 10;
/// Names of most entries fit here; the first try costs no allocation.
const FIRST_LEN: usize = 1 << 10;

/// Whose attributes are meant.
#[derive(Debug)]
pub(crate) enum Subject<'a> {
    Open(BorrowedFd<'a>),
    Path(CString),
}

impl<'a> Subject<'a> {
    /// What `name` in `dir` is; `dir` itself if `name` is empty.
    pub(crate) fn at(dir: BorrowedFd<'a>, name: &[u8]) -> Self {
        if name.is_empty() {
            return Self::Open(dir);
        }
        let mut path = format!("/proc/self/fd/{}/", dir.as_raw_fd()).into_bytes();
        path.extend_from_slice(name);
        // A name with NUL comes from no kernel and fails as "not there".
        Self::Path(CString::new(path).unwrap_or_default())
    }

    /// What an `O_PATH` descriptor stands for.
    pub(crate) fn pinned(fd: BorrowedFd<'_>) -> Subject<'static> {
        let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
        Subject::Path(CString::new(path).unwrap_or_default())
    }

    fn list(&self, buffer: &mut [MaybeUninit<u8>]) -> rustix::io::Result<Vec<u8>> {
        let (list, _) = match self {
            Self::Open(fd) => rustix::fs::flistxattr(fd, buffer)?,
            Self::Path(path) => rustix::fs::llistxattr(path, buffer)?,
        };
        Ok(list.to_vec())
    }

    fn get(&self, name: &[u8], buffer: &mut [MaybeUninit<u8>]) -> rustix::io::Result<Vec<u8>> {
        let (value, _) = match self {
            Self::Open(fd) => rustix::fs::fgetxattr(fd, name, buffer)?,
            Self::Path(path) => rustix::fs::lgetxattr(path, name, buffer)?,
        };
        Ok(value.to_vec())
    }

    /// Names separated by NUL; empty where the file system knows no extended attributes.
    pub(crate) fn names(&self) -> rustix::io::Result<Vec<u8>> {
        let mut first = [MaybeUninit::uninit(); FIRST_LEN];
        match self.list(&mut first) {
            Err(Errno::RANGE) => self.list(&mut vec![MaybeUninit::uninit(); LIST_LEN_MAX]),
            Err(Errno::NOTSUP) => Ok(Vec::new()),
            done => done,
        }
    }

    fn value(&self, name: &[u8]) -> rustix::io::Result<Vec<u8>> {
        let mut first = [MaybeUninit::uninit(); FIRST_LEN];
        match self.get(name, &mut first) {
            Err(Errno::RANGE) => {
                self.get(name, &mut vec![MaybeUninit::uninit(); XATTR_VALUE_LEN_MAX])
            }
            done => done,
        }
    }

    /// All of them, sorted by name.
    pub(crate) fn read(&self) -> Result<Vec<Xattr>, SkippedReason> {
        let names = self
            .names()
            .map_err(|errno| SkippedReason::unless_vanished(errno, SkippedReason::ListXattrs))?;
        let mut xattrs = Vec::new();
        let mut len = 0;
        for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
            let value = match self.value(name) {
                Ok(value) => value,
                // Removed since the names were listed; ctime has moved, the next backup looks again.
                Err(Errno::NODATA) => continue,
                Err(errno) => {
                    let name = name.to_vec();
                    return Err(SkippedReason::Xattr { name, errno: errno.into() });
                }
            };
            // As encoded: a length of at most three bytes stands before either part.
            len += name.len() + value.len() + 6;
            if len > XATTRS_LEN_MAX {
                return Err(SkippedReason::XattrsTooLong { limit: XATTRS_LEN_MAX });
            }
            xattrs.push(Xattr { name: name.to_vec(), value });
        }
        xattrs.sort_by(|left, right| left.name.cmp(&right.name));
        Ok(xattrs)
    }

    pub(crate) fn set(&self, name: &[u8], value: &[u8]) -> rustix::io::Result<()> {
        let flags = XattrFlags::empty();
        match self {
            Self::Open(fd) => rustix::fs::fsetxattr(fd, name, value, flags),
            Self::Path(path) => rustix::fs::setxattr(path, name, value, flags),
        }
    }

    pub(crate) fn remove(&self, name: &[u8]) -> rustix::io::Result<()> {
        match self {
            Self::Open(fd) => rustix::fs::fremovexattr(fd, name),
            Self::Path(path) => rustix::fs::removexattr(path, name),
        }
    }
}
