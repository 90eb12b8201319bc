//! The one valid byte form of a set of numbers: the portable serialisation of Roaring
//! (<https://github.com/RoaringBitmap/RoaringFormatSpec>, 64-bit extension) behind its length, each
//! container in the smallest of its three shapes.

use keelhold_chunk::{Reader, Writer};
use roaring::RoaringTreemap;

use super::{SET_LEN_MAX, SetError};
use crate::units::ChunkNumber;

/// A set keeps the shapes its history gave it. Taking runs apart before choosing again makes the
/// choice depend on the members alone.
fn settle(set: &RoaringTreemap) -> RoaringTreemap {
    let bitmaps = set.bitmaps().filter(|(_, bitmap)| !bitmap.is_empty());
    RoaringTreemap::from_bitmaps(bitmaps.map(|(high, bitmap)| {
        let mut bitmap = bitmap.clone();
        bitmap.remove_run_compression();
        bitmap.optimize();
        (high, bitmap)
    }))
}

/// What is in both. The operator of the crate copies the larger of two borrowed sets, which here
/// would make a small change cost as much as all it is applied to.
pub(crate) fn common(left: &RoaringTreemap, right: &RoaringTreemap) -> RoaringTreemap {
    let (small, large) = if left.len() <= right.len() { (left, right) } else { (right, left) };
    let mut common = small.clone();
    common &= large;
    common
}

fn serialise(set: &RoaringTreemap) -> Vec<u8> {
    let settled = settle(set);
    let mut bytes = Vec::with_capacity(settled.serialized_size());
    settled.serialize_into(&mut bytes).expect("memory takes every write");
    bytes
}

pub(super) fn encode(set: &RoaringTreemap, writer: &mut Writer) {
    if set.is_empty() {
        return writer.varint(0);
    }
    writer.bytes(&serialise(set));
}

pub(super) fn decode(reader: &mut Reader<'_>) -> Result<RoaringTreemap, SetError> {
    let bytes = reader.bytes(SET_LEN_MAX)?;
    if bytes.is_empty() {
        return Ok(RoaringTreemap::new());
    }
    let malformed = SetError::Bitmap { len: bytes.len() };
    let set = RoaringTreemap::deserialize_from(bytes).map_err(|_| malformed)?;
    // The crate checks order and bounds, not the choice of shapes nor the counts beside runs.
    if set.is_empty() || serialise(&set) != bytes {
        return Err(malformed);
    }
    match set.max() {
        Some(number) if number >= ChunkNumber::LIMIT => Err(SetError::NumberTooLarge { number }),
        _ => Ok(set),
    }
}

/// A set that [`encode`] of this very process wrote, or [`decode`] has seen before.
pub(super) fn decode_own(reader: &mut Reader<'_>) -> RoaringTreemap {
    let bytes = reader.bytes(SET_LEN_MAX).unwrap_or_default();
    match bytes.is_empty() {
        true => RoaringTreemap::new(),
        false => RoaringTreemap::deserialize_unchecked_from(bytes).expect("written by ourselves"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes_of(set: &RoaringTreemap) -> Vec<u8> {
        let mut writer = Writer::new();
        encode(set, &mut writer);
        writer.finish()
    }

    #[test]
    fn the_history_of_a_set_does_not_show_in_its_bytes() {
        let mut by_runs = RoaringTreemap::new();
        by_runs.insert_range(10..9_000);
        by_runs.insert_range((1 << 33)..(1 << 33) + 5);
        by_runs.optimize();
        let mut one_by_one: RoaringTreemap = (10..9_001).collect();
        one_by_one.remove(9_000);
        one_by_one.extend((1 << 33)..(1 << 33) + 5);
        one_by_one.insert(1 << 36);
        one_by_one.remove(1 << 36);
        assert_eq!(bytes_of(&by_runs), bytes_of(&one_by_one));
        let bytes = bytes_of(&by_runs);
        assert_eq!(decode(&mut Reader::new(&bytes)), Ok(one_by_one));
    }

    #[test]
    fn another_form_of_the_same_set_is_refused() {
        let set: RoaringTreemap = (10..9_000).collect();
        let mut plain = Vec::new();
        set.serialize_into(&mut plain).unwrap();
        let mut writer = Writer::new();
        writer.bytes(&plain);
        let bytes = writer.finish();
        let len = plain.len();
        assert_eq!(decode(&mut Reader::new(&bytes)), Err(SetError::Bitmap { len }));
    }

    #[test]
    fn numbers_no_pool_gives_are_refused() {
        let set: RoaringTreemap = [1, ChunkNumber::LIMIT].into_iter().collect();
        let number = ChunkNumber::LIMIT;
        assert_eq!(
            decode(&mut Reader::new(&bytes_of(&set))),
            Err(SetError::NumberTooLarge { number })
        );
    }
}
