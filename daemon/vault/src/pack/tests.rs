use bytes::Bytes;
use keelhold_chunk::ChunkId;

use super::*;
use crate::format::{ClearObject, pack};
use crate::keys::MasterKey;
use crate::random::{Random, seeded};
use crate::units::{ManifestNumber, VaultId};

const POOL: PoolId = PoolId([3; 16]);

fn frame(
    numbers: std::ops::Range<u64>,
    kind: u8,
    len: usize,
    random: &mut impl Random,
) -> SourceFrame {
    let mut plain = Vec::new();
    let chunks = numbers.map(|number| {
        let mut bytes = vec![0; len];
        random.fill(&mut bytes);
        let id = ChunkId::from_bytes(*blake3::hash(&bytes).as_bytes());
        plain.extend_from_slice(&bytes);
        SourceChunk { number, id, kind, len: len as u32 }
    });
    let chunks = chunks.collect();
    let (codec, packed) = pack(&plain, 1);
    SourceFrame { codec, packed: Bytes::from(packed), plain_len: plain.len() as u32, chunks }
}

fn master() -> MasterKey {
    MasterKey::draw(VaultId([7; 16]), &mut seeded(1))
}

/// Every frame comes back from the object it was packed into, data and pages apart, inner pages last.
#[test]
fn frames_are_collected_up_to_the_size_of_an_object() {
    let mut random = seeded(5);
    let mut packer = Packer::new(POOL, Class::new(3).unwrap(), 1 << 20);
    // Each is sealed where the one before it was.
    let (mut groups, rooms) = (Vec::new(), Rooms::default());
    for at in 0..40 {
        let kind = if at % 8 == 7 { KIND_INNER } else { u8::from(at % 4 == 3) };
        groups.extend(packer.push(frame(at * 10..at * 10 + 4, kind, 16 << 10, &mut random)));
        assert!(packer.held() <= 2 << 20);
    }
    let full = groups.len();
    groups.extend(packer.finish());
    assert!(full >= 1 && groups.len() == full + 2);
    let (mut seen, mut ids) = (Vec::new(), std::collections::BTreeSet::new());
    for (at, group) in groups.into_iter().enumerate() {
        let (kind, len) = (group.kind, group.len());
        let sealed = seal(&master(), ManifestNumber(9), group, Drawn::draw(&mut random), &rooms);
        let step = if at < full { FULL_STEP } else { LAST_STEP };
        assert!(sealed.bytes.len().is_multiple_of(step) && sealed.bytes.len() < len + 2 * step);
        assert!(ids.insert(sealed.object.object), "every object has an id of its own");
        let head = ClearObject::read(&sealed.bytes).unwrap();
        let mut plains = Vec::new();
        let directory =
            head.verify(&master(), &sealed.bytes, |_, plain| plains.push(plain.to_vec())).unwrap();
        assert_eq!((directory.pool, directory.chunks.len()), (POOL, sealed.chunks.len()));
        let mut is_inner = false;
        for chunk in &directory.chunks {
            assert_eq!(chunk.kind == KIND_DATA, kind == ObjectKind::Data);
            assert!(chunk.kind == KIND_INNER || !is_inner, "inner pages lie behind each other");
            is_inner = chunk.kind == KIND_INNER;
            let plain = &plains[usize::from(chunk.frame)];
            let bytes = &plain[chunk.start as usize..(chunk.start + chunk.len) as usize];
            assert_eq!(*blake3::hash(bytes).as_bytes(), chunk.id);
            seen.push(chunk.number);
        }
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..40).flat_map(|at| at * 10..at * 10 + 4).collect::<Vec<_>>());
}

/// Frames of a power of two fill an object: what its directory adds does not cost another frame.
#[test]
fn padding_of_full_objects_stays_below_one_percent() {
    let (mut random, rooms) = (seeded(6), Rooms::default());
    for (chunks, len) in [(4, 64 << 10), (16, 64 << 10), (7, 30_011), (1, 100)] {
        let mut packer = Packer::new(POOL, Class::ZERO, 16 << 20);
        let mut at = 0;
        let full = loop {
            if let Some(full) = packer.push(frame(at..at + chunks, 0, len, &mut random)) {
                break full;
            }
            at += chunks;
        };
        let stored = full.packed_len;
        let sealed = seal(&master(), ManifestNumber(9), full, Drawn::draw(&mut random), &rooms);
        let (total, limit) = (sealed.bytes.len() as f64, if len == 100 { 2.0 } else { 1.02 });
        assert!(total <= stored as f64 * limit, "{chunks} of {len}: {total} for {stored}");
    }
}

#[test]
fn what_is_no_frame_is_seen_before_it_is_sealed() {
    let mut random = seeded(7);
    let sound = frame(1..3, 0, 100, &mut random);
    assert!(sound.is_sound());
    let not = |change: fn(&mut SourceFrame)| {
        let mut frame = sound.clone();
        change(&mut frame);
        assert!(!frame.is_sound());
    };
    not(|frame| frame.chunks.clear());
    not(|frame| frame.chunks[0].kind = 6);
    not(|frame| frame.chunks[0].len = 200);
    not(|frame| frame.plain_len = 3 << 20);
}
