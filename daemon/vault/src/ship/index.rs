//! Leaves of the index from entries, and how small index objects are joined.
//!
//! A shipment's entries are joined with those of the index objects before it as long as these are small
//! and not twice as many: so small ones double from the newest to the oldest, and there are never more
//! than seventeen of them; all others have 65,536 entries or more. Only neighbours by rank are joined,
//! so what replaced something still does.

use std::collections::HashMap;

use bytes::Bytes;
use roaring::RoaringTreemap;

use crate::format::{
    Class, Index, LEAF_ENTRIES_MAX, Leaf, LeafEntry, LeafFrame, LeafPlace, ObjectKind, ObjectRef,
    PlainFrame, SealedObject, Shape, pack,
};
use crate::ids::{Entry, Ids, IdsError};
use crate::keys::MasterKey;
use crate::pack::{Drawn, LAST_STEP};
use crate::units::{ManifestNumber, ObjectId, PoolId};

/// Index objects of so many entries are joined with nothing.
pub(crate) const FULL_ENTRIES: u64 = 64 << 10;
/// A leaf of fewer entries goes on over numbers of other leaves: the alternative is a leaf for each.
const LEAF_ENTRIES_MIN: usize = 64;
/// Leaves of one object, compressed.
const INDEX_LEN_MAX: usize = 24 << 20;
/// Ids do not compress, the rest does; a higher level finds little more.
const LEVEL: i32 = 3;

/// The newest index objects that so many new entries are joined with, the newest first.
pub(crate) fn to_join(indexes: &[Index], ids: &Ids, new: usize) -> Vec<ObjectId> {
    let (mut count, mut joined) = (new as u64, Vec::new());
    for index in indexes.iter().rev() {
        let own = ids.entry_count(index.object.object);
        if own >= FULL_ENTRIES || own >= 2 * count {
            break;
        }
        count += own;
        joined.push(index.object.object);
    }
    joined
}

/// Entries in the order of leaves, each number once: what is newer counts.
pub(crate) fn merged(
    newest: Vec<Entry>,
    joined: &[ObjectId],
    ids: &Ids,
) -> Result<Vec<Entry>, IdsError> {
    let mut all = newest;
    for index in joined {
        all.extend(ids.entries(*index)?);
    }
    // Stable: of equal numbers the newer one stands first.
    all.sort_by_key(|entry| (entry.pool, entry.number));
    all.dedup_by_key(|entry| (entry.pool, entry.number));
    Ok(all)
}

/// Cuts sorted entries into leaves. `others` has the numbers of a pool in all other index objects.
pub(crate) fn leaves(
    entries: &[Entry],
    mut others: impl FnMut(PoolId) -> RoaringTreemap,
) -> Vec<Leaf> {
    let mut leaves = Vec::new();
    for of_pool in entries.chunk_by(|left, right| left.pool == right.pool) {
        let others = others(of_pool[0].pool);
        let mut begin = 0;
        for at in 1..=of_pool.len() {
            let len = at - begin;
            let ends = at == of_pool.len()
                || len == LEAF_ENTRIES_MAX
                || len >= LEAF_ENTRIES_MIN
                    && lies_between(&others, of_pool[at - 1].number, of_pool[at].number);
            if ends {
                leaves.push(leaf(&of_pool[begin..at]));
                begin = at;
            }
        }
    }
    leaves
}

fn lies_between(others: &RoaringTreemap, low: u64, high: u64) -> bool {
    high - low > 1 && others.rank(high - 1) > others.rank(low)
}

fn leaf(entries: &[Entry]) -> Leaf {
    let (mut objects, mut frames) = (Vec::<ObjectRef>::new(), Vec::<LeafFrame>::new());
    let (mut object_rows, mut frame_rows) = (HashMap::new(), HashMap::new());
    let rows = entries
        .iter()
        .map(|entry| {
            let place = &entry.place;
            let object = *object_rows.entry(place.object.object).or_insert_with(|| {
                objects.push(place.object);
                objects.len() - 1
            });
            let frame = *frame_rows.entry((object, place.frame.index)).or_insert_with(|| {
                frames.push(LeafFrame { object: object as u16, place: place.frame });
                frames.len() - 1
            });
            LeafEntry {
                number: entry.number,
                id: entry.id,
                frame: frame as u16,
                kind: entry.kind,
                start: place.start,
                len: place.len,
            }
        })
        .collect();
    Leaf { pool: entries[0].pool, objects, frames, entries: rows }
}

/// An index object ready to be sent, and the row that names it. Its rank is set when the manifest is.
#[derive(Debug)]
pub(crate) struct SealedIndex {
    pub index: Index,
    pub bytes: Bytes,
    /// How many of the entries are in it, in their order.
    pub entry_count: usize,
}

/// How many objects the leaves will be: their lengths are known when they are compressed.
pub(crate) fn packed(leaves: &[Leaf]) -> Vec<Vec<PlainFrame>> {
    let (mut objects, mut len) = (vec![Vec::new()], 0);
    for leaf in leaves {
        let plain = leaf.to_bytes();
        let (codec, packed) = pack(&plain, LEVEL);
        if len + packed.len() > INDEX_LEN_MAX {
            objects.push(Vec::new());
            len = 0;
        }
        len += packed.len();
        let frame = PlainFrame { codec, plain_len: plain.len() as u32, packed };
        objects.last_mut().expect("there is one").push(frame);
    }
    objects
}

/// Seals the objects: each has so many leaves as it has frames.
pub(crate) fn seal(
    master: &MasterKey,
    shipment: ManifestNumber,
    leaves: &[Leaf],
    packed: &[Vec<PlainFrame>],
    drawn: Vec<Drawn>,
) -> Vec<SealedIndex> {
    let mut rest = leaves;
    let one = |(frames, drawn): (&Vec<PlainFrame>, Drawn)| {
        let (own, others) = rest.split_at(frames.len());
        rest = others;
        seal_one(master, shipment, own, frames, drawn)
    };
    packed.iter().zip(drawn).map(one).collect()
}

fn seal_one(
    master: &MasterKey,
    shipment: ManifestNumber,
    leaves: &[Leaf],
    frames: &[PlainFrame],
    drawn: Drawn,
) -> SealedIndex {
    let (kind, class, pool) = (ObjectKind::Index, Class::ZERO, PoolId([0; 16]));
    let shape = Shape { kind, class, shipment, pool, pad_to: LAST_STEP };
    let sealed = SealedObject::seal(master, &shape, frames.to_vec(), &[], &mut drawn.spent());
    let place = |(leaf, frame): (&Leaf, _)| {
        let (first, last) = leaf.range().expect("a leaf has entries");
        LeafPlace { pool: leaf.pool, first, last, frame }
    };
    let places = leaves.iter().zip(sealed.frames).map(place).collect();
    SealedIndex {
        index: Index { object: sealed.object, rank: shipment.0, leaves: places },
        bytes: Bytes::from(sealed.bytes),
        entry_count: leaves.iter().map(|leaf| leaf.entries.len()).sum(),
    }
}
