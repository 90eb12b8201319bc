//! What is sealed comes back, and nothing else does.

mod manifests;
mod objects;

use super::*;
use crate::keys::{KitSecret, KitShape, MasterKey, Slots};
use crate::layout::assert_documented;
use crate::random::{Random, seeded};
use crate::units::{ManifestNumber, PointId, PoolId, SourceId};

const VAULT: VaultId = VaultId([7; 16]);
const POOL: PoolId = PoolId([3; 16]);

fn master() -> MasterKey {
    MasterKey::draw(VAULT, &mut seeded(1))
}

/// Slots that a kit opens: no test has to wait for Argon2.
fn slots(master: &MasterKey) -> (Slots, KitSecret) {
    let mut random = seeded(2);
    let kit = KitSecret::draw(&mut random);
    let mut slots = Slots::new(master);
    slots.set_kit(master, &kit, KitShape::new(1, 1).unwrap(), 5, &mut random);
    (slots, kit)
}

/// An object of data: three frames, five chunks.
fn packed(seed: u64, pad_to: usize) -> (SealedObject, Vec<Vec<u8>>) {
    let mut random = seeded(seed);
    let mut noise = vec![0; 700];
    random.fill(&mut noise);
    let plain = [b"anchor and chain, ".repeat(40), noise, vec![9; 64]];
    let frames = plain.each_ref().map(|plain| {
        let (codec, packed) = pack(plain, 1);
        PlainFrame { codec, plain_len: plain.len() as u32, packed }
    });
    let chunk = |number, frame, start, len| ObjectChunk {
        number,
        id: [number as u8; 32],
        len,
        frame,
        kind: 0,
        start,
    };
    let chunks = [
        chunk(10, 0, 0, 300),
        chunk(11, 0, 300, 420),
        chunk(12, 1, 0, 700),
        chunk(40, 2, 0, 4),
        chunk(41, 2, 4, 60),
    ];
    let shape = Shape {
        kind: ObjectKind::Data,
        class: Class::new(2).unwrap(),
        shipment: ManifestNumber(42),
        pool: POOL,
        pad_to,
    };
    let sealed = SealedObject::seal(&master(), &shape, frames.to_vec(), &chunks, &mut random);
    (sealed, plain.to_vec())
}

fn index_shape(kind: ObjectKind) -> Shape {
    let (class, shipment) = (Class::ZERO, ManifestNumber(42));
    Shape { kind, class, shipment, pool: PoolId([0; 16]), pad_to: 1 }
}

/// The leaf of everything in an object.
fn leaf_of(sealed: &SealedObject) -> Leaf {
    let head = ClearObject::read(&sealed.bytes).unwrap();
    let directory = head.directory(&master(), &sealed.bytes).unwrap();
    let frames = directory.frames.iter().map(|place| LeafFrame { object: 0, place: *place });
    let entry = |chunk: &ObjectChunk| LeafEntry {
        number: chunk.number,
        id: chunk.id,
        frame: chunk.frame,
        kind: chunk.kind,
        start: chunk.start,
        len: chunk.len,
    };
    Leaf {
        pool: directory.pool,
        objects: vec![sealed.object],
        frames: frames.collect(),
        entries: directory.chunks.iter().map(entry).collect(),
    }
}

fn raw_frame(plain: &[u8]) -> PlainFrame {
    PlainFrame { codec: Codec::Raw, plain_len: plain.len() as u32, packed: plain.to_vec() }
}

#[test]
fn the_document_is_the_code() {
    let mut all = object::documented().to_vec();
    all.extend(leaf::documented());
    all.extend(manifest::documented());
    all.push(("ObjectRow", rows::object_fields()));
    all.push(("PlaceRow", rows::place_fields()));
    all.push(("RecordHead", record::fields()));
    assert_eq!(all.len(), 17);
    for (name, fields) in all {
        assert_documented(name, fields);
    }
}

/// For the test of mutants.
#[cfg(feature = "mutants")]
pub(crate) fn frames_stay_where_they_are() {
    objects::what_lies_elsewhere_does_not_open_here();
}
