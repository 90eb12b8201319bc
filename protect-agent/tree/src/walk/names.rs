//! The names in a directory, sorted.

use rustix::fs::{FileType, RawDir};
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;

/// Directory entries are read through a buffer of this size.
const LIST_BUFFER_LEN: usize = 32 << 10;

/// Names of a directory in byte order, in one allocation.
#[derive(Debug, Default)]
pub(crate) struct Names {
    bytes: Vec<u8>,
    names: Vec<Name>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Name {
    start: usize,
    len: u16,
    pub(crate) is_directory: bool,
    /// Of the directory entry: under a mount it is not the inode that `stat` shows.
    pub(crate) inode: u64,
}

impl Names {
    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }

    pub(crate) fn get(&self, index: usize) -> &[u8] {
        self.text(&self.names[index])
    }

    pub(crate) fn listed(&self, index: usize) -> Name {
        self.names[index]
    }

    fn text(&self, name: &Name) -> &[u8] {
        &self.bytes[name.start..name.start + usize::from(name.len)]
    }

    pub(crate) fn find(&self, wanted: &[u8]) -> Option<usize> {
        self.names.binary_search_by(|name| self.text(name).cmp(wanted)).ok()
    }

    pub(crate) fn read(fd: BorrowedFd<'_>) -> rustix::io::Result<Self> {
        let mut buffer = [MaybeUninit::uninit(); LIST_BUFFER_LEN];
        let mut entries = RawDir::new(fd, &mut buffer);
        let mut read = Self::default();
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            // PATH_MAX bounds every name; those beyond NAME_MAX (vfat, ntfs) are refused by name later.
            let Ok(len) = u16::try_from(name.len()) else {
                continue;
            };
            if name == b"." || name == b".." || name.contains(&b'/') {
                continue;
            }
            let start = read.bytes.len();
            read.bytes.extend_from_slice(name);
            let is_directory = entry.file_type() == FileType::Directory;
            read.names.push(Name { start, len, is_directory, inode: entry.ino() });
        }
        let Self { bytes, names } = &mut read;
        let text = |name: &Name| &bytes[name.start..name.start + usize::from(name.len)];
        names.sort_unstable_by(|left, right| text(left).cmp(text(right)));
        // Some file systems repeat an entry when a directory changes while it is listed.
        names.dedup_by(|left, right| text(left) == text(right));
        Ok(read)
    }

    pub(crate) fn keep_only(&mut self, index: usize) {
        self.names = vec![self.names[index]];
    }
}
