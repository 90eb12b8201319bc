//! A machine as the pool sees it: it cuts, offers, sends what is wanted, and describes its tree.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use keelhold_chunk::cut::{ContentCutter, Cutter};
use keelhold_chunk::entry::path_order;
use keelhold_chunk::{Attributes, Kind, Timestamp};
use keelhold_disk::IngestError;
use keelhold_disk::format::Codec;
use keelhold_disk::pool::{
    BeginSession, CommitPoint, IncomingFrame, NewContent, NewExtent, NewItem, PointInfo,
};
use keelhold_disk::units::{ChunkRef, DomainId, PointId, SessionId, SourceId, UnixNanos};

use super::{Files, SimPool};

/// Files no longer than this are sent inside their entry.
const INLINE_MAX: usize = 64;
/// How long a session's pins last: longer than any simulated life.
const LEASE_NANOS: i64 = 7 * 24 * 3600 * 1_000_000_000;

#[derive(Debug, Clone)]
pub struct Machine {
    pub source: SourceId,
    pub domain: DomainId,
    /// What the newest point holds, as the machine remembers it.
    pub basis: Option<(PointId, Files)>,
}

/// Paths of the tree with their directories, in the order of a walk; the root is "".
fn paths(files: &Files) -> Vec<String> {
    let mut paths: BTreeSet<String> = files.keys().cloned().collect();
    paths.insert(String::new());
    for path in files.keys() {
        for (at, _) in path.match_indices('/') {
            paths.insert(path[..at].to_owned());
        }
    }
    let mut paths: Vec<String> = paths.into_iter().collect();
    paths.sort_by(|left, right| path_order(left.as_bytes(), right.as_bytes()));
    paths
}

/// Sum of the lengths of all files.
#[must_use]
pub fn tree_bytes(files: &Files) -> u64 {
    files.values().map(|content| content.len() as u64).sum()
}

fn attributes(content: Option<&Vec<u8>>) -> Vec<u8> {
    let kind = match content {
        Some(content) => Kind::File { size: content.len() as u64 },
        None => Kind::Directory,
    };
    let mtime = Timestamp::default();
    Attributes { kind, mode: 0o644, uid: 0, gid: 0, mtime, link_group: None, xattrs: Vec::new() }
        .to_bytes()
}

impl Machine {
    #[must_use]
    pub fn new(number: u8) -> Self {
        Self { source: SourceId([number; 16]), domain: DomainId([number; 16]), basis: None }
    }

    pub async fn begin(&self, pool: &SimPool, now: UnixNanos) -> Result<SessionId, IngestError> {
        let request = BeginSession {
            source: self.source,
            domain: self.domain,
            basis: self.basis.as_ref().map(|(point, _)| *point),
            lease_until: UnixNanos(now.0 + LEASE_NANOS),
        };
        pool.begin(request, now).await
    }

    /// Sends whatever `files` has that the pool does not say it has, and describes the tree. Gives
    /// the bytes it had to send.
    pub async fn send(
        &self,
        pool: &SimPool,
        session: SessionId,
        files: &Files,
    ) -> Result<u64, IngestError> {
        let cutter = Cutter::Content(
            ContentCutter::new(&pool.cut_params()).expect("the pool's parameters are sound"),
        );
        let old = self.basis.as_ref().map(|(_, files)| (files, ordinals(files)));
        let mut sent = 0;
        for path in paths(files) {
            let content = files.get(&path);
            let same = old.as_ref().and_then(|(old, ordinals)| {
                let ordinal = *ordinals.get(&path)?;
                (old.get(&path) == content).then_some(ordinal)
            });
            let item = match (same, content) {
                (Some(first), _) => NewItem::Same { first, count: 1 },
                (None, None) => entry(&path, None, NewContent::None),
                (None, Some(bytes)) if bytes.is_empty() => entry(&path, content, NewContent::None),
                (None, Some(bytes)) if bytes.len() <= INLINE_MAX => {
                    entry(&path, content, NewContent::Inline(bytes.clone()))
                }
                (None, Some(bytes)) => {
                    let (extents, len) = self.send_content(pool, session, &cutter, bytes).await?;
                    sent += len;
                    entry(&path, content, NewContent::Extents(extents))
                }
            };
            pool.push(session, vec![item]).await?;
        }
        Ok(sent)
    }

    async fn send_content(
        &self,
        pool: &SimPool,
        session: SessionId,
        cutter: &Cutter,
        content: &[u8],
    ) -> Result<(Vec<NewExtent>, u64), IngestError> {
        let chunks = cut(pool, cutter, content);
        let mut sent = 0;
        let refs: Vec<ChunkRef> = chunks.iter().map(|(chunk, _)| *chunk).collect();
        let have = pool.offer(session, &refs).await?;
        let wanted: Vec<_> =
            chunks.iter().zip(have).filter(|(_, have)| !have).map(|(chunk, _)| chunk).collect();
        for few in wanted.chunks(3) {
            let plain: Vec<u8> = few.iter().flat_map(|(_, bytes)| bytes.to_vec()).collect();
            sent += plain.len() as u64;
            let frame = IncomingFrame {
                codec: Codec::Raw,
                plain_len: plain.len() as u32,
                stored: Bytes::from(plain),
                chunks: few.iter().map(|(chunk, _)| *chunk).collect(),
            };
            let verified = pool.verify_frame(frame).await?;
            pool.place_frame(session, verified).await?;
        }
        Ok((refs.into_iter().map(NewExtent::Chunk).collect(), sent))
    }

    /// A whole backup: the point is durable when this returns.
    pub async fn backup(
        &mut self,
        pool: &SimPool,
        files: &Files,
        now: UnixNanos,
    ) -> Result<PointInfo, IngestError> {
        let commit = CommitPoint { at: now, ..CommitPoint::default() };
        self.backup_as(pool, files, commit, now).await
    }

    /// As [`backup`](Self::backup), with everything a commit may carry.
    pub async fn backup_as(
        &mut self,
        pool: &SimPool,
        files: &Files,
        commit: CommitPoint,
        now: UnixNanos,
    ) -> Result<PointInfo, IngestError> {
        let session = self.begin(pool, now).await?;
        let made = async {
            self.send(pool, session, files).await?;
            pool.commit(session, commit, now).await
        };
        let made = made.await;
        if made.is_err() {
            // Whoever talked to the machine lets go of its session.
            pool.forget_live(session);
        }
        let point = made?;
        self.basis = Some((point.id, files.clone()));
        Ok(point)
    }
}

/// The chunks of `content` with their bytes, as this pool cuts.
fn cut<'a>(pool: &SimPool, cutter: &Cutter, content: &'a [u8]) -> Vec<(ChunkRef, &'a [u8])> {
    let key = pool.id_key();
    let mut rest = content;
    let lens = cutter.lengths(content);
    lens.map(|len| {
        let (bytes, after) = rest.split_at(len);
        rest = after;
        (ChunkRef { id: key.id(bytes), len: len as u32 }, bytes)
    })
    .collect()
}

/// Every chunk that a tree needs beside what its entries hold themselves.
#[must_use]
pub fn chunks_of(pool: &SimPool, files: &Files) -> Vec<ChunkRef> {
    let cutter = ContentCutter::new(&pool.cut_params()).expect("the pool's parameters are sound");
    let cutter = Cutter::Content(cutter);
    let long = files.values().filter(|content| content.len() > INLINE_MAX);
    long.flat_map(|content| cut(pool, &cutter, content)).map(|(chunk, _)| chunk).collect()
}

fn ordinals(files: &Files) -> BTreeMap<String, u64> {
    paths(files).into_iter().zip(0..).collect()
}

fn entry(path: &str, content: Option<&Vec<u8>>, new: NewContent) -> NewItem {
    NewItem::Entry { path: path.as_bytes().to_vec(), attributes: attributes(content), content: new }
}
