use nix::errno::Errno;

use super::*;
use crate::buffer::AlignedBuf;
use crate::device::latch::Latched;
use crate::device::{Device, DeviceFault, DeviceOp};
use crate::units::{BLOCK, BLOCK_U64};

const LEN: u64 = 64 * BLOCK_U64;

struct Bench {
    world: SimWorld,
    index: DiskIndex,
    disk: SimDisk,
}

/// A disk whose first four blocks were written with ones and then with twos, and flushed.
fn bench(seed: u64) -> Bench {
    println!("seed {seed}");
    let world = SimWorld::new(seed);
    let index = world.add_disk(LEN);
    let disk = world.disk(index);
    sim_executor(&world).run_until(async {
        for value in [1, 2] {
            disk.write(0, blocks(4, value)).await.0.unwrap();
            disk.flush().await.unwrap();
        }
    });
    Bench { world, index, disk }
}

fn blocks(count: usize, value: u8) -> AlignedBuf {
    let mut buf = AlignedBuf::zeroed(count * BLOCK);
    buf.fill(value);
    buf
}

impl Bench {
    fn strike(&self, on: DeviceOp, when: When, fault: Fault) {
        self.world.add_fault(FaultRule::new(self.index, on, when, fault));
    }

    fn run<T>(&self, future: impl Future<Output = T>) -> T {
        sim_executor(&self.world).run_until(future)
    }

    fn read(&self) -> Result<AlignedBuf, DeviceFault> {
        let (result, buf) = self.run(self.disk.read(0, AlignedBuf::zeroed(4 * BLOCK)));
        result.map(|()| buf).map_err(|error| error.fault)
    }

    fn struck(&self, on: DeviceOp, name: &'static str) -> u64 {
        self.world.faults_struck().get(&(on, name)).copied().unwrap_or(0)
    }
}

#[test]
fn a_read_error_strikes_the_nth_once() {
    let bench = bench(1);
    bench.strike(DeviceOp::Read, When::Nth(1), Fault::Error(Errno::EIO));
    assert!(bench.read().is_ok());
    assert_eq!(bench.read().unwrap_err(), DeviceFault::Os(Errno::EIO));
    assert!(bench.read().is_ok());
    assert_eq!(bench.struck(DeviceOp::Read, "error"), 1);
}

#[test]
fn a_rule_keeps_to_its_range_and_its_disk() {
    let bench = bench(2);
    let far = 8 * BLOCK_U64..9 * BLOCK_U64;
    let rule =
        FaultRule::new(bench.index, DeviceOp::Read, When::FromNth(0), Fault::Error(Errno::EIO));
    bench.world.add_fault(rule.within(far));
    assert!(bench.read().is_ok());
    let (result, _) = bench.run(bench.disk.read(8 * BLOCK_U64, blocks(1, 0)));
    assert!(result.is_err());
    let other = bench.world.disk(bench.world.add_disk(LEN));
    assert!(bench.run(other.read(8 * BLOCK_U64, blocks(1, 0))).0.is_ok());
}

#[test]
fn a_latent_sector_heals_when_it_is_written() {
    let bench = bench(3);
    bench.strike(DeviceOp::Read, When::Nth(0), Fault::LatentSector);
    assert!(bench.read().is_err());
    assert!(bench.read().is_err(), "the rule is used up, the block stays bad");
    bench.run(bench.disk.write(0, blocks(4, 3))).0.unwrap();
    assert_eq!(bench.read().unwrap()[0], 3);
}

#[test]
fn bit_rot_stays() {
    let bench = bench(4);
    bench.strike(DeviceOp::Read, When::Nth(0), Fault::BitRot);
    let rotten = bench.read().unwrap();
    let flipped: u32 = rotten.iter().map(|byte| (byte ^ 2).count_ones()).sum();
    assert_eq!(flipped, 1);
    assert_eq!(bench.read().unwrap()[..], rotten[..]);
}

#[test]
fn a_stale_read_is_a_block_of_the_past() {
    let bench = bench(5);
    bench.strike(DeviceOp::Read, When::Nth(0), Fault::StaleRead);
    let stale = bench.read().unwrap();
    assert_eq!(stale.chunks(BLOCK).filter(|block| block[0] == 1).count(), 1);
    assert!(bench.read().unwrap().iter().all(|byte| *byte == 2));
}

#[test]
fn lost_and_misdirected_writes_are_reported_as_done() {
    let bench = bench(6);
    bench.strike(DeviceOp::Write, When::Nth(0), Fault::LostWrite);
    bench.strike(DeviceOp::Write, When::Nth(1), Fault::MisdirectedWrite);
    for value in [3, 4] {
        bench.run(bench.disk.write(0, blocks(4, value))).0.unwrap();
    }
    bench.run(bench.disk.flush()).unwrap();
    bench.world.crash();
    let image = bench.world.image(bench.index).to_buf();
    assert_eq!(image.iter().filter(|byte| **byte == 3).count(), 0);
    assert_eq!(image.iter().filter(|byte| **byte == 4).count(), 4 * BLOCK, "found elsewhere");
    assert_eq!(image[0], 2);
}

#[test]
fn a_failed_flush_forgets_and_the_next_one_does_not_know() {
    let mut forgotten = 0;
    for seed in 0..50 {
        let bench = bench(seed);
        bench.strike(DeviceOp::Flush, When::Nth(0), Fault::Error(Errno::EIO));
        bench.run(bench.disk.write(0, blocks(4, 3))).0.unwrap();
        assert!(bench.run(bench.disk.flush()).is_err());
        assert!(bench.run(bench.disk.flush()).is_ok());
        assert_eq!(bench.read().unwrap()[0], 3, "the cache still shows it");
        bench.world.crash();
        forgotten += u32::from(bench.world.image(bench.index).to_buf()[0] == 2);
    }
    assert!((10..40).contains(&forgotten), "{forgotten} of 50");
}

#[test]
fn a_vanished_disk_stays_away() {
    let bench = bench(7);
    bench.strike(DeviceOp::Write, When::Nth(0), Fault::Vanish);
    let (result, _) = bench.run(bench.disk.write(0, blocks(1, 9)));
    assert_eq!(result.unwrap_err().fault, DeviceFault::Gone);
    assert_eq!(bench.read().unwrap_err(), DeviceFault::Gone);
    bench.world.crash();
    let again = bench.world.disk(bench.index);
    assert_eq!(bench.run(again.flush()).unwrap_err().fault, DeviceFault::Gone);
}

#[test]
fn the_latch_closes_at_the_first_failure_and_for_those_in_flight() {
    for seed in 0..50 {
        let bench = bench(seed);
        let disk = Latched::new(bench.disk.clone());
        bench.strike(DeviceOp::Write, When::Nth(2), Fault::Error(Errno::EIO));
        let results = bench.run(futures_util::future::join_all((0..4).map(|block| {
            let disk = disk.clone();
            async move {
                let result = disk.write((8 + block) * BLOCK_U64, blocks(1, 5)).await.0;
                (result, disk.fenced_by().is_some())
            }
        })));
        assert_eq!(results[2].0.as_ref().unwrap_err().fault, DeviceFault::Os(Errno::EIO));
        for (result, fenced) in &results {
            assert_eq!(result.is_err(), *fenced, "after the failure nothing counts as done");
        }
        let before = disk.counters();
        let refused = bench.run(disk.flush()).unwrap_err();
        assert_eq!(refused.fault, DeviceFault::Fenced);
        let (refused, _) = bench.run(disk.write(0, blocks(1, 1)));
        assert_eq!(refused.unwrap_err().fault, DeviceFault::Fenced);
        assert!(bench.run(disk.discard(0, BLOCK_U64)).is_err());
        assert_eq!(disk.counters(), before, "the device was not asked");
        assert!(bench.run(disk.read(0, blocks(1, 0))).0.is_ok(), "reads go on");
        let reason = disk.fenced_by().unwrap();
        assert_eq!((reason.op, reason.fault), (DeviceOp::Write, DeviceFault::Os(Errno::EIO)));
    }
}

#[test]
fn the_latch_closes_at_a_failed_flush_but_not_at_a_refusal() {
    let bench = bench(8);
    let disk = Latched::new(bench.disk.clone());
    assert!(bench.run(disk.write(1, blocks(1, 1))).0.is_err());
    assert!(disk.fenced_by().is_none(), "a wrong question is no failure of the disk");
    bench.strike(DeviceOp::Flush, When::Nth(0), Fault::Error(Errno::EIO));
    assert!(bench.run(disk.flush()).is_err());
    assert_eq!(bench.run(disk.flush()).unwrap_err().fault, DeviceFault::Fenced);
    assert_eq!(disk.counters().flushes, 3, "two before the test, one that failed, no more");
}
