//! Putting an object together. The only place where something is sealed under an object's key, and
//! the id that makes the key is drawn here: no caller can use one twice.

use keelhold_cipher::TAG_LEN;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, IntoBytes};

use super::{
    CHECKED_LEN, CHUNK_KIND_MAX, HEAD_LEN, MAGIC, MEANING_LEN, NONCE_COUNTS, NONCE_DIRECTORY,
    NONCE_PADDING, OBJECT_CHUNKS_MAX, OBJECT_FRAMES_MAX, ObjectChunk, ObjectKey, POOL_LEN,
    PROVED_LEN, RawChunk, RawCounts, RawFrame, RawHead, frame_nonce, nonce,
};
use crate::format::codec::Codec;
use crate::format::rows::{Class, FramePlace, ObjectKind, ObjectRef};
use crate::format::{FRAME_PLAIN_MAX, OBJECT_LEN_MAX, VERSION, checksum};
use crate::keys::MasterKey;
use crate::random::Random;
use crate::units::{ManifestNumber, ObjectId, PoolId};

/// What an object shall be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    pub kind: ObjectKind,
    pub class: Class,
    pub shipment: ManifestNumber,
    /// The pool that gave the numbers of the chunks; zero where there are none.
    pub pool: PoolId,
    /// The object's length becomes a multiple of this; 1: it is not padded.
    pub pad_to: usize,
}

/// A frame as it goes into an object. Its bytes may be anybody's: they are only read.
#[derive(Debug, Clone)]
pub struct PlainFrame<B = Vec<u8>> {
    pub codec: Codec,
    pub plain_len: u32,
    /// As the codec left it.
    pub packed: B,
}

/// An object as it is sent, again and again the same bytes until it is acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedObject {
    pub object: ObjectRef,
    pub frames: Vec<FramePlace>,
    pub bytes: Vec<u8>,
}

/// Bytes of a sealed directory.
pub(super) fn directory_len(frame_count: usize, chunk_count: usize) -> usize {
    let rows = frame_count * size_of::<RawFrame>() + chunk_count * size_of::<RawChunk>();
    POOL_LEN + rows + TAG_LEN
}

/// Bytes of an object before it is padded: who packs asks before the next frame.
#[must_use]
pub fn object_len(frame_count: usize, chunk_count: usize, packed_len: usize) -> usize {
    HEAD_LEN + directory_len(frame_count, chunk_count) + frame_count * TAG_LEN + packed_len
}

fn padding_len(len: usize, step: usize) -> usize {
    let missing = len.next_multiple_of(step) - len;
    // What is padded at all holds a tag.
    if missing == 0 || missing >= TAG_LEN {
        missing
    } else {
        missing + TAG_LEN.next_multiple_of(step)
    }
}

impl SealedObject {
    /// Seals frames into a new object; the bytes of each are let go of once they are sealed. The `start`
    /// of chunks is not looked at.
    ///
    /// # Panics
    /// If the frames are more than an object takes, or chunks do not fit their frames: who packs has
    /// to know.
    #[must_use]
    pub fn seal<B: AsRef<[u8]>>(
        master: &MasterKey,
        shape: &Shape,
        frames: Vec<PlainFrame<B>>,
        chunks: &[ObjectChunk],
        random: &mut impl Random,
    ) -> Self {
        Self::seal_in(Vec::new(), master, shape, frames, chunks, random)
    }

    /// As [`seal`](Self::seal), in the memory of an object that is no longer needed: fresh memory costs
    /// as much as the cipher.
    #[must_use]
    pub(crate) fn seal_in<B: AsRef<[u8]>>(
        mut bytes: Vec<u8>,
        master: &MasterKey,
        shape: &Shape,
        frames: Vec<PlainFrame<B>>,
        chunks: &[ObjectChunk],
        random: &mut impl Random,
    ) -> Self {
        assert_fits(shape, &frames, chunks);
        let frame_count = frames.len();
        let object = ObjectId::draw(random);
        let key = ObjectKey::of(master, object, shape.kind);
        let packed_len = frames.iter().map(|frame| frame.packed.as_ref().len()).sum();
        let unpadded = object_len(frame_count, chunks.len(), packed_len);
        let padding = padding_len(unpadded, shape.pad_to);
        assert!(unpadded + padding <= OBJECT_LEN_MAX, "an object has a greatest length");
        // What is in there is sealed already, and everything but the padding is written below.
        bytes.resize(unpadded + padding, 0);
        bytes[unpadded..].fill(0);
        let mut head = RawHead::read_from_bytes(&[0; HEAD_LEN]).expect("size is asserted");
        head.magic = U32::new(MAGIC);
        head.version = U16::new(VERSION);
        (head.kind, head.class) = (shape.kind as u8, shape.class.code());
        head.key_number = U32::new(master.number());
        (head.vault, head.object) = (master.vault().0, object.0);
        head.shipment = U64::new(shape.shipment.0);
        head.object_len = U64::new(bytes.len() as u64);
        let meaning = head.as_bytes()[..MEANING_LEN].to_vec();

        let begin = HEAD_LEN + directory_len(frame_count, chunks.len());
        let places = seal_frames(&key, frames, begin, &mut bytes);
        let directory = &mut bytes[HEAD_LEN..begin];
        write_directory(shape.pool, &places, chunks, directory);
        key.cipher.seal(nonce(NONCE_DIRECTORY, 0), &meaning, directory);
        if padding > 0 {
            key.cipher.seal(nonce(NONCE_PADDING, 0), &meaning, &mut bytes[unpadded..]);
        }
        head.body_hash = *blake3::hash(&bytes[HEAD_LEN..]).as_bytes();
        let counts = RawCounts {
            directory_len: U32::new((begin - HEAD_LEN) as u32),
            frame_count: U32::new(frame_count as u32),
            chunk_count: U32::new(chunks.len() as u32),
            padding_len: U32::new(padding as u32),
        };
        let mut sealed = [0; size_of::<RawCounts>() + TAG_LEN];
        let bound = &head.as_bytes()[..PROVED_LEN];
        key.cipher.seal_into(nonce(NONCE_COUNTS, 0), bound, counts.as_bytes(), &mut sealed);
        head.sealed = sealed;
        head.checksum = checksum(&[&head.as_bytes()[..CHECKED_LEN]]);
        bytes[..HEAD_LEN].copy_from_slice(head.as_bytes());
        let object = ObjectRef {
            object,
            shipment: shape.shipment,
            check: head.checksum,
            len: bytes.len() as u32,
            kind: shape.kind,
            class: shape.class,
        };
        Self { object, frames: places, bytes }
    }
}

fn assert_fits<B>(shape: &Shape, frames: &[PlainFrame<B>], chunks: &[ObjectChunk]) {
    assert!(shape.pad_to > 0 && frames.len() <= OBJECT_FRAMES_MAX);
    assert!(chunks.len() <= OBJECT_CHUNKS_MAX);
    let is_bare = chunks.is_empty() && shape.pool == PoolId([0; 16]) && shape.class == Class::ZERO;
    assert!(shape.kind.has_chunks() || is_bare, "index and records have no chunks, pool or class");
    assert!(frames.iter().all(|frame| frame.plain_len as usize <= FRAME_PLAIN_MAX));
    assert!(chunks.is_sorted_by_key(|chunk| chunk.frame), "chunks stand in order of frames");
    for group in chunks.chunk_by(|left, right| left.frame == right.frame) {
        let len: u64 = group.iter().map(|chunk| u64::from(chunk.len)).sum();
        let frame = &frames[usize::from(group[0].frame)];
        assert!(len <= u64::from(frame.plain_len), "chunks lie inside their frame");
        assert!(group.iter().all(|chunk| chunk.kind <= CHUNK_KIND_MAX));
    }
}

fn seal_frames<B: AsRef<[u8]>>(
    key: &ObjectKey,
    frames: Vec<PlainFrame<B>>,
    begin: usize,
    bytes: &mut [u8],
) -> Vec<FramePlace> {
    let mut places = Vec::with_capacity(frames.len());
    let mut offset = begin;
    for (index, frame) in (0..).zip(frames) {
        let packed = frame.packed.as_ref();
        let end = offset + packed.len() + TAG_LEN;
        let bound = key.frame_bound(index, frame.plain_len, frame.codec);
        let room = &mut bytes[offset..end];
        key.cipher.seal_into(frame_nonce(index), &bound, packed, room);
        places.push(FramePlace {
            index,
            offset: offset as u32,
            stored_len: (end - offset) as u32,
            plain_len: frame.plain_len,
            codec: frame.codec,
        });
        offset = end;
    }
    places
}

/// Rows of frames and chunks, in front of the room for the tag.
fn write_directory(pool: PoolId, places: &[FramePlace], chunks: &[ObjectChunk], room: &mut [u8]) {
    let mut rows = Vec::with_capacity(room.len());
    rows.extend_from_slice(&pool.0);
    for place in places {
        let row = RawFrame {
            offset: U32::new(place.offset),
            stored_len: U32::new(place.stored_len),
            plain_len: U32::new(place.plain_len),
            codec: place.codec as u8,
            reserved: [0; 3],
        };
        rows.extend_from_slice(row.as_bytes());
    }
    for chunk in chunks {
        let row = RawChunk {
            number: U64::new(chunk.number),
            id: chunk.id,
            len: U32::new(chunk.len),
            frame: U16::new(chunk.frame),
            kind: chunk.kind,
            reserved: 0,
        };
        rows.extend_from_slice(row.as_bytes());
    }
    room[..rows.len()].copy_from_slice(&rows);
    assert_eq!(rows.len() + TAG_LEN, room.len(), "room for the rows and their tag");
}
