//! The state directory: what the daemon owns beside the pool's disks. All of it can be deleted.
//!
//! | name | what |
//! |---|---|
//! | `lock` | held by the one program that works with this directory |
//! | `disks.json` | where the pool's disks were last seen |
//! | `keelhold.sock` | the API, while the daemon runs |
//! | `catalog/` | a view of the pool |
//! | `vaults/` | which chunks the vaults have, and their newest manifests |
//! | `adopted.json` | what was taken over from a vault, until there is a pool |
//! | `config.toml` | settings, when somebody wrote them |

use crate::vault::Adopted;
use nix::fcntl::{Flock, FlockArg};
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use thiserror::Error;

const SOCKET: &str = "keelhold.sock";
const ADOPTED: &str = "adopted.json";

#[derive(Debug, Error)]
pub enum StateError {
    #[error("state directory {} cannot be used", path.display())]
    Unusable { path: PathBuf, source: io::Error },
    #[error("another program holds the state directory {}", path.display())]
    Held { path: PathBuf },
    #[error("{} does not say where the pool's disks are", path.display())]
    Disks { path: PathBuf, source: serde_json::Error },
    #[error("{} does not say what was adopted", path.display())]
    Adopted { path: PathBuf, source: serde_json::Error },
}

#[derive(Debug, Clone)]
pub struct StateDir {
    path: PathBuf,
}

/// Proof that no other program works with the directory. Given back by the kernel at the latest.
#[derive(Debug)]
pub struct StateLock {
    _file: Flock<File>,
}

/// What `disks.json` holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskPaths {
    pub pool: String,
    pub disks: Vec<DiskPath>,
    /// Where a disk is that is about to join: it may be of the pool already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub joining: Option<PathBuf>,
}

impl DiskPaths {
    /// Where disks of the pool may be.
    #[must_use]
    pub fn to_open(&self) -> Vec<PathBuf> {
        let mut paths: Vec<PathBuf> = Vec::new();
        let joining = self.joining.iter().filter(|path| path.exists());
        // A disk that is exchanged at its own place stands there twice for a while.
        for path in self.disks.iter().map(|disk| &disk.path).chain(joining) {
            if !paths.contains(path) {
                paths.push(path.clone());
            }
        }
        paths
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskPath {
    pub id: String,
    pub path: PathBuf,
}

impl StateDir {
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    #[must_use]
    pub fn catalog(&self) -> PathBuf {
        self.path.join("catalog")
    }

    /// What this appliance knows of its vaults.
    #[must_use]
    pub fn vaults(&self) -> PathBuf {
        self.path.join("vaults")
    }

    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.path.join("config.toml")
    }

    fn unusable(&self, source: io::Error) -> StateError {
        StateError::Unusable { path: self.path.clone(), source }
    }

    /// Creates the directory, for this user only.
    pub fn create(&self) -> Result<(), StateError> {
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.path);
        made.map_err(|error| self.unusable(error))
    }

    pub fn lock(&self) -> Result<StateLock, StateError> {
        self.lock_file("lock")
    }

    /// Held while a pool is made beside a daemon that has none.
    pub fn lock_making(&self) -> Result<StateLock, StateError> {
        self.lock_file("making")
    }

    fn lock_file(&self, name: &str) -> Result<StateLock, StateError> {
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(self.path.join(name))
            .map_err(|error| self.unusable(error))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(file) => Ok(StateLock { _file: file }),
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => {
                Err(StateError::Held { path: self.path.clone() })
            }
            Err((_, errno)) => Err(self.unusable(errno.into())),
        }
    }

    pub fn disks(&self) -> Result<Option<DiskPaths>, StateError> {
        let path = self.path.join("disks.json");
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.unusable(error)),
        };
        let paths = serde_json::from_slice(&text);
        paths.map(Some).map_err(|source| StateError::Disks { path, source })
    }

    pub fn set_disks(&self, paths: &DiskPaths) -> Result<(), StateError> {
        self.replace("disks.json", &serde_json::to_vec_pretty(paths).unwrap_or_default())
    }

    /// Replaces a file as a whole: a crash leaves the old or the new one.
    fn replace(&self, name: &str, text: &[u8]) -> Result<(), StateError> {
        let (new, place) = (self.path.join(format!("{name}.new")), self.path.join(name));
        let write = || {
            let mut options = File::options();
            let mut file =
                options.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
            file.write_all(text)?;
            file.sync_all()?;
            std::fs::rename(&new, &place)?;
            File::open(&self.path)?.sync_all()
        };
        write().map_err(|error: io::Error| self.unusable(error))
    }

    /// What was taken over from a vault, if no pool has it yet.
    pub fn adopted(&self) -> Result<Option<Adopted>, StateError> {
        let path = self.path.join(ADOPTED);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.unusable(error)),
        };
        let adopted = serde_json::from_slice(&text);
        adopted.map(Some).map_err(|source| StateError::Adopted { path, source })
    }

    /// Keys stand in it: it is this user's alone.
    pub fn set_adopted(&self, adopted: &Adopted) -> Result<(), StateError> {
        let text = serde_json::to_vec(adopted).unwrap_or_default();
        self.replace(ADOPTED, &text)
    }

    pub fn forget_adopted(&self) -> Result<(), StateError> {
        match std::fs::remove_file(self.path.join(ADOPTED)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.unusable(error)),
            _ => Ok(()),
        }
    }

    /// The directory held open, and a short path to the socket through it: a socket's address has
    /// room for 107 bytes only, a state directory may be deeper.
    pub fn socket(&self) -> Result<(OwnedFd, PathBuf), StateError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = rustix::fs::open(&self.path, flags, Mode::empty())
            .map_err(|errno| self.unusable(errno.into()))?;
        let path = PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", dir.as_raw_fd()));
        Ok((dir, path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn temporary() -> StateDir {
        let name =
            format!("keelhold-state-{}-{:?}", std::process::id(), std::thread::current().id());
        let state = StateDir::new(std::env::temp_dir().join(name));
        state.create().unwrap();
        state
    }

    #[test]
    fn one_program_at_a_time() {
        let state = temporary();
        let held = state.lock().unwrap();
        assert!(matches!(state.lock(), Err(StateError::Held { .. })));
        drop(held);
        state.lock().unwrap();
        std::fs::remove_dir_all(state.path()).unwrap();
    }

    #[test]
    fn disks_are_remembered() {
        let state = temporary();
        assert_eq!(state.disks().unwrap(), None);
        let disk = DiskPath { id: "x".into(), path: "/dev/sdz".into() };
        let paths = DiskPaths { pool: "p".into(), disks: vec![disk], joining: None };
        state.set_disks(&paths).unwrap();
        assert_eq!(state.disks().unwrap(), Some(paths));
        std::fs::write(state.path().join("disks.json"), b"{").unwrap();
        assert!(matches!(state.disks(), Err(StateError::Disks { .. })));
        std::fs::remove_dir_all(state.path()).unwrap();
    }
}
