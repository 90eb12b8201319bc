use futures_util::future::join_all;

use crate::buffer::{AlignedBuf, BufferPool};
use crate::device::{Counters, Device, DeviceFault, DeviceOp};
use crate::exec::{Driver, Executor};
use crate::units::{BLOCK, BLOCK_U64};

fn pattern(len: usize, seed: u64) -> AlignedBuf {
    let mut buf = AlignedBuf::zeroed(len);
    let mut value = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for word in buf.chunks_exact_mut(8) {
        value ^= value << 13;
        value ^= value >> 7;
        value ^= value << 17;
        word.copy_from_slice(&value.to_le_bytes());
    }
    buf
}

async fn expect<D: Device>(device: &D, offset: u64, wanted: &AlignedBuf) {
    let mut buf = AlignedBuf::zeroed(wanted.len());
    buf.fill(0xee);
    let (result, buf) = device.read(offset, buf).await;
    result.unwrap();
    assert!(buf[..] == wanted[..], "bytes at {offset} differ");
}

/// Every rule of the contract that does not need the device for itself.
pub(super) fn run<D: Device, R: Driver>(exec: &mut Executor<R>, device: &D) {
    let before = device.counters();
    exec.run_until(new_space_is_zero(device));
    exec.run_until(reads_back_what_was_written(device));
    exec.run_until(many_at_once(device));
    exec.run_until(last_block_and_beyond(device));
    exec.run_until(dropped_operations_keep_their_buffers(device));
    exec.run_until(discard_spares_the_neighbours(device));
    assert!(device.counters().flushes > before.flushes);
}

/// Counts, on a device nobody uses meanwhile.
pub(super) fn run_tail<D: Device, R: Driver>(exec: &mut Executor<R>, device: &D) {
    exec.run_until(counts_what_is_asked(device));
    exec.run_until(reads_back_what_was_written(device));
}

async fn new_space_is_zero<D: Device>(device: &D) {
    expect(device, 512 * BLOCK_U64, &AlignedBuf::zeroed(16 * BLOCK)).await;
}

async fn reads_back_what_was_written<D: Device>(device: &D) {
    for (round, blocks) in [(1u64, 1usize), (2, 7), (3, 256)] {
        let offset = round * 300 * BLOCK_U64 % (700 * BLOCK_U64);
        let data = pattern(blocks * BLOCK, round);
        let (result, same) = device.write(offset, data).await;
        result.unwrap();
        assert!(same[..] == pattern(blocks * BLOCK, round)[..], "the buffer comes back unchanged");
        device.flush().await.unwrap();
        expect(device, offset, &same).await;
    }
    let empty = AlignedBuf::zeroed(0);
    device.write(0, empty).await.0.unwrap();
}

async fn many_at_once<D: Device>(device: &D) {
    let pool = BufferPool::new(8 * 4 * BLOCK);
    let offset = |index: u64| index * 4 * BLOCK_U64;
    let writes = (0..100).map(|index| {
        let pool = pool.clone();
        async move {
            let mut buf = pool.take(4 * BLOCK).await;
            buf.copy_from_slice(&pattern(4 * BLOCK, index));
            device.write(offset(index), buf).await.0.unwrap();
        }
    });
    join_all(writes).await;
    device.flush().await.unwrap();
    join_all((0..100).map(|index| async move {
        expect(device, offset(index), &pattern(4 * BLOCK, index)).await;
    }))
    .await;
    assert_eq!(pool.out_len(), 0, "every buffer came back");
}

async fn last_block_and_beyond<D: Device>(device: &D) {
    let len = device.geometry().len;
    let last = len - BLOCK_U64;
    let data = pattern(BLOCK, 99);
    let (result, data) = device.write(last, data).await;
    result.unwrap();
    expect(device, last, &data).await;

    let outside = DeviceFault::OutOfRange { device_len: len };
    let before = device.counters();
    for (offset, blocks, fault) in [
        (len, 1, outside.clone()),
        (last, 2, outside.clone()),
        (u64::MAX - BLOCK_U64 + 1, 1, outside),
        (512, 1, DeviceFault::Misaligned),
    ] {
        let read = device.read(offset, AlignedBuf::zeroed(blocks * BLOCK)).await.0.unwrap_err();
        assert_eq!((read.op, &read.fault, read.offset), (DeviceOp::Read, &fault, offset));
        let write = device.write(offset, AlignedBuf::zeroed(blocks * BLOCK)).await.0.unwrap_err();
        assert_eq!((write.op, &write.fault), (DeviceOp::Write, &fault));
        assert!(!write.fences_disk(), "nothing reached the medium");
        let discard = device.discard(offset, blocks as u64 * BLOCK_U64).await.unwrap_err();
        assert_eq!(discard.fault, fault);
    }
    assert_eq!(device.counters(), before, "what is refused is not counted");
    expect(device, last, &data).await;
}

async fn dropped_operations_keep_their_buffers<D: Device>(device: &D) {
    let pool = BufferPool::new(64 * BLOCK);
    for round in 0..8 {
        let mut buf = pool.take(8 * BLOCK).await;
        buf.copy_from_slice(&pattern(8 * BLOCK, round));
        let offset = (800 + 8 * round) * BLOCK_U64;
        // Begun and dropped, or never begun.
        let mut write = Box::pin(device.write(offset, buf));
        if round % 2 == 0 {
            let _begun = futures_util::poll!(&mut write);
        }
        drop(write);
        let read = Box::pin(device.read(offset, pool.take(8 * BLOCK).await));
        let _begun = futures_util::poll!(read);
    }
    // All memory comes back, because whatever was begun ends.
    let all = pool.take(64 * BLOCK).await;
    drop(all);
    for round in (0..8).step_by(2) {
        expect(device, (800 + 8 * round) * BLOCK_U64, &pattern(8 * BLOCK, round)).await;
    }
}

async fn discard_spares_the_neighbours<D: Device>(device: &D) {
    let data = pattern(3 * BLOCK, 5);
    let (result, data) = device.write(40 * BLOCK_U64, data).await;
    result.unwrap();
    device.discard(41 * BLOCK_U64, BLOCK_U64).await.unwrap();
    device.discard(41 * BLOCK_U64, 0).await.unwrap();
    for block in [0, 2] {
        let wanted = AlignedBuf::padded(&data[block * BLOCK..(block + 1) * BLOCK]);
        expect(device, (40 + block as u64) * BLOCK_U64, &wanted).await;
    }
    // What was discarded reads as anything, but it can be written again.
    let (result, data) = device.write(40 * BLOCK_U64, data).await;
    result.unwrap();
    expect(device, 40 * BLOCK_U64, &data).await;
}

async fn counts_what_is_asked<D: Device>(device: &D) {
    let before = device.counters();
    device.write(0, pattern(2 * BLOCK, 1)).await.0.unwrap();
    device.write(0, pattern(BLOCK, 1)).await.0.unwrap();
    device.flush().await.unwrap();
    device.read(0, AlignedBuf::zeroed(BLOCK)).await.0.unwrap();
    device.discard(0, BLOCK_U64).await.unwrap();
    let counted = Counters {
        reads: 1,
        read_bytes: BLOCK_U64,
        writes: 2,
        written_bytes: 3 * BLOCK_U64,
        flushes: 1,
        discards: 1,
    };
    assert_eq!(device.counters() - before, counted);
}
