//! File trees on Linux, read and written bit-exact.
//!
//! - [`walk`]: every entry below a root, in the order of [`keelhold_chunk::entry::path_order`], with
//!   bounded memory, while a few threads read ahead.
//! - [`read`]: an entry's attributes and content on demand. An entry whose [`Identity`] is the one of
//!   the basis needs neither: whatever changes content, attributes or extended attributes moves ctime.
//! - [`mod@write`]: puts entries back below a target directory and never outside it.
//! - [`btrfs`]: snapshots of subvolumes; [`mount_table`]: what is mounted.
//! - [`listing`]: what a tree holds, and how two differ; a second opinion that shares no walking code.
//! - [`torture`]: a tree of every odd thing a Linux file system can hold.
//! - [`removal`]: a tree of one's own taken away, by paths; of restores it is no part.
//!
//! All else goes through directory file descriptors, one path component at a time and without
//! following links, so names may be any bytes and paths may be longer than `PATH_MAX`. What cannot be
//! read or written is named with its path and the reason; nothing is left out silently.
//!
//! `/proc` must be mounted: it is the way to extended attributes of what cannot be opened (symbolic
//! links, sockets, devices) without following a path.

mod attributes;
pub mod btrfs;
mod dirs;
pub mod filesystem;
mod identity;
pub mod listing;
pub mod mount_table;
pub mod read;
pub mod removal;
pub mod rules;
#[cfg(test)]
mod scratch;
mod skipped;
pub mod torture;
pub mod walk;
pub mod write;
mod xattrs;

pub use identity::{EntryKind, Identity, Stat};
pub use read::{Extent, OpenFile};
pub use rules::{RuleError, Rules};
pub use skipped::{Errno, Skipped, SkippedReason};
pub use walk::{Entry, Found, Hidden, StandsFor, Walk, WalkError, WalkOptions};
pub use write::{
    Created, FileWriter, OnClash, Place, Report, TreeWriter, Unwritten, UnwrittenReason,
    WriteError, WriteOptions,
};
