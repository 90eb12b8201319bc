//! What stands together in a frame that leaves, and in which form.

use keelhold_disk::format::{ChunkKind, Codec};
use keelhold_disk::mutants::Mutants;
use keelhold_disk::sim::Rng;
use keelhold_disk::units::{ChunkNumber, UnixNanos};
use keelhold_tests::rig::{Machine, Rig, SimPool, campaign};

use super::{ALL, ship, some_of};
use crate::pool::content::{noise, some_tree, text};

/// Neither what two trust domains own nor data and pages.
#[test]
fn domains_and_kinds_never_share_a_frame() {
    for seed in 0..campaign(6) {
        println!("seed {seed}");
        let mut rng = Rng::new(seed);
        let mut rig = Rig::new(seed, 1, Mutants::default());
        let pool = rig.create().unwrap();
        let codec = [Codec::Raw, Codec::Lz4, Codec::Zstd][rng.index(3)];
        pool.set_codec(codec);
        let mut reaches = Vec::new();
        for number in 1..=2u8 {
            let files = some_tree(seed * 2 + u64::from(number), 30, 5000);
            let mut machine = Machine::new(number);
            let made = rig.run(machine.backup(&pool, &files, UnixNanos(1))).unwrap();
            reaches.push(rig.run(pool.reach(&made.id)).unwrap());
        }
        let both = &reaches[0] | &reaches[1];
        for _ in 0..10 {
            let shipped = rig.run(ship(&pool, &some_of(&both, &mut rng))).unwrap();
            for frame in &shipped.frames {
                let of = |number: ChunkNumber| reaches[0].contains(number.0);
                let owner = of(frame.chunks[0].number);
                assert!(frame.chunks.iter().all(|chunk| of(chunk.number) == owner));
                let is_data = frame.chunks[0].kind == ChunkKind::Data;
                assert!(frame.chunks.iter().all(|c| (c.kind == ChunkKind::Data) == is_data));
                assert_ne!(frame.codec, Codec::Lz4);
                let len: u32 = frame.chunks.iter().map(|chunk| chunk.len).sum();
                assert_eq!(len, frame.plain_len);
                assert!(frame.packed.len() <= frame.plain_len as usize);
            }
        }
    }
}

/// Chunks out of frames of which little is needed come together, compressed where that pays.
#[test]
fn what_is_left_of_frames_is_joined_and_compressed() {
    let mut rig = Rig::new(3, 1, Mutants::default());
    let pool = rig.create().unwrap();
    let mut machine = Machine::new(1);
    let files = [("text".to_owned(), text(1, 60_000)), ("noise".to_owned(), noise(2, 30_000))];
    let point = rig.run(machine.backup(&pool, &files.into(), UnixNanos(1))).unwrap();
    let reach = rig.run(pool.reach(&point.id)).unwrap();
    let whole = rig.run(ship(&pool, &reach)).unwrap();
    let every_second = reach.iter().filter(|number| number % 2 == 0).collect();
    let some = rig.run(ship(&pool, &every_second)).unwrap();
    println!("{} frames for all, {} for every second", whole.frames.len(), some.frames.len());
    assert!(some.frames.len() * 3 < whole.frames.len(), "single chunks leave one by one");
    let zstd = some.frames.iter().filter(|frame| frame.codec == Codec::Zstd);
    let (packed, plain) = zstd.fold((0, 0), |(packed, plain), frame| {
        (packed + frame.packed.len(), plain + frame.plain_len as usize)
    });
    assert!(plain > 20_000 && packed * 2 < plain, "{packed} bytes of {plain}");
}

/// A point that is held stays, though its time in the trash is over; then it goes.
#[test]
fn a_point_on_its_way_out_is_not_reclaimed() {
    for seed in 0..4 {
        let mut rig = Rig::new(seed, 1, Mutants::default());
        let pool = rig.create().unwrap();
        let files = some_tree(seed, 20, 4000);
        let point = rig.run(Machine::new(1).backup(&pool, &files, UnixNanos(1))).unwrap().id;
        let reach = rig.run(pool.reach(&point)).unwrap();
        let hold = pool.hold_point(&point).unwrap();
        let forget_and_reclaim = |rig: &mut Rig, pool: &SimPool| {
            rig.run(pool.forget(&[point], UnixNanos(2), UnixNanos(2))).unwrap();
            rig.run(pool.reclaim(ALL, UnixNanos(3))).unwrap();
        };
        forget_and_reclaim(&mut rig, &pool);
        assert_eq!(rig.run(pool.reach(&point)).unwrap(), reach);
        assert!(rig.run(ship(&pool, &reach)).unwrap().unread.is_empty());
        drop(hold);
        rig.run(pool.reclaim(ALL, UnixNanos(4))).unwrap();
        assert!(pool.hold_point(&point).is_err() && rig.run(pool.reach(&point)).is_err());
        let gone = rig.run(ship(&pool, &reach)).unwrap();
        assert_eq!(gone.unread.len() as u64, reach.len());
    }
}
