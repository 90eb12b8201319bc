//! The body of a manifest: tables of fixed rows, then texts.

use zerocopy::little_endian::{I64, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{Index, LeafPlace, Link, Lock, Manifest, Parent, Point, RecordObject};
use crate::format::codec::Codec;
use crate::format::rows::{
    Class, FramePlace, ObjectKind, ObjectRef, Place, RawObjectRow, RawPlaceRow, take_rows,
};
use crate::format::{FormatFault, limited};
use crate::units::{ManifestNumber, ObjectId, PointId, PoolId, SourceId};

const ROOT_LEN_MAX: u64 = 256;
const ATTRIBUTES_LEN_MAX: u64 = 64 << 10;
const RECORD_OBJECTS_MAX: usize = 8;
const CLASSES: usize = 16;

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawBody {
    parent_number: U64,
    parent: [u8; 32],
    base_number: U64,
    base: [u8; 32],
    made_at: I64,
    witnessed: I64,
    pool_count: U32,
    object_count: U32,
    point_count: U32,
    gone_point_count: U32,
    gone_object_count: U32,
    index_count: U32,
    leaf_count: U32,
    record_count: U32,
    lock_count: U32,
    text_len: U32,
}

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawPoint {
    point: [u8; 16],
    source: [u8; 16],
    pool: U32,
    result: u8,
    class: u8,
    reserved: [u8; 2],
    at: I64,
    committed_at: I64,
    recipe_number: U64,
    recipe_digest: [u8; 16],
    bytes_source: U64,
    entry_count: U64,
    root_len: U32,
    attributes_len: U32,
    recipe: RawPlaceRow,
    root: RawPlaceRow,
}

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawIndex {
    object: U32,
    leaf_count: U32,
    rank: U64,
}

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawLeaf {
    first: U64,
    last: U64,
    pool: U32,
    index: U32,
    offset: U32,
    stored_len: U32,
    plain_len: U32,
    codec: u8,
    reserved: [u8; 3],
}

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawRecord {
    object: U32,
    frame_count: U32,
    rank: U64,
}

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawLock {
    class: u8,
    reserved: [u8; 7],
    until: I64,
}

const _: () = assert!(size_of::<RawBody>() == 136 && size_of::<RawPoint>() == 168);
const _: () = assert!(size_of::<RawIndex>() == 16 && size_of::<RawLeaf>() == 40);
const _: () = assert!(size_of::<RawRecord>() == 16 && size_of::<RawLock>() == 16);

/// Things that rows refer to by their place in a table, in order of their first use.
struct Table<T> {
    rows: Vec<T>,
    places: std::collections::HashMap<T, u32>,
}

impl<T: Copy + Eq + std::hash::Hash> Table<T> {
    fn new() -> Self {
        Self { rows: Vec::new(), places: std::collections::HashMap::new() }
    }

    fn row(&mut self, thing: T) -> U32 {
        let next = self.rows.len() as u32;
        let place = *self.places.entry(thing).or_insert(next);
        if place == next {
            self.rows.push(thing);
        }
        U32::new(place)
    }
}

/// A table that is read: every row is used, and rows stand in the order of their first use.
struct Rows<T> {
    rows: Vec<T>,
    used: usize,
}

impl<T: Copy> Rows<T> {
    fn get(&mut self, place: u32) -> Result<T, FormatFault> {
        let place = place as usize;
        let found = self.rows.get(place).filter(|_| place <= self.used);
        self.used = self.used.max(place + 1);
        found.copied().ok_or(FormatFault::Content { what: "reference to a table" })
    }

    fn finish(self) -> Result<(), FormatFault> {
        let is_used = self.used == self.rows.len();
        if is_used { Ok(()) } else { Err(FormatFault::Content { what: "row that nothing uses" }) }
    }
}

fn number_of(other: Option<Parent>) -> (U64, [u8; 32]) {
    other.map_or((U64::ZERO, [0; 32]), |other| (U64::new(other.number.0), other.link.0))
}

fn other(number: U64, link: [u8; 32], own: ManifestNumber) -> Result<Option<Parent>, FormatFault> {
    match (number.get(), link == [0; 32]) {
        (0, true) => Ok(None),
        (number, false) if (1..own.0).contains(&number) => {
            Ok(Some(Parent { number: ManifestNumber(number), link: Link(link) }))
        }
        _ => Err(FormatFault::Content { what: "parent or base of a manifest" }),
    }
}

pub(in crate::format) fn encode(manifest: &Manifest) -> Vec<u8> {
    check(manifest).expect("a manifest is sound before it is written");
    let (mut pools, mut objects) = (Table::new(), Table::new());
    let (mut rows, mut texts) = (Vec::new(), Vec::new());
    for point in &manifest.points {
        let raw = raw_point(point, &mut pools, &mut objects);
        rows.extend_from_slice(raw.as_bytes());
        texts.extend_from_slice(&point.root);
        texts.extend_from_slice(&point.attributes);
    }
    manifest.gone_points.iter().for_each(|point| rows.extend_from_slice(&point.0));
    manifest.gone_objects.iter().for_each(|object| rows.extend_from_slice(&object.0));
    for index in &manifest.indexes {
        let object = objects.row(index.object);
        let (leaf_count, rank) = (U32::new(index.leaves.len() as u32), U64::new(index.rank));
        rows.extend_from_slice(RawIndex { object, leaf_count, rank }.as_bytes());
    }
    let leaves: Vec<&LeafPlace> = manifest.indexes.iter().flat_map(|i| &i.leaves).collect();
    for leaf in &leaves {
        rows.extend_from_slice(raw_leaf(leaf, pools.row(leaf.pool)).as_bytes());
    }
    for record in &manifest.records {
        let (frame_count, rank) = (U32::new(record.frame_count), U64::new(record.rank));
        let raw = RawRecord { object: objects.row(record.object), frame_count, rank };
        rows.extend_from_slice(raw.as_bytes());
    }
    for lock in &manifest.locks {
        let (class, until) = (lock.class.code(), I64::new(lock.until));
        rows.extend_from_slice(RawLock { class, reserved: [0; 7], until }.as_bytes());
    }
    let (parent_number, parent) = number_of(manifest.parent);
    let (base_number, base) = number_of(manifest.base);
    let count = |len: usize| U32::new(u32::try_from(len).expect("a body is shorter than 64 MiB"));
    let head = RawBody {
        parent_number,
        parent,
        base_number,
        base,
        made_at: I64::new(manifest.made_at),
        witnessed: I64::new(manifest.witnessed),
        pool_count: count(pools.rows.len()),
        object_count: count(objects.rows.len()),
        point_count: count(manifest.points.len()),
        gone_point_count: count(manifest.gone_points.len()),
        gone_object_count: count(manifest.gone_objects.len()),
        index_count: count(manifest.indexes.len()),
        leaf_count: count(leaves.len()),
        record_count: count(manifest.records.len()),
        lock_count: count(manifest.locks.len()),
        text_len: count(texts.len()),
    };
    let mut body = head.as_bytes().to_vec();
    pools.rows.iter().for_each(|pool| body.extend_from_slice(&pool.0));
    objects.rows.iter().for_each(|object| body.extend_from_slice(object.to_raw().as_bytes()));
    body.extend_from_slice(&rows);
    body.extend_from_slice(&texts);
    body
}

fn raw_point(point: &Point, pools: &mut Table<PoolId>, objects: &mut Table<ObjectRef>) -> RawPoint {
    let mut place = |place: &Place| RawPlaceRow::new(objects.row(place.object).get(), place);
    RawPoint {
        point: point.point.0,
        source: point.source.0,
        pool: pools.row(point.pool),
        result: u8::from(point.is_partial),
        class: point.class.code(),
        reserved: [0; 2],
        at: I64::new(point.at),
        committed_at: I64::new(point.committed_at),
        recipe_number: U64::new(point.recipe_number),
        recipe_digest: point.recipe_digest,
        bytes_source: U64::new(point.bytes_source),
        entry_count: U64::new(point.entry_count),
        root_len: U32::new(point.root.len() as u32),
        attributes_len: U32::new(point.attributes.len() as u32),
        recipe: place(&point.recipe),
        root: point.root_page.as_ref().map_or_else(RawPlaceRow::nowhere, place),
    }
}

fn raw_leaf(leaf: &LeafPlace, pool: U32) -> RawLeaf {
    RawLeaf {
        first: U64::new(leaf.first),
        last: U64::new(leaf.last),
        pool,
        index: U32::new(leaf.frame.index),
        offset: U32::new(leaf.frame.offset),
        stored_len: U32::new(leaf.frame.stored_len),
        plain_len: U32::new(leaf.frame.plain_len),
        codec: leaf.frame.codec as u8,
        reserved: [0; 3],
    }
}

pub(in crate::format) fn decode(
    number: ManifestNumber,
    plain: &[u8],
) -> Result<Manifest, FormatFault> {
    let mut rest = plain;
    let head = take_rows::<RawBody>(&mut rest, 1)?[0];
    let count = |count: U32| count.get() as usize;
    let pools = take_rows::<[u8; 16]>(&mut rest, count(head.pool_count))?;
    let objects = take_rows::<RawObjectRow>(&mut rest, count(head.object_count))?;
    let mut pools = Rows { rows: pools.iter().map(|pool| PoolId(*pool)).collect(), used: 0 };
    let objects = objects.iter().map(ObjectRef::from_raw).collect::<Result<_, _>>()?;
    let mut objects = Rows { rows: objects, used: 0 };
    let points = take_rows::<RawPoint>(&mut rest, count(head.point_count))?;
    let gone_points = take_rows::<[u8; 16]>(&mut rest, count(head.gone_point_count))?;
    let gone_objects = take_rows::<[u8; 16]>(&mut rest, count(head.gone_object_count))?;
    let indexes = take_rows::<RawIndex>(&mut rest, count(head.index_count))?;
    let mut leaves = take_rows::<RawLeaf>(&mut rest, count(head.leaf_count))?;
    let records = take_rows::<RawRecord>(&mut rest, count(head.record_count))?;
    let locks = take_rows::<RawLock>(&mut rest, count(head.lock_count))?;
    let (expected, found) = (u64::from(head.text_len.get()), rest.len() as u64);
    if expected != found {
        return Err(FormatFault::Len { expected, found });
    }
    let points = points
        .iter()
        .map(|raw| point(raw, &mut rest, &mut pools, &mut objects))
        .collect::<Result<_, _>>()?;
    let mut decoded = Manifest {
        number,
        parent: other(head.parent_number, head.parent, number)?,
        base: other(head.base_number, head.base, number)?,
        made_at: head.made_at.get(),
        witnessed: head.witnessed.get(),
        points,
        gone_points: gone_points.iter().map(|point| PointId(*point)).collect(),
        gone_objects: gone_objects.iter().map(|object| ObjectId(*object)).collect(),
        indexes: Vec::with_capacity(indexes.len()),
        records: Vec::with_capacity(records.len()),
        locks: locks.iter().map(lock).collect::<Result<_, _>>()?,
    };
    for raw in indexes {
        decoded.indexes.push(index(raw, &mut leaves, &mut pools, &mut objects)?);
    }
    for raw in records {
        let (object, frame_count) = (objects.get(raw.object.get())?, raw.frame_count.get());
        decoded.records.push(RecordObject { object, frame_count, rank: raw.rank.get() });
    }
    if !leaves.is_empty() || !rest.is_empty() {
        return Err(FormatFault::Content { what: "leaves or texts that belong to nothing" });
    }
    pools.finish()?;
    objects.finish()?;
    check(&decoded)?;
    Ok(decoded)
}

fn point(
    raw: &RawPoint,
    texts: &mut &[u8],
    pools: &mut Rows<PoolId>,
    objects: &mut Rows<ObjectRef>,
) -> Result<Point, FormatFault> {
    if raw.reserved != [0; 2] {
        return Err(FormatFault::Reserved { what: "a point's row" });
    }
    if raw.result > 1 {
        return Err(FormatFault::Content { what: "result of a point" });
    }
    let root_len = limited("root of a point", raw.root_len.get().into(), ROOT_LEN_MAX)?;
    let attributes_len =
        limited("attributes of a point", raw.attributes_len.get().into(), ATTRIBUTES_LEN_MAX)?;
    let pool = pools.get(raw.pool.get())?;
    let recipe = raw.recipe.read(|object| objects.get(object))?;
    Ok(Point {
        point: PointId(raw.point),
        source: SourceId(raw.source),
        pool,
        is_partial: raw.result == 1,
        class: Class::from_code(raw.class)?,
        at: raw.at.get(),
        committed_at: raw.committed_at.get(),
        recipe_number: raw.recipe_number.get(),
        recipe_digest: raw.recipe_digest,
        bytes_source: raw.bytes_source.get(),
        entry_count: raw.entry_count.get(),
        root: take_rows::<u8>(texts, root_len)?.to_vec(),
        attributes: take_rows::<u8>(texts, attributes_len)?.to_vec(),
        recipe: recipe.ok_or(FormatFault::Content { what: "place of a recipe" })?,
        root_page: raw.root.read(|object| objects.get(object))?,
    })
}

fn index(
    raw: &RawIndex,
    leaves: &mut &[RawLeaf],
    pools: &mut Rows<PoolId>,
    objects: &mut Rows<ObjectRef>,
) -> Result<Index, FormatFault> {
    let object = objects.get(raw.object.get())?;
    let Some((own, others)) = leaves.split_at_checked(raw.leaf_count.get() as usize) else {
        return Err(FormatFault::Content { what: "count of leaves" });
    };
    *leaves = others;
    let mut places = Vec::with_capacity(own.len());
    for leaf in own {
        if leaf.reserved != [0; 3] {
            return Err(FormatFault::Reserved { what: "a leaf's row" });
        }
        let frame = FramePlace {
            index: leaf.index.get(),
            offset: leaf.offset.get(),
            stored_len: leaf.stored_len.get(),
            plain_len: leaf.plain_len.get(),
            codec: Codec::from_code(leaf.codec)?,
        };
        let pool = pools.get(leaf.pool.get())?;
        places.push(LeafPlace { pool, first: leaf.first.get(), last: leaf.last.get(), frame });
    }
    Ok(Index { object, rank: raw.rank.get(), leaves: places })
}

fn lock(raw: &RawLock) -> Result<Lock, FormatFault> {
    if raw.reserved != [0; 7] {
        return Err(FormatFault::Reserved { what: "a lock's row" });
    }
    Ok(Lock { class: Class::from_code(raw.class)?, until: raw.until.get() })
}

fn ascends<T: Ord>(things: impl Iterator<Item = T>, what: &'static str) -> Result<(), FormatFault> {
    // Strictly: nothing stands twice.
    let is_sorted = things.is_sorted_by(|left, right| left < right);
    if is_sorted { Ok(()) } else { Err(FormatFault::Content { what }) }
}

/// What holds of every manifest, before it is written and after it was read.
fn check(manifest: &Manifest) -> Result<(), FormatFault> {
    ascends(manifest.points.iter().map(|point| point.point), "order of points")?;
    ascends(manifest.gone_points.iter(), "order of gone points")?;
    ascends(manifest.gone_objects.iter(), "order of gone objects")?;
    let rank = |index: &Index| (index.rank, index.object.object);
    ascends(manifest.indexes.iter().map(rank), "order of index objects")?;
    let rank = |record: &RecordObject| (record.rank, record.object.object);
    ascends(manifest.records.iter().map(rank), "order of record objects")?;
    ascends(manifest.locks.iter().map(|lock| lock.class), "order of locks")?;
    limited("record objects", manifest.records.len() as u64, RECORD_OBJECTS_MAX as u64)?;
    limited("locks", manifest.locks.len() as u64, CLASSES as u64)?;
    if manifest.base.is_none()
        && !(manifest.gone_points.is_empty() && manifest.gone_objects.is_empty())
    {
        return Err(FormatFault::Content { what: "what has left a full manifest" });
    }
    for point in &manifest.points {
        limited("root of a point", point.root.len() as u64, ROOT_LEN_MAX)?;
        limited("attributes of a point", point.attributes.len() as u64, ATTRIBUTES_LEN_MAX)?;
    }
    for index in &manifest.indexes {
        for leaf in &index.leaves {
            leaf.frame.check(index.object.len.into())?;
            if leaf.first > leaf.last {
                return Err(FormatFault::Content { what: "numbers of a leaf" });
            }
        }
        if index.object.kind != ObjectKind::Index {
            return Err(FormatFault::Content { what: "kind of an index object" });
        }
    }
    let is_records = |record: &RecordObject| record.object.kind == ObjectKind::Records;
    if !manifest.records.iter().all(is_records) {
        return Err(FormatFault::Content { what: "kind of a record object" });
    }
    Ok(())
}

#[cfg(test)]
pub(super) fn documented() -> [(&'static str, crate::layout::Fields); 6] {
    use crate::layout::fields;
    [
        (
            "ManifestBody",
            fields!(RawBody: parent_number, parent, base_number, base, made_at, witnessed, pool_count, object_count, point_count, gone_point_count, gone_object_count, index_count, leaf_count, record_count, lock_count, text_len),
        ),
        (
            "PointRow",
            fields!(RawPoint: point, source, pool, result, class, reserved, at, committed_at, recipe_number, recipe_digest, bytes_source, entry_count, root_len, attributes_len, recipe, root),
        ),
        ("IndexRow", fields!(RawIndex: object, leaf_count, rank)),
        (
            "LeafRow",
            fields!(RawLeaf: first, last, pool, index, offset, stored_len, plain_len, codec, reserved),
        ),
        ("RecordRow", fields!(RawRecord: object, frame_count, rank)),
        ("LockRow", fields!(RawLock: class, reserved, until)),
    ]
}
