//! Devices on an io_uring, all disks of a pool thread on one ring.
//!
//! The ring is asked into by two calls only, both made by the executor: [`Driver::poll_io`] hands
//! over what has gathered and collects what has ended without blocking, [`Driver::park`] also waits.
//! Awaiting an operation makes no system call by itself, so operations started together go out
//! together.
//!
//! - Memory of an operation in flight belongs to the ring until its own completion, whether anybody
//!   still awaits it or not; the ring waits for its completions before it goes.
//! - At most `depth` operations are in the kernel, the rest wait in order of arrival. The completion
//!   queue is larger than that, so it cannot overflow.
//! - A flush is an ordinary operation, not a barrier: it covers what its caller awaited before.
//! - Buffers are not registered with the kernel: those of a pool lie in huge pages, which already
//!   saves what registering would (see [`crate::buffer`]), and any other may be used as well.

mod device;
mod setup;
mod transfer;

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::future::Future;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use io_uring::{IoUring, opcode, squeue, types};
use nix::errno::Errno;
use nix::libc;

use super::DeviceFault;
use crate::buffer::AlignedBuf;
use crate::exec::{Bell, Driver, Unpark};
pub use device::UringDevice;
pub use setup::RingError;
use transfer::{Request, Step, Transfer};

type OpId = u64;
type FileId = u64;

/// Names the completion of the poll on the bell; no operation has it.
const BELL: OpId = u64::MAX;

/// A ring; clones are the same. It lives and dies on the thread that made it.
#[derive(Clone)]
pub struct Ring {
    state: Rc<RefCell<State>>,
}

struct State {
    ring: IoUring,
    depth: usize,
    files: BTreeMap<FileId, RingFile>,
    next_file: FileId,
    /// Places of the ring's own table of files that are free.
    free_slots: Vec<u32>,
    ops: BTreeMap<OpId, Op>,
    /// Not handed to the kernel yet, oldest first.
    backlog: VecDeque<OpId>,
    in_flight: usize,
    next_op: OpId,
    bell: Bell,
    /// Whether the ring watches the bell at this moment.
    watching: bool,
}

struct RingFile {
    /// Held open for as long as the ring may use it.
    fd: OwnedFd,
    /// Its place in the ring's table, which saves the kernel looking it up each time.
    slot: Option<u32>,
    /// No handle is left: to be closed when its last operation has ended.
    closing: bool,
}

struct Op {
    file: FileId,
    transfer: Transfer,
    outcome: Option<Result<(), DeviceFault>>,
    waker: Option<Waker>,
    abandoned: bool,
}

impl State {
    fn begin(&mut self, file: FileId, request: Request) -> OpId {
        let id = self.next_op;
        self.next_op += 1;
        let transfer = Transfer::new(request);
        let op = Op { file, transfer, outcome: None, waker: None, abandoned: false };
        self.ops.insert(id, op);
        self.backlog.push_back(id);
        id
    }

    /// Moves as many operations into the submission queue as may be in flight.
    fn fill_queue(&mut self) {
        if !self.watching {
            let watch = opcode::PollAdd::new(
                types::Fd(self.bell.fd().as_raw_fd()),
                libc::POLLIN.unsigned_abs().into(),
            );
            self.watching = self.push(&watch.build().user_data(BELL));
        }
        while self.in_flight < self.depth {
            let Some(id) = self.backlog.front().copied() else {
                break;
            };
            let Some(op) = self.ops.get_mut(&id) else {
                self.backlog.pop_front();
                continue;
            };
            // A file leaves the table only after its last operation.
            let file = &self.files[&op.file];
            let entry = op.transfer.entry(file.slot, file.fd.as_raw_fd());
            if !self.push(&entry.user_data(id)) {
                break;
            }
            self.backlog.pop_front();
            self.in_flight += 1;
        }
    }

    /// False if the queue is full; the entry then goes with the next submission.
    #[expect(
        unsafe_code,
        reason = "the ring is told addresses; this file knows how long they live"
    )]
    fn push(&mut self, entry: &squeue::Entry) -> bool {
        // SAFETY: the kernel may use what the entry points to until its completion. The file is
        // held open in `files` until the ring is gone. The memory is the heap block of a buffer
        // inside `ops`; an operation leaves `ops` only in `complete`, after its completion was
        // reaped, or never (`Drop`). Moving the buffer's handle meanwhile does not move its block,
        // and nobody is given the handle before.
        // JUSTIFICATION: a submission queue is shared memory; no safe form of it exists.
        unsafe { self.ring.submission().push(entry).is_ok() }
    }

    /// One call into the kernel, waiting for `want` completions.
    fn enter(&mut self, want: usize) -> Result<(), Errno> {
        match self.ring.submit_and_wait(want) {
            Ok(_) => Ok(()),
            Err(error) => Err(Errno::from_raw(error.raw_os_error().unwrap_or(0))),
        }
    }

    /// Takes the completions that are there and says whom to wake.
    fn reap(&mut self, wakers: &mut Vec<Waker>) -> usize {
        let mut reaped = 0;
        loop {
            let Some(entry) = self.ring.completion().next() else {
                break reaped;
            };
            reaped += 1;
            if entry.user_data() == BELL {
                self.watching = false;
                self.bell.silence();
            } else {
                self.in_flight -= 1;
                wakers.extend(self.complete(entry.user_data(), entry.result()));
            }
        }
    }

    fn complete(&mut self, id: OpId, result: i32) -> Option<Waker> {
        let op = self.ops.get_mut(&id)?;
        match op.transfer.advance(result) {
            // The rest goes out as its own submission, ahead of what came later.
            Step::Again => {
                self.backlog.push_front(id);
                None
            }
            Step::Ended(outcome) => {
                let waker = op.waker.take();
                let file = op.file;
                if op.abandoned {
                    self.ops.remove(&id);
                } else {
                    op.outcome = Some(outcome);
                }
                self.close_if_unused(file);
                waker
            }
        }
    }

    /// Gives a file back to the kernel once no handle and no operation needs it.
    fn close_if_unused(&mut self, id: FileId) {
        let unused = self.files.get(&id).is_some_and(|file| file.closing)
            && !self.ops.values().any(|op| op.file == id && op.outcome.is_none());
        if unused && let Some(RingFile { slot: Some(slot), .. }) = self.files.remove(&id) {
            // Should the kernel refuse, the slot is not used again and closes with the ring.
            if self.ring.submitter().register_files_update(slot, &[-1]).is_ok() {
                self.free_slots.push(slot);
            }
        }
    }

    fn turn(&mut self, want: usize) -> Vec<Waker> {
        let mut wakers = Vec::new();
        self.reap(&mut wakers);
        let want = if wakers.is_empty() { want } else { 0 };
        self.fill_queue();
        if want > 0 || self.asks_for_a_call() {
            match self.enter(want) {
                // Interrupted, or the kernel wants completions taken first: the next turn goes on.
                Ok(()) | Err(Errno::EINTR | Errno::EBUSY | Errno::EAGAIN) => {}
                // Buffers are in flight and nothing can be learnt about them any more.
                Err(errno) => panic!("the ring does not answer: {errno}"),
            }
        }
        self.reap(&mut wakers);
        wakers
    }

    /// Whether the kernel has something to take over or something it holds back until asked.
    fn asks_for_a_call(&mut self) -> bool {
        let queue = self.ring.submission();
        !queue.is_empty() || queue.taskrun() || queue.cq_overflow()
    }
}

impl Ring {
    fn turn(&self, want: usize) {
        let wakers = self.state.borrow_mut().turn(want);
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl Driver for Ring {
    fn poll_io(&mut self) {
        self.turn(0);
    }

    fn park(&mut self) {
        self.turn(1);
    }

    fn unparker(&self) -> Arc<dyn Unpark> {
        Arc::new(self.state.borrow().bell.clone())
    }
}

impl Drop for State {
    fn drop(&mut self) {
        // The kernel writes into these buffers until it says that it is done. Operations that were
        // never handed over are simply not done.
        self.backlog.clear();
        self.depth = 0;
        while self.in_flight > 0 {
            let entered = self.enter(1);
            self.reap(&mut Vec::new());
            if !matches!(entered, Ok(()) | Err(Errno::EINTR | Errno::EBUSY | Errno::EAGAIN)) {
                // Lost memory is better than memory that somebody else owns by then.
                std::mem::forget(std::mem::take(&mut self.ops));
                return;
            }
        }
    }
}

/// Awaits an operation of a ring and gives its buffer back.
struct Pending {
    ring: Ring,
    id: OpId,
}

impl Future for Pending {
    type Output = (Result<(), DeviceFault>, Option<AlignedBuf>);

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let state = &mut *self.ring.state.borrow_mut();
        let op = state.ops.get_mut(&self.id).expect("an operation awaited after its end");
        let Some(outcome) = op.outcome.take() else {
            op.waker = Some(cx.waker().clone());
            return Poll::Pending;
        };
        let buf = state.ops.remove(&self.id).and_then(|op| op.transfer.into_buf());
        Poll::Ready((outcome, buf))
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let state = &mut *self.ring.state.borrow_mut();
        let Some(op) = state.ops.get_mut(&self.id) else {
            return;
        };
        if op.outcome.is_some() {
            state.ops.remove(&self.id);
        } else {
            op.abandoned = true;
            op.waker = None;
        }
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.borrow();
        write!(f, "Ring({} in flight, {} waiting)", state.in_flight, state.backlog.len())
    }
}
