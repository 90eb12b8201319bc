use super::*;
use crate::format::{Purpose, SlotRef, Slots};
use crate::units::{DiskId, DomainId};

fn run() -> RunRef {
    RunRef { container: 1, generation: 2, block: 3, blocks: 4, check: [5; 16] }
}

fn every_op() -> Vec<Op> {
    let (session, source, domain) = (SessionId([1; 16]), SourceId([2; 16]), DomainId([3; 16]));
    let point = PointRow {
        id: PointId([4; 16]),
        source,
        working: false,
        at: -1,
        committed_at: i64::MAX,
        result: 1,
        recipe: ChunkNumber(77),
        recipe_digest: SpanDigest::from_bytes([5; 16]),
        bytes_source: 1 << 50,
        entry_count: 9,
        trashed_until: 0,
        attributes: b"{}".to_vec(),
    };
    vec![
        Op::Lease { source, domain, first: ChunkNumber(4096), count: 4096 },
        Op::ContainerOpened {
            container: 7,
            generation: 8,
            purpose: Purpose::State,
            salt: [9; 16],
            slots: Slots::one(SlotRef { disk: 1, slot: 2 }),
        },
        Op::ContainerSlots {
            container: 7,
            slots: Slots::two(SlotRef { disk: 1, slot: 2 }, SlotRef { disk: 3, slot: 4 }),
        },
        Op::RunPlaced(RunRow { run: run(), session, ordinal: 2, moved: true }),
        Op::ContainerSealed { container: 7, has_footer: true },
        Op::ContainerFreed { container: 7 },
        Op::SessionOpened {
            session,
            source,
            domain,
            basis: Some(PointId([6; 16])),
            opened_at: 1,
            lease_until: 2,
        },
        Op::SessionStep { session, numbers: vec![1, 2, 3] },
        Op::SessionEnded { session },
        Op::PointCommitted { session, point },
        Op::PointAttributes { point: PointId([4; 16]), attributes: vec![1] },
        Op::PointsTrashed { until: 3, points: vec![PointId([4; 16]); 2] },
        Op::PointDropped { point: PointId([4; 16]) },
        Op::Record { name: "machine/a".into(), version: 1, value: Some(vec![0; 5000]) },
        Op::Record { name: "machine/a".into(), version: 2, value: None },
        Op::SeriesTrimmed { name: "jobs".into(), first: 2 },
        Op::SeriesAppended { name: "jobs".into(), sequence: 3, entry: b"x".to_vec() },
        Op::ChunksDropped { segment: vec![1, 2] },
        Op::WorkingDropped { source },
        Op::WorkingPromoted { source, point: PointId([8; 16]), attributes: vec![1, 2] },
        Op::ChunksLost { numbers: vec![1] },
        Op::ChunksFound { numbers: vec![2] },
    ]
}

#[test]
fn every_operation_comes_back() {
    let entry = JournalEntry {
        header: EntryHeader {
            sequence: 5,
            parent: [6; 16],
            epoch: 7,
            position: 8192,
            witnessed: -9,
        },
        ops: every_op(),
    };
    let key = ChecksumKey::new(&[1; 32], &[0; 16]);
    let (pool, place) = (PoolId([2; 16]), Place { disk: DiskId([3; 16]), offset: 65536 });
    let (bytes, link) = entry.encode(&key, pool, place);
    assert!(bytes.len().is_multiple_of(BLOCK));
    let (decoded, decoded_link) = JournalEntry::decode(&bytes, &key, pool, place).unwrap();
    assert_eq!((decoded, decoded_link), (entry, link));
}

/// Bytes cut anywhere are an error, never a panic.
#[test]
fn a_short_operation_is_refused() {
    for op in every_op() {
        let mut writer = Writer::new();
        op.encode(&mut writer);
        let bytes = writer.finish();
        assert!(bytes.len() <= op.len_bound());
        for len in 0..bytes.len() {
            assert!(Op::decode(&mut Reader::new(&bytes[..len])).is_err(), "{op:?} cut at {len}");
        }
    }
}
