//! Trees to back up: small, seeded, and alike enough to share chunks.

use keelhold_disk::sim::Rng;
use keelhold_tests::rig::Files;

/// Bytes nobody can compress, the same for the same seed.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    Rng::new(seed).fill(&mut bytes);
    bytes
}

/// Bytes that compress: words out of a few.
pub fn text(seed: u64, len: usize) -> Vec<u8> {
    const WORDS: [&str; 8] =
        ["keel ", "hold ", "pool ", "chunk ", "frame ", "run ", "point ", "\n"];
    let mut rng = Rng::new(seed);
    let mut text = Vec::with_capacity(len + 8);
    while text.len() < len {
        text.extend_from_slice(WORDS[rng.index(WORDS.len())].as_bytes());
    }
    text.truncate(len);
    text
}

/// A file of up to `longest` bytes: empty, inside its entry, one chunk or some.
pub fn some_file(rng: &mut Rng, longest: usize) -> Vec<u8> {
    let len = match rng.below(8) {
        0 => 0,
        1 => rng.index(64),
        2 | 3 => rng.index(1024),
        _ => rng.index(longest.max(1)),
    };
    let seed = rng.next_u64();
    if rng.below(2) == 0 { noise(seed, len) } else { text(seed, len) }
}

/// A tree of `count` files.
pub fn some_tree(seed: u64, count: usize, longest: usize) -> Files {
    let mut rng = Rng::new(seed);
    (0..count).map(|n| (format!("d{}/f{n:03}", n % 3), some_file(&mut rng, longest))).collect()
}

/// Changes, adds, removes or renames a file or two.
pub fn change_tree(files: &mut Files, rng: &mut Rng, longest: usize) {
    for _ in 0..=rng.index(2) {
        let names: Vec<String> = files.keys().cloned().collect();
        let name = names.get(rng.index(names.len().max(1))).cloned();
        match (rng.below(5), name) {
            (0, Some(name)) if files.len() > 2 => drop(files.remove(&name)),
            (1, Some(name)) => {
                let content = files.remove(&name).unwrap_or_default();
                files.insert(format!("moved/{}", rng.below(50)), content);
            }
            (2, Some(name)) => {
                // An edit in the middle: what stands around it is shared.
                let content = files.entry(name).or_default();
                let at = rng.index(content.len() + 1);
                content.insert(at, b'!');
            }
            (3, Some(name)) => drop(files.insert(name, some_file(rng, longest))),
            _ => {
                let name = format!("d{}/n{}", rng.below(4), rng.below(1000));
                files.insert(name, some_file(rng, longest));
            }
        }
    }
}
