//! Operations in flight, and the clock that their ends move.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::fault::{ArmedRule, Fault};
use super::history::{Event, History, Step};
use super::media::{Media, Request};
use super::rng::Rng;
use super::trace::Trace;
use super::world::{DiskIndex, SimWorld};
use crate::buffer::AlignedBuf;
use crate::device::{DeviceError, DeviceOp};

pub(super) type OpId = u64;

/// No operation takes longer than this much virtual time.
const LONGEST_NANOS: u64 = 2_000_000;

pub(super) struct State {
    pub(super) seed: u64,
    pub(super) rng: Rng,
    pub(super) trace: Trace,
    pub(super) now: u64,
    pub(super) disks: Vec<Media>,
    pub(super) faults: Vec<ArmedRule>,
    pub(super) struck: BTreeMap<(DeviceOp, &'static str), u64>,
    pub(super) history: Option<History>,
    ops: BTreeMap<OpId, Op>,
    due: BTreeSet<(u64, OpId)>,
    next_op: OpId,
}

struct Op {
    /// Absent for a sleeper.
    disk: Option<DiskIndex>,
    request: Option<Request>,
    fault: Option<Fault>,
    outcome: Option<Outcome>,
    waker: Option<Waker>,
    abandoned: bool,
}

/// What an operation gives back. A flush and a discard lend no buffer.
pub(super) type Outcome = (Result<(), DeviceError>, Option<AlignedBuf>);

impl State {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            seed,
            rng: Rng::new(seed),
            trace: Trace::new(seed),
            now: 0,
            disks: Vec::new(),
            faults: Vec::new(),
            struck: BTreeMap::new(),
            history: None,
            ops: BTreeMap::new(),
            due: BTreeSet::new(),
            next_op: 0,
        }
    }

    pub(super) fn forget_operations(&mut self) {
        self.ops.clear();
        self.due.clear();
    }

    /// Lets the operation end that is due first and moves the clock there. Gives whom to wake, or
    /// nothing if no operation is in flight.
    pub(super) fn end_next(&mut self) -> Option<Option<Waker>> {
        let (due, id) = self.due.pop_first()?;
        self.now = self.now.max(due);
        Some(self.end(id))
    }

    pub(super) fn start_request(&mut self, disk: DiskIndex, request: Request) -> OpId {
        let (op, bytes) = (request.op(), request.bytes());
        let rng = &mut self.rng;
        let fault = self.faults.iter_mut().fold(None, |struck, rule| {
            // Every rule counts every operation, struck by another or not.
            let strikes = rule.strikes(disk, op, &bytes, |per_million| rng.chance(per_million));
            struck.or(strikes)
        });
        let took = (1 + self.rng.below(LONGEST_NANOS)) * self.disks[disk].slowness;
        let id = self.start(Some(disk), took);
        self.trace.event(b'o', &[id, disk as u64, op as u64, bytes.start, bytes.end]);
        if let Request::Write { buf, .. } = &request {
            self.trace.bytes(buf);
        }
        if let Some(event) = self.disks[disk].begin(id, &request, fault, &mut self.rng) {
            self.remember(disk, event);
        }
        if let Some(op) = self.ops.get_mut(&id) {
            op.request = Some(request);
            op.fault = fault;
        }
        id
    }

    pub(super) fn start(&mut self, disk: Option<DiskIndex>, took: u64) -> OpId {
        let id = self.next_op;
        self.next_op += 1;
        let op =
            Op { disk, request: None, fault: None, outcome: None, waker: None, abandoned: false };
        self.ops.insert(id, op);
        self.due.insert((self.now + took, id));
        id
    }

    pub(super) fn remember(&mut self, disk: DiskIndex, event: Event) {
        if let Some(history) = &mut self.history {
            history.steps.push(Step::Disk { disk, event });
        }
    }

    fn end(&mut self, id: OpId) -> Option<Waker> {
        let op = self.ops.get_mut(&id)?;
        let (disk, fault, request) = (op.disk, op.fault, op.request.take());
        let outcome = match (disk, request) {
            (Some(disk), Some(request)) => self.end_request(id, disk, request, fault),
            _ => (Ok(()), None),
        };
        self.trace.event(b'e', &[id, self.now, u64::from(outcome.0.is_ok())]);
        let op = self.ops.get_mut(&id)?;
        if op.abandoned {
            self.ops.remove(&id);
            return None;
        }
        op.outcome = Some(outcome);
        op.waker.take()
    }

    fn end_request(
        &mut self,
        id: OpId,
        disk: DiskIndex,
        mut request: Request,
        fault: Option<Fault>,
    ) -> Outcome {
        let (op, bytes) = (request.op(), request.bytes());
        let ended = self.disks[disk].end(id, &mut request, fault, &mut self.rng);
        if let Some(struck) = ended.struck {
            *self.struck.entry((op, struck.name())).or_default() += 1;
        }
        if let Some(event) = ended.event {
            self.remember(disk, event);
        }
        let (offset, len) = (bytes.start, bytes.end - bytes.start);
        let result = ended.result.map_err(|fault| DeviceError { op, offset, len, fault });
        (result, request.into_buf())
    }
}

/// Awaits an operation that was started.
pub(super) struct Pending {
    world: SimWorld,
    id: OpId,
}

impl Pending {
    pub(super) fn new(world: SimWorld, id: OpId) -> Self {
        Self { world, id }
    }
}

impl Future for Pending {
    type Output = Outcome;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let state = &mut *self.world.state().borrow_mut();
        // After a crash the operation is unknown: it never ends, as a lost machine never answers.
        let Some(op) = state.ops.get_mut(&self.id) else {
            return Poll::Pending;
        };
        match op.outcome.take() {
            Some(outcome) => {
                state.ops.remove(&self.id);
                Poll::Ready(outcome)
            }
            None => {
                op.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let state = &mut *self.world.state().borrow_mut();
        if let Some(op) = state.ops.get_mut(&self.id) {
            op.abandoned = true;
            op.waker = None;
            if op.outcome.is_some() {
                state.ops.remove(&self.id);
            }
        }
    }
}
