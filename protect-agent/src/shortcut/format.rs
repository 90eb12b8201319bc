//! Bytes of the entries file: a magic, then blocks.
//!
//! | part | bytes |
//! |---|---|
//! | magic | `KHAGENT1` |
//! | block | payload length u32, entry count u32, CRC-32 of both and the payload u32, payload |
//! | payload | per entry: path as shared length and rest (the first of a block shares nothing), trusted u8, identity, digest 8 |
//!
//! Entries stand in the order of the basis: the index of an entry is its ordinal there.

use keelhold_chunk::entry::PATH_LEN_MAX;
use keelhold_chunk::{DecodeError, Reader, Writer};
use keelhold_tree::Identity;
use thiserror::Error;

use super::Record;

pub(crate) const MAGIC: &[u8; 8] = b"KHAGENT1";
pub(crate) const BLOCK_HEADER_LEN: usize = 12;
/// Payload length at which a block is closed.
pub(crate) const BLOCK_LEN_TARGET: usize = 64 << 10;
/// One entry may come after the target is nearly reached.
pub(crate) const BLOCK_LEN_MAX: usize = BLOCK_LEN_TARGET + PATH_LEN_MAX + 1024;

/// Why the rest of the file tells nothing. The file is a cache, so this is never a failure.
#[derive(Debug, Error)]
pub enum Damage {
    #[error("the file could not be read")]
    Read(#[source] std::io::Error),
    #[error("the file does not begin as it should")]
    Magic,
    #[error("a block of {len} bytes is longer than any that was written")]
    BlockLen { len: u32 },
    #[error("a block's checksum does not match")]
    Checksum,
    #[error("a block's content is malformed")]
    Malformed(#[from] DecodeError),
}

pub(crate) fn put_entry(writer: &mut Writer, last: &[u8], path: &[u8], record: &Record) {
    let shared = last.iter().zip(path).take_while(|(l, r)| l == r).count();
    writer.varint(shared as u64);
    writer.bytes(&path[shared..]);
    writer.u8(u8::from(record.trusted));
    record.identity.encode(writer);
    writer.raw(&record.digest);
}

/// Turns `path` from the entry before into this one's.
pub(crate) fn take_entry(
    reader: &mut Reader<'_>,
    path: &mut Vec<u8>,
) -> Result<Record, DecodeError> {
    let shared = reader.count(path.len())?;
    let rest = reader.bytes(PATH_LEN_MAX - shared)?;
    path.truncate(shared);
    path.extend_from_slice(rest);
    let trusted = match reader.u8()? {
        0 => false,
        1 => true,
        other => return Err(reader.undefined("trusted", u64::from(other))),
    };
    Ok(Record { identity: Identity::decode(reader)?, trusted, digest: reader.array()? })
}

pub(crate) fn block_header(payload: &[u8], count: u32) -> [u8; BLOCK_HEADER_LEN] {
    let mut header = [0; BLOCK_HEADER_LEN];
    header[..4].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    header[4..8].copy_from_slice(&count.to_le_bytes());
    let crc = block_checksum(&header[..8], payload);
    header[8..].copy_from_slice(&crc.to_le_bytes());
    header
}

pub(crate) fn block_checksum(head: &[u8], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(head);
    hasher.update(payload);
    hasher.finalize()
}
