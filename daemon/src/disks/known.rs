//! Where the pool's disks are, as `disks.json` says it: what the next start opens.

use crate::failure::{Code, Failure, chain};
use crate::pool_thread::PoolHandle;
use crate::state_dir::{DiskPath, DiskPaths, StateDir};
use keelhold_disk::pool::{DiskState, PoolStatus};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

#[derive(Debug)]
pub struct KnownDisks {
    state: StateDir,
    paths: Mutex<DiskPaths>,
}

impl KnownDisks {
    #[must_use]
    pub fn new(state: StateDir, paths: DiskPaths) -> Self {
        Self { state, paths: Mutex::new(paths) }
    }

    #[must_use]
    pub fn state(&self) -> &StateDir {
        &self.state
    }

    fn paths(&self) -> MutexGuard<'_, DiskPaths> {
        self.paths.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where a disk was last seen.
    #[must_use]
    pub fn path(&self, id: &str) -> Option<PathBuf> {
        self.paths().disks.iter().find(|disk| disk.id == id).map(|disk| disk.path.clone())
    }

    /// A disk is about to join: from now on the next start looks there, too.
    pub fn joining(&self, path: &Path) -> Result<(), Failure> {
        let mut paths = self.paths();
        let new = DiskPaths { joining: Some(path.to_owned()), ..paths.clone() };
        let kept = self.state.set_disks(&new);
        kept.map_err(|error| Failure::of(Code::StateUnusable, &error))?;
        *paths = new;
        Ok(())
    }

    /// Brings the file to what the pool says; nobody is joining any more. What fails here is made
    /// good at the next start: until then the file names a disk too many.
    pub async fn settle(&self, pool: &PoolHandle) {
        let Ok(status) = pool.call(|pool| async move { pool.status() }).await else {
            return;
        };
        let mut paths = self.paths();
        let new = settled(&paths, &status);
        if *paths == new {
            return;
        }
        if let Err(error) = self.state.set_disks(&new) {
            tracing::warn!(error = chain(&error), "where the disks are was not kept");
        }
        *paths = new;
    }
}

/// Members of the pool where they are now, or were last seen.
fn settled(known: &DiskPaths, status: &PoolStatus) -> DiskPaths {
    let members = status.disks.iter().filter(|disk| disk.state != DiskState::Retired);
    let place = |disk: &keelhold_disk::pool::DiskStatus| {
        let id = disk.id.to_string();
        let before = known.disks.iter().find(|known| known.id == id);
        let joining = known.joining.iter().chain(known.disks.iter().map(|disk| &disk.path));
        let found = disk.geometry.as_ref().and_then(|found| {
            // The device's name is its path as text; the path itself need not be text.
            let mut joining = joining.filter(|path| path.display().to_string() == *found.name);
            joining.next().cloned()
        });
        let path = found.or_else(|| before.map(|before| before.path.clone()))?;
        Some(DiskPath { id, path })
    };
    let disks = members.filter_map(place).collect();
    DiskPaths { pool: known.pool.clone(), disks, joining: None }
}
