//! Making a ring, and finding out whether the kernel lets us.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use io_uring::{IoUring, Probe, opcode};
use nix::errno::Errno;

use super::{Ring, State};
use crate::exec::Bell;

/// Disks that get a place in the ring's table of files; the ones beyond are looked up each time.
const SLOTS: u32 = 64;

/// Why there is no ring. The pool then works on threads, and says so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RingError {
    #[error("the kernel refuses io_uring ({0})")]
    Refused(Errno),
    #[error("the kernel's io_uring lacks an operation the pool needs")]
    TooOld,
    #[error("the kernel gives no eventfd ({0})")]
    NoBell(Errno),
}

impl Ring {
    /// A ring with at most `depth` operations in the kernel, for this thread only.
    ///
    /// # Errors
    /// If the kernel forbids io_uring (seccomp, sysctl), does not have it, or has too old a one.
    pub fn new(depth: u32) -> Result<Self, RingError> {
        let depth = depth.max(1);
        // One more than the depth, for the watch on the bell.
        let ring = build(depth + 1).map_err(|error| RingError::Refused(errno_of(&error)))?;
        if !ring.params().is_feature_nodrop() || !has_operations(&ring) {
            return Err(RingError::TooOld);
        }
        let free_slots = match ring.submitter().register_files_sparse(SLOTS) {
            Ok(()) => (0..SLOTS).rev().collect(),
            Err(_) => Vec::new(),
        };
        let bell = Bell::new().map_err(|error| RingError::NoBell(errno_of(&error)))?;
        let state = State {
            ring,
            depth: usize::try_from(depth).unwrap_or(1),
            files: BTreeMap::new(),
            next_file: 0,
            free_slots,
            ops: BTreeMap::new(),
            backlog: VecDeque::new(),
            in_flight: 0,
            next_op: 0,
            bell,
            watching: false,
        };
        Ok(Self { state: Rc::new(RefCell::new(state)) })
    }
}

/// The cheapest kind of ring this kernel knows: completions are handled only when this thread asks,
/// so that nothing interrupts it.
fn build(entries: u32) -> std::io::Result<IoUring> {
    IoUring::builder()
        .dontfork()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_taskrun_flag()
        .build(entries)
        .or_else(|_| {
            IoUring::builder().dontfork().setup_coop_taskrun().setup_taskrun_flag().build(entries)
        })
        .or_else(|_| IoUring::builder().dontfork().build(entries))
}

fn has_operations(ring: &IoUring) -> bool {
    let mut probe = Probe::new();
    let needed = [
        opcode::Read::CODE,
        opcode::Write::CODE,
        opcode::Fsync::CODE,
        opcode::Fallocate::CODE,
        opcode::PollAdd::CODE,
    ];
    ring.submitter().register_probe(&mut probe).is_ok()
        && needed.into_iter().all(|code| probe.is_supported(code))
}

fn errno_of(error: &std::io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(0))
}
