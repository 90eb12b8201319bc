//! Directories as a chain of names with file descriptors that come and go.
//!
//! A directory is reached from its parent by one name, never by a path, so depth and length of paths
//! do not matter and no link is ever followed. At most [`OPEN_MAX`] descriptors stay open: beyond that
//! the oldest are closed, and a directory that is needed again is opened from its nearest open
//! ancestor. Whoever opens checks that it is still the inode it was: a directory that was swapped
//! meanwhile gives `ESTALE`.

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Descriptors kept open by one walk or one restore, beside those in use at the moment.
pub(crate) const OPEN_MAX: usize = 256;

/// The data behind a lock is whole between two statements everywhere in this crate, so a thread that
/// panicked while it held one has spoilt nothing.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Opens one component below `dir`; a link, wherever it stands, is an error.
///
/// `openat2` refuses what a name cannot say anyway (`..`, magic links); where a sandbox forbids the
/// call, `O_NOFOLLOW` with a single component is as strict.
pub(crate) fn open_component(
    dir: impl AsFd,
    name: &[u8],
    flags: OFlags,
    mode: Mode,
) -> rustix::io::Result<OwnedFd> {
    debug_assert!(!name.contains(&b'/') && name != b"..");
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    match rustix::fs::openat2(&dir, name, flags, mode, resolve) {
        Err(Errno::NOSYS | Errno::PERM) => rustix::fs::openat(&dir, name, flags, mode),
        // RESOLVE_BENEATH may ask to try again after a rename elsewhere in the system.
        Err(Errno::AGAIN) => rustix::fs::openat(&dir, name, flags, mode),
        done => done,
    }
}

/// As [`open_component`] for reading without moving atime; the kernel grants that to owners only.
pub(crate) fn open_quietly(
    dir: impl AsFd,
    name: &[u8],
    flags: OFlags,
) -> rustix::io::Result<OwnedFd> {
    let quiet = flags | OFlags::NOATIME;
    match open_component(&dir, name, quiet, Mode::empty()) {
        Err(Errno::PERM) => open_component(&dir, name, flags, Mode::empty()),
        done => done,
    }
}

/// Which directories hold a descriptor, oldest first.
#[derive(Debug, Default)]
pub(crate) struct OpenDirs {
    order: Mutex<VecDeque<Weak<Dir>>>,
}

impl OpenDirs {
    fn opened(&self, dir: &Arc<Dir>) {
        let closed = {
            let mut order = lock(&self.order);
            order.push_back(Arc::downgrade(dir));
            if order.len() <= OPEN_MAX { None } else { order.pop_front() }
        };
        if let Some(dir) = closed.and_then(|dir| dir.upgrade()) {
            *lock(&dir.fd) = None;
        }
    }
}

/// One directory of a tree.
#[derive(Debug)]
pub(crate) struct Dir {
    parent: Option<Arc<Dir>>,
    name: Box<[u8]>,
    depth: usize,
    path_len: usize,
    device: u64,
    inode: u64,
    fd: Mutex<Option<Arc<OwnedFd>>>,
    open_dirs: Arc<OpenDirs>,
}

impl Dir {
    /// The root keeps its descriptor as long as anything below it lives.
    pub(crate) fn root(fd: OwnedFd) -> rustix::io::Result<Arc<Self>> {
        let stat = rustix::fs::fstat(&fd)?;
        Ok(Arc::new(Self {
            parent: None,
            name: Box::default(),
            depth: 0,
            path_len: 0,
            device: stat.st_dev,
            inode: stat.st_ino,
            fd: Mutex::new(Some(Arc::new(fd))),
            open_dirs: Arc::default(),
        }))
    }

    /// A directory by the name and the inode the parent was seen to hold; opened when needed.
    pub(crate) fn child(self: &Arc<Self>, name: &[u8], device: u64, inode: u64) -> Arc<Self> {
        Arc::new(Self {
            parent: Some(self.clone()),
            name: name.into(),
            depth: self.depth + 1,
            path_len: self.path_len_of(name),
            device,
            inode,
            fd: Mutex::new(None),
            open_dirs: self.open_dirs.clone(),
        })
    }

    /// A child that was just opened.
    pub(crate) fn open_child(
        self: &Arc<Self>,
        name: &[u8],
        fd: OwnedFd,
    ) -> rustix::io::Result<Arc<Self>> {
        let stat = rustix::fs::fstat(&fd)?;
        let dir = self.child(name, stat.st_dev, stat.st_ino);
        *lock(&dir.fd) = Some(Arc::new(fd));
        self.open_dirs.opened(&dir);
        Ok(dir)
    }

    pub(crate) fn name(&self) -> &[u8] {
        &self.name
    }

    pub(crate) fn depth(&self) -> usize {
        self.depth
    }

    pub(crate) fn parent(&self) -> Option<&Arc<Self>> {
        self.parent.as_ref()
    }

    pub(crate) fn device(&self) -> u64 {
        self.device
    }

    /// Length of the path of `name` in this directory.
    pub(crate) fn path_len_of(&self, name: &[u8]) -> usize {
        let slash = usize::from(self.path_len > 0);
        self.path_len + slash + name.len()
    }

    pub(crate) fn path(&self) -> Vec<u8> {
        let mut names = Vec::new();
        let mut dir = self;
        while let Some(parent) = &dir.parent {
            names.push(&dir.name[..]);
            dir = parent;
        }
        names.reverse();
        names.join(&b'/')
    }

    pub(crate) fn path_of(&self, name: &[u8]) -> Vec<u8> {
        join(&self.path(), name)
    }

    pub(crate) fn open(self: &Arc<Self>) -> rustix::io::Result<Arc<OwnedFd>> {
        if let Some(fd) = &*lock(&self.fd) {
            return Ok(fd.clone());
        }
        let mut below = vec![self];
        let mut fd = loop {
            // The root always has one, so the climb ends.
            let Some(parent) = below.last().and_then(|dir| dir.parent.as_ref()) else {
                return Err(Errno::STALE);
            };
            if let Some(fd) = &*lock(&parent.fd) {
                break fd.clone();
            }
            below.push(parent);
        };
        for dir in below.into_iter().rev() {
            fd = dir.open_from(fd.as_fd())?;
        }
        Ok(fd)
    }

    fn open_from(self: &Arc<Self>, parent: BorrowedFd<'_>) -> rustix::io::Result<Arc<OwnedFd>> {
        let fd = open_quietly(parent, &self.name, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let stat = rustix::fs::fstat(&fd)?;
        if (stat.st_dev, stat.st_ino) != (self.device, self.inode) {
            return Err(Errno::STALE);
        }
        let fd = Arc::new(fd);
        *lock(&self.fd) = Some(fd.clone());
        self.open_dirs.opened(self);
        Ok(fd)
    }
}

impl Drop for Dir {
    /// A chain of tens of thousands of parents must not be dropped by recursion.
    fn drop(&mut self) {
        let mut next = self.parent.take();
        while let Some(mut dir) = next.and_then(Arc::into_inner) {
            next = dir.parent.take();
        }
    }
}

/// `name` inside `path`, where "" is the root.
pub(crate) fn join(path: &[u8], name: &[u8]) -> Vec<u8> {
    let mut joined = Vec::with_capacity(path.len() + 1 + name.len());
    joined.extend_from_slice(path);
    if !path.is_empty() && !name.is_empty() {
        joined.push(b'/');
    }
    joined.extend_from_slice(name);
    joined
}

/// Directory and name of a path; the root has no name.
pub(crate) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (b"", path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;
    use std::fs;

    fn root(scratch: &Scratch) -> Arc<Dir> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        Dir::root(rustix::fs::open(scratch.path(""), flags, Mode::empty()).unwrap()).unwrap()
    }

    fn child(dir: &Arc<Dir>, name: &[u8]) -> Arc<Dir> {
        let stat = crate::Stat::at(dir.open().unwrap(), name).unwrap();
        dir.child(name, stat.identity.device, stat.identity.inode)
    }

    fn open_count(dirs: &[Arc<Dir>]) -> usize {
        dirs.iter().filter(|dir| lock(&dir.fd).is_some()).count()
    }

    /// Three times as deep as descriptors are kept: all stay reachable, few stay open.
    #[test]
    fn descriptors_are_bounded_at_any_depth() {
        let scratch = Scratch::new();
        let mut dirs = vec![root(&scratch)];
        for _ in 0..3 * OPEN_MAX {
            let dir = &dirs[dirs.len() - 1];
            rustix::fs::mkdirat(dir.open().unwrap(), "d", Mode::RWXU).unwrap();
            dirs.push(child(dir, b"d"));
        }
        for dir in dirs.iter().chain(dirs.iter().rev()) {
            dir.open().unwrap();
            assert!(open_count(&dirs) <= OPEN_MAX + 1);
        }
        let deepest = &dirs[dirs.len() - 1];
        assert_eq!(deepest.path().len(), 6 * OPEN_MAX - 1);
        assert_eq!(deepest.path_len_of(b"xy"), deepest.path_of(b"xy").len());
    }

    #[test]
    fn a_directory_that_was_swapped_is_not_entered() {
        let scratch = Scratch::new();
        scratch.fill(&["a/b/c", "other/b/c"]);
        let root = root(&scratch);
        let a = child(&root, b"a");
        let b = child(&a, b"b");
        *lock(&a.fd) = None;
        fs::rename(scratch.path("a"), scratch.path("aside")).unwrap();
        fs::rename(scratch.path("other"), scratch.path("a")).unwrap();
        assert_eq!(a.open().unwrap_err(), Errno::STALE);
        assert_eq!(b.open().unwrap_err(), Errno::STALE);
        fs::rename(scratch.path("a"), scratch.path("other")).unwrap();
        std::os::unix::fs::symlink("other", scratch.path("a")).unwrap();
        assert!(a.open().is_err() && b.open().is_err());
    }

    /// As deep as a path of the longest kind can be.
    #[test]
    fn long_chains_are_dropped_without_recursion() {
        let scratch = Scratch::new();
        let mut dir = root(&scratch);
        for _ in 0..keelhold_chunk::entry::PATH_LEN_MAX {
            dir = dir.child(b"d", 0, 0);
        }
        std::thread::Builder::new()
            .stack_size(64 << 10)
            .spawn(move || drop(dir))
            .unwrap()
            .join()
            .unwrap();
    }

    #[test]
    fn paths_are_joined_and_split() {
        assert_eq!(join(b"", b"a"), b"a");
        assert_eq!(join(b"a", b"b"), b"a/b");
        assert_eq!(split(b"a/b/c"), (&b"a/b"[..], &b"c"[..]));
        assert_eq!(split(b"a"), (&b""[..], &b"a"[..]));
    }
}
