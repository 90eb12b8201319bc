//! A day's work on a tree: seeded, and of the kind that people and package managers do.

use std::fs::{self, File};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;

use super::tree::Listing;

/// Only the middle of longer files is edited.
const REWRITE_MAX: u64 = 1 << 20;

/// xorshift64*: the same seed gives the same day everywhere.
#[derive(Debug)]
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        (self.next() >> 11) % end.max(1)
    }

    /// Text nobody has written before; it compresses about as well as people's.
    fn prose(&mut self, len: usize) -> Vec<u8> {
        const SYLLABLES: [&str; 16] = [
            "ab", "er", "in", "ou", "st", "ge", "lo", "ta", "mi", "ne", "ra", "so", "ve", "ke",
            "hol", "d",
        ];
        let mut text = Vec::with_capacity(len + 8);
        while text.len() < len {
            text.extend_from_slice(SYLLABLES[self.below(16) as usize].as_bytes());
            if self.below(3) == 0 {
                text.push(if self.below(9) == 0 { b'\n' } else { b' ' });
            }
        }
        text.truncate(len);
        text
    }
}

/// Changes that share of the files, in thousandths; gives the number of files.
pub fn change(listing: &Listing, thousandths: usize, seed: u64) -> usize {
    let mut chance = Chance::new(seed);
    let count = listing.files.len() * thousandths / 1000;
    let mut left: Vec<&(std::path::PathBuf, u64)> = listing.files.iter().collect();
    for number in 0..count {
        let (path, len) = left.swap_remove(chance.below(left.len() as u64) as usize);
        one(path, *len, number, &mut chance).expect("a file of the copy can be changed");
    }
    count
}

/// Of twenty: nine edits in the middle, four appends, three rewrites, two new files, two deletions.
fn one(path: &Path, len: u64, number: usize, chance: &mut Chance) -> std::io::Result<()> {
    let few = 40 + chance.below(2000) as usize;
    match chance.below(20) {
        0..5 if len <= REWRITE_MAX => insert(path, &chance.prose(few), chance),
        0..9 => {
            let text = chance.prose(few.min(len as usize / 2 + 1));
            let mut file = File::options().write(true).open(path)?;
            file.seek(SeekFrom::Start(chance.below(len / 2 + 1)))?;
            file.write_all(&text)
        }
        9..13 => File::options().append(true).open(path)?.write_all(&chance.prose(few)),
        13..16 => fs::write(path, chance.prose(len.clamp(64, REWRITE_MAX) as usize)),
        16..18 => {
            let name = format!("new-{number}-{:08x}.txt", chance.next() as u32);
            fs::write(path.with_file_name(name), chance.prose(few * 8))
        }
        _ => fs::remove_file(path),
    }
}

/// As an editor saves: the whole file anew, and what follows the edit has moved.
fn insert(path: &Path, text: &[u8], chance: &mut Chance) -> std::io::Result<()> {
    let mut content = fs::read(path)?;
    let at = chance.below(content.len() as u64 + 1) as usize;
    content.splice(at..at, text.iter().copied());
    fs::write(path, content)
}
