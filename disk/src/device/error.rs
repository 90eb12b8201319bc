//! What can go wrong with one operation of a device.

use std::fmt;

use nix::errno::Errno;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DeviceOp {
    Read,
    Write,
    Flush,
    Discard,
}

impl fmt::Display for DeviceOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Flush => "flush",
            Self::Discard => "discard",
        })
    }
}

/// One operation that did not do what was asked. For a flush, offset and length are zero.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{op} of {len} bytes at offset {offset} failed")]
pub struct DeviceError {
    pub op: DeviceOp,
    pub offset: u64,
    pub len: u64,
    #[source]
    pub fault: DeviceFault,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeviceFault {
    #[error("the kernel says {0}")]
    Os(Errno),
    #[error("the device ended the transfer after {done} bytes")]
    Short { done: u64 },
    #[error("the device is fenced after an earlier failed write or flush")]
    Fenced,
    #[error("the device is gone")]
    Gone,
    #[error("offset or length is not a multiple of the block")]
    Misaligned,
    #[error("the range leaves the device of {device_len} bytes")]
    OutOfRange { device_len: u64 },
}

impl DeviceError {
    /// Whether the same operation would fail again. A write or flush is never repeated, permanent or
    /// not; this tells a reader whether asking once more can help.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        match self.fault {
            DeviceFault::Os(errno) => !matches!(
                errno,
                Errno::EAGAIN | Errno::EINTR | Errno::ENOMEM | Errno::EBUSY | Errno::ETIMEDOUT
            ),
            DeviceFault::Short { .. }
            | DeviceFault::Fenced
            | DeviceFault::Gone
            | DeviceFault::Misaligned
            | DeviceFault::OutOfRange { .. } => true,
        }
    }

    /// Whether the device refused the request itself and nothing reached the medium.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(
            self.fault,
            DeviceFault::Fenced | DeviceFault::Misaligned | DeviceFault::OutOfRange { .. }
        )
    }

    /// Whether the disk must not be written again until it was opened anew: what the medium holds
    /// is unknown now.
    #[must_use]
    pub fn fences_disk(&self) -> bool {
        matches!(self.op, DeviceOp::Write | DeviceOp::Flush) && !self.is_refusal()
    }
}
