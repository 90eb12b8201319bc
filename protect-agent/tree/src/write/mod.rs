//! Putting a tree back.
//!
//! [`TreeWriter`] takes the entries of a tree in the order of [`keelhold_chunk::entry::path_order`]
//! and makes directories at once. Everything else becomes a [`Place`], which any thread may turn into
//! the entry ([`Place::create`]) and, for a file, fill ([`FileWriter`]). A directory gets its own
//! attributes when the last entry in it is done, whoever does that: its times are not moved by what is
//! still written into it, and it is never opened to others before it is complete.
//!
//! Containment. The target is a descriptor. Every step below it is one component, opened with
//! `RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS` and `O_NOFOLLOW`; everything is
//! created with `O_EXCL` or the like, by name in an open directory, and all attributes are set through
//! descriptors of what was created. Hard links are made only to inodes created by this writer. A
//! directory that has to be opened again must still be the same inode. So nothing outside the target
//! can be written, whatever links stand in the target or are put there meanwhile.
//!
//! Exactness. Data is written where it was and nowhere else: what is between extents stays a hole.
//! Owner first (it clears setuid and capabilities), then extended attributes, mode, times.
//!
//! What could not be done is collected by path ([`Report`]); the rest of the tree is still written.

mod apply;
mod directory;
mod file;
mod landing;
mod links;
mod node;
mod place;
mod report;
mod shared;

use crate::dirs::{Dir, open_component, split};
use crate::skipped::Errno;
use directory::WriteDir;
use keelhold_chunk::Attributes;
use keelhold_chunk::entry::{is_sound_path, path_order};
use rustix::fs::{Mode, OFlags};
use shared::Shared;
use std::cmp::Ordering;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use file::FileWriter;
pub use place::{Created, Place};
pub use report::{Report, Unwritten, UnwrittenReason};

/// What happens to an entry whose name is already there. Directories are entered in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnClash {
    /// What is there stays.
    Skip,
    /// What is there stays, and the entry gets another name beside it: `NAME.restored`.
    Copy,
    /// The entry takes the place of what is there; a directory that is not empty is never removed for
    /// something that is none.
    Overwrite,
}

#[derive(Debug, Clone)]
pub struct WriteOptions {
    /// None: the target must be absent or empty.
    pub on_clash: Option<OnClash>,
    /// Restore owner and group; otherwise everything belongs to whoever restores.
    pub owners: bool,
    /// Make character and block devices.
    pub devices: bool,
    /// Keep setuid and setgid of files.
    pub privileged_modes: bool,
    /// Restore `security.*` and `trusted.*`.
    pub privileged_xattrs: bool,
}

impl Default for WriteOptions {
    /// Everything as it was.
    fn default() -> Self {
        Self {
            on_clash: None,
            owners: true,
            devices: true,
            privileged_modes: true,
            privileged_xattrs: true,
        }
    }
}

/// Why nothing at all could be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    #[error("{} cannot be made", path.display())]
    Create { path: PathBuf, source: Errno },
    #[error("{} cannot be opened as a directory", path.display())]
    Open { path: PathBuf, source: Errno },
    #[error("{} is not empty", path.display())]
    NotEmpty { path: PathBuf },
    #[error("{} has a component that is empty, `.` or `..`", path.display())]
    Unsound { path: PathBuf },
}

/// A restore in progress.
#[derive(Debug)]
pub struct TreeWriter {
    shared: Arc<Shared>,
    root: Arc<WriteDir>,
    /// For the `syncfs` at the end.
    root_fd: Arc<OwnedFd>,
    /// From the root down to the directory of the last entry.
    frames: Vec<Frame>,
    /// Path of the innermost frame, as entries name it (a copy beside a clash has another).
    frames_path: Vec<u8>,
    last_path: Option<Vec<u8>>,
}

#[derive(Debug)]
struct Frame {
    path_len: usize,
    /// None if the directory could not be made.
    dir: Option<Arc<WriteDir>>,
}

impl TreeWriter {
    /// Writes below `target`, which is made if it is missing, with its parents. Links in the path are
    /// followed: it was given by whoever may say where to restore.
    pub fn create(target: &Path, options: WriteOptions) -> Result<Self, WriteError> {
        if let Some(parent) = target.parent() {
            std::fs::create_dir_all(parent).map_err(|error| WriteError::Create {
                path: parent.to_owned(),
                source: Errno(
                    rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::IO),
                ),
            })?;
        }
        let made = make_directory(rustix::fs::CWD, target.as_os_str().as_encoded_bytes())
            .map_err(|source| WriteError::Create { path: target.to_owned(), source })?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(target, flags, Mode::empty())
            .map_err(|errno| WriteError::Open { path: target.to_owned(), source: errno.into() })?;
        Self::over(fd, made, target, options)
    }

    /// Writes below `path` in the open directory `root`; no link in `path` is followed, so that
    /// whoever may name a path may still not leave `root`.
    pub fn create_beneath(
        root: impl AsFd,
        path: &[u8],
        options: WriteOptions,
    ) -> Result<Self, WriteError> {
        let shown = || PathBuf::from(String::from_utf8_lossy(path).into_owned());
        if !is_sound_path(path) {
            return Err(WriteError::Unsound { path: shown() });
        }
        let open = |dir: &OwnedFd, name: &[u8]| {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY;
            open_component(dir, name, flags, Mode::empty())
                .map_err(|errno| WriteError::Open { path: shown(), source: errno.into() })
        };
        let mut fd = root.as_fd().try_clone_to_owned().map_err(|_| WriteError::Open {
            path: shown(),
            source: Errno(rustix::io::Errno::MFILE),
        })?;
        // The descriptor given may be O_PATH; its copy must be one that can be synced.
        fd = open(&fd, b".")?;
        let mut made = false;
        for name in path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
            made = make_directory(&fd, name)
                .map_err(|source| WriteError::Create { path: shown(), source })?;
            fd = open(&fd, name)?;
        }
        Self::over(fd, made, &shown(), options)
    }

    fn over(
        fd: OwnedFd,
        made: bool,
        shown: &Path,
        options: WriteOptions,
    ) -> Result<Self, WriteError> {
        let opened = |errno: rustix::io::Errno| WriteError::Open {
            path: shown.to_owned(),
            source: errno.into(),
        };
        if options.on_clash.is_none() && !made && !is_empty(&fd).map_err(opened)? {
            return Err(WriteError::NotEmpty { path: shown.to_owned() });
        }
        let ours = made || options.on_clash.is_none();
        let shared = Arc::new(Shared::new(options));
        let dir = Dir::root(fd).map_err(opened)?;
        let root_fd = dir.open().map_err(opened)?;
        let root = WriteDir::root(dir, made, ours, &shared).map_err(opened)?;
        let frames = vec![Frame { path_len: 0, dir: Some(root.clone()) }];
        Ok(Self { shared, root, root_fd, frames, frames_path: Vec::new(), last_path: None })
    }

    /// Takes the next entry. A directory is made here; anything else comes back as a place. None
    /// means that nothing is left to do for this entry: it is done, or the report says why not.
    ///
    /// Parents that never came as entries (a restore of chosen paths) are made open to whoever
    /// restores and to nobody else.
    pub fn place(&mut self, path: &[u8], attributes: Attributes) -> Option<Place> {
        if !is_sound_path(path) {
            self.shared.unwritten(path, UnwrittenReason::UnsoundPath);
            return None;
        }
        if self.last_path.as_ref().is_some_and(|last| path_order(last, path) != Ordering::Less) {
            self.shared.unwritten(path, UnwrittenReason::OutOfOrder);
            return None;
        }
        self.last_path = Some(path.to_vec());
        if path.is_empty() {
            self.shared.set_root(&self.root, attributes);
            return None;
        }
        let (dir_path, name) = split(path);
        let Some(dir) = self.enter(dir_path) else {
            self.shared.unwritten(path, UnwrittenReason::DirectoryMissing);
            return None;
        };
        if attributes.is_directory() {
            let made = WriteDir::make(&dir, name, Some(attributes), &self.shared);
            let dir = made.map_err(|reason| self.shared.unwritten(path, reason)).ok();
            self.push(path, dir);
            return None;
        }
        Some(Place::new(dir, path, name, attributes, self.shared.clone()))
    }

    fn push(&mut self, path: &[u8], dir: Option<Arc<WriteDir>>) {
        self.frames_path.clear();
        self.frames_path.extend_from_slice(path);
        self.frames.push(Frame { path_len: path.len(), dir });
    }

    /// The directory `path`; those on the way that did not come as entries are made.
    fn enter(&mut self, path: &[u8]) -> Option<Arc<WriteDir>> {
        let is_above = |above: &[u8]| {
            path.starts_with(above)
                && (above.is_empty() || path.len() == above.len() || path[above.len()] == b'/')
        };
        while !is_above(&self.frames_path) {
            self.frames.pop();
            self.frames_path.truncate(self.frames.last()?.path_len);
        }
        while self.frames_path.len() < path.len() {
            let start = self.frames_path.len() + usize::from(!self.frames_path.is_empty());
            let end = path[start..].iter().position(|byte| *byte == b'/');
            let end = end.map_or(path.len(), |at| start + at);
            let parent = self.frames.last()?.dir.clone();
            let dir = parent.and_then(|parent| {
                let made = WriteDir::make(&parent, &path[start..end], None, &self.shared);
                made.map_err(|reason| self.shared.unwritten(&path[..end], reason)).ok()
            });
            self.push(&path[..end], dir);
        }
        self.frames.last()?.dir.clone()
    }

    /// Gives the last directories their attributes and makes everything durable. Every [`Place`] and
    /// [`FileWriter`] must be done before.
    #[must_use]
    pub fn finish(self) -> Report {
        let Self { shared, root, root_fd, frames, .. } = self;
        drop((frames, root));
        if let Err(errno) = rustix::fs::syncfs(&root_fd) {
            shared.unwritten(b"", UnwrittenReason::Sync(errno.into()));
        }
        shared.report()
    }
}

/// Whether it was made now.
fn make_directory(dir: impl AsFd, name: &[u8]) -> Result<bool, Errno> {
    match rustix::fs::mkdirat(dir, name, Mode::RWXU) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::EXIST) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

fn is_empty(fd: &OwnedFd) -> rustix::io::Result<bool> {
    let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
    let mut entries = rustix::fs::RawDir::new(fd, &mut buffer);
    while let Some(entry) = entries.next() {
        if !matches!(entry?.file_name().to_bytes(), b"." | b"..") {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests;
