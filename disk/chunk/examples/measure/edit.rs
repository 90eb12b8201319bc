//! A copy of a tree in which people worked for a day: small edits, scattered.

use super::tree::Tree;

/// Of this many files one is edited.
const EDITED_OF: u64 = 50;

/// The tree with 2 % of its files edited (only those), and how many that are. Large files get an edit
/// per 4 MiB. Three of five edits overwrite up to 64 bytes, one inserts as many, one appends up to
/// 2,000.
pub fn scattered(tree: &Tree, seed: u64) -> (Tree, usize) {
    let mut random = Seeded(seed);
    let mut files = tree.files.clone();
    let mut edited = 0;
    for file in &mut files {
        if random.below(EDITED_OF) != 0 || file.content.is_empty() {
            continue;
        }
        edited += 1;
        for _ in 0..=file.content.len() >> 22 {
            edit(&mut file.content, &mut random);
        }
        file.attributes.mtime.secs += 86_400;
        file.attributes.kind = keelhold_chunk::Kind::File { size: file.content.len() as u64 };
    }
    (Tree { files }, edited)
}

fn edit(content: &mut Vec<u8>, random: &mut Seeded) {
    let at = random.below(content.len() as u64) as usize;
    match random.below(5) {
        0 => {
            let len = random.below(2000) as usize;
            content.extend(random.text(len));
        }
        1 => {
            let len = 1 + random.below(64) as usize;
            content.splice(at..at, random.text(len));
        }
        _ => {
            let end = content.len().min(at + 1 + random.below(64) as usize);
            let text = random.text(end - at);
            content.splice(at..end, text);
        }
    }
}

/// SplitMix64.
struct Seeded(u64);

impl Seeded {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    /// Letters and spaces: compresses about as prose does not, and as noise does not.
    fn text(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| b"etaoin shrdlu\n"[self.below(14) as usize]).collect()
    }
}
