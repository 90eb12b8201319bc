//! Which programs a server may name. What is not safe is refused, never left out.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use thiserror::Error;

/// A program that may be run. Everything on the way to it belongs to root or the agent's user and is
/// closed to others' writes, so what is found safe stays what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    path: PathBuf,
}

#[derive(Debug, Error)]
pub enum NotAllowed {
    #[error("script {} is not below {}, where this machine's scripts are", path.display(), directory.display())]
    Elsewhere { path: PathBuf, directory: PathBuf },
    #[error("{} cannot be looked at", path.display())]
    Look { path: PathBuf, source: io::Error },
    #[error("{} is a link; scripts and their directories must not be", path.display())]
    Link { path: PathBuf },
    #[error("{} is not a {what}", path.display())]
    Kind { path: PathBuf, what: &'static str },
    #[error("{} belongs to user {uid}; it must belong to root or the agent's user", path.display())]
    Owner { path: PathBuf, uid: u32 },
    #[error("{} has mode {mode:03o}; others must not be able to write there", path.display())]
    Writable { path: PathBuf, mode: u32 },
    #[error("script {} has mode {mode:03o}; it must be 700", path.display())]
    Mode { path: PathBuf, mode: u32 },
}

const STICKY: u32 = 0o1000;

impl Script {
    pub(super) fn allow(path: &[u8], directory: &Path) -> Result<Self, NotAllowed> {
        let path = Path::new(std::ffi::OsStr::from_bytes(path));
        let elsewhere =
            || NotAllowed::Elsewhere { path: path.to_owned(), directory: directory.to_owned() };
        let below = path.strip_prefix(directory).map_err(|_| elsewhere())?;
        let plain = below.components().all(|part| matches!(part, Component::Normal(_)));
        let named = below.components().next().is_some();
        // Written with `..`, `.` or doubled slashes it is some other text than the path it means.
        let meant = directory.join(below.components().collect::<PathBuf>());
        let exact = meant.as_os_str() == path.as_os_str();
        if !directory.is_absolute() || !plain || !named || !exact {
            return Err(elsewhere());
        }
        let mut way: Vec<&Path> = path.ancestors().skip(1).collect();
        way.reverse();
        for directory in way {
            check_directory(directory)?;
        }
        check_script(path)?;
        Ok(Self { path: path.to_owned() })
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn look(path: &Path) -> Result<Metadata, NotAllowed> {
    let stat = fs::symlink_metadata(path)
        .map_err(|source| NotAllowed::Look { path: path.to_owned(), source })?;
    if stat.is_symlink() {
        return Err(NotAllowed::Link { path: path.to_owned() });
    }
    let own = rustix::process::geteuid().as_raw();
    if stat.uid() != 0 && stat.uid() != own {
        return Err(NotAllowed::Owner { path: path.to_owned(), uid: stat.uid() });
    }
    Ok(stat)
}

fn check_directory(path: &Path) -> Result<(), NotAllowed> {
    let stat = look(path)?;
    if !stat.is_dir() {
        return Err(NotAllowed::Kind { path: path.to_owned(), what: "directory" });
    }
    // In a sticky directory nobody moves away what belongs to another.
    let mode = stat.mode() & 0o7777;
    if mode & 0o022 != 0 && mode & STICKY == 0 {
        return Err(NotAllowed::Writable { path: path.to_owned(), mode });
    }
    Ok(())
}

fn check_script(path: &Path) -> Result<(), NotAllowed> {
    let stat = look(path)?;
    if !stat.is_file() {
        return Err(NotAllowed::Kind { path: path.to_owned(), what: "file" });
    }
    let mode = stat.mode() & 0o7777;
    if mode & 0o077 != 0 || mode & 0o100 == 0 {
        return Err(NotAllowed::Mode { path: path.to_owned(), mode });
    }
    Ok(())
}
