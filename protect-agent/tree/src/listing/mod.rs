//! What a tree holds, entry by entry, and how two trees differ.
//!
//! A second opinion on everything else in this crate: it walks by itself, one directory after
//! another, and looks at type, mode, owner, size, times, link groups, device numbers, extended
//! attributes (ACLs and capabilities among them), extents of data and holes, and content. It is for
//! tests and for the comparison the demo shows, not for speed.

mod compare;
mod content;

use crate::dirs::{join, open_component};
use crate::identity::{EntryKind, Stat};
use crate::read::{Extent, next_extent};
use crate::xattrs::Subject;
use keelhold_chunk::{LinkGroup, Timestamp, Xattr};
use rustix::fs::{Mode, OFlags, RawDir};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

pub use compare::{Difference, compare};

/// The entries of a tree by path; the root is "".
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    pub entries: BTreeMap<Vec<u8>, Listed>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub kind: EntryKind,
    pub mode: u16,
    pub uid: u32,
    pub gid: u32,
    /// Of a file's content; 0 for what has none.
    pub size: u64,
    pub mtime: Timestamp,
    /// The first path, in order of bytes, of the inode's names.
    pub linked_to: Option<Vec<u8>>,
    pub device_number: (u32, u32),
    pub target: Vec<u8>,
    pub xattrs: Vec<Xattr>,
    pub extents: Vec<Extent>,
    /// Digest of a file's content; None where it could not be read.
    pub content: Option<[u8; 32]>,
}

impl Listing {
    /// Lists everything below `root`, other file systems included. What vanishes meanwhile is left
    /// out; what may not be read is listed without its content.
    pub fn of(root: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(root, flags, Mode::empty())?;
        let mut listing = Self::default();
        let mut groups: HashMap<LinkGroup, Vec<Vec<u8>>> = HashMap::new();
        let stat = Stat::at(&root, b"")?;
        listing.entries.insert(Vec::new(), listed(&root, b"", &stat)?);
        let mut todo = vec![Vec::new()];
        let mut chain = Chain::default();
        while let Some(path) = todo.pop() {
            let Ok(dir) = chain.open(&root, &path) else {
                continue;
            };
            for name in names(&dir)? {
                let entry_path = join(&path, &name);
                let Ok(stat) = Stat::at(&dir, &name) else {
                    continue;
                };
                if stat.is_directory() {
                    todo.push(entry_path.clone());
                }
                if let Some(group) = stat.link_group() {
                    groups.entry(group).or_default().push(entry_path.clone());
                }
                listing.entries.insert(entry_path, listed(&dir, &name, &stat)?);
            }
        }
        for mut paths in groups.into_values() {
            paths.sort();
            for path in &paths {
                if let Some(entry) = listing.entries.get_mut(path) {
                    entry.linked_to = Some(paths[0].clone());
                }
            }
        }
        Ok(listing)
    }
}

/// Directories left open on the way to the last one listed, so that the next is near. Those furthest
/// up are closed first: what comes next lies below the last or beside one of its nearest parents.
#[derive(Debug, Default)]
struct Chain {
    open: VecDeque<(Vec<u8>, OwnedFd)>,
}

impl Chain {
    const OPEN_MAX: usize = 64;

    fn open(&mut self, root: &OwnedFd, path: &[u8]) -> io::Result<OwnedFd> {
        let is_above = |above: &[u8]| {
            path.len() > above.len() && path.starts_with(above) && path[above.len()] == b'/'
        };
        while self.open.back().is_some_and(|(above, _)| !is_above(above)) {
            self.open.pop_back();
        }
        let (mut end, mut dir) = match self.open.back() {
            Some((above, fd)) => (above.len() + 1, fd.try_clone()?),
            None => (0, root.try_clone()?),
        };
        while end < path.len() {
            let rest = &path[end..];
            let name = rest.split(|byte| *byte == b'/').next().unwrap_or(rest);
            let flags = OFlags::RDONLY | OFlags::DIRECTORY;
            dir = open_component(&dir, name, flags, Mode::empty())?;
            let above = path[..end + name.len()].to_vec();
            self.open.push_back((above, dir.try_clone()?));
            if self.open.len() > Self::OPEN_MAX {
                self.open.pop_front();
            }
            end += name.len() + 1;
        }
        // Copies of a descriptor share its position.
        rustix::fs::seek(&dir, rustix::fs::SeekFrom::Start(0))?;
        Ok(dir)
    }
}

fn names(dir: &OwnedFd) -> io::Result<Vec<Vec<u8>>> {
    let mut buffer = [MaybeUninit::uninit(); 16 << 10];
    let mut entries = RawDir::new(dir, &mut buffer);
    let mut names = Vec::new();
    while let Some(entry) = entries.next() {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(name);
        }
    }
    Ok(names)
}

fn listed(dir: &OwnedFd, name: &[u8], stat: &Stat) -> io::Result<Listed> {
    let target = match stat.kind() {
        EntryKind::Symlink => rustix::fs::readlinkat(dir, name, Vec::new())?.into_bytes(),
        _ => Vec::new(),
    };
    let xattrs = Subject::at(dir.as_fd(), name).read().map_err(io::Error::other)?;
    let size = if stat.kind() == EntryKind::File { stat.identity.size } else { 0 };
    let (mut extents, mut content) = (Vec::new(), None);
    if stat.kind() == EntryKind::File
        && let Ok(fd) = open_component(dir, name, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty())
    {
        // Before anything is read: what a read brings into the page cache can look like data.
        let mut offset = 0;
        while let Some(extent) = next_extent(fd.as_fd(), size, offset)? {
            offset = extent.end();
            extents.push(extent);
        }
        content = Some(content::digest(&fd, &extents)?);
    }
    Ok(Listed {
        kind: stat.kind(),
        mode: stat.mode,
        uid: stat.uid,
        gid: stat.gid,
        size,
        mtime: stat.identity.mtime,
        linked_to: None,
        device_number: stat.device_number,
        target,
        xattrs,
        extents,
        content,
    })
}

#[cfg(test)]
mod tests;
