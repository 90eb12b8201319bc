//! What is stored: noise that nothing compresses, or files of this machine.

use std::path::{Path, PathBuf};

use bytes::Bytes;

/// `len` bytes that occur nowhere else, for another `seed` others.
pub fn noise(seed: u64, len: usize) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = vec![0; len];
    for word in bytes.chunks_exact_mut(8) {
        // xorshift64*: uniform enough that no codec and no cutter sees a pattern.
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        word.copy_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    Bytes::from(bytes)
}

/// Regular files below `root` in order of their names, one after another, up to `len` bytes.
pub fn files(root: &Path, len: usize) -> Bytes {
    let mut bytes = Vec::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(path) = waiting.pop()
        && bytes.len() < len
    {
        let Ok(facts) = path.symlink_metadata() else {
            continue;
        };
        if facts.is_dir() {
            waiting.extend(children(&path).into_iter().rev());
        } else if facts.is_file()
            && let Ok(content) = std::fs::read(&path)
        {
            bytes.extend_from_slice(&content);
        }
    }
    bytes.truncate(len);
    Bytes::from(bytes)
}

fn children(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = directory.read_dir() else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths
}
