//! Entries with their content, in order, read ahead.
//!
//! Small neighbours are read as one group, because they share frames: each frame is decoded once. A
//! few groups are on their way at the same time; a large file comes without its content and is read
//! piece by piece by whoever writes it, so memory does not follow the size of files.

use super::open::{OpenPoint, PoolEntry, Reader};
use crate::failure::{Code, Failure};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesOrdered;
use keelhold_chunk::entry::path_order;
use keelhold_disk::tree::Piece;
use tokio::sync::mpsc;

/// A file above this size is read by pieces of this size.
pub const CONTENT_PIECE_LEN: u64 = 2 << 20;
/// Content read as one group.
const GROUP_LEN: u64 = 1 << 20;
const GROUP_COUNT: usize = 256;
/// Groups on their way at the same time.
const GROUPS_AT_ONCE: usize = 4;
const SCAN_COUNT: usize = 512;

#[derive(Debug, Clone)]
pub struct Loaded {
    pub entry: PoolEntry,
    pub content: Content,
}

#[derive(Debug, Clone)]
pub enum Content {
    /// All of it; nothing for what has none.
    Whole(Vec<Piece>),
    /// To be read with [`OpenPoint::read`].
    Large,
    Damaged(Damage),
}

/// Why stored bytes of an entry cannot be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    pub place: Option<String>,
    pub reason: String,
}

/// Whether `path` is `of` or below it.
#[must_use]
pub fn is_within(path: &[u8], of: &[u8]) -> bool {
    match path.strip_prefix(of) {
        Some(rest) => of.is_empty() || rest.is_empty() || rest.starts_with(b"/"),
        None => false,
    }
}

/// Streams groups of entries with their content: those at `paths` and below, or all.
#[must_use]
pub fn load_ordered(
    point: OpenPoint,
    paths: Vec<Vec<u8>>,
) -> mpsc::Receiver<Result<Vec<Loaded>, Failure>> {
    let (groups, loaded) = mpsc::channel(2);
    tokio::spawn(async move {
        let (scanned, scans) = mpsc::channel(4);
        let scan = tokio::spawn(scan(point.clone(), paths, scanned));
        load(&point, scans, &groups).await;
        if let Ok(Err(failure)) = scan.await {
            let _ = groups.send(Err(failure)).await;
        }
    });
    loaded
}

/// Sends all entries that are wanted, in order, in groups.
async fn scan(
    point: OpenPoint,
    mut paths: Vec<Vec<u8>>,
    groups: mpsc::Sender<Vec<PoolEntry>>,
) -> Result<(), Failure> {
    if paths.is_empty() {
        paths.push(Vec::new());
    }
    paths.sort_by(|left, right| path_order(left, right));
    // What is below another chosen path comes with it.
    paths.dedup_by(|path, before| is_within(path, before));
    for path in paths {
        let unknown = || {
            let text = String::from_utf8_lossy(&path);
            Failure::new(Code::PathUnknown, format!("the point has no path {text:?}"))
        };
        let (mut from, _) = point.find(path.clone()).await?.ok_or_else(unknown)?;
        let mut group = Group::default();
        'path: loop {
            let entries = point.scan(from, SCAN_COUNT).await?;
            if entries.is_empty() {
                break;
            }
            for (ordinal, entry) in entries {
                if !is_within(&entry.path, &path) {
                    break 'path;
                }
                from = ordinal + 1;
                for full in group.push(entry) {
                    if groups.send(full).await.is_err() {
                        return Ok(());
                    }
                }
            }
        }
        if !group.entries.is_empty() && groups.send(group.entries).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

#[derive(Default)]
struct Group {
    entries: Vec<PoolEntry>,
    len: u64,
}

impl Group {
    /// Adds an entry; gives the groups that are full by that.
    fn push(&mut self, entry: PoolEntry) -> Vec<Vec<PoolEntry>> {
        let size = entry.size();
        self.len += size;
        self.entries.push(entry);
        if self.len >= GROUP_LEN || self.entries.len() >= GROUP_COUNT {
            self.len = 0;
            return vec![std::mem::take(&mut self.entries)];
        }
        Vec::new()
    }
}

async fn load(
    point: &OpenPoint,
    mut scans: mpsc::Receiver<Vec<PoolEntry>>,
    groups: &mpsc::Sender<Result<Vec<Loaded>, Failure>>,
) {
    let mut loading = FuturesOrdered::new();
    let mut open = true;
    while open || !loading.is_empty() {
        tokio::select! {
            group = scans.recv(), if open && loading.len() < GROUPS_AT_ONCE => match group {
                Some(group) => loading.push_back(load_group(point, group)),
                None => open = false,
            },
            Some(loaded) = loading.next(), if !loading.is_empty() => {
                if groups.send(loaded).await.is_err() {
                    return;
                }
            }
        }
    }
}

async fn load_group(point: &OpenPoint, group: Vec<PoolEntry>) -> Result<Vec<Loaded>, Failure> {
    let read = move |reader: Reader| async move {
        let whole = |entry: &&PoolEntry| entry.size() <= CONTENT_PIECE_LEN;
        reader.bring(&group.iter().filter(whole).cloned().collect::<Vec<_>>()).await;
        let mut loaded = Vec::with_capacity(group.len());
        for entry in group {
            let size = entry.size();
            let content = if size == 0 {
                Content::Whole(Vec::new())
            } else if size > CONTENT_PIECE_LEN {
                Content::Large
            } else {
                match reader.read(&entry, 0, size).await {
                    Ok(pieces) => Content::Whole(pieces),
                    Err(unread) => Content::Damaged(unread.damage),
                }
            };
            loaded.push(Loaded { entry, content });
        }
        Ok(loaded)
    };
    let mut loaded = point.call(read).await.map_err(|unread| unread.failure)?;
    for each in &mut loaded {
        if let Content::Damaged(_) = each.content
            && let Some(behind) = point.behind().await
            && let Ok(pieces) = behind.read(each.entry.clone(), 0, each.entry.size()).await
        {
            each.content = Content::Whole(pieces);
        }
    }
    Ok(loaded)
}

/// A stretch of a file; what is wrong with it knows the damaged place.
pub async fn read_piece(
    point: &OpenPoint,
    entry: &PoolEntry,
    offset: u64,
    len: u64,
) -> Result<Vec<Piece>, Damage> {
    point.read(entry.clone(), offset, len).await.map_err(|unread| unread.damage)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn below_means_by_component() {
        assert!(is_within(b"a/b", b"a") && is_within(b"a", b"a") && is_within(b"x", b""));
        assert!(!is_within(b"ab", b"a") && !is_within(b"a", b"a/b"));
    }
}
