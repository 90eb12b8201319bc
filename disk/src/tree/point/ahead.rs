//! Reading ahead: who reads a file piece by piece finds the next pieces where the store keeps what it
//! read last.

use std::rc::Rc;

use super::{ContentStore, PointReader, SpanPart};
use crate::tree::{Entry, Extent, PageStore, TreeReader};

/// How far ahead of a reader spans are asked for: long enough to keep a disk busy while the reader
/// deals with what it got, and half of what the pool's cache of frames holds.
const AHEAD_LEN: u64 = 8 << 20;
/// A first read shorter than this may be a look into the file and not the beginning of reading it.
const FIRST_LEN_MIN: u64 = 1 << 20;

/// How far one reader has come.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    path: Vec<u8>,
    /// Where the last read ended, and up to where spans were asked for.
    end: u64,
    upto: u64,
}

impl Ahead {
    /// What to ask for beside a read of `path` from `offset` to `end`: nothing unless it goes on
    /// where the last one ended.
    fn next(&mut self, path: &[u8], offset: u64, end: u64, size: u64) -> Option<(u64, u64)> {
        let goes_on = self.end == offset && self.path == path;
        if !goes_on {
            let begins = offset == 0 && end >= FIRST_LEN_MIN && end < size;
            self.upto = 0;
            if !begins {
                self.path.clear();
                self.end = 0;
                return None;
            }
            self.path = path.to_vec();
        }
        self.end = end;
        // In steps of half the distance, so that small reads do not each ask for a little.
        if end >= size || self.upto >= size || self.upto > end + AHEAD_LEN / 2 {
            return None;
        }
        let from = self.upto.max(end);
        self.upto = (end + AHEAD_LEN).min(size);
        Some((from, self.upto))
    }
}

impl<S: ContentStore + 'static> PointReader<S> {
    pub(super) fn read_ahead(&self, entry: &Entry, offset: u64, end: u64) {
        let next = self.ahead.borrow_mut().next(&entry.path, offset, end, entry.size());
        let Some((from, upto)) = next else { return };
        // The store may keep what is coming, and the tree has the store: strong, both would stay for ever.
        let (tree, entry) = (Rc::downgrade(&self.tree), entry.clone());
        self.tree.store().ahead(async move {
            match tree.upgrade() {
                Some(tree) => parts(&tree, &entry, from, upto).await,
                None => Vec::new(),
            }
        });
    }
}

/// The spans of a stretch of a file. Whoever reads what could not be found ahead meets the error and
/// tells it.
async fn parts<S: PageStore>(
    tree: &TreeReader<S>,
    entry: &Entry,
    from: u64,
    upto: u64,
) -> Vec<SpanPart> {
    let extents = tree.extents_at(entry, from, upto - from).await.unwrap_or_default();
    let part = |(start, extent): (u64, Extent)| match extent {
        Extent::Hole { .. } => None,
        Extent::Span { first, count, len, digest } => {
            let (from, upto) = (from.saturating_sub(start), len.min(upto - start));
            Some(SpanPart { first, count, len, digest, from, upto })
        }
    };
    extents.into_iter().filter_map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_reads_on_is_served_ahead() {
        let (mut ahead, size, step) = (Ahead::default(), 64 << 20, 4 << 20);
        assert_eq!(ahead.next(b"a", 0, step, size), Some((step, step + AHEAD_LEN)));
        let next = (step + AHEAD_LEN, 2 * step + AHEAD_LEN);
        assert_eq!(ahead.next(b"a", step, 2 * step, size), Some(next));
        assert_eq!(ahead.next(b"b", 2 * step, 3 * step, size), None, "another file");
        assert_eq!(ahead.next(b"a", 2 * step, 3 * step, size), None, "not where it stood");
        assert_eq!(ahead.next(b"a", 0, 4096, size), None, "a look");
        assert_eq!(ahead.next(b"a", 0, size, size), None, "nothing follows");
    }

    #[test]
    fn small_reads_ask_in_long_steps_and_end_with_the_file() {
        let (mut ahead, size, step) = (Ahead::default(), 32 << 20, 1 << 20);
        let asked: Vec<(u64, u64)> = (0..size / step)
            .filter_map(|at| ahead.next(b"a", at * step, (at + 1) * step, size))
            .collect();
        assert!(asked.len() <= 10, "{asked:?}");
        assert_eq!((asked[0].0, asked[asked.len() - 1].1), (step, size));
        assert!(asked.windows(2).all(|pair| pair[0].1 == pair[1].0), "{asked:?}");
    }
}
