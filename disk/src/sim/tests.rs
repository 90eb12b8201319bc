use super::*;
use crate::buffer::AlignedBuf;
use crate::device::{Device, DeviceFault};
use crate::units::{BLOCK, BLOCK_U64};
use crate::work::Work;

const LEN: u64 = 64 * BLOCK_U64;

fn block(value: u8) -> AlignedBuf {
    let mut buf = AlignedBuf::zeroed(2 * BLOCK);
    buf.fill(value);
    buf
}

/// A few tasks that write, flush and read; gives the trace hash and the last byte read.
fn history(seed: u64) -> [u8; 32] {
    let world = SimWorld::new(seed);
    let disk = world.disk(world.add_disk(LEN));
    let work = SimWork::new(&world);
    let mut exec = sim_executor(&world);
    let spawner = exec.spawner();
    let tasks: Vec<_> = (0..4u8)
        .map(|task| {
            let (disk, work) = (disk.clone(), work.clone());
            spawner.spawn(async move {
                let offset = u64::from(task) * 2 * BLOCK_U64;
                let value = work.run(move || task + 1).await;
                disk.write(offset, block(value)).await.0.unwrap();
                disk.flush().await.unwrap();
                let (result, buf) = disk.read(offset, block(0)).await;
                result.unwrap();
                assert!(buf.iter().all(|byte| *byte == task + 1));
            })
        })
        .collect();
    exec.run_until(futures_util::future::join_all(tasks));
    world.trace_hash()
}

#[test]
fn a_seed_replays_to_the_same_trace() {
    for seed in 0..20 {
        assert_eq!(history(seed), history(seed), "seed {seed}");
    }
    assert_ne!(history(1), history(2));
}

#[test]
fn a_crash_keeps_what_was_flushed_and_tears_the_rest() {
    let mut kinds = [0; 3];
    for seed in 0..200 {
        let world = SimWorld::new(seed);
        let index = world.add_disk(LEN);
        let disk = world.disk(index);
        sim_executor(&world).run_until(async {
            disk.write(0, block(1)).await.0.unwrap();
            disk.flush().await.unwrap();
            disk.write(8 * BLOCK_U64, block(2)).await.0.unwrap();
        });
        world.crash();
        let image = world.image(index).to_buf();
        assert!(image[..2 * BLOCK].iter().all(|byte| *byte == 1), "seed {seed}");
        let rest = &image[8 * BLOCK..10 * BLOCK];
        let kept = rest.chunks(SECTOR).filter(|sector| sector[0] == 2).count();
        assert!(rest.chunks(SECTOR).all(|sector| sector.iter().all(|byte| *byte == sector[0])));
        kinds[usize::from(kept > 0) + usize::from(kept == 16)] += 1;
    }
    assert!(kinds.iter().all(|count| *count > 10), "{kinds:?} of nothing, torn, whole");
}

#[test]
fn handles_from_before_the_crash_are_dead() {
    let world = SimWorld::new(3);
    let index = world.add_disk(LEN);
    let before = world.disk(index);
    world.crash();
    let (old, new) = sim_executor(&world)
        .run_until(async { (before.flush().await, world.disk(index).flush().await) });
    assert_eq!(old.unwrap_err().fault, DeviceFault::Gone);
    assert!(new.is_ok());
}

#[test]
fn a_dropped_write_still_ends() {
    let world = SimWorld::new(4);
    let index = world.add_disk(LEN);
    let disk = world.disk(index);
    sim_executor(&world).run_until(async {
        let begun = futures_util::poll!(Box::pin(disk.write(0, block(5))));
        assert!(begun.is_pending());
        world.sleep(10_000_000).await;
    });
    assert_eq!(world.image(index).to_buf()[0], 5);
}
