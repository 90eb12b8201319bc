//! Objects while they are put together: frames as the pool gives them are collected until they are as
//! many as an object takes, then sealed in one go.
//!
//! Data lies apart from pages and recipes, so that who lists or verifies a tree does not read data for
//! it, and inner pages lie behind each other at the end of their object: a walk reads them in one range.

mod seal;
#[cfg(test)]
mod tests;

use bytes::Bytes;

use crate::format::{
    Class, Codec, FRAME_PLAIN_MAX, OBJECT_CHUNKS_MAX, OBJECT_FRAMES_MAX, OBJECT_LEN_MAX,
    ObjectKind, PlainFrame, object_len,
};
use crate::units::PoolId;

pub use seal::{Drawn, Rooms, Sealed, seal};

/// Kinds of chunks that the packer tells apart; the numbers are the pool's.
const KIND_DATA: u8 = 0;
const KIND_INNER: u8 = 2;
/// Pages are read one at a time: a small object is repacked sooner.
const PAGES_LEN_MAX: usize = 8 << 20;
/// A full object's length is a multiple of this. Small, because every object pays half of it.
pub const FULL_STEP: usize = 256 << 10;
/// What does not fill an object is padded to a multiple of this: it is what an observer sees of the size
/// of a shipment.
pub const LAST_STEP: usize = 1 << 20;

/// A chunk of a frame, in order of place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceChunk {
    pub number: u64,
    pub id: keelhold_chunk::ChunkId,
    /// What the pool says it was when it was stored first.
    pub kind: u8,
    pub len: u32,
}

/// A frame as the pool gives it: packed already, with these chunks and nothing else in it.
#[derive(Debug, Clone)]
pub struct SourceFrame {
    pub codec: Codec,
    pub packed: Bytes,
    pub plain_len: u32,
    pub chunks: Vec<SourceChunk>,
}

impl SourceFrame {
    /// Whether it is what a vault takes: what comes from outside is checked before it is sealed.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let len: u64 = self.chunks.iter().map(|chunk| u64::from(chunk.len)).sum();
        len <= u64::from(self.plain_len)
            && !self.chunks.is_empty()
            && self.plain_len as usize <= FRAME_PLAIN_MAX
            && self.packed.len() <= FRAME_PLAIN_MAX + FRAME_PLAIN_MAX / 8
            && self.chunks.iter().all(|chunk| chunk.kind <= 5)
    }

    fn object_kind(&self) -> ObjectKind {
        let is_data = self.chunks.iter().any(|chunk| chunk.kind == KIND_DATA);
        if is_data { ObjectKind::Data } else { ObjectKind::Pages }
    }

    fn is_inner(&self) -> bool {
        self.chunks.iter().all(|chunk| chunk.kind == KIND_INNER)
    }
}

/// Frames that will be an object.
#[derive(Debug)]
pub struct Group {
    pub kind: ObjectKind,
    pub class: Class,
    pub pool: PoolId,
    pub pad_to: usize,
    frames: Vec<SourceFrame>,
    /// Inner pages, which go behind the others.
    inner: Vec<SourceFrame>,
    packed_len: usize,
    chunk_count: usize,
}

impl Group {
    fn new(kind: ObjectKind, class: Class, pool: PoolId) -> Self {
        let (frames, inner) = (Vec::new(), Vec::new());
        Self { kind, class, pool, pad_to: LAST_STEP, frames, inner, packed_len: 0, chunk_count: 0 }
    }

    fn frame_count(&self) -> usize {
        self.frames.len() + self.inner.len()
    }

    /// Bytes of the object, before it is padded.
    #[must_use]
    pub fn len(&self) -> usize {
        object_len(self.frame_count(), self.chunk_count, self.packed_len)
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.frame_count() == 0
    }

    fn push(&mut self, frame: SourceFrame) {
        self.packed_len += frame.packed.len();
        self.chunk_count += frame.chunks.len();
        if frame.is_inner() { self.inner.push(frame) } else { self.frames.push(frame) }
    }

    /// The frames in their order, and their chunks.
    fn into_parts(self) -> (Vec<PlainFrame<Bytes>>, Vec<crate::format::ObjectChunk>) {
        let (mut frames, mut chunks) = (Vec::new(), Vec::with_capacity(self.chunk_count));
        for (index, frame) in self.frames.into_iter().chain(self.inner).enumerate() {
            let mut start = 0;
            for chunk in frame.chunks {
                chunks.push(crate::format::ObjectChunk {
                    number: chunk.number,
                    id: *chunk.id.as_bytes(),
                    len: chunk.len,
                    frame: index as u16,
                    kind: chunk.kind,
                    start,
                });
                start += chunk.len;
            }
            let SourceFrame { codec, packed, plain_len, .. } = frame;
            frames.push(PlainFrame { codec, plain_len, packed });
        }
        (frames, chunks)
    }
}

/// Collects the frames of one class: one object of data and one of pages at a time.
#[derive(Debug)]
pub struct Packer {
    object_len: usize,
    data: Group,
    pages: Group,
}

impl Packer {
    /// `object_len` is what the vault's data objects have: they end with the first frame that would not
    /// fit, so that what is too much is padding and not another object.
    #[must_use]
    pub fn new(pool: PoolId, class: Class, object_len: usize) -> Self {
        let data = Group::new(ObjectKind::Data, class, pool);
        Self { object_len, data, pages: Group::new(ObjectKind::Pages, class, pool) }
    }

    /// Takes a frame. Gives the object that it did not fit into any more.
    pub fn push(&mut self, frame: SourceFrame) -> Option<Group> {
        let (group, limit) = match frame.object_kind() {
            ObjectKind::Data => (&mut self.data, self.object_len),
            _ => (&mut self.pages, self.object_len.min(PAGES_LEN_MAX)),
        };
        let len = object_len(
            group.frame_count() + 1,
            group.chunk_count + frame.chunks.len(),
            group.packed_len + frame.packed.len(),
        );
        // Directory and tags come on top of `object_len`: frames of a power of two fill it.
        let is_full = group.packed_len + frame.packed.len() > limit
            || group.frame_count() + 1 > OBJECT_FRAMES_MAX
            || group.chunk_count + frame.chunks.len() > OBJECT_CHUNKS_MAX
            || len > (limit + FRAME_PLAIN_MAX).min(OBJECT_LEN_MAX - 2 * LAST_STEP);
        let is_full = is_full && !group.is_empty();
        let full = is_full.then(|| {
            let next = Group::new(group.kind, group.class, group.pool);
            let mut full = std::mem::replace(group, next);
            full.pad_to = FULL_STEP;
            full
        });
        group.push(frame);
        full
    }

    /// What is left when the class ends: nothing, one or two.
    #[must_use]
    pub fn finish(self) -> Vec<Group> {
        [self.data, self.pages].into_iter().filter(|group| !group.is_empty()).collect()
    }

    /// Bytes of frames that are waiting.
    #[must_use]
    pub fn held(&self) -> usize {
        self.data.packed_len + self.pages.packed_len
    }
}
