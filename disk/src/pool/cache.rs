//! Recently used directories and plain frames, bounded by bytes; least recently used goes first.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use bytes::Bytes;

use super::event::Event;
use super::space::RunKey;
use crate::format::Directory;

const DIRECTORIES_LEN_MAX: usize = 16 << 20;
const FRAMES_LEN_MAX: usize = 16 << 20;
/// Memory for frames that are read: raw ones stay in it while they are in the cache, and as many
/// again may be on their way.
pub(super) const READ_MEMORY: usize = 2 * FRAMES_LEN_MAX;

pub(super) struct Cache {
    directories: Lru<RunKey, Rc<Directory>>,
    frames: Lru<(RunKey, u16), Bytes>,
    /// Frames being read: who wants one of them waits for it instead of reading it again.
    loading: BTreeSet<(RunKey, u16)>,
    loaded: Rc<Event>,
}

impl Cache {
    pub(super) fn new() -> Self {
        Self {
            directories: Lru::new(DIRECTORIES_LEN_MAX),
            frames: Lru::new(FRAMES_LEN_MAX),
            loading: BTreeSet::new(),
            loaded: Rc::default(),
        }
    }

    pub(super) fn directory(&mut self, run: RunKey) -> Option<Rc<Directory>> {
        self.directories.get(&run)
    }

    pub(super) fn keep_directory(&mut self, run: RunKey, directory: Rc<Directory>) {
        let len = directory.byte_len() + 128;
        self.directories.put(run, directory, len);
    }

    pub(super) fn frame(&mut self, run: RunKey, frame: u16) -> Option<Bytes> {
        self.frames.get(&(run, frame))
    }

    pub(super) fn keep_frame(&mut self, run: RunKey, frame: u16, plain: Bytes) {
        let len = plain.len() + 128;
        self.frames.put((run, frame), plain, len);
    }

    /// False if somebody reads the frame already.
    pub(super) fn begin_load(&mut self, run: RunKey, frame: u16) -> bool {
        self.loading.insert((run, frame))
    }

    pub(super) fn end_load(&mut self, run: RunKey, frame: u16) {
        self.loading.remove(&(run, frame));
    }

    pub(super) fn is_loading(&self, run: RunKey, frame: u16) -> bool {
        self.loading.contains(&(run, frame))
    }

    /// Tells whenever a frame is no longer being read.
    pub(super) fn loaded(&self) -> Rc<Event> {
        Rc::clone(&self.loaded)
    }

    /// Nothing of a container whose slot is given away may be served again.
    pub(super) fn forget_container(&mut self, container: u32) {
        self.directories.retain(|(of, _)| *of != container);
        self.frames.retain(|((of, _), _)| *of != container);
    }

    /// Empties everything: whoever verifies wants the disk's bytes, not ours.
    pub(super) fn clear(&mut self) {
        self.directories.retain(|_| false);
        self.frames.retain(|_| false);
    }
}

struct Lru<K, V> {
    values: BTreeMap<K, (u64, V, usize)>,
    by_use: BTreeMap<u64, K>,
    next_use: u64,
    len: usize,
    limit: usize,
}

impl<K: Ord + Copy, V: Clone> Lru<K, V> {
    fn new(limit: usize) -> Self {
        Self { values: BTreeMap::new(), by_use: BTreeMap::new(), next_use: 0, len: 0, limit }
    }

    fn get(&mut self, key: &K) -> Option<V> {
        let (used, value, _) = self.values.get_mut(key)?;
        self.by_use.remove(used);
        *used = self.next_use;
        self.by_use.insert(self.next_use, *key);
        self.next_use += 1;
        Some(value.clone())
    }

    fn put(&mut self, key: K, value: V, len: usize) {
        self.remove(&key);
        self.values.insert(key, (self.next_use, value, len));
        self.by_use.insert(self.next_use, key);
        self.next_use += 1;
        self.len += len;
        while self.len > self.limit {
            let Some((_, oldest)) = self.by_use.first_key_value() else {
                break;
            };
            let oldest = *oldest;
            self.remove(&oldest);
        }
    }

    fn remove(&mut self, key: &K) {
        if let Some((used, _, len)) = self.values.remove(key) {
            self.by_use.remove(&used);
            self.len -= len;
        }
    }

    fn retain(&mut self, keep: impl Fn(&K) -> bool) {
        let gone: Vec<K> = self.values.keys().filter(|key| !keep(key)).copied().collect();
        gone.iter().for_each(|key| self.remove(key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_least_recently_goes_first() {
        let mut lru = Lru::new(30);
        for key in 0..3 {
            lru.put(key, key, 10);
        }
        assert_eq!(lru.get(&0), Some(0));
        lru.put(3, 3, 10);
        assert_eq!((lru.get(&1), lru.get(&0), lru.len), (None, Some(0), 30));
        lru.retain(|key| *key != 0);
        assert_eq!((lru.get(&0), lru.len), (None, 20));
    }
}
