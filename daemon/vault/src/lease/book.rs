//! How long each object is locked, as far as it is known here.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use crate::store::Until;

const FIRST_LINE: &str = "keelhold locks 1";

/// A cache beside the ids: lost or damaged, it is empty, and the store is asked.
#[derive(Debug, Clone, Default)]
pub struct Book {
    path: Option<PathBuf>,
    until: BTreeMap<String, i64>,
}

impl Book {
    /// A book that is kept nowhere.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The book of the directory where the ids are.
    #[must_use]
    pub fn open(dir: &Path) -> Self {
        let path = dir.join("locks");
        let until = std::fs::read_to_string(&path).ok().and_then(|text| read(&text));
        Self { path: Some(path), until: until.unwrap_or_default() }
    }

    #[must_use]
    pub fn until(&self, name: &str) -> Option<Until> {
        self.until.get(name).copied().map(Until)
    }

    /// Notes what was acknowledged, or told by the store.
    pub fn note(&mut self, name: &str, until: Until) {
        self.until.insert(name.to_owned(), until.0);
    }

    pub fn forget(&mut self, name: &str) {
        self.until.remove(name);
    }

    pub(super) fn keep_only(&mut self, names: &BTreeSet<&str>) {
        self.until.retain(|name, _| names.contains(name.as_str()));
    }

    /// Failing at it costs requests and nothing else.
    pub fn save(&self) -> io::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let mut text = format!("{FIRST_LINE}\n");
        for (name, until) in &self.until {
            text.push_str(&format!("{until} {name}\n"));
        }
        let check = blake3::hash(text.as_bytes()).to_hex();
        let partial = path.with_extension("partial");
        std::fs::write(&partial, format!("{text}{check}"))?;
        std::fs::rename(&partial, path)
    }
}

fn read(text: &str) -> Option<BTreeMap<String, i64>> {
    let end = text.rfind('\n')? + 1;
    let (rows, check) = text.split_at(end);
    if blake3::hash(rows.as_bytes()).to_hex().as_str() != check {
        return None;
    }
    let mut lines = rows.lines();
    (lines.next()? == FIRST_LINE).then_some(())?;
    let row = |line: &str| {
        let (until, name) = line.split_once(' ')?;
        Some((name.to_owned(), until.parse().ok()?))
    };
    lines.map(row).collect()
}
