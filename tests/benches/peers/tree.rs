//! Real files: copied by parts that weigh the same, and listed.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::measure::run;

pub const COPIERS: usize = 4;
/// What a file costs beside its bytes, so that parts of many small files are not the slow ones.
const ENTRY_WEIGHT: u64 = 32 << 10;
/// Parts for each copier: enough to deal them out evenly.
const PARTS_EACH: u64 = 16;
/// Names in one command line.
const NAMES: usize = 400;

#[derive(Debug, Default, Clone)]
pub struct Listing {
    /// Regular files in the order in which directories name them.
    pub files: Vec<(PathBuf, u64)>,
    pub directories: Vec<PathBuf>,
    pub others: usize,
    pub bytes: u64,
    /// Bytes of blocks, as `du` counts.
    pub blocks: u64,
}

impl Listing {
    pub fn entries(&self) -> usize {
        self.files.len() + self.directories.len() + self.others
    }
}

/// One thread, one `lstat` for every entry.
pub fn list(root: &Path) -> Listing {
    let mut listing = Listing::default();
    let mut waiting = vec![root.to_owned()];
    while let Some(directory) = waiting.pop() {
        let entries = fs::read_dir(&directory);
        listing.directories.push(directory);
        for entry in entries.into_iter().flatten().flatten() {
            let Ok(facts) = entry.metadata() else { continue };
            listing.blocks += facts.blocks() * 512;
            if facts.is_dir() {
                waiting.push(entry.path());
            } else if facts.is_file() {
                listing.bytes += facts.len();
                listing.files.push((entry.path(), facts.len()));
            } else {
                listing.others += 1;
            }
        }
    }
    listing
}

struct Part {
    /// Relative to the root.
    path: PathBuf,
    weight: u64,
    children: Vec<Part>,
}

impl Part {
    fn of(root: &Path, path: PathBuf) -> Self {
        let facts = root.join(&path).symlink_metadata().expect("the tree stands still");
        let mut part = Self { path, weight: ENTRY_WEIGHT + facts.len(), children: Vec::new() };
        if facts.is_dir() {
            let entries = fs::read_dir(root.join(&part.path)).expect("directories can be read");
            for entry in entries.flatten() {
                part.children.push(Self::of(root, part.path.join(entry.file_name())));
            }
            part.weight += part.children.iter().map(|child| child.weight).sum::<u64>();
        }
        part
    }

    fn split(self, limit: u64, parts: &mut Vec<(u64, PathBuf)>) {
        if self.weight <= limit || self.children.is_empty() {
            return parts.push((self.weight, self.path));
        }
        for child in self.children {
            child.split(limit, parts);
        }
    }
}

/// Names of parts, dealt out to [`COPIERS`] so that each has as much to do.
pub fn deal(root: &Path) -> Vec<Vec<PathBuf>> {
    let whole = Part::of(root, PathBuf::from("."));
    let limit = whole.weight / (COPIERS as u64 * PARTS_EACH);
    let mut parts = Vec::new();
    whole.split(limit, &mut parts);
    parts.sort_by_key(|(weight, _)| std::cmp::Reverse(*weight));
    let mut hands = vec![(0, Vec::new()); COPIERS];
    for (weight, path) in parts {
        let lightest = hands.iter_mut().min_by_key(|(weight, _)| *weight).expect("copiers");
        lightest.0 += weight;
        lightest.1.push(path);
    }
    hands.into_iter().map(|(_, paths)| paths).collect()
}

/// `cp -a` of every hand at the same time.
pub fn copy(root: &Path, hands: &[Vec<PathBuf>], to: &Path) {
    // Shared by several hands, and `cp` gives up a directory that appears while it makes it.
    for parent in hands.iter().flatten().filter_map(|part| part.parent()) {
        fs::create_dir_all(to.join(parent)).expect("a directory for the copy");
    }
    std::thread::scope(|scope| {
        for hand in hands {
            scope.spawn(|| {
                for names in hand.chunks(NAMES) {
                    let mut cp = Command::new("cp");
                    cp.current_dir(root).args(["-a", "--parents", "-t"]).arg(to).arg("--");
                    run(cp.args(names));
                }
            });
        }
    });
}
