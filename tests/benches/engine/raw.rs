//! The device without the engine: the same file, the same ring, long sequential transfers.

use std::collections::VecDeque;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use keelhold_disk::buffer::AlignedBuf;
use keelhold_disk::device::Device;

use super::work::{Took, Watch};

const TRANSFER_LEN: usize = 4 << 20;
const IN_FLIGHT: usize = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Read,
    Write,
}

/// Moves the first `len` bytes of the device; a write ends with a flush.
pub async fn sequential<D: Device>(
    device: &D,
    way: Way,
    len: u64,
    bufs: &mut Vec<AlignedBuf>,
) -> Took {
    let mut offsets: VecDeque<u64> = (0..len).step_by(TRANSFER_LEN).collect();
    let watch = Watch::start();
    let mut running = FuturesUnordered::new();
    loop {
        while !bufs.is_empty()
            && let Some(offset) = offsets.pop_front()
        {
            let mut buf = bufs.pop().expect("asked above");
            let rest = (len - offset).min(TRANSFER_LEN as u64) as usize;
            buf.resize(rest);
            running.push(async move {
                match way {
                    Way::Read => device.read(offset, buf).await,
                    Way::Write => device.write(offset, buf).await,
                }
            });
        }
        let Some((result, buf)) = running.next().await else {
            break;
        };
        result.expect("the device works");
        bufs.push(buf);
    }
    if way == Way::Write {
        device.flush().await.expect("the device works");
    }
    watch.stop()
}

/// Buffers for [`sequential`], in huge pages as the engine's are, and filled with noise.
pub fn buffers(pool: &keelhold_disk::buffer::BufferPool, noise: &[u8]) -> Vec<AlignedBuf> {
    let fill = |_| {
        let mut buf = pool.try_take(TRANSFER_LEN).expect("the pool was made for them");
        buf.copy_from_slice(&noise[..TRANSFER_LEN]);
        buf
    };
    (0..IN_FLIGHT).map(fill).collect()
}
