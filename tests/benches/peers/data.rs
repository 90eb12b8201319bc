//! The tree: a copy of real files, so that it can be changed, and of nothing but its own.

use std::fs;
use std::path::{Path, PathBuf};

use super::tree::{copy, deal, list};

const FILES_MIN: usize = 100_000;
const BYTES_MIN: u64 = 2 << 30;
/// Of a machine's own files: the few larger ones are a toolchain's, and would be most of the bytes.
const FILE_LEN_MAX: u64 = 16 << 20;

/// Copies `from`, or files of this machine, to `tree`.
pub fn make(from: Option<&Path>, tree: &Path) {
    match from {
        Some(from) => copy(from, &deal(from), tree),
        None => {
            let home = std::env::var_os("HOME").map_or_else(|| "/root".into(), PathBuf::from);
            let sources = home.join(".cargo/registry/src");
            for (name, from) in [
                ("share", Path::new("/usr/share")),
                ("lib", Path::new("/usr/lib")),
                ("sources", sources.as_path()),
            ] {
                if from.exists() {
                    copy(from, &deal(from), &tree.join(name));
                }
            }
            for (path, _) in list(tree).files.iter().filter(|(_, len)| *len > FILE_LEN_MAX) {
                fs::remove_file(path).expect("a file of the copy can be removed");
            }
        }
    }
    let listing = list(tree);
    let (files, bytes) = (listing.files.len(), listing.bytes);
    println!("tree: {} entries, {files} files, {bytes} bytes", listing.entries());
    if files < FILES_MIN || bytes < BYTES_MIN {
        println!("NOT COMPARABLE: fewer than {FILES_MIN} files or {BYTES_MIN} bytes");
    }
}
