//! Names of chunks and digests over them.
//!
//! Both are BLAKE3 (<https://github.com/BLAKE3-team/BLAKE3-specs>) keyed with the appliance's id key.
//! Whoever lacks the key can neither test whether a known file is stored nor prepare a collision.

use std::fmt;

/// The content name of a chunk: 32 bytes of keyed BLAKE3. Only [`IdKey::id`] makes one from content;
/// [`ChunkId::from_bytes`] is for decoders.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkId([u8; 32]);

impl ChunkId {
    pub const LEN: usize = 32;

    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..6].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Digest over the ids of the chunks of one span, in order: 16 bytes of keyed BLAKE3.
///
/// A recipe carries it beside the numbers of a span, so a table that gives a number to another chunk
/// is noticed before a byte of that chunk is served. Sixteen bytes: what has to be resisted is a
/// wrong table, and a second preimage of 128 bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpanDigest([u8; 16]);

impl SpanDigest {
    pub const LEN: usize = 16;

    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for SpanDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..6].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The appliance's id key. Made once, handed to agents for the length of a session, never changed:
/// under another key every chunk would have another name and be stored again.
#[derive(Clone, PartialEq, Eq)]
pub struct IdKey {
    key: [u8; 32],
    span_key: [u8; 32],
}

impl IdKey {
    #[must_use]
    pub fn new(key: [u8; 32]) -> Self {
        // A key of its own, so that a chunk which happens to hold a list of ids proves nothing.
        Self { key, span_key: blake3::derive_key("keelhold 2026 span digest", &key) }
    }

    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.key
    }

    #[must_use]
    pub fn id(&self, content: &[u8]) -> ChunkId {
        ChunkId(*blake3::keyed_hash(&self.key, content).as_bytes())
    }

    #[must_use]
    pub fn span_digest<'a>(&self, ids: impl IntoIterator<Item = &'a ChunkId>) -> SpanDigest {
        let mut hasher = blake3::Hasher::new_keyed(&self.span_key);
        for id in ids {
            hasher.update(id.as_bytes());
        }
        let mut digest = [0; 16];
        digest.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        SpanDigest(digest)
    }
}

impl fmt::Debug for IdKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdKey(secret)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn test_key() -> IdKey {
        let mut key = [0; 32];
        for (place, byte) in key.iter_mut().zip(0u8..) {
            *place = byte;
        }
        IdKey::new(key)
    }

    /// Ids are format: a change here orphans every pool.
    #[test]
    fn ids_and_digests_are_pinned() {
        let key = test_key();
        let empty = key.id(b"");
        let text = key.id(b"keelhold");
        assert_eq!(
            text.to_string(),
            blake3::keyed_hash(key.as_bytes(), b"keelhold").to_hex().to_string()
        );
        assert_ne!(key.span_digest([&empty, &text]), key.span_digest([&text, &empty]));
        assert_ne!(IdKey::new([9; 32]).id(b"keelhold"), text);
    }

    #[test]
    fn the_key_is_not_printed() {
        assert_eq!(format!("{:?}", test_key()), "IdKey(secret)");
    }
}
