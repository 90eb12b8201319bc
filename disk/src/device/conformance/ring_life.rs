//! What only a ring can get wrong: memory and files that outlive those who asked.

use super::files::TempFile;
use super::{LEN, opened, ring_or_say};
use crate::buffer::BufferPool;
use crate::device::Device;
use crate::device::probe::{OpenDiskError, open_disk};
use crate::exec::{Driver, Executor, Fifo};
use crate::units::{BLOCK, BLOCK_U64};

#[test]
fn a_ring_waits_for_its_operations_before_it_goes() {
    let Some(ring) = ring_or_say(8) else { return };
    let file = TempFile::new("goes");
    let device = ring.attach(opened(&file));
    let pool = BufferPool::new(64 * BLOCK);
    let mut exec = Executor::new(ring, Fifo);
    exec.run_until(async {
        for block in 0..8 {
            let mut buf = pool.take(8 * BLOCK).await;
            buf.fill(7);
            let write = Box::pin(device.write(block * 8 * BLOCK_U64, buf));
            let _begun = futures_util::poll!(write);
        }
    });
    exec.driver().poll_io();
    drop(device);
    drop(exec);
    assert_eq!(pool.out_len(), 0, "the buffers came back when the ring went");
    let bytes = std::fs::read(file.path()).unwrap();
    assert!(bytes[..64 * BLOCK].iter().all(|byte| *byte == 7));
}

#[test]
fn a_file_is_free_again_after_its_last_handle() {
    let Some(mut ring) = ring_or_say(8) else {
        return;
    };
    let file = TempFile::new("free");
    let device = ring.attach(opened(&file));
    let error = open_disk(file.path()).unwrap_err();
    assert!(matches!(error, OpenDiskError::InUse { .. }), "{error}");
    let other = device.clone();
    drop(device);
    assert!(open_disk(file.path()).is_err(), "a clone still holds it");
    drop(other);
    ring.poll_io();
    for _ in 0..200 {
        // More often than the ring has places for files.
        let device = ring.attach(open_disk(file.path()).unwrap());
        assert_eq!(device.geometry().len, LEN);
    }
}

#[test]
fn disks_beyond_the_table_of_files_work_too() {
    let Some(ring) = ring_or_say(4) else { return };
    let files: Vec<TempFile> = (0..70).map(|_| TempFile::new("many")).collect();
    let devices: Vec<_> = files.iter().map(|file| ring.attach(opened(file))).collect();
    let pool = BufferPool::new(16 * BLOCK);
    Executor::new(ring, Fifo).run_until(async {
        for (device, value) in devices.iter().zip(0u8..) {
            let mut buf = pool.take(BLOCK).await;
            buf.fill(value);
            device.write(0, buf).await.0.unwrap();
        }
        for (device, value) in devices.iter().zip(0u8..) {
            let (result, buf) = device.read(0, pool.take(BLOCK).await).await;
            result.unwrap();
            assert!(buf.iter().all(|byte| *byte == value));
        }
    });
}

#[test]
fn a_ring_of_the_bell_ends_a_park_and_is_heard_once() {
    let Some(mut ring) = ring_or_say(4) else {
        return;
    };
    let unparker = ring.unparker();
    // Before the watch is set, while it is set, and twice at once: each park ends.
    for _ in 0..3 {
        unparker.unpark();
        unparker.unpark();
        ring.park();
    }
    let file = TempFile::new("bell");
    let device = ring.attach(opened(&file));
    unparker.unpark();
    Executor::new(ring, Fifo).run_until(async {
        for _ in 0..4 {
            unparker.unpark();
            device.flush().await.unwrap();
        }
    });
}
