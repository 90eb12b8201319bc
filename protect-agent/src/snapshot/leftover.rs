//! Snapshots of an agent that was killed, or that could not be removed when they should have been.

use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use keelhold_tree::{Errno, btrfs};

use super::place::{open_place, open_top};
use super::{Record, Snapshots};

/// What became of a noted snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leftover {
    Removed,
    Gone,
    /// Its file system is not there now; it is looked for again.
    OutOfReach,
    /// What stands in its place is somebody else's and stays.
    Foreign,
}

impl Snapshots {
    /// Removes noted snapshots that nobody uses.
    pub fn sweep(&self) {
        for (name, record) in self.notes.all::<Record>() {
            if self.in_use().contains(&name) {
                continue;
            }
            match remove(&name, &record) {
                Ok(Leftover::OutOfReach) => continue,
                Ok(Leftover::Foreign) => {
                    tracing::warn!(name, "where a source snapshot was noted stands something else");
                }
                Ok(Leftover::Removed) => {
                    tracing::info!(name, "a left-over source snapshot is removed")
                }
                Ok(Leftover::Gone) => {}
                Err(errno) => {
                    let error = Errno(errno).to_string();
                    tracing::warn!(name, error, "a left-over source snapshot cannot be removed");
                    continue;
                }
            }
            // A note too many is looked into again and found to be of nothing.
            let _ = self.notes.remove(&name);
        }
    }
}

pub(super) fn remove(name: &str, record: &Record) -> rustix::io::Result<Leftover> {
    let top = Path::new(std::ffi::OsStr::from_bytes(&record.top));
    let Some(top) = open_top(top, record.top_id) else {
        return Ok(Leftover::OutOfReach);
    };
    let Ok(place) = open_place(&top, false) else {
        return Ok(Leftover::Foreign);
    };
    let found = match btrfs::open_snapshot(place.as_fd(), name) {
        Err(rustix::io::Errno::NOENT) => return Ok(Leftover::Gone),
        Err(_) => return Ok(Leftover::Foreign),
        Ok(found) => found,
    };
    // Without a number the agent was killed between making it and noting the number. The name is
    // random, was noted before, and the place is closed to others: it is that one.
    let id = btrfs::subvolume_id(&found)?;
    if record.snapshot_id.is_some_and(|noted| noted != id) {
        return Ok(Leftover::Foreign);
    }
    btrfs::remove_snapshot(place.as_fd(), name)?;
    Ok(Leftover::Removed)
}
