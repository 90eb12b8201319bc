//! The directory that holds everything the agent owns. Nobody else may look into it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Where the agent keeps its state unless told otherwise.
pub const DEFAULT: &str = "/var/lib/keelhold-agent";

#[derive(Debug, Clone)]
pub struct StateDir {
    path: PathBuf,
}

#[derive(Debug, Error)]
pub enum StateError {
    #[error("the state directory {} cannot be made", path.display())]
    Make { path: PathBuf, source: io::Error },
    #[error("{} cannot be read", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} cannot be written", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("another agent uses the state directory {}", path.display())]
    InUse { path: PathBuf },
}

impl StateDir {
    /// Makes it if it is not there.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.map_err(|source| StateError::Make { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned() })
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.path.join("agent.sock")
    }

    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.path.join("agent.toml")
    }

    #[must_use]
    pub fn sources(&self) -> PathBuf {
        self.path.join("sources")
    }

    #[must_use]
    pub fn restore_root(&self) -> PathBuf {
        self.path.join("restore")
    }

    /// A file's content; `None` if there is no such file.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>, StateError> {
        let path = self.path.join(name);
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(StateError::Read { path, source }),
        }
    }

    /// Exchanges a file as a whole; after a crash it is the old or the new one.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), StateError> {
        let path = self.path.join(name);
        let write = || -> io::Result<()> {
            let new = self.path.join(format!("{name}.new"));
            let mut options = OpenOptions::new();
            let mut file =
                options.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&new, &path)?;
            File::open(&self.path)?.sync_all()
        };
        write().map_err(|source| StateError::Write { path: path.clone(), source })
    }

    /// Held as long as the agent runs; ends with the process, however it ends.
    pub fn lock(&self) -> Result<StateLock, StateError> {
        let path = self.path.join("lock");
        let mut options = OpenOptions::new();
        let opened = options.write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = opened.map_err(|source| StateError::Write { path: path.clone(), source })?;
        match file.try_lock() {
            Ok(()) => Ok(StateLock { _file: file }),
            Err(fs::TryLockError::WouldBlock) => Err(StateError::InUse { path: self.path.clone() }),
            Err(fs::TryLockError::Error(source)) => Err(StateError::Write { path, source }),
        }
    }
}

#[derive(Debug)]
pub struct StateLock {
    _file: File,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn files_are_the_agents_alone_and_one_agent_holds_them() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(&dir.path().join("a/b")).unwrap();
        assert_eq!(state.read("key").unwrap(), None);
        state.write("key", b"one").unwrap();
        state.write("key", b"two").unwrap();
        assert_eq!(state.read("key").unwrap(), Some(b"two".to_vec()));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&state.path().join("key")), 0o600);
        assert_eq!(mode(state.path()), 0o700);
        let lock = state.lock().unwrap();
        assert!(matches!(state.lock(), Err(StateError::InUse { .. })));
        drop(lock);
        state.lock().unwrap();
    }
}
