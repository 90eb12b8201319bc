//! A directory as a vault: one file for each object.
//!
//! An object is written beside its place, flushed, and linked to its name without replacing what is
//! there; then the folders are flushed. So a name shows an object whole or not at all, a crash leaves at
//! most a file in `.partial`, and of two who create one name at a time one is told that it exists. Names
//! are resolved below the directory, never through a link.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use rustix::fs::{
    AtFlags, Dir, FileType, FlockOperation, Mode, OFlags, RenameFlags, ResolveFlags, flock, fstat,
    fsync, linkat, mkdirat, openat, openat2, renameat_with, unlinkat,
};
use rustix::io::Errno;

use super::pace::{Pace, next_piece};
use super::{
    Created, Entry, Listing, Store, StoreError, StoreFault, Until, foldered, is_name, named,
    unlocked,
};

/// Not a name of an object: names have no dots.
const PARTIAL: &str = ".partial";
const FOLDER_MODE: Mode = Mode::RWXU;
const FILE_MODE: Mode = Mode::RUSR;
const FOLDER: OFlags = OFlags::DIRECTORY.union(OFlags::RDONLY).union(OFlags::CLOEXEC);

#[derive(Debug)]
pub struct DirectoryStore {
    root: OwnedFd,
    partial: OwnedFd,
    /// Makes names in `.partial` differ inside this process.
    written: AtomicU64,
    pace: Option<Arc<dyn Pace>>,
}

/// A file in `.partial`, locked as long as somebody writes it. Dropped before it has its name it is
/// removed.
struct Draft<'a> {
    partial: &'a OwnedFd,
    name: String,
    file: File,
    is_placed: bool,
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        if !self.is_placed {
            // It may be gone already: then nothing is left to do.
            let _ = unlinkat(self.partial, &self.name, AtFlags::empty());
        }
    }
}

fn fault(errno: Errno) -> StoreFault {
    match errno {
        Errno::NOENT => StoreFault::NotFound,
        Errno::PERM | Errno::ACCESS | Errno::ROFS => StoreFault::Refused,
        Errno::NOSPC | Errno::DQUOT => StoreFault::Full,
        // What is there is no object of ours: a link, a folder, another file system's limits.
        Errno::LOOP | Errno::XDEV | Errno::ISDIR | Errno::NOTDIR => StoreFault::Refused,
        _ => StoreFault::Io { kind: std::io::Error::from(errno).kind() },
    }
}

fn io(error: &std::io::Error) -> StoreFault {
    match error.raw_os_error() {
        Some(code) => fault(Errno::from_raw_os_error(code)),
        None => StoreFault::Io { kind: error.kind() },
    }
}

fn parts(name: &str) -> (&str, &str) {
    name.rsplit_once('/').unwrap_or((".", name))
}

impl DirectoryStore {
    /// Opens the directory, which must be there, and removes what writers that are no more left half
    /// written.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let named = |errno| StoreError::new(&path.to_string_lossy(), fault(errno));
        let root = rustix::fs::open(path, FOLDER, Mode::empty()).map_err(named)?;
        let partial = make_folder(&root, PARTIAL).map_err(named)?;
        sweep(&partial).map_err(named)?;
        Ok(Self { root, partial, written: AtomicU64::new(0), pace: None })
    }

    /// Writes no faster than this from now on.
    #[must_use]
    pub fn with_pace(self, pace: Arc<dyn Pace>) -> Self {
        Self { pace: Some(pace), ..self }
    }

    fn below(&self, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        let inside = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        openat2(&self.root, path, flags | OFlags::CLOEXEC, Mode::empty(), inside)
    }

    fn object(&self, name: &str) -> Result<(File, u64), StoreFault> {
        let file = self.below(name, OFlags::RDONLY | OFlags::NONBLOCK).map_err(fault)?;
        let stat = fstat(&file).map_err(fault)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(StoreFault::Refused);
        }
        Ok((File::from(file), u64::try_from(stat.st_size).unwrap_or_default()))
    }

    /// The folder of a name, made where it is missing and durable when this returns.
    fn folder_of(&self, name: &str) -> Result<OwnedFd, Errno> {
        let (folder, _) = parts(name);
        match self.below(folder, FOLDER) {
            Err(Errno::NOENT) => {}
            found => return found,
        }
        let mut current = self.below(".", FOLDER)?;
        for part in folder.split('/') {
            current = make_folder(&current, part)?;
        }
        Ok(current)
    }

    async fn create_now(&self, name: &str, mut bytes: Bytes) -> Result<Created, StoreFault> {
        let folder = self.folder_of(name).map_err(fault)?;
        let (_, last) = parts(name);
        // Spares the writing where it is for nothing; what decides comes below.
        match rustix::fs::statat(&folder, last, AtFlags::SYMLINK_NOFOLLOW) {
            // Who is told that it exists may rely on it as well as who made it.
            Ok(_) => return fsync(&folder).map(|()| Created::Exists).map_err(fault),
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(fault(errno)),
        }
        let mut draft = self.draft().map_err(fault)?;
        if let Some(pace) = &self.pace {
            while let Some(piece) = next_piece(&**pace, &mut bytes).await {
                draft.file.write_all(&piece).map_err(|error| io(&error))?;
            }
        }
        // All of it, if nobody limits it.
        draft.file.write_all(&bytes).map_err(|error| io(&error))?;
        fsync(&draft.file).map_err(fault)?;
        let placed = place(&self.partial, &draft.name, &folder, last).map_err(fault);
        draft.is_placed = placed == Ok(Created::Made);
        drop(draft);
        fsync(&folder).map_err(fault)?;
        placed
    }

    fn draft(&self) -> Result<Draft<'_>, Errno> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        loop {
            let count = self.written.fetch_add(1, Ordering::Relaxed);
            let name = format!("{}.{count}", std::process::id());
            match openat(&self.partial, &name, flags, FILE_MODE) {
                Ok(file) => match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                    // Locked and still there: from now on nobody sweeps it away.
                    Ok(()) if fstat(&file)?.st_nlink > 0 => {
                        let (partial, file) = (&self.partial, File::from(file));
                        return Ok(Draft { partial, name, file, is_placed: false });
                    }
                    // Somebody who opens the directory just now was quicker than the lock.
                    Ok(()) | Err(Errno::WOULDBLOCK) => {}
                    Err(errno) => return Err(errno),
                },
                // A process of this number was here before.
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno),
            }
        }
    }

    fn read_now(&self, name: &str, range: Range<u64>) -> Result<Bytes, StoreFault> {
        let (mut file, len) = self.object(name)?;
        let (start, end) = (range.start, range.end);
        if start > end || end > len {
            return Err(StoreFault::Range { start, end, len });
        }
        let mut bytes = Vec::with_capacity((end - start) as usize);
        file.seek(SeekFrom::Start(start)).map_err(|error| io(&error))?;
        file.take(end - start).read_to_end(&mut bytes).map_err(|error| io(&error))?;
        let (expected, found) = (end - start, bytes.len() as u64);
        if expected == found {
            Ok(Bytes::from(bytes))
        } else {
            Err(StoreFault::Short { expected, found })
        }
    }

    /// All objects below a folder, as far as they can be greater than `after`.
    fn walk(&self, folder: &str, after: &str, found: &mut Vec<Entry>) -> Result<(), Errno> {
        let path = if folder.is_empty() { "." } else { folder.trim_end_matches('/') };
        let opened = match self.below(path, FOLDER) {
            // Nothing was ever written there, or a prune was quicker.
            Err(Errno::NOENT) => return Ok(()),
            opened => opened?,
        };
        for entry in Dir::read_from(&opened)? {
            let entry = entry?;
            let Ok(last) = entry.file_name().to_str() else {
                continue;
            };
            let name = format!("{folder}{last}");
            if !is_name(&name) {
                continue;
            }
            let stat = match rustix::fs::statat(&opened, last, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => continue,
                stat => stat?,
            };
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::RegularFile if name.as_str() > after => {
                    found
                        .push(Entry { name, len: u64::try_from(stat.st_size).unwrap_or_default() });
                }
                FileType::Directory => {
                    let below = format!("{name}/");
                    // Everything in it begins with its name.
                    if below.as_str() > after || after.starts_with(&below) {
                        self.walk(&below, after, found)?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Opens a folder, after making it and flushing that it is there.
fn make_folder(parent: &OwnedFd, name: &str) -> Result<OwnedFd, Errno> {
    match mkdirat(parent, name, FOLDER_MODE) {
        Ok(()) | Err(Errno::EXIST) => fsync(parent)?,
        Err(errno) => return Err(errno),
    }
    openat(parent, name, FOLDER | OFlags::NOFOLLOW, Mode::empty())
}

/// Gives a written file its name, if nothing has it.
fn place(from: &OwnedFd, partial: &str, to: &OwnedFd, name: &str) -> Result<Created, Errno> {
    match renameat_with(from, partial, to, name, RenameFlags::NOREPLACE) {
        Ok(()) => return Ok(Created::Made),
        Err(Errno::EXIST) => return Ok(Created::Exists),
        // Some file systems do not know it; a hard link refuses just as well.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {}
        Err(errno) => return Err(errno),
    }
    match linkat(from, partial, to, name, AtFlags::empty()) {
        Ok(()) => {
            unlinkat(from, partial, AtFlags::empty())?;
            Ok(Created::Made)
        }
        Err(Errno::EXIST) => Ok(Created::Exists),
        Err(errno) => Err(errno),
    }
}

/// Removes half written files whose writers are no more: who writes holds a lock.
fn sweep(partial: &OwnedFd) -> Result<(), Errno> {
    for entry in Dir::read_from(partial)? {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_bytes().first() == Some(&b'.') {
            continue;
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let Ok(file) = openat(partial, name, flags, Mode::empty()) else {
            continue;
        };
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            match unlinkat(partial, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno),
            }
        }
    }
    Ok(())
}

impl Store for DirectoryStore {
    async fn create(
        &self,
        name: &str,
        bytes: Bytes,
        until: Option<Until>,
    ) -> Result<Created, StoreError> {
        named(name)?;
        unlocked(name, until)?;
        self.create_now(name, bytes).await.map_err(|fault| StoreError::new(name, fault))
    }

    async fn read(&self, name: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        named(name)?;
        self.read_now(name, range).map_err(|fault| StoreError::new(name, fault))
    }

    async fn head(&self, name: &str) -> Result<Option<u64>, StoreError> {
        named(name)?;
        match self.object(name) {
            Ok((_, len)) => Ok(Some(len)),
            Err(StoreFault::NotFound) => Ok(None),
            Err(fault) => Err(StoreError::new(name, fault)),
        }
    }

    async fn list(&self, folder: &str, after: &str, limit: usize) -> Result<Listing, StoreError> {
        foldered(folder, limit)?;
        let mut entries = Vec::new();
        self.walk(folder, after, &mut entries)
            .map_err(|errno| StoreError::new(folder, fault(errno)))?;
        entries.sort_unstable();
        let has_more = entries.len() > limit;
        entries.truncate(limit);
        Ok(Listing { entries, has_more })
    }

    async fn locked_until(&self, _name: &str) -> Result<Option<Until>, StoreError> {
        Ok(None)
    }

    async fn extend(&self, name: &str, until: Until) -> Result<(), StoreError> {
        unlocked(name, Some(until))
    }

    async fn delete(&self, name: &str) -> Result<(), StoreError> {
        named(name)?;
        let failed = |errno| StoreError::new(name, fault(errno));
        let (folder, last) = parts(name);
        let folder = match self.below(folder, FOLDER) {
            Err(Errno::NOENT) => return Ok(()),
            folder => folder.map_err(failed)?,
        };
        match unlinkat(&folder, last, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => fsync(&folder).map_err(failed),
            Err(errno) => Err(failed(errno)),
        }
    }
}
