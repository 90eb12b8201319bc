//! When an entry need not be read again, and the local file that remembers what is needed to say so.
//!
//! An entry is *unchanged* if what one `statx` says about it is what it said when the basis was made,
//! and if that could be trusted: nothing could have changed behind an equal ctime. A ctime is that
//! good if it was older than the `syncfs` made before the read, by more than the step of the file
//! system's clock. Older, because a change within the same tick leaves the same ctime; than the
//! `syncfs`, because a store through a mapping moves ctime only when it is the first since the page
//! was written out.
//!
//! The file is a cache. Without it, or behind damage in it, everything counts as changed.

mod format;
mod head;
mod reader;
mod store;
mod writer;

use keelhold_chunk::Timestamp;
use keelhold_tree::filesystem::FileSystem;
use keelhold_tree::{EntryKind, Identity};

pub use format::Damage;
pub use head::Head;
pub use reader::Entries;
pub use store::{OpenShortcut, ShortcutError, ShortcutStore};
pub use writer::{Fresh, ShortcutWriter};

/// What the file says about one entry of the basis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    pub identity: Identity,
    /// An equal identity means an unchanged entry.
    pub trusted: bool,
    /// Over attributes and content, to tell in a check whether the shortcut was right.
    pub digest: [u8; 8],
}

impl Record {
    /// Whether an entry that looks like `now` needs no reading.
    #[must_use]
    pub fn proves_unchanged(&self, now: &Identity) -> bool {
        self.trusted && self.identity == *now
    }
}

/// When the last `syncfs` before a read began, and of which file system.
#[derive(Debug, Clone)]
pub struct Synced {
    pub device: u64,
    pub file_system: FileSystem,
    pub at: Timestamp,
}

impl Synced {
    /// Whether what is read now, and looks like `identity`, will be told changed by its identity.
    #[must_use]
    pub fn trusts(&self, identity: &Identity) -> bool {
        if identity.device != self.device {
            return false;
        }
        if identity.kind == EntryKind::File && !self.file_system.mapped_stores_move_ctime() {
            return false;
        }
        let step = self.file_system.ctime_step(identity.ctime);
        nanos(identity.ctime) + (step.as_nanos() as i128) < nanos(self.at)
    }
}

fn nanos(time: Timestamp) -> i128 {
    i128::from(time.secs) * 1_000_000_000 + i128::from(time.nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(ctime: Timestamp) -> Identity {
        let mtime = Timestamp { secs: 5, nanos: 0 };
        Identity { kind: EntryKind::File, device: 1, inode: 2, size: 3, mtime, ctime }
    }

    fn synced(name: &str) -> Synced {
        let file_system = FileSystem { name: name.to_owned() };
        Synced { device: 1, file_system, at: Timestamp { secs: 100, nanos: 500_000_000 } }
    }

    #[test]
    fn a_ctime_is_trusted_only_when_older_than_the_sync_by_a_step() {
        let ext4 = synced("ext4");
        let trusts = |secs, nanos| ext4.trusts(&identity(Timestamp { secs, nanos }));
        assert!(trusts(100, 470_000_000));
        assert!(!trusts(100, 490_000_000));
        assert!(!trusts(200, 1));
        // Whole seconds prove no fine clock: two of them must have passed.
        assert!(!trusts(99, 0));
        assert!(trusts(98, 0));
    }

    /// Why a young ctime is not trusted: without the rule the second of two writes within one tick
    /// would be missed for ever.
    #[test]
    fn a_second_write_in_the_tick_of_the_first_is_found_only_by_the_rule() {
        // Written, flushed and read at 100.5 s; written again before the clock's next tick.
        let read = identity(Timestamp { secs: 100, nanos: 499_000_000 });
        let written_again = read;
        let record = |trusted| Record { identity: read, trusted, digest: [0; 8] };
        assert!(record(true).proves_unchanged(&written_again), "believed, the change is missed");
        let trusted = synced("ext4").trusts(&read);
        assert!(!record(trusted).proves_unchanged(&written_again));
    }

    #[test]
    fn files_without_a_telling_ctime_are_never_trusted() {
        let old = identity(Timestamp { secs: 1, nanos: 1 });
        assert!(!synced("tmpfs").trusts(&old));
        assert!(synced("tmpfs").trusts(&Identity { kind: EntryKind::Directory, ..old }));
        assert!(!synced("ext4").trusts(&Identity { device: 9, ..old }));
    }

    #[test]
    fn any_difference_is_a_change() {
        let was = identity(Timestamp { secs: 1, nanos: 1 });
        let record = Record { identity: was, trusted: true, digest: [0; 8] };
        assert!(record.proves_unchanged(&was));
        assert!(!Record { trusted: false, ..record }.proves_unchanged(&was));
        let time = Timestamp { secs: 1, nanos: 2 };
        for now in [
            Identity { kind: EntryKind::Fifo, ..was },
            Identity { device: 7, ..was },
            Identity { inode: 7, ..was },
            Identity { size: 7, ..was },
            Identity { mtime: time, ..was },
            Identity { ctime: time, ..was },
        ] {
            assert!(!record.proves_unchanged(&now));
        }
    }
}
