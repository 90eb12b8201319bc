//! Directories for tests, removed at the end, and a copy made by this crate's two halves.

use crate::{Created, Found, Report, TreeWriter, Walk, WalkOptions, WriteOptions};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};

pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("keelhold-tree-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Makes files and directories (`name/`) with their parents.
    pub(crate) fn fill(&self, names: &[&str]) {
        for name in names {
            let path = self.path(name);
            if name.ends_with('/') {
                std::fs::create_dir_all(path).unwrap();
            } else {
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, name).unwrap();
            }
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Walks `from` and writes what is found to `to`, with `threads` that create and fill.
pub(crate) fn copy(from: &Path, to: &Path, options: WriteOptions, threads: usize) -> Report {
    let walk = Walk::new(from, WalkOptions::default().no_default_excludes()).unwrap();
    let mut writer = TreeWriter::create(to, options).unwrap();
    let (send, receive) = sync_channel::<(crate::Entry, crate::Place)>(64);
    let receive = Arc::new(Mutex::new(receive));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let receive = receive.clone();
            scope.spawn(move || {
                while let Ok((entry, place)) = { receive.lock().unwrap().recv() } {
                    fill(&entry, place);
                }
            });
        }
        for found in walk {
            match found {
                Found::Entry(entry) => {
                    let (_, attributes) = entry.attributes().unwrap();
                    if let Some(place) = writer.place(entry.path(), attributes) {
                        send.send((entry, place)).unwrap();
                    }
                }
                Found::Skipped(skipped) => panic!("{skipped:?}"),
            }
        }
        drop(send);
    });
    writer.finish()
}

fn fill(entry: &crate::Entry, place: crate::Place) {
    let Created::Content(file) = place.create() else {
        return;
    };
    let open = entry.open().unwrap();
    let mut buffer = vec![0; 64 << 10];
    for extent in open.extents().unwrap() {
        let mut offset = extent.offset;
        while offset < extent.end() {
            let want = buffer.len().min((extent.end() - offset) as usize);
            let len = open.read_at(offset, &mut buffer[..want]).unwrap();
            file.write_at(offset, &buffer[..len]).unwrap();
            offset += len as u64;
        }
    }
    open.finish().unwrap();
    assert!(file.finish());
}
