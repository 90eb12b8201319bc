//! What all threads of one restore have in common.

use super::links::Links;
use super::report::{Report, Unwritten, UnwrittenReason};
use super::{OnClash, WriteOptions};
use crate::dirs::lock;
use rustix::process::{getegid, geteuid};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) files: AtomicU64,
    pub(crate) directories: AtomicU64,
    pub(crate) links: AtomicU64,
    pub(crate) others: AtomicU64,
    pub(crate) bytes_written: AtomicU64,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) options: WriteOptions,
    pub(crate) on_clash: OnClash,
    /// Owner of whatever this process creates.
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) links: Links,
    pub(crate) counts: Counts,
    unwritten: Mutex<Vec<Unwritten>>,
    /// Names that stand in for others until those are complete.
    next_name: AtomicU64,
}

impl Shared {
    pub(crate) fn new(options: WriteOptions) -> Self {
        Self {
            on_clash: options.on_clash.unwrap_or(OnClash::Skip),
            options,
            uid: geteuid().as_raw(),
            gid: getegid().as_raw(),
            links: Links::default(),
            counts: Counts::default(),
            unwritten: Mutex::default(),
            next_name: AtomicU64::new(0),
        }
    }

    pub(crate) fn unwritten(&self, path: &[u8], reason: UnwrittenReason) {
        lock(&self.unwritten).push(Unwritten { path: path.to_vec(), reason });
    }

    pub(crate) fn count(&self, counter: &AtomicU64, by: u64) {
        counter.fetch_add(by, Ordering::Relaxed);
    }

    /// A name for an entry that is to take another's place when it is complete.
    pub(crate) fn interim_name(&self) -> Vec<u8> {
        let number = self.next_name.fetch_add(1, Ordering::Relaxed);
        format!(".keelhold-restore-{}-{number}", std::process::id()).into_bytes()
    }

    pub(crate) fn report(&self) -> Report {
        let counts = &self.counts;
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut unwritten = std::mem::take(&mut *lock(&self.unwritten));
        unwritten.sort_by(|l, r| keelhold_chunk::entry::path_order(&l.path, &r.path));
        Report {
            files: get(&counts.files),
            directories: get(&counts.directories),
            links: get(&counts.links),
            others: get(&counts.others),
            bytes_written: get(&counts.bytes_written),
            unwritten,
        }
    }
}
