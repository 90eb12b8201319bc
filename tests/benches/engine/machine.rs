//! A machine that keeps the pool busy: it cuts, names, and sends frames, all of which is timed with
//! the pool's own work; and a reader that takes everything back in order.

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use keelhold_chunk::cut::ContentCutter;
use keelhold_chunk::{Attributes, IdKey, Kind, Timestamp};
use keelhold_disk::IngestError;
use keelhold_disk::device::backend::AnyDevice;
use keelhold_disk::format::Codec;
use keelhold_disk::pool::{
    BeginSession, CommitPoint, FRAME_TARGET, IncomingFrame, NewContent, NewExtent, NewItem, Piece,
    PointReader, VerifiedFrame,
};
use keelhold_disk::units::{
    ChunkNumber, ChunkRef, DomainId, PointId, SessionId, SourceId, UnixNanos,
};
use keelhold_disk::work::Work as _;

use super::work::ThreadWork;

pub type Pool = keelhold_disk::Pool<AnyDevice<ThreadWork>, ThreadWork>;

/// Cut as one piece: a job of some ten milliseconds.
const SEGMENT_LEN: usize = 4 << 20;
const SEGMENTS_AHEAD: usize = 3;
const FRAMES_AHEAD: usize = 32;
/// What a restore asks for at a time.
const READ_LEN: u64 = 4 << 20;
const NOW: UnixNanos = UnixNanos(1);

/// One file, stored as a point of its own.
pub async fn store(pool: &Pool, work: &ThreadWork, content: &Bytes, codec: Codec) -> PointId {
    let request = BeginSession {
        source: SourceId([1; 16]),
        domain: DomainId([1; 16]),
        basis: None,
        lease_until: NOW,
    };
    let session = pool.begin(request, NOW).await.expect("a session");
    send(pool, work, session, content, codec).await.expect("the pool takes everything");
    let commit = CommitPoint { at: NOW, ..CommitPoint::default() };
    pool.commit(session, commit, NOW).await.expect("a point").id
}

async fn send(
    pool: &Pool,
    work: &ThreadWork,
    session: SessionId,
    content: &Bytes,
    codec: Codec,
) -> Result<(), IngestError> {
    let (key, cutter) = (pool.id_key(), ContentCutter::new(&pool.cut_params()));
    let cutter = cutter.expect("the pool's parameters are sound");
    let starts = (0..content.len()).step_by(SEGMENT_LEN);
    let segments = starts.map(|start| {
        let segment = content.slice(start..content.len().min(start + SEGMENT_LEN));
        let (key, cutter) = (key.clone(), cutter.clone());
        work.run(move || frames(&key, &cutter, &segment, codec))
    });
    let frames = stream::iter(segments).buffered(SEGMENTS_AHEAD).flat_map(stream::iter);
    let verified = frames.map(|frame| async {
        let extents: Vec<NewExtent> = frame.chunks.iter().copied().map(NewExtent::Chunk).collect();
        Ok::<(VerifiedFrame, Vec<NewExtent>), IngestError>((
            pool.verify_frame(frame).await?,
            extents,
        ))
    });
    let root = NewItem::Entry {
        path: Vec::new(),
        attributes: attributes(Kind::Directory),
        content: NewContent::None,
    };
    pool.push(session, vec![root]).await?;
    let mut verified = std::pin::pin!(verified.buffered(FRAMES_AHEAD));
    while let Some((frame, extents)) = verified.try_next().await? {
        pool.place_frame(session, frame).await?;
        pool.push(session, vec![NewItem::More { extents }]).await?;
    }
    let file = NewItem::Entry {
        path: b"file".to_vec(),
        attributes: attributes(Kind::File { size: content.len() as u64 }),
        content: NewContent::Streamed,
    };
    pool.push(session, vec![file]).await
}

fn attributes(kind: Kind) -> Vec<u8> {
    let mtime = Timestamp::default();
    Attributes { kind, mode: 0o644, uid: 0, gid: 0, mtime, link_group: None, xattrs: Vec::new() }
        .to_bytes()
}

/// Cuts a segment and packs neighbouring chunks into frames.
fn frames(
    key: &IdKey,
    cutter: &ContentCutter,
    segment: &Bytes,
    codec: Codec,
) -> Vec<IncomingFrame> {
    let (mut frames, mut chunks) = (Vec::new(), Vec::new());
    let (mut start, mut end) = (0, 0);
    while let Some(len) = cutter.cut(&segment[end..], true) {
        if end > start && end + len - start > FRAME_TARGET {
            frames.push(frame(segment.slice(start..end), std::mem::take(&mut chunks), codec));
            start = end;
        }
        chunks.push(ChunkRef { id: key.id(&segment[end..end + len]), len: len as u32 });
        end += len;
    }
    if end > start {
        frames.push(frame(segment.slice(start..end), chunks, codec));
    }
    frames
}

fn frame(plain: Bytes, chunks: Vec<ChunkRef>, codec: Codec) -> IncomingFrame {
    let plain_len = plain.len() as u32;
    if codec == Codec::Zstd {
        let packed = zstd::bulk::compress(&plain, 1).expect("memory");
        if packed.len() < plain.len() - plain.len() / 16 {
            return IncomingFrame { codec, plain_len, stored: Bytes::from(packed), chunks };
        }
    }
    IncomingFrame { codec: Codec::Raw, plain_len, stored: plain, chunks }
}

/// Takes everything a point needs out of the pool, ready to be sent elsewhere.
pub async fn ship(pool: &Pool, point: &PointId) {
    let reach = pool.reach(point).await.expect("the point is there");
    let mut left: Vec<ChunkNumber> = reach.iter().map(ChunkNumber).collect();
    let mut chunks = 0;
    while !left.is_empty() {
        let out = pool.frames_out(&left).await;
        assert!(out.unread.is_empty(), "{:?}", out.unread);
        chunks += out.frames.iter().map(|frame| frame.chunks.len() as u64).sum::<u64>();
        left = out.left;
    }
    assert_eq!(chunks, reach.len());
}

/// Reads a point's file from beginning to end. What comes is proved by the pool, and compared here
/// with what was stored.
pub async fn read_back(pool: &Pool, point: &PointId, content: &[u8]) {
    let reader: PointReader<_, _> = pool.reader(point).await.expect("the point is there");
    let found = reader.find(b"file").await.expect("the tree is sound");
    let (_, entry) = found.expect("the file is there");
    let mut offset = 0;
    while offset < entry.size() {
        for piece in reader.read(&entry, offset, READ_LEN).await.expect("the content is sound") {
            let Piece::Data(bytes) = piece else { panic!("no hole was stored") };
            let expected = &content[offset as usize..][..bytes.len()];
            // A look at both ends finds whatever is misplaced; every byte was proved by its id.
            let ends = |bytes: &[u8]| (bytes[0], bytes[bytes.len() - 1]);
            assert_eq!(ends(&bytes), ends(expected), "at {offset}");
            offset += bytes.len() as u64;
        }
    }
    assert_eq!(offset, content.len() as u64);
}
