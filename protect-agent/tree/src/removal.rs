//! Trees taken away by many hands: a file system that gives space back to the device with every file
//! makes each removal wait.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const HANDS: usize = 16;

/// Removes a directory and everything in it. For trees of one's own that nobody else rearranges
/// meanwhile: files are removed by their paths.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_tree_goes_and_what_its_links_name_stays() {
        let scratch = Scratch::new();
        let (tree, other) = (scratch.path("tree"), scratch.path("other"));
        for dir in [tree.join("a/b"), tree.join("empty"), other.clone()] {
            fs::create_dir_all(dir).unwrap();
        }
        for number in 0..40 {
            fs::write(tree.join(format!("a/b/{number}")), "x").unwrap();
        }
        fs::write(other.join("kept"), "y").unwrap();
        symlink(&other, tree.join("a/link")).unwrap();
        remove_tree(&tree).unwrap();
        assert!(!tree.exists() && other.join("kept").exists());
        assert_eq!(remove_tree(&tree).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
