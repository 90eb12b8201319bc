//! A tree in memory: regular files by path, with the attributes an entry would have.

use std::collections::BTreeSet;
use std::fs::{self, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use keelhold_chunk::{Attributes, Kind, Timestamp};

/// Files at least this long are taken by lot when all would be too many bytes.
const LARGE: u64 = 256 << 10;

#[derive(Clone)]
pub struct File {
    pub path: Vec<u8>,
    pub attributes: Attributes,
    pub content: Vec<u8>,
}

pub struct Tree {
    /// In the order of their paths.
    pub files: Vec<File>,
}

impl Tree {
    /// What cannot be read is left out: the subject is sizes, not completeness.
    pub fn read(roots: &[String], limit: u64) -> Self {
        let mut found = Vec::new();
        let mut inodes = BTreeSet::new();
        for root in roots {
            walk(Path::new(root), &mut inodes, &mut found);
        }
        found.sort_by(|a, b| a.0.cmp(&b.0));
        let sum = |large: bool| -> u64 {
            found.iter().map(|(_, meta)| meta.len()).filter(|len| (*len >= LARGE) == large).sum()
        };
        let (small, large) = (sum(false), sum(true));
        let share = limit.saturating_sub(small) as f64 / large.max(1) as f64;
        let files = found.iter().filter(|(path, meta)| meta.len() < LARGE || lot(path) < share);
        Self { files: files.filter_map(|(path, meta)| File::read(path, meta)).collect() }
    }

    pub fn len(&self) -> usize {
        self.files.iter().map(|file| file.content.len()).sum()
    }
}

impl File {
    fn read(path: &Path, meta: &Metadata) -> Option<Self> {
        let content = fs::read(path).ok()?;
        let attributes = Attributes {
            kind: Kind::File { size: content.len() as u64 },
            mode: meta.mode() as u16,
            uid: meta.uid(),
            gid: meta.gid(),
            mtime: Timestamp { secs: meta.mtime(), nanos: meta.mtime_nsec() as u32 },
            link_group: None,
            xattrs: Vec::new(),
        };
        Some(Self { path: path.as_os_str().as_bytes().to_vec(), attributes, content })
    }
}

/// Between 0 and 1, the same for a path in every run.
fn lot(path: &Path) -> f64 {
    let hash = blake3::hash(path.as_os_str().as_bytes());
    f64::from(hash.as_bytes()[0]) / 256.0
}

fn walk(directory: &Path, inodes: &mut BTreeSet<(u64, u64)>, found: &mut Vec<(PathBuf, Metadata)>) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        let Ok(meta) = entry.metadata() else { continue };
        if meta.is_dir() {
            walk(&entry.path(), inodes, found);
        } else if meta.is_file() && inodes.insert((meta.dev(), meta.ino())) {
            found.push((entry.path(), meta));
        }
    }
}
