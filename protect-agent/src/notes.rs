//! Small files in the agent's state that outlive it: what must be put right at the next start.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// One directory of notes, each of them JSON under a name of its own.
#[derive(Debug, Clone)]
pub struct Notes {
    dir: PathBuf,
}

impl Notes {
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// Durable when this returns.
    pub fn put(&self, name: &str, note: &impl Serialize) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
        let new = self.dir.join(format!("{name}.new"));
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(&serde_json::to_vec(note)?)?;
        file.sync_all()?;
        fs::rename(&new, self.dir.join(name))?;
        File::open(&self.dir)?.sync_all()
    }

    pub fn remove(&self, name: &str) -> io::Result<()> {
        match fs::remove_file(self.dir.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// All of them; one that cannot be read was never finished and nothing followed from it.
    #[must_use]
    pub fn all<T: DeserializeOwned>(&self) -> Vec<(String, T)> {
        let mut notes = Vec::new();
        for found in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            let Ok(name) = found.file_name().into_string() else { continue };
            if name.ends_with(".new") {
                continue;
            }
            let bytes = fs::read(found.path()).unwrap_or_default();
            if let Ok(note) = serde_json::from_slice(&bytes) {
                notes.push((name, note));
            }
        }
        notes.sort_by(|(left, _), (right, _)| left.cmp(right));
        notes
    }
}

/// A name nobody else comes upon.
pub fn fresh_name(prefix: &str) -> io::Result<String> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    let hex: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("{prefix}{hex}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_stay_until_they_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let notes = Notes::new(&dir.path().join("n"));
        assert!(notes.all::<u32>().is_empty());
        notes.put("b", &2).unwrap();
        notes.put("a", &1).unwrap();
        fs::write(dir.path().join("n/torn"), b"[").unwrap();
        fs::write(dir.path().join("n/c.new"), b"3").unwrap();
        assert_eq!(notes.all::<u32>(), [("a".to_owned(), 1), ("b".to_owned(), 2)]);
        notes.remove("a").unwrap();
        notes.remove("a").unwrap();
        assert_eq!(notes.all::<u32>().len(), 1);
        assert_ne!(fresh_name("x").unwrap(), fresh_name("x").unwrap());
    }
}
