//! The enumerator is tried on a toy that commits as the pool does: payload, flush, entry that names
//! it, flush, acknowledgement.

use std::collections::BTreeSet;

use super::*;
use crate::buffer::AlignedBuf;
use crate::device::Device;
use crate::units::{BLOCK, BLOCK_U64};

const LEN: u64 = 256 * BLOCK_U64;
const COMMITS: u64 = 6;
const JOURNAL: u64 = 128 * BLOCK_U64;
const PAYLOAD_BLOCKS: usize = 3;

fn sealed(value: u64, blocks: usize) -> AlignedBuf {
    let mut buf = AlignedBuf::zeroed(blocks * BLOCK);
    for block in buf.chunks_exact_mut(BLOCK) {
        for word in block.chunks_exact_mut(8) {
            word.copy_from_slice(&value.to_le_bytes());
        }
    }
    buf
}

fn payload_offset(commit: u64) -> u64 {
    commit * 4 * BLOCK_U64
}

fn toy_history(seed: u64, flush_payload: bool) -> History {
    let world = SimWorld::new(seed);
    let disks = [world.add_disk(LEN), world.add_disk(LEN)];
    let [data, journal] = disks.map(|index| world.disk(index));
    world.record();
    sim_executor(&world).run_until(async {
        for commit in 1..=COMMITS {
            let payload = sealed(commit, PAYLOAD_BLOCKS);
            data.write(payload_offset(commit), payload).await.0.unwrap();
            if flush_payload {
                data.flush().await.unwrap();
            }
            let place = JOURNAL + commit * BLOCK_U64;
            journal.write(place, sealed(commit, 1)).await.0.unwrap();
            journal.flush().await.unwrap();
            world.mark(commit);
        }
    });
    world.take_history().unwrap()
}

/// How many commits the image has, or none if an entry names a payload that is not there.
fn recover(image: &CrashImage) -> Option<u64> {
    let whole = |disk: usize, offset: u64, blocks: usize, value: u64| {
        let mut buf = AlignedBuf::zeroed(blocks * BLOCK);
        image.disks[disk].read(offset, &mut buf);
        buf[..] == sealed(value, blocks)[..]
    };
    let mut commits = 0;
    for commit in 1..=COMMITS {
        if !whole(1, JOURNAL + commit * BLOCK_U64, 1, commit) {
            break;
        }
        if !whole(0, payload_offset(commit), PAYLOAD_BLOCKS, commit) {
            return None;
        }
        commits = commit;
    }
    Some(commits)
}

/// Images with a lost or half commit.
fn failures(history: &History, plan: &CrashPlan) -> usize {
    let mut failures = 0;
    history.crashes(plan, |image| {
        let acknowledged = image.mark.unwrap_or(0);
        failures += usize::from(recover(&image).is_none_or(|found| found < acknowledged));
    });
    failures
}

#[test]
fn the_right_order_survives_every_crash() {
    let history = toy_history(1, true);
    assert_eq!(failures(&history, &CrashPlan::new(5)), 0);
}

#[test]
fn a_missing_flush_is_found() {
    let history = toy_history(1, false);
    assert!(failures(&history, &CrashPlan::new(5)) > 0);
}

#[test]
fn disks_that_lie_are_found() {
    let history = toy_history(1, true);
    for mutant in
        [DeviceMutant::IgnoresFlush, DeviceMutant::ReordersAcrossFlush, DeviceMutant::Tears]
    {
        let plan = |seed| CrashPlan { mutant, ..CrashPlan::new(seed) };
        let found = (0..4).filter(|seed| failures(&history, &plan(*seed)) > 0).count();
        assert!(found >= 3, "{mutant:?} found with {found} of 4 seeds");
    }
}

#[test]
fn a_plan_gives_the_same_images_again() {
    let history = toy_history(2, true);
    let images = |seed| {
        let mut hasher = blake3::Hasher::new();
        let (mut count, mut torn) = (0, 0);
        history.crashes(&CrashPlan::new(seed), |image| {
            count += 1;
            torn += usize::from(image.torn);
            for disk in &image.disks {
                for index in disk.written_blocks() {
                    hasher.update(&index.to_le_bytes());
                    let mut block = [0; BLOCK];
                    disk.read(index * BLOCK_U64, &mut block);
                    hasher.update(&block);
                }
            }
        });
        (hasher.finalize(), count, torn)
    };
    assert_eq!(images(1), images(1));
    assert_ne!(images(1).0, images(2).0);
    let (_, count, torn) = images(1);
    // Six commits: two begun writes of two images each, two flushes and a mark of one, the start.
    assert_eq!((count, torn), (6 * (2 * 2 + 2 + 1) + 1, 6 * 2));
}

#[test]
fn every_subset_of_the_open_writes_is_tried() {
    let world = SimWorld::new(9);
    let index = world.add_disk(LEN);
    let disk = world.disk(index);
    world.record();
    sim_executor(&world).run_until(async {
        for block in 0..5 {
            disk.write(block * BLOCK_U64, sealed(1, 1)).await.0.unwrap();
        }
    });
    let history = world.take_history().unwrap();
    let mut seen = BTreeSet::new();
    let mut whole = 0;
    history.crashes(&CrashPlan::new(0), |image| {
        if image.torn {
            return;
        }
        whole += 1;
        let bytes = image.disks[0].to_buf();
        seen.insert((0..5).filter(|block| bytes[block * BLOCK] == 1).collect::<Vec<_>>());
    });
    assert_eq!((seen.len(), whole), (32, 32), "each exactly once");
}

#[test]
fn a_history_ends_where_the_live_disk_is() {
    for seed in 0..20 {
        println!("seed {seed}");
        let world = SimWorld::new(seed);
        let index = world.add_disk(LEN);
        let disk = world.disk(index);
        world.record();
        world.add_fault(FaultRule::new(
            index,
            crate::device::DeviceOp::Write,
            When::Chance(300_000),
            if seed % 2 == 0 { Fault::MisdirectedWrite } else { Fault::LostWrite },
        ));
        sim_executor(&world).run_until(async {
            for round in 0..20 {
                let writes = (0..3).map(|_| {
                    let place = world.choose(200) * BLOCK_U64;
                    disk.write(place, sealed(round, 2))
                });
                for (result, _) in futures_util::future::join_all(writes).await {
                    result.unwrap();
                }
                disk.flush().await.unwrap();
            }
        });
        let history = world.take_history().unwrap();
        let mut last = None;
        history.crashes(&CrashPlan::new(seed), |image| {
            if !image.torn {
                last = Some(image);
            }
        });
        let last = last.unwrap();
        assert_eq!(last.open, 0);
        assert!(last.disks[0].to_buf()[..] == world.image(index).to_buf()[..]);
    }
}
