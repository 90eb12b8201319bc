//! Every byte of a vault: VAULT.md, sections 3 to 6.
//!
//! Decoders believe nothing: lengths and counts are bounded before anything is allocated, reserved
//! bytes are zero, rows stand in the one order an encoder writes. Encoders assert the same before a
//! byte leaves.

mod codec;
mod leaf;
mod manifest;
mod name;
mod object;
mod record;
mod rows;

use thiserror::Error;

use crate::keys::SlotsFault;
use crate::units::{ObjectId, VaultId};

pub use codec::{Codec, LEVEL, pack, unpack};
pub use leaf::{LEAF_ENTRIES_MAX, Leaf, LeafEntry, LeafFrame};
pub use manifest::{
    ClearManifest, Index, LeafPlace, Link, Lock, Manifest, MergeFault, Parent, Point, RecordObject,
};
pub use name::{Name, NameFault};
pub use object::{
    ClearObject, Directory, ObjectChunk, ObjectHead, ObjectKey, PlainFrame, SealedObject, Shape,
    object_len,
};
pub(crate) use object::{OBJECT_CHUNKS_MAX, OBJECT_FRAMES_MAX};
pub use record::{RecordEntry, RecordWhat, decode_records, encode_records};
pub use rows::{Class, FramePlace, ObjectKind, ObjectRef, Place};

pub const VERSION: u16 = 1;
/// Longest frame, before compression.
pub const FRAME_PLAIN_MAX: usize = 2 << 20;
/// Longest object: 64 MiB and what pads it.
pub const OBJECT_LEN_MAX: usize = 65 << 20;
/// Longest body of a manifest.
pub const BODY_LEN_MAX: usize = 64 << 20;

/// Why bytes are not what they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum FormatFault {
    #[error("this is no object of a vault (begins with {found:#010x})")]
    Magic { found: u32 },
    #[error("format version {found}, this program reads {VERSION}")]
    Version { found: u16 },
    #[error("{found} bytes, {expected} are expected")]
    Len { expected: u64, found: u64 },
    #[error("{what}: {found} where at most {limit} are allowed")]
    Limit { what: &'static str, found: u64, limit: u64 },
    #[error("the checksum of the head does not match")]
    Checksum,
    #[error("the bytes behind the head are not those that were written")]
    BodyHash,
    #[error("belongs to vault {found}")]
    Vault { found: VaultId },
    #[error("is object {found}")]
    Object { found: ObjectId },
    #[error("reserved bytes of {what} are not zero")]
    Reserved { what: &'static str },
    #[error("{what} cannot be")]
    Content { what: &'static str },
    #[error("sealed under master key {found}, the one at hand has another number")]
    KeyNumber { found: u32 },
    #[error("sealed under another master key")]
    MasterKey,
    #[error("sealed bytes were altered or belong elsewhere")]
    Unsealable,
    #[error("compressed bytes do not give what they should")]
    Compressed,
    #[error("key slots cannot be: {0}")]
    Slots(#[source] SlotsFault),
}

fn limited(what: &'static str, found: u64, limit: u64) -> Result<usize, FormatFault> {
    match usize::try_from(found) {
        Ok(count) if found <= limit => Ok(count),
        _ => Err(FormatFault::Limit { what, found, limit }),
    }
}

/// First half of an unkeyed hash: against damage, not against people.
fn checksum(parts: &[&[u8]]) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(part);
    }
    let mut checksum = [0; 16];
    checksum.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    checksum
}

#[cfg(test)]
mod tests;
#[cfg(all(test, feature = "mutants"))]
pub(crate) use tests::frames_stay_where_they_are;
