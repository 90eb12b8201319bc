//! The files of one source and how they are exchanged.
//!
//! `head` names the basis and the generation of the entries file; `entries-G` are the entries. A new
//! generation is written beside the old one and counts from the moment the new head is in place.
//! Whatever a crash leaves over is removed when the source is opened next.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::format::Damage;
use super::head::Head;
use super::reader::Entries;
use super::writer::{Fresh, ShortcutWriter};

#[derive(Debug, Error)]
pub enum ShortcutError {
    #[error("the directory {} cannot be made", path.display())]
    Directory { path: PathBuf, source: io::Error },
    #[error("the new entries cannot be written")]
    Write(#[source] io::Error),
    #[error("the old entries are damaged")]
    Old(#[from] Damage),
    #[error("the old entries have changed while they were used")]
    Changed,
}

/// Where one source keeps its files.
#[derive(Debug, Clone)]
pub struct ShortcutStore {
    dir: PathBuf,
}

/// The files as a session finds them.
#[derive(Debug)]
pub struct OpenShortcut {
    store: ShortcutStore,
    /// The entries of the basis that was asked for, if they are here.
    head: Option<Head>,
    generation: u64,
}

impl ShortcutStore {
    /// `source` may hold any characters.
    pub fn new(sources: &Path, source: &str) -> Self {
        let name: String = source.bytes().map(|byte| format!("{byte:02x}")).collect();
        Self { dir: sources.join(name) }
    }

    /// Finds the entries of `basis` with so many entries; every other content is as good as none.
    pub fn open(&self, basis: Option<([u8; 16], u64)>) -> Result<OpenShortcut, ShortcutError> {
        fs::create_dir_all(&self.dir)
            .map_err(|source| ShortcutError::Directory { path: self.dir.clone(), source })?;
        let stored = fs::read(self.dir.join("head")).ok().and_then(|all| Head::from_bytes(&all));
        self.sweep(stored.as_ref());
        let head = stored.filter(|head| basis == Some((head.basis, head.entry_count)));
        let generation = stored.map_or(1, |head| head.generation.wrapping_add(1));
        Ok(OpenShortcut { store: self.clone(), head, generation })
    }

    fn entries_path(&self, generation: u64) -> PathBuf {
        self.dir.join(format!("entries-{generation}"))
    }

    fn sweep(&self, head: Option<&Head>) {
        let keep = head.map(|head| self.entries_path(head.generation));
        for found in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            let path = found.path();
            if path.file_name() != Some("head".as_ref()) && Some(&path) != keep.as_ref() {
                // A file that stays costs space and nothing else.
                let _ = fs::remove_file(&path);
            }
        }
    }
}

impl OpenShortcut {
    /// The entries of the basis, from the first.
    #[must_use]
    pub fn entries(&self) -> Option<Entries> {
        let (old, _) = self.old()?;
        Some(Entries::new(BufReader::with_capacity(128 << 10, old)))
    }

    fn old(&self) -> Option<(File, u64)> {
        let head = self.head?;
        Some((File::open(self.store.entries_path(head.generation)).ok()?, head.entry_count))
    }

    pub fn writer(&self) -> Result<ShortcutWriter, ShortcutError> {
        let path = self.store.entries_path(self.generation);
        // A new inode: the thread of a session whose connection broke may not have ended yet.
        let _ = fs::remove_file(&path);
        let mut options = OpenOptions::new();
        let opened = options.write(true).create_new(true).mode(0o600).open(&path);
        let file = opened.map_err(ShortcutError::Write)?;
        Ok(ShortcutWriter::new(self.old(), file))
    }

    /// Makes what a session wrote the state of `basis`. Only after the server said that the basis
    /// exists.
    pub fn commit(self, fresh: Fresh, basis: [u8; 16]) -> Result<(), ShortcutError> {
        let (head, old) = match (fresh, self.head) {
            (Fresh::Same, Some(head)) => (Head { basis, ..head }, Some(self.generation)),
            (Fresh::Same, None) => return Err(ShortcutError::Changed),
            (Fresh::New { count, file }, head) => {
                file.sync_data().map_err(ShortcutError::Write)?;
                let generation = self.generation;
                let old = head.map(|head| head.generation);
                (Head { basis, entry_count: count, generation }, old)
            }
        };
        self.write_head(head)?;
        if let Some(old) = old {
            let _ = fs::remove_file(self.store.entries_path(old));
        }
        Ok(())
    }

    fn write_head(&self, head: Head) -> Result<(), ShortcutError> {
        let write = || -> io::Result<()> {
            let new = self.store.dir.join("head.new");
            let mut file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&new)?;
            file.write_all(&head.to_bytes())?;
            file.sync_data()?;
            fs::rename(&new, self.store.dir.join("head"))?;
            File::open(&self.store.dir)?.sync_all()
        };
        write().map_err(ShortcutError::Write)
    }
}

#[cfg(test)]
mod tests;
