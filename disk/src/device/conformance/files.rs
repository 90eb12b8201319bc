//! Files that go when the test does.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

pub(in crate::device) struct TempFile {
    path: PathBuf,
}

impl TempFile {
    /// A name nobody has; no file yet.
    pub(in crate::device) fn new(name: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("keelhold-{}-{count}-{name}", std::process::id());
        Self { path: std::env::temp_dir().join(name) }
    }

    pub(in crate::device) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        let _may_not_exist = std::fs::remove_file(&self.path);
    }
}
