//! What a disk is to the engine: five verbs on aligned, owned buffers.
//!
//! Contract, held by one conformance suite over every implementation:
//!
//! - Offsets and lengths are multiples of [`BLOCK_U64`](crate::units::BLOCK_U64) and lie inside the
//!   device; anything else is an error and touches nothing.
//! - A future does nothing until it is polled. Once it was polled, dropping it does not take the
//!   operation back: the buffer stays with the device until the operation has ended.
//! - `read` fills the whole buffer or fails; `write` has handed over all bytes or failed. After a
//!   failure the content of the buffer (read) or of the place (write) is undefined.
//! - Operations in flight have no order among each other. Whoever needs one awaits the first before
//!   starting the second.
//! - `flush` makes durable exactly the writes whose futures were ready before `flush` was first
//!   polled. Nothing else makes anything durable.
//! - `discard` is advice: afterwards the range reads as anything.

pub mod backend;
mod counters;
mod error;
pub mod latch;
pub mod pread;
pub mod probe;
pub mod uring;

use std::future::Future;
use std::sync::Arc;

use crate::buffer::AlignedBuf;
use crate::units::BLOCK_U64;

pub(crate) use counters::CounterCells;
pub use counters::Counters;
pub use error::{DeviceError, DeviceFault, DeviceOp};

/// Facts about a device that do not change while it is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Usable bytes, a multiple of [`BLOCK_U64`].
    pub len: u64,
    /// Logical block: what the device writes without tearing it into smaller parts, if it keeps its
    /// word. At most [`BLOCK_U64`].
    pub block: u32,
    /// Whether the page cache is passed by.
    pub direct: bool,
    /// Whether it turns, where the kernel says so.
    pub rotational: Option<bool>,
    /// Whether it has a volatile write cache, where the kernel says so.
    pub write_cache: Option<bool>,
    /// For people: a path. Never identity.
    pub name: Arc<str>,
}

/// What an operation gives back: its result and the buffer it was lent.
pub type Returned = (Result<(), DeviceError>, AlignedBuf);

/// One disk. A handle: clones are the same disk.
pub trait Device: Clone + 'static {
    fn geometry(&self) -> Geometry;

    /// Fills all of `buf` from `offset`.
    fn read(&self, offset: u64, buf: AlignedBuf) -> impl Future<Output = Returned>;

    /// Hands all of `buf` over to the device at `offset`.
    fn write(&self, offset: u64, buf: AlignedBuf) -> impl Future<Output = Returned>;

    /// Makes the writes that ended before it began durable.
    fn flush(&self) -> impl Future<Output = Result<(), DeviceError>>;

    /// Tells the device that nobody needs these bytes.
    fn discard(&self, offset: u64, len: u64) -> impl Future<Output = Result<(), DeviceError>>;

    /// What was asked of this device since it was opened.
    fn counters(&self) -> Counters;
}

/// The range rule of the contract, the same for every implementation.
pub(crate) fn check_range(
    op: DeviceOp,
    device_len: u64,
    offset: u64,
    len: u64,
) -> Result<(), DeviceError> {
    let fault = if !offset.is_multiple_of(BLOCK_U64) || !len.is_multiple_of(BLOCK_U64) {
        DeviceFault::Misaligned
    } else if offset.checked_add(len).is_none_or(|end| end > device_len) {
        DeviceFault::OutOfRange { device_len }
    } else {
        return Ok(());
    };
    Err(DeviceError { op, offset, len, fault })
}

#[cfg(test)]
mod conformance;
