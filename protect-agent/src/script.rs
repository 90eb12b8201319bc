//! Programs of this machine that run around a backup: *pre* makes an application ready, *post* lets
//! it go on.
//!
//! The server names them, the machine allows them: only files in one directory of its own, that
//! nobody but root (or the agent's user) can write or put there. So a server that is in other hands
//! runs nothing that an admin of this machine did not mean to be run.

mod allowed;
mod owed;
mod running;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use keelhold_wire::Demands;

use crate::notes::Notes;

pub use allowed::{NotAllowed, Script};
pub use owed::{Owed, recover, settle};
pub use running::{Ended, Ran};

/// Where scripts lie unless the machine says otherwise.
pub const DIRECTORY: &str = "/etc/keelhold/scripts";

/// What the machine allows, and where it is remembered that a post script is owed.
#[derive(Debug, Clone)]
pub struct Scripts {
    pub directory: PathBuf,
    pub notes: Notes,
}

/// The scripts of one backup, found safe.
#[derive(Debug, Clone)]
pub struct Pair {
    pub pre: Option<Script>,
    pub post: Option<Script>,
    pub limit: Duration,
}

impl Scripts {
    /// Looks at every script before any of them runs.
    pub fn allow(&self, demands: &Demands) -> Result<Pair, NotAllowed> {
        let allow = |path: &Option<Vec<u8>>| {
            path.as_ref().map(|path| Script::allow(path, &self.directory)).transpose()
        };
        let limit = Duration::from_secs(u64::from(demands.script_seconds));
        Ok(Pair { pre: allow(&demands.pre)?, post: allow(&demands.post)?, limit })
    }
}

/// Ends a running script when its job is given up.
#[derive(Debug, Default)]
pub struct Leash(Arc<AtomicBool>);

/// The script's side of it.
#[derive(Debug, Clone, Default)]
pub struct Held(Arc<AtomicBool>);

impl Leash {
    #[must_use]
    pub fn held(&self) -> Held {
        Held(self.0.clone())
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Held {
    fn is_let_go(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
pub(crate) mod tests;
