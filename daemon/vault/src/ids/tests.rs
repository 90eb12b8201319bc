use super::*;
use crate::format::{Class, Codec, FramePlace, ObjectKind, Place};
use crate::random::{Random, seeded};

fn object(random: &mut impl Random, kind: ObjectKind) -> ObjectRef {
    ObjectRef {
        object: ObjectId::draw(random),
        shipment: ManifestNumber(1),
        check: random.array(),
        len: 32 << 20,
        kind,
        class: Class::ZERO,
    }
}

fn entries(count: u64, random: &mut impl Random) -> Vec<Entry> {
    let mut object_now = object(random, ObjectKind::Data);
    (0..count)
        .map(|at| {
            if at % 500 == 0 {
                object_now = object(random, ObjectKind::Data);
            }
            let frame = FramePlace {
                index: (at % 500) as u32 / 4,
                offset: 4096,
                stored_len: 40_000,
                plain_len: 80_000,
                codec: Codec::Zstd,
            };
            let place = Place { object: object_now, frame, start: 0, len: 20_000 };
            Entry { pool: PoolId([3; 16]), number: at + 1, id: random.array(), kind: 0, place }
        })
        .collect()
}

/// Every id is found, no other one is, and memory is what the head of the module says.
#[test]
fn ids_are_found_with_little_memory() {
    let dir = tempfile::tempdir().unwrap();
    let mut random = seeded(1);
    let (index, all) = (object(&mut random, ObjectKind::Index), entries(60_000, &mut random));
    let path = dir.path().join("x.ids");
    file::write(&path, &index, all.iter().copied()).unwrap();
    let files = vec![IdFile::open(&path, &index).unwrap()];
    let ids = Ids { dir: dir.path().to_owned(), files };
    let mut asked: Vec<ChunkId> = all.iter().map(|entry| ChunkId::from_bytes(entry.id)).collect();
    asked.reverse();
    let found = ids.find(&asked).unwrap();
    assert!(found.iter().rev().zip(&all).all(|(found, entry)| found.as_ref() == Some(entry)));
    let others: Vec<ChunkId> = all
        .iter()
        .map(|entry| {
            let mut id = entry.id;
            id[31] ^= 1;
            ChunkId::from_bytes(id)
        })
        .collect();
    assert!(ids.find(&others).unwrap().iter().all(Option::is_none));
    assert_eq!(ids.numbers(PoolId([3; 16])).len(), 60_000);
    // 16 million are 267 times as many.
    assert!(ids.resident() * 267 <= 64 << 20, "{}", ids.resident());
    assert!(IdFile::open(&path, &object(&mut random, ObjectKind::Index)).is_none());
}
