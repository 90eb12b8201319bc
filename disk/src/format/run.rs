//! A run: header, directory, frames, padding. One large write into a container, never rewritten.
//!
//! The directory stands before the frames: a run is put together in memory anyway, and with the
//! directory in front one read of the run's first blocks tells everything needed to read any chunk.

use keelhold_chunk::ChunkId;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::head::{ChecksumKey, Head, HeadFault, Magic, Place};
use crate::seal::{RunSeal, TAG_LEN};
use crate::units::{ChunkNumber, DomainId, PoolId, SessionId};

/// Chunks a run may hold: their ordinals are 16 bits in the index.
pub const RUN_CHUNKS_MAX: usize = 1 << 16;
/// Frames a run may hold.
pub const RUN_FRAMES_MAX: usize = 1 << 16;
/// Longest plain content of a frame: one entry with all its extended attributes always fits.
pub const FRAME_PLAIN_MAX: usize = 2 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Codec {
    Raw = 0,
    /// LZ4 block format, length known from the directory.
    Lz4 = 1,
    /// One Zstandard frame (RFC 8878).
    Zstd = 2,
}

impl Codec {
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Raw),
            1 => Some(Self::Lz4),
            2 => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// What a chunk holds. Pages and recipes are chunks like data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum ChunkKind {
    Data = 0,
    Entries = 1,
    Inner = 2,
    Content = 3,
    Recipe = 4,
    Series = 5,
}

impl ChunkKind {
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            0 => Self::Data,
            1 => Self::Entries,
            2 => Self::Inner,
            3 => Self::Content,
            4 => Self::Recipe,
            5 => Self::Series,
            _ => return None,
        })
    }
}

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawHeader {
    head: Head,
    container: U32,
    key_number: U32,
    domain: [u8; 16],
    session: [u8; 16],
    salt: [u8; 16],
    frame_count: U32,
    chunk_count: U32,
    frames_offset: U32,
    run_len: U32,
}

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawFrame {
    offset: U32,
    stored_len: U32,
    plain_len: U32,
    codec: u8,
    reserved: [u8; 3],
    hash: [u8; 32],
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

/// The header behind its head.
const BOUND: std::ops::Range<usize> = Head::LEN..size_of::<RawHeader>();

const _: () = assert!(size_of::<RawHeader>() == 152);
const _: () = assert!(size_of::<RawFrame>() == 48);
const _: () = assert!(size_of::<RawChunk>() == 48);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunHeader {
    /// Counts the runs of a container from 0 (`sequence` of the head).
    pub ordinal: u64,
    pub container: u32,
    /// Number of the data key that frames and chunk table are sealed under; 0: nothing is sealed.
    pub key_number: u32,
    pub domain: DomainId,
    pub session: SessionId,
    /// Random: the run's own key is derived from it, so no nonce can repeat after a crash.
    pub salt: [u8; 16],
    /// Length of the whole run with padding.
    pub run_len: u32,
}

/// One row of a directory's frame table. In clear even when the pool is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameEntry {
    /// From the start of the run.
    pub offset: u32,
    pub stored_len: u32,
    pub plain_len: u32,
    pub codec: Codec,
    /// BLAKE3 of the stored bytes, without a key: whoever has no key can still verify.
    pub hash: [u8; 32],
}

/// One row of a directory's chunk table, in order of frames and of place inside the frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkEntry {
    pub number: ChunkNumber,
    pub id: ChunkId,
    pub len: u32,
    pub frame: u16,
    pub kind: ChunkKind,
    /// Offset inside the plain frame: not stored, it is the sum of the lengths before it.
    pub offset: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directory {
    pub header: RunHeader,
    pub frames: Vec<FrameEntry>,
    pub chunks: Vec<ChunkEntry>,
}

/// Bytes of a chunk in a directory.
pub const CHUNK_ROW_LEN: u64 = size_of::<RawChunk>() as u64;

impl Directory {
    /// Bytes of header and directory for these counts.
    #[must_use]
    pub const fn len_for(frame_count: usize, chunk_count: usize) -> usize {
        size_of::<RawHeader>()
            + frame_count * size_of::<RawFrame>()
            + chunk_count * size_of::<RawChunk>()
    }

    /// As [`len_for`](Self::len_for), in a pool that seals its chunk tables or does not.
    #[must_use]
    pub const fn len_in(is_sealed: bool, frame_count: usize, chunk_count: usize) -> usize {
        let tag = if is_sealed { TAG_LEN } else { 0 };
        Self::len_for(frame_count, chunk_count) + tag
    }

    /// The chunks of a frame. Decoding proved that they stand together.
    #[must_use]
    pub fn chunks_of(&self, frame: u16) -> &[ChunkEntry] {
        let start = self.chunks.partition_point(|chunk| chunk.frame < frame);
        let len = self.chunks[start..].partition_point(|chunk| chunk.frame == frame);
        &self.chunks[start..start + len]
    }

    #[must_use]
    pub fn byte_len(&self) -> usize {
        Self::len_in(self.header.key_number != 0, self.frames.len(), self.chunks.len())
    }

    /// Header and directory as they stand at the run's start, of a run that is not sealed.
    #[must_use]
    pub fn encode(&self, key: &ChecksumKey, pool: PoolId, place: Place) -> Vec<u8> {
        self.encode_sealed(key, pool, place, None)
    }

    /// As [`encode`](Self::encode); the chunk table is sealed with the run's key, if there is one.
    #[must_use]
    pub fn encode_sealed(
        &self,
        key: &ChecksumKey,
        pool: PoolId,
        place: Place,
        seal: Option<&RunSeal>,
    ) -> Vec<u8> {
        assert_eq!(seal.is_some(), self.header.key_number != 0, "sealed runs name their key");
        assert!(self.frames.len() <= RUN_FRAMES_MAX && self.chunks.len() <= RUN_CHUNKS_MAX);
        let header = &self.header;
        let mut raw = RawHeader::read_from_bytes(&[0; size_of::<RawHeader>()])
            .expect("size is asserted above");
        raw.container = U32::new(header.container);
        raw.key_number = U32::new(header.key_number);
        raw.domain = header.domain.0;
        raw.session = header.session.0;
        raw.salt = header.salt;
        raw.frame_count = U32::new(self.frames.len() as u32);
        raw.chunk_count = U32::new(self.chunks.len() as u32);
        raw.frames_offset = U32::new(self.byte_len() as u32);
        raw.run_len = U32::new(header.run_len);
        let mut bytes = Vec::with_capacity(self.byte_len());
        bytes.extend_from_slice(raw.as_bytes());
        for frame in &self.frames {
            let raw = RawFrame {
                offset: U32::new(frame.offset),
                stored_len: U32::new(frame.stored_len),
                plain_len: U32::new(frame.plain_len),
                codec: frame.codec as u8,
                reserved: [0; 3],
                hash: frame.hash,
            };
            bytes.extend_from_slice(raw.as_bytes());
        }
        for chunk in &self.chunks {
            let raw = RawChunk {
                number: U64::new(chunk.number.0),
                id: *chunk.id.as_bytes(),
                len: U32::new(chunk.len),
                frame: U16::new(chunk.frame),
                kind: chunk.kind as u8,
                reserved: 0,
            };
            bytes.extend_from_slice(raw.as_bytes());
        }
        if let Some(seal) = seal {
            let table = Self::len_for(self.frames.len(), 0);
            bytes.resize(bytes.len() + TAG_LEN, 0);
            let (clear, table) = bytes.split_at_mut(table);
            seal.seal_table(&clear[BOUND], table);
        }
        Head::seal(&mut bytes, key, Magic::Run, pool, place, header.ordinal);
        bytes
    }

    /// Length of header and directory, from a head that is not verified yet: how much to read.
    pub fn peek_len(bytes: &[u8]) -> Result<usize, HeadFault> {
        Ok(Head::peek(bytes, Magic::Run)?.len.get() as usize)
    }

    /// The directory of a run that is not sealed.
    pub fn decode(
        bytes: &[u8],
        key: &ChecksumKey,
        pool: PoolId,
        place: Place,
    ) -> Result<Self, HeadFault> {
        ClearDirectory::decode(bytes, key, pool, place)?.open(None)
    }
}

/// What of a directory stands in clear whether the run is sealed or not: enough to prove stored bytes.
#[derive(Debug, Clone)]
pub struct ClearDirectory<'a> {
    pub header: RunHeader,
    pub frames: Vec<FrameEntry>,
    /// The header's fields behind the head, to which a sealed chunk table is bound.
    fields: &'a [u8],
    table: &'a [u8],
}

impl<'a> ClearDirectory<'a> {
    pub fn decode(
        bytes: &'a [u8],
        key: &ChecksumKey,
        pool: PoolId,
        place: Place,
    ) -> Result<Self, HeadFault> {
        let (head, covered) = Head::open(bytes, key, Magic::Run)?;
        head.expect(pool, place)?;
        let (raw, rest) = RawHeader::read_from_prefix(covered)
            .map_err(|_| HeadFault::Len { found: head.len.get() })?;
        let (frame_count, chunk_count) =
            (raw.frame_count.get() as usize, raw.chunk_count.get() as usize);
        let is_sealed = raw.key_number.get() != 0;
        if frame_count > RUN_FRAMES_MAX
            || chunk_count > RUN_CHUNKS_MAX
            || covered.len() != Directory::len_in(is_sealed, frame_count, chunk_count)
            || raw.frames_offset.get() as usize != covered.len()
        {
            return Err(HeadFault::Content);
        }
        let header = RunHeader {
            ordinal: head.sequence(),
            container: raw.container.get(),
            key_number: raw.key_number.get(),
            domain: DomainId(raw.domain),
            session: SessionId(raw.session),
            salt: raw.salt,
            run_len: raw.run_len.get(),
        };
        let (frame_bytes, table) = rest.split_at(frame_count * size_of::<RawFrame>());
        let frames = decode_frames(frame_bytes, covered.len(), &header)?;
        Ok(Self { header, frames, fields: &covered[BOUND], table })
    }

    /// The whole directory. A sealed one opens with the run's key alone.
    pub fn open(self, seal: Option<&RunSeal>) -> Result<Directory, HeadFault> {
        let Self { header, frames, fields, table } = self;
        let chunks = match (seal, header.key_number) {
            (None, 0) => decode_chunks(table, &frames)?,
            // Clear text in an encrypted pool was put there by somebody else.
            (Some(_), 0) => return Err(HeadFault::Unsealable),
            (None, _) => return Err(HeadFault::Sealed),
            (Some(seal), _) => {
                let mut table = table.to_vec();
                let len = seal.open_table(fields, &mut table);
                let len = len.map_err(|_| HeadFault::Unsealable)?;
                decode_chunks(&table[..len], &frames)?
            }
        };
        Ok(Directory { header, frames, chunks })
    }
}

fn decode_frames(
    bytes: &[u8],
    directory_len: usize,
    header: &RunHeader,
) -> Result<Vec<FrameEntry>, HeadFault> {
    let mut frames = Vec::with_capacity(bytes.len() / size_of::<RawFrame>());
    let mut expected_offset = directory_len as u64;
    for bytes in bytes.chunks_exact(size_of::<RawFrame>()) {
        let raw = RawFrame::read_from_bytes(bytes).map_err(|_| HeadFault::Content)?;
        let codec = Codec::from_code(raw.codec).ok_or(HeadFault::Content)?;
        let frame = FrameEntry {
            offset: raw.offset.get(),
            stored_len: raw.stored_len.get(),
            plain_len: raw.plain_len.get(),
            codec,
            hash: raw.hash,
        };
        if u64::from(frame.offset) != expected_offset
            || frame.plain_len as usize > FRAME_PLAIN_MAX
            || raw.reserved != [0; 3]
        {
            return Err(HeadFault::Content);
        }
        expected_offset += u64::from(frame.stored_len);
        frames.push(frame);
    }
    if expected_offset > u64::from(header.run_len) {
        return Err(HeadFault::Content);
    }
    Ok(frames)
}

fn decode_chunks(bytes: &[u8], frames: &[FrameEntry]) -> Result<Vec<ChunkEntry>, HeadFault> {
    let mut chunks = Vec::with_capacity(bytes.len() / size_of::<RawChunk>());
    let (mut frame, mut offset) = (0u16, 0u32);
    for bytes in bytes.chunks_exact(size_of::<RawChunk>()) {
        let raw = RawChunk::read_from_bytes(bytes).map_err(|_| HeadFault::Content)?;
        if raw.frame.get() < frame || raw.reserved != 0 {
            return Err(HeadFault::Content);
        }
        if raw.frame.get() > frame {
            (frame, offset) = (raw.frame.get(), 0);
        }
        let kind = ChunkKind::from_code(raw.kind).ok_or(HeadFault::Content)?;
        let plain_len = frames.get(usize::from(frame)).ok_or(HeadFault::Content)?.plain_len;
        let end = offset.checked_add(raw.len.get()).filter(|end| *end <= plain_len);
        chunks.push(ChunkEntry {
            number: ChunkNumber(raw.number.get()),
            id: ChunkId::from_bytes(raw.id),
            len: raw.len.get(),
            frame,
            kind,
            offset,
        });
        offset = end.ok_or(HeadFault::Content)?;
    }
    Ok(chunks)
}

pub(super) fn header_fields() -> super::raw::Fields {
    super::raw::fields!(RawHeader: head, container, key_number, domain, session, salt, frame_count, chunk_count, frames_offset, run_len)
}

pub(super) fn frame_fields() -> super::raw::Fields {
    super::raw::fields!(RawFrame: offset, stored_len, plain_len, codec, reserved, hash)
}

#[cfg(test)]
pub(super) fn chunk_fields() -> super::raw::Fields {
    super::raw::fields!(RawChunk: number, id, len, frame, kind, reserved)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::DiskId;

    fn directory() -> Directory {
        let frame = |offset, hash| FrameEntry {
            offset,
            stored_len: 100,
            plain_len: 300,
            codec: Codec::Zstd,
            hash: [hash; 32],
        };
        let chunk = |number, frame, len, offset| ChunkEntry {
            number: ChunkNumber(number),
            id: ChunkId::from_bytes([number as u8; 32]),
            len,
            frame,
            kind: ChunkKind::Data,
            offset,
        };
        let header_len = Directory::len_for(2, 3) as u32;
        Directory {
            header: RunHeader {
                ordinal: 4,
                container: 7,
                key_number: 0,
                domain: DomainId([1; 16]),
                session: SessionId([2; 16]),
                salt: [3; 16],
                run_len: 4096,
            },
            frames: vec![frame(header_len, 1), frame(header_len + 100, 2)],
            chunks: vec![chunk(10, 0, 100, 0), chunk(11, 0, 200, 100), chunk(12, 1, 300, 0)],
        }
    }

    #[test]
    fn comes_back() {
        let key = ChecksumKey::new(&[1; 32], &[2; 16]);
        let (pool, place) = (PoolId([3; 16]), Place { disk: DiskId([4; 16]), offset: 1 << 20 });
        let bytes = directory().encode(&key, pool, place);
        assert_eq!(Directory::peek_len(&bytes), Ok(bytes.len()));
        assert_eq!(Directory::decode(&bytes, &key, pool, place), Ok(directory()));
    }

    /// Written wrong by us, sealed right: still an error and never a slice out of range.
    #[test]
    fn impossible_tables_are_refused() {
        let key = ChecksumKey::new(&[1; 32], &[2; 16]);
        let (pool, place) = (PoolId([3; 16]), Place { disk: DiskId([4; 16]), offset: 1 << 20 });
        let spoils: [fn(&mut Directory); 4] = [
            |d| d.chunks[1].len = 201,
            |d| d.chunks[2].frame = 2,
            |d| d.frames[1].offset += 1,
            |d| d.frames[0].plain_len = FRAME_PLAIN_MAX as u32 + 1,
        ];
        for spoil in spoils {
            let mut directory = directory();
            spoil(&mut directory);
            let bytes = directory.encode(&key, pool, place);
            assert_eq!(Directory::decode(&bytes, &key, pool, place), Err(HeadFault::Content));
        }
    }
}
