//! Journal entries: what changed since the checkpoint. An entry is the unit of atomicity: everything
//! in it happened, or nothing.

use keelhold_chunk::{DecodeError, Reader, SpanDigest, Writer};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::head::{ChecksumKey, Head, HeadFault, Magic, Place};
use super::op::Op;
use super::state::RunRef;
use crate::seal::{DataKey, ENTRY_OVERHEAD, EntryOrigin};
use crate::units::{BLOCK, ChunkNumber, PointId, PoolId, SessionId, SourceId};

/// Longest name of a record or series.
pub const NAME_LEN_MAX: usize = 256;
/// Longest value of a record, and longest entry of a series.
pub const RECORD_LEN_MAX: usize = 1 << 20;
/// Longest encoded set or attribute blob inside an operation.
pub const BLOB_LEN_MAX: usize = 64 << 20;

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawEntry {
    head: Head,
    parent: [u8; 16],
    epoch: U64,
    position: U64,
    witnessed: U64,
    body_len: U32,
    op_count: U32,
}

const _: () = assert!(size_of::<RawEntry>() == 128);

/// What stands before an entry's operations. `sequence` of the head counts entries without a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryHeader {
    pub sequence: u64,
    /// Link of the entry before: entries form a chain.
    pub parent: [u8; 16],
    /// Opening of the pool that wrote it; an older one behind a newer root is void.
    pub epoch: u64,
    /// Bytes written to the ring before this entry since the pool was made.
    pub position: u64,
    pub witnessed: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalEntry {
    pub header: EntryHeader,
    pub ops: Vec<Op>,
}

/// A run that is durable and part of the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunRow {
    pub run: RunRef,
    pub session: SessionId,
    /// Runs of the container before it.
    pub ordinal: u64,
    /// Its chunks were in the pool and have their place here from now on.
    pub moved: bool,
}

/// A point as tables and journal carry it. Sets and tree are in the recipe it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PointRow {
    pub id: PointId,
    pub source: SourceId,
    /// Replaced by the next synchronisation; never listed.
    pub working: bool,
    /// Time the point stands for, and time it was committed: both the caller's.
    pub at: i64,
    pub committed_at: i64,
    /// 0 ok, 1 partial.
    pub result: u8,
    pub recipe: ChunkNumber,
    pub recipe_digest: SpanDigest,
    pub bytes_source: u64,
    pub entry_count: u64,
    /// End of the undo window of a forgotten point; 0 when it is not forgotten.
    pub trashed_until: i64,
    /// Tags, pins, note, consistency: the daemon's bytes, changeable without touching the recipe.
    pub attributes: Vec<u8>,
}

impl EntryHeader {
    pub const LEN: usize = size_of::<RawEntry>();
}

/// An entry whose operations are bytes, sealed or not. That is how it is written to its places, and as
/// far as it can be proved without a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedEntry {
    pub header: EntryHeader,
    pub op_count: u32,
    body: Vec<u8>,
}

impl JournalEntry {
    /// Bytes the entry has before it is padded, where nothing is sealed.
    #[must_use]
    pub fn byte_len(&self) -> usize {
        EntryHeader::LEN + ops_bytes(&self.ops).len()
    }

    /// The entry padded to whole blocks, and its link: what the next entry names as its parent. The
    /// link does not depend on the place, so that the copies of an entry have the same.
    #[must_use]
    pub fn encode(&self, key: &ChecksumKey, pool: PoolId, place: Place) -> (Vec<u8>, [u8; 16]) {
        self.clone().clear().encode(key, pool, place)
    }

    /// Ready to be written, in a pool that is not encrypted.
    #[must_use]
    pub fn clear(self) -> SealedEntry {
        let op_count = self.ops.len() as u32;
        SealedEntry { header: self.header, op_count, body: ops_bytes(&self.ops) }
    }

    /// Verified entry and its link. The chain is checked by who knows the parent.
    pub fn decode(
        bytes: &[u8],
        key: &ChecksumKey,
        pool: PoolId,
        place: Place,
    ) -> Result<(Self, [u8; 16]), HeadFault> {
        let (entry, link) = SealedEntry::decode(bytes, key, pool, place)?;
        Ok((entry.open(pool, None)?, link))
    }
}

/// Operations one after another.
#[must_use]
pub fn ops_bytes(ops: &[Op]) -> Vec<u8> {
    let mut writer = Writer::new();
    ops.iter().for_each(|op| op.encode(&mut writer));
    writer.finish()
}

impl SealedEntry {
    /// An entry of these operations; with a key they are sealed under a salt that was just drawn.
    #[must_use]
    pub fn make(
        header: EntryHeader,
        op_count: u32,
        ops: Vec<u8>,
        pool: PoolId,
        seal: Option<(&DataKey, [u8; 16])>,
    ) -> Self {
        let mut entry = Self { header, op_count, body: Vec::new() };
        entry.body = match seal {
            None => ops,
            Some((key, salt)) => {
                let fields = entry.fields(ops.len() + ENTRY_OVERHEAD);
                key.seal_body(&entry.origin(pool, &fields), salt, &ops)
            }
        };
        entry
    }

    /// Bytes the entry has before it is padded.
    #[must_use]
    pub fn byte_len(&self) -> usize {
        EntryHeader::LEN + self.body.len()
    }

    /// What stands between head and body.
    fn fields(&self, body_len: usize) -> Vec<u8> {
        let mut raw =
            RawEntry::read_from_bytes(&[0; EntryHeader::LEN]).expect("size is asserted above");
        raw.parent = self.header.parent;
        raw.epoch = U64::new(self.header.epoch);
        raw.position = U64::new(self.header.position);
        raw.witnessed = U64::new(self.header.witnessed as u64);
        raw.body_len = U32::new(body_len as u32);
        raw.op_count = U32::new(self.op_count);
        raw.as_bytes()[Head::LEN..].to_vec()
    }

    fn origin<'a>(&self, pool: PoolId, fields: &'a [u8]) -> EntryOrigin<'a> {
        let EntryHeader { epoch, sequence, position, .. } = self.header;
        EntryOrigin { pool, epoch, sequence, position, fields }
    }

    /// The entry for one of its places, padded to whole blocks, and its link.
    #[must_use]
    pub fn encode(&self, key: &ChecksumKey, pool: PoolId, place: Place) -> (Vec<u8>, [u8; 16]) {
        let mut bytes = vec![0; Head::LEN];
        bytes.extend_from_slice(&self.fields(self.body.len()));
        bytes.extend_from_slice(&self.body);
        let sequence = self.header.sequence;
        Head::seal(&mut bytes, key, Magic::JournalEntry, pool, place, sequence);
        let link = link(sequence, &bytes[Head::LEN..]);
        bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
        (bytes, link)
    }

    /// Bytes the entry at the start of `block` says it has, padding excluded; not verified.
    pub fn peek_len(block: &[u8]) -> Result<usize, HeadFault> {
        Ok(Head::peek(block, Magic::JournalEntry)?.len.get() as usize)
    }

    /// Verified entry and its link, its operations still closed.
    pub fn decode(
        bytes: &[u8],
        key: &ChecksumKey,
        pool: PoolId,
        place: Place,
    ) -> Result<(Self, [u8; 16]), HeadFault> {
        let (head, covered) = Head::open(bytes, key, Magic::JournalEntry)?;
        head.expect(pool, place)?;
        let (raw, body) = RawEntry::read_from_prefix(covered)
            .map_err(|_| HeadFault::Len { found: head.len.get() })?;
        if raw.body_len.get() as usize != body.len() {
            return Err(HeadFault::Content);
        }
        let header = EntryHeader {
            sequence: head.sequence(),
            parent: raw.parent,
            epoch: raw.epoch.get(),
            position: raw.position.get(),
            witnessed: raw.witnessed.get() as i64,
        };
        let entry = Self { header, op_count: raw.op_count.get(), body: body.to_vec() };
        Ok((entry, link(head.sequence(), &covered[Head::LEN..])))
    }

    /// The operations, opened with the pool's key where it is encrypted.
    pub fn open(self, pool: PoolId, key: Option<&DataKey>) -> Result<JournalEntry, HeadFault> {
        let opened;
        let body = match key {
            None => &self.body,
            Some(key) => {
                let fields = self.fields(self.body.len());
                let origin = self.origin(pool, &fields);
                opened = key.open_body(&origin, &self.body).map_err(|_| HeadFault::Unsealable)?;
                &opened
            }
        };
        let mut reader = Reader::new(body);
        let ops = (0..self.op_count)
            .map(|_| Op::decode(&mut reader))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| HeadFault::Content)?;
        reader.finish().map_err(|_| HeadFault::Content)?;
        Ok(JournalEntry { header: self.header, ops })
    }
}

/// First half of BLAKE3 over sequence and everything behind the head, the parent's link included.
fn link(sequence: u64, behind_head: &[u8]) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&sequence.to_le_bytes()).update(behind_head);
    let mut link = [0; 16];
    link.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    link
}

impl RunRow {
    pub(super) fn encode(&self, writer: &mut Writer) {
        self.run.encode(writer);
        writer.raw(&self.session.0);
        writer.varint(self.ordinal);
        writer.u8(u8::from(self.moved));
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let run = RunRef::decode(reader)?;
        let session = SessionId(reader.array()?);
        let (ordinal, moved) = (reader.varint()?, decode_bool(reader)?);
        Ok(Self { run, session, ordinal, moved })
    }
}

impl PointRow {
    pub fn encode(&self, writer: &mut Writer) {
        writer.raw(&self.id.0);
        writer.raw(&self.source.0);
        writer.u8(u8::from(self.working));
        writer.signed(self.at);
        writer.signed(self.committed_at);
        writer.u8(self.result);
        writer.varint(self.recipe.0);
        writer.raw(self.recipe_digest.as_bytes());
        writer.varint(self.bytes_source);
        writer.varint(self.entry_count);
        writer.signed(self.trashed_until);
        writer.bytes(&self.attributes);
    }

    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            id: PointId(reader.array()?),
            source: SourceId(reader.array()?),
            working: decode_bool(reader)?,
            at: reader.signed()?,
            committed_at: reader.signed()?,
            result: reader.u8()?,
            recipe: ChunkNumber(reader.varint()?),
            recipe_digest: SpanDigest::from_bytes(reader.array()?),
            bytes_source: reader.varint()?,
            entry_count: reader.varint()?,
            trashed_until: reader.signed()?,
            attributes: reader.bytes(BLOB_LEN_MAX)?.to_vec(),
        })
    }
}

pub(super) fn decode_bool(reader: &mut Reader<'_>) -> Result<bool, DecodeError> {
    match reader.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(reader.undefined("flag", u64::from(other))),
    }
}

pub(super) fn decode_name(reader: &mut Reader<'_>) -> Result<String, DecodeError> {
    let bytes = reader.bytes(NAME_LEN_MAX)?;
    String::from_utf8(bytes.to_vec()).map_err(|_| reader.undefined("name encoding", 0))
}

pub(super) fn fields() -> super::raw::Fields {
    super::raw::fields!(RawEntry: head, parent, epoch, position, witnessed, body_len, op_count)
}

#[cfg(test)]
mod tests;
