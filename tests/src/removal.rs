//! Trees taken away by many hands: a file system that gives space back to the device with every file
//! makes each removal wait.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const HANDS: usize = 16;

/// Removes a directory and everything in it.
pub fn remove_tree(dir: &Path) -> io::Result<()> {
    let mut files = Vec::new();
    list_files(dir, &mut files);
    let part = files.len().div_ceil(HANDS).max(1);
    std::thread::scope(|scope| {
        for files in files.chunks(part) {
            // What could not be removed is met again, and reported, below.
            scope.spawn(|| files.iter().for_each(|file| drop(fs::remove_file(file))));
        }
    });
    fs::remove_dir_all(dir)
}

fn list_files(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => list_files(&entry.path(), files),
            _ => files.push(entry.path()),
        }
    }
}
