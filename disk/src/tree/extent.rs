//! Stretches of a file's content.

use keelhold_chunk::{ChunkId, DecodeError, IdKey, Reader, SpanDigest, Writer};

use super::ResolvedExtent;
use crate::units::ChunkNumber;

/// Most chunks of a span. A span also never crosses a multiple of this number: where a long run of
/// chunks is divided then depends on their numbers alone, and a change in the middle of a file
/// leaves the spans behind it as they were.
pub const SPAN_COUNT_MAX: u16 = 256;
const SPAN_COUNT_MAX_U64: u64 = SPAN_COUNT_MAX as u64;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Extent {
    /// `count` chunks of consecutive numbers, `len` plain bytes in all. The digest is over their ids
    /// in this order.
    Span { first: ChunkNumber, count: u16, len: u64, digest: SpanDigest },
    /// Bytes that were never written and read as zeros.
    Hole { len: u64 },
}

impl Extent {
    #[must_use]
    pub fn len(&self) -> u64 {
        match self {
            Self::Span { len, .. } | Self::Hole { len } => *len,
        }
    }

    /// Never true of an extent of a tree.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What decides whether a page of extents ends before this one: digests are evenly spread.
    pub(super) fn hash(&self) -> u32 {
        match self {
            Self::Span { digest, .. } => digest_hash(digest),
            Self::Hole { .. } => u32::MAX,
        }
    }

    /// `expected` is the number after the span before, in the same page; kept up to date here.
    pub(super) fn encode(&self, expected: &mut u64, writer: &mut Writer) {
        match self {
            Self::Hole { len } => {
                writer.varint(0);
                writer.varint(*len);
            }
            Self::Span { first, count, len, digest } => {
                writer.varint(u64::from(*count));
                writer.signed(first.0.wrapping_sub(*expected) as i64);
                writer.varint(*len);
                writer.raw(digest.as_bytes());
                *expected = first.0 + u64::from(*count);
            }
        }
    }

    pub(super) fn decode(expected: &mut u64, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let count = reader.varint()?;
        if count == 0 {
            return match reader.varint()? {
                0 => Err(reader.undefined("length of a hole", 0)),
                len => Ok(Self::Hole { len }),
            };
        }
        let first = expected.wrapping_add(reader.signed()? as u64);
        let room = SPAN_COUNT_MAX_U64 - first % SPAN_COUNT_MAX_U64;
        if count > room || first > ChunkNumber::LIMIT - SPAN_COUNT_MAX_U64 {
            return Err(reader.undefined("count of a span", count));
        }
        let len = reader.varint()?;
        if len < count {
            return Err(reader.undefined("length of a span", len));
        }
        let digest = SpanDigest::from_bytes(reader.array()?);
        *expected = first + count;
        Ok(Self::Span { first: ChunkNumber(first), count: count as u16, len, digest })
    }
}

pub(super) fn digest_hash(digest: &SpanDigest) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&digest.as_bytes()[..4]);
    u32::from_le_bytes(word)
}

/// Joins chunks of consecutive numbers to spans, and holes to holes.
#[derive(Debug)]
pub(super) struct ExtentJoiner {
    key: IdKey,
    ids: Vec<ChunkId>,
    first: u64,
    /// Plain bytes of the open span, or of the open hole while `ids` is empty.
    len: u64,
}

/// Which chunk cannot be part of a file, or none: a hole cannot.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unsound(pub Option<ChunkNumber>);

impl ExtentJoiner {
    pub fn new(key: IdKey) -> Self {
        Self { key, ids: Vec::new(), first: 0, len: 0 }
    }

    /// Takes the next stretch; gives the extent that ended before it.
    pub fn push(&mut self, next: ResolvedExtent) -> Result<Option<Extent>, Unsound> {
        match next {
            ResolvedExtent::Hole(len) => self.push_hole(len).ok_or(Unsound(None)),
            ResolvedExtent::Chunk { number, id, len } => {
                if len == 0 || number.0 > ChunkNumber::LIMIT - SPAN_COUNT_MAX_U64 {
                    return Err(Unsound(Some(number)));
                }
                let joins = !self.ids.is_empty()
                    && number.0 == self.first + self.ids.len() as u64
                    && !number.0.is_multiple_of(SPAN_COUNT_MAX_U64);
                let ended = if joins { None } else { self.finish() };
                if self.ids.is_empty() {
                    self.first = number.0;
                }
                self.ids.push(id);
                // 256 lengths of 32 bits.
                self.len += u64::from(len);
                Ok(ended)
            }
        }
    }

    fn push_hole(&mut self, len: u64) -> Option<Option<Extent>> {
        if len == 0 {
            return None;
        }
        let ended = if self.ids.is_empty() { None } else { self.finish() };
        self.len = self.len.checked_add(len)?;
        Some(ended)
    }

    /// The open extent, if there is one.
    pub fn finish(&mut self) -> Option<Extent> {
        let len = std::mem::take(&mut self.len);
        if self.ids.is_empty() {
            return (len > 0).then_some(Extent::Hole { len });
        }
        let digest = self.key.span_digest(&self.ids);
        let count = self.ids.len() as u16;
        self.ids.clear();
        Some(Extent::Span { first: ChunkNumber(self.first), count, len, digest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(number: u64) -> ResolvedExtent {
        let id = IdKey::new([1; 32]).id(&number.to_le_bytes());
        ResolvedExtent::Chunk { number: ChunkNumber(number), id, len: 10 }
    }

    fn joined(parts: &[ResolvedExtent]) -> Vec<Extent> {
        let mut joiner = ExtentJoiner::new(IdKey::new([1; 32]));
        let mut extents = Vec::new();
        for part in parts {
            extents.extend(joiner.push(*part).unwrap());
        }
        extents.extend(joiner.finish());
        extents
    }

    #[test]
    fn a_change_in_a_run_leaves_the_spans_behind_it() {
        let before: Vec<_> = (100..2_000).map(chunk).collect();
        let mut after = before.clone();
        after[300] = chunk(90_000);
        let (before, after) = (joined(&before), joined(&after));
        let shared = after.iter().filter(|extent| before.contains(extent)).count();
        assert_eq!((before.len(), after.len(), shared), (8, 10, 7));
    }

    #[test]
    fn extents_come_back() {
        let hole = ResolvedExtent::Hole(1 << 50);
        let parts =
            [hole, hole, chunk(255), chunk(256), chunk(257), hole, chunk(258), chunk(7), chunk(7)];
        let extents = joined(&parts);
        assert_eq!(extents.len(), 7);
        assert_eq!(extents[0], Extent::Hole { len: 1 << 51 });
        let mut writer = Writer::new();
        let mut expected = 0;
        extents.iter().for_each(|extent| extent.encode(&mut expected, &mut writer));
        let bytes = writer.finish();
        let (mut reader, mut expected) = (Reader::new(&bytes), 0);
        for extent in extents {
            assert_eq!(Extent::decode(&mut expected, &mut reader), Ok(extent));
        }
        assert!(reader.is_at_end());
    }

    #[test]
    fn impossible_stretches_are_refused() {
        let mut joiner = ExtentJoiner::new(IdKey::new([1; 32]));
        let number = ChunkNumber(ChunkNumber::LIMIT);
        assert_eq!(joiner.push(chunk(number.0)), Err(Unsound(Some(number))));
        assert_eq!(joiner.push(ResolvedExtent::Hole(0)), Err(Unsound(None)));
        assert_eq!(joiner.push(ResolvedExtent::Hole(u64::MAX)), Ok(None));
        assert_eq!(joiner.push(ResolvedExtent::Hole(1)), Err(Unsound(None)));
    }
}
