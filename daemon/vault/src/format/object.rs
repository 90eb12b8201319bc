//! Packed objects: sealed frames behind a sealed directory behind a head that says whose they are.

use keelhold_cipher::{Cipher, NONCE_LEN, TAG_LEN};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::codec::{Codec, unpack};
use super::rows::{Class, FramePlace, ObjectKind, ObjectRef, take_rows};
use super::{FRAME_PLAIN_MAX, FormatFault, OBJECT_LEN_MAX, VERSION, checksum, limited};
use crate::keys::MasterKey;
use crate::mutants::{Mutant, keeps};
use crate::units::{ManifestNumber, ObjectId, PoolId, VaultId};

mod pack;

pub use pack::{PlainFrame, SealedObject, Shape, object_len};

const MAGIC: u32 = u32::from_le_bytes(*b"KHVO");
pub(crate) const OBJECT_FRAMES_MAX: usize = 65_536;
pub(crate) const OBJECT_CHUNKS_MAX: usize = 1 << 20;
/// Highest kind of a chunk that the pool knows.
pub(super) const CHUNK_KIND_MAX: u8 = 5;

/// The first byte of a nonce says what is sealed.
const NONCE_FRAME: u8 = 1;
const NONCE_DIRECTORY: u8 = 2;
const NONCE_COUNTS: u8 = 3;
const NONCE_PADDING: u8 = 4;

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Debug)]
#[repr(C)]
struct RawHead {
    magic: U32,
    version: U16,
    kind: u8,
    class: u8,
    key_number: U32,
    reserved: U32,
    vault: [u8; 16],
    object: [u8; 16],
    shipment: U64,
    object_len: U64,
    body_hash: [u8; 32],
    sealed: [u8; COUNTS_LEN + TAG_LEN],
    checksum: [u8; 16],
}

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawCounts {
    directory_len: U32,
    frame_count: U32,
    chunk_count: U32,
    padding_len: U32,
}

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawFrame {
    offset: U32,
    stored_len: U32,
    plain_len: U32,
    codec: u8,
    reserved: [u8; 3],
}

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawChunk {
    number: U64,
    id: [u8; 32],
    len: U32,
    frame: U16,
    kind: u8,
    reserved: u8,
}

pub const HEAD_LEN: usize = size_of::<RawHead>();
const COUNTS_LEN: usize = size_of::<RawCounts>();
/// What directory and padding are bound to: all that is known before they are sealed.
const MEANING_LEN: usize = 64;
/// What the counts are bound to: the hash of all the rest with it.
const PROVED_LEN: usize = 96;
const CHECKED_LEN: usize = 128;
const POOL_LEN: usize = 16;
const _: () = assert!(HEAD_LEN == 144 && COUNTS_LEN == 16);
const _: () = assert!(size_of::<RawFrame>() == 16 && size_of::<RawChunk>() == 48);
const _: () = assert!(std::mem::offset_of!(RawHead, body_hash) == MEANING_LEN);
const _: () = assert!(std::mem::offset_of!(RawHead, sealed) == PROVED_LEN);
const _: () = assert!(std::mem::offset_of!(RawHead, checksum) == CHECKED_LEN);

/// What stands in clear in front of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectHead {
    pub vault: VaultId,
    pub key_number: u32,
    pub object: ObjectRef,
}

/// A chunk of an object's directory, in order of frames and of place inside the frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectChunk {
    pub number: u64,
    pub id: [u8; 32],
    pub len: u32,
    pub frame: u16,
    pub kind: u8,
    /// Inside the plain frame: not stored, it is the sum of the lengths before it.
    pub start: u32,
}

/// What is in an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directory {
    /// The pool that gave the numbers; zero in index and records.
    pub pool: PoolId,
    pub frames: Vec<FramePlace>,
    pub chunks: Vec<ObjectChunk>,
}

/// What opens an object and seals nothing.
#[derive(Debug)]
pub struct ObjectKey {
    cipher: Cipher,
    vault: VaultId,
    object: ObjectId,
    kind: ObjectKind,
}

fn nonce(what: u8, index: u32) -> [u8; NONCE_LEN] {
    let mut nonce = [0; NONCE_LEN];
    nonce[0] = what;
    nonce[8..].copy_from_slice(&index.to_le_bytes());
    nonce
}

/// The index as frames are bound to it.
fn bound_index(index: u32) -> u32 {
    if keeps(Mutant::FrameIndex) { index } else { 0 }
}

fn frame_nonce(index: u32) -> [u8; NONCE_LEN] {
    nonce(NONCE_FRAME, bound_index(index))
}

impl ObjectKey {
    /// The key of an object that is there already.
    #[must_use]
    pub fn new(master: &MasterKey, object: &ObjectRef) -> Self {
        Self::of(master, object.object, object.kind)
    }

    fn of(master: &MasterKey, object: ObjectId, kind: ObjectKind) -> Self {
        Self { cipher: master.object(object), vault: master.vault(), object, kind }
    }

    fn frame_bound(&self, index: u32, plain_len: u32, codec: Codec) -> Vec<u8> {
        let mut bound = VERSION.to_le_bytes().to_vec();
        bound.push(self.kind as u8);
        bound.extend_from_slice(&self.vault.0);
        bound.extend_from_slice(&self.object.0);
        bound.extend_from_slice(&bound_index(index).to_le_bytes());
        bound.extend_from_slice(&plain_len.to_le_bytes());
        bound.push(codec as u8);
        bound
    }

    /// The plain content of a frame, from its stored bytes.
    pub fn open_frame(&self, frame: &FramePlace, stored: &[u8]) -> Result<Vec<u8>, FormatFault> {
        let (expected, found) = (u64::from(frame.stored_len), stored.len() as u64);
        if expected != found {
            return Err(FormatFault::Len { expected, found });
        }
        limited("length of a frame", frame.plain_len.into(), FRAME_PLAIN_MAX as u64)?;
        let mut bytes = stored.to_vec();
        let bound = self.frame_bound(frame.index, frame.plain_len, frame.codec);
        let opened = self.cipher.open(frame_nonce(frame.index), &bound, &mut bytes);
        let len = opened.map_err(|_| FormatFault::Unsealable)?;
        unpack(frame.codec, &bytes[..len], frame.plain_len as usize)
    }
}

/// An object's head that was believed as far as that goes without keys.
#[derive(Debug)]
pub struct ClearObject<'a> {
    pub head: ObjectHead,
    raw: &'a RawHead,
}

impl<'a> ClearObject<'a> {
    /// Reads the head at the front of `bytes`, which may be the whole object or its beginning.
    pub fn read(bytes: &'a [u8]) -> Result<Self, FormatFault> {
        let found = bytes.len() as u64;
        let (raw, _) = RawHead::ref_from_prefix(bytes)
            .map_err(|_| FormatFault::Len { expected: HEAD_LEN as u64, found })?;
        if raw.magic.get() != MAGIC {
            return Err(FormatFault::Magic { found: raw.magic.get() });
        }
        if raw.version.get() != VERSION {
            return Err(FormatFault::Version { found: raw.version.get() });
        }
        if checksum(&[&raw.as_bytes()[..CHECKED_LEN]]) != raw.checksum {
            return Err(FormatFault::Checksum);
        }
        if raw.reserved.get() != 0 {
            return Err(FormatFault::Reserved { what: "an object's head" });
        }
        limited("length of an object", raw.object_len.get(), OBJECT_LEN_MAX as u64)?;
        let object = ObjectRef {
            object: ObjectId(raw.object),
            shipment: ManifestNumber(raw.shipment.get()),
            check: raw.checksum,
            len: raw.object_len.get() as u32,
            kind: ObjectKind::from_code(raw.kind)?,
            class: Class::from_code(raw.class)?,
        };
        let (vault, key_number) = (VaultId(raw.vault), raw.key_number.get());
        if key_number == 0 {
            return Err(FormatFault::Content { what: "number of the master key" });
        }
        Ok(Self { head: ObjectHead { vault, key_number, object }, raw })
    }

    /// Refuses everything but the object that is meant.
    pub fn expect(self, vault: VaultId, object: &ObjectRef) -> Result<Self, FormatFault> {
        if self.head.vault != vault {
            return Err(FormatFault::Vault { found: self.head.vault });
        }
        if self.head.object != *object {
            return Err(FormatFault::Object { found: self.head.object.object });
        }
        Ok(self)
    }

    /// Without keys: these are the bytes that were written, all of them.
    pub fn prove(&self, whole: &[u8]) -> Result<(), FormatFault> {
        let (expected, found) = (self.raw.object_len.get(), whole.len() as u64);
        if expected != found {
            return Err(FormatFault::Len { expected, found });
        }
        let body = whole.get(HEAD_LEN..).unwrap_or_default();
        let is_same = *blake3::hash(body).as_bytes() == self.raw.body_hash;
        if is_same { Ok(()) } else { Err(FormatFault::BodyHash) }
    }

    fn counts(&self, master: &MasterKey) -> Result<(ObjectKey, RawCounts), FormatFault> {
        let found = self.head.key_number;
        if found != master.number() {
            return Err(FormatFault::KeyNumber { found });
        }
        let key = ObjectKey::new(master, &self.head.object);
        let mut room = self.raw.sealed;
        let bound = &self.raw.as_bytes()[..PROVED_LEN];
        let opened = key.cipher.open(nonce(NONCE_COUNTS, 0), bound, &mut room);
        let len = opened.map_err(|_| FormatFault::Unsealable)?;
        let counts = RawCounts::read_from_bytes(&room[..len])
            .map_err(|_| FormatFault::Content { what: "counts of an object" })?;
        Ok((key, counts))
    }

    /// How many bytes from the object's start hold its directory: what to read before
    /// [`directory`](Self::directory).
    pub fn directory_end(&self, master: &MasterKey) -> Result<u64, FormatFault> {
        let (_, counts) = self.counts(master)?;
        Ok(HEAD_LEN as u64 + u64::from(counts.directory_len.get()))
    }

    /// What is in the object. `bytes` begin where the object begins.
    pub fn directory(&self, master: &MasterKey, bytes: &[u8]) -> Result<Directory, FormatFault> {
        let (key, counts) = self.counts(master)?;
        self.open_directory(&key, &counts, bytes)
    }

    fn open_directory(
        &self,
        key: &ObjectKey,
        counts: &RawCounts,
        bytes: &[u8],
    ) -> Result<Directory, FormatFault> {
        let frame_count = u64::from(counts.frame_count.get());
        let chunk_count = u64::from(counts.chunk_count.get());
        let frame_count = limited("frames of an object", frame_count, OBJECT_FRAMES_MAX as u64)?;
        let chunk_count = limited("chunks of an object", chunk_count, OBJECT_CHUNKS_MAX as u64)?;
        let len = counts.directory_len.get() as usize;
        if len != pack::directory_len(frame_count, chunk_count) {
            return Err(FormatFault::Content { what: "length of a directory" });
        }
        let (expected, found) = ((HEAD_LEN + len) as u64, bytes.len() as u64);
        let sealed = bytes.get(HEAD_LEN..HEAD_LEN + len);
        let mut plain = sealed.ok_or(FormatFault::Len { expected, found })?.to_vec();
        let bound = &self.raw.as_bytes()[..MEANING_LEN];
        let opened = key.cipher.open(nonce(NONCE_DIRECTORY, 0), bound, &mut plain);
        let plain = &plain[..opened.map_err(|_| FormatFault::Unsealable)?];
        let mut rest = plain.get(POOL_LEN..).unwrap_or_default();
        let frame_rows = take_rows::<RawFrame>(&mut rest, frame_count)?;
        let frames_end = self.raw.object_len.get() - u64::from(counts.padding_len.get());
        let frames = decode_frames(frame_rows, HEAD_LEN + len, frames_end)?;
        let chunks = decode_chunks(take_rows::<RawChunk>(&mut rest, chunk_count)?, &frames)?;
        let mut pool = [0; POOL_LEN];
        pool.copy_from_slice(&plain[..POOL_LEN]);
        let has_chunks = self.head.object.kind.has_chunks();
        if !has_chunks && (pool != [0; POOL_LEN] || !chunks.is_empty()) {
            return Err(FormatFault::Content { what: "chunks of index or records" });
        }
        Ok(Directory { pool: PoolId(pool), frames, chunks })
    }

    /// With keys: every byte is what was sealed in this object, padding included, and every frame
    /// gives its plain length. What chunks hold is for who knows the id key.
    pub fn verify(
        &self,
        master: &MasterKey,
        whole: &[u8],
        mut each: impl FnMut(&FramePlace, &[u8]),
    ) -> Result<Directory, FormatFault> {
        self.prove(whole)?;
        let (key, counts) = self.counts(master)?;
        let directory = self.open_directory(&key, &counts, whole)?;
        for frame in &directory.frames {
            let stored = &whole[frame.range().start as usize..frame.range().end as usize];
            each(frame, &key.open_frame(frame, stored)?);
        }
        let padding = whole.len() - counts.padding_len.get() as usize;
        let mut padding = whole[padding..].to_vec();
        if !padding.is_empty() {
            let bound = &self.raw.as_bytes()[..MEANING_LEN];
            let opened = key.cipher.open(nonce(NONCE_PADDING, 0), bound, &mut padding);
            let len = opened.map_err(|_| FormatFault::Unsealable)?;
            if padding[..len].iter().any(|byte| *byte != 0) {
                return Err(FormatFault::Content { what: "padding" });
            }
        }
        Ok(directory)
    }
}

fn decode_frames(
    rows: &[RawFrame],
    begin: usize,
    end: u64,
) -> Result<Vec<FramePlace>, FormatFault> {
    let mut frames = Vec::with_capacity(rows.len());
    let mut expected = begin as u64;
    for (index, row) in (0..).zip(rows) {
        if row.reserved != [0; 3] {
            return Err(FormatFault::Reserved { what: "a frame's row" });
        }
        let frame = FramePlace {
            index,
            offset: row.offset.get(),
            stored_len: row.stored_len.get(),
            plain_len: row.plain_len.get(),
            codec: Codec::from_code(row.codec)?,
        };
        let frame = frame.check(end)?;
        if frame.range().start != expected {
            return Err(FormatFault::Content { what: "offset of a frame" });
        }
        expected = frame.range().end;
        frames.push(frame);
    }
    // Between the last frame and the padding there is nothing.
    if expected == end {
        Ok(frames)
    } else {
        Err(FormatFault::Content { what: "end of the frames" })
    }
}

fn decode_chunks(
    rows: &[RawChunk],
    frames: &[FramePlace],
) -> Result<Vec<ObjectChunk>, FormatFault> {
    let mut chunks = Vec::with_capacity(rows.len());
    let (mut current, mut start) = (0, 0u32);
    for row in rows {
        let frame = row.frame.get();
        if row.reserved != 0 {
            return Err(FormatFault::Reserved { what: "a chunk's row" });
        }
        if frame < current || row.kind > CHUNK_KIND_MAX {
            return Err(FormatFault::Content { what: "a chunk's row" });
        }
        if frame > current {
            (current, start) = (frame, 0);
        }
        let place = frames
            .get(usize::from(frame))
            .ok_or(FormatFault::Content { what: "frame of a chunk" })?;
        let len = row.len.get();
        super::rows::inside(start, len, place.plain_len)?;
        chunks.push(ObjectChunk {
            number: row.number.get(),
            id: row.id,
            len,
            frame,
            kind: row.kind,
            start,
        });
        start += len;
    }
    Ok(chunks)
}

#[cfg(test)]
pub(super) fn documented() -> [(&'static str, crate::layout::Fields); 4] {
    use crate::layout::fields;
    [
        (
            "ObjectHead",
            fields!(RawHead: magic, version, kind, class, key_number, reserved, vault, object, shipment, object_len, body_hash, sealed, checksum),
        ),
        ("ObjectCounts", fields!(RawCounts: directory_len, frame_count, chunk_count, padding_len)),
        ("ObjectFrame", fields!(RawFrame: offset, stored_len, plain_len, codec, reserved)),
        ("ObjectChunk", fields!(RawChunk: number, id, len, frame, kind, reserved)),
    ]
}
