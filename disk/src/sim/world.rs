//! The one owner of time, seed, disks and operations in flight.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

use super::cache::DeviceMutant;
use super::disk::SimDisk;
use super::fault::{ArmedRule, FaultRule};
use super::history::{History, Step};
use super::image::Image;
use super::media::Media;
use super::state::{Pending, State};
use crate::device::{Counters, DeviceOp};

/// Which disk of a world.
pub type DiskIndex = usize;

/// Handle of a world; clones are the same world.
#[derive(Clone)]
pub struct SimWorld {
    state: Rc<RefCell<State>>,
}

impl SimWorld {
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { state: Rc::new(RefCell::new(State::new(seed))) }
    }

    #[must_use]
    pub fn seed(&self) -> u64 {
        self.state.borrow().seed
    }

    /// A new disk of zeroes.
    pub fn add_disk(&self, len: u64) -> DiskIndex {
        self.add_image(Image::empty(len))
    }

    /// A new disk with this content, all of it durable.
    pub fn add_image(&self, image: Image) -> DiskIndex {
        let mut state = self.state.borrow_mut();
        state.disks.push(Media::new(image));
        state.disks.len() - 1
    }

    /// Opens a disk. Handles opened before the last crash do not come back to life.
    #[must_use]
    pub fn disk(&self, index: DiskIndex) -> SimDisk {
        let generation = self.state.borrow().disks[index].generation;
        SimDisk::new(self.clone(), index, generation)
    }

    /// What the disk answers to readers at this moment.
    #[must_use]
    pub fn image(&self, index: DiskIndex) -> Image {
        let mut state = self.state.borrow_mut();
        let live = &mut state.disks[index].live;
        live.freeze();
        live.clone()
    }

    /// Changes the content behind everybody's back, durably: a test's damage.
    pub fn alter(&self, index: DiskIndex, change: impl FnOnce(&mut Image)) {
        let state = &mut *self.state.borrow_mut();
        for event in state.disks[index].alter(change) {
            state.remember(index, event);
        }
    }

    /// The block at `offset` cannot be read until it is written again.
    pub fn spoil(&self, index: DiskIndex, offset: u64) {
        self.state.borrow_mut().disks[index].spoil(offset);
    }

    /// The disk is gone, also after the next crash.
    pub fn vanish(&self, index: DiskIndex) {
        self.state.borrow_mut().disks[index].vanish();
    }

    /// A disk that vanished is there again, with what was durable then.
    pub fn come_back(&self, index: DiskIndex) {
        self.state.borrow_mut().disks[index].come_back();
    }

    /// Every operation of the disk takes `times` as long as usual from now on.
    pub fn slow(&self, index: DiskIndex, times: u64) {
        self.state.borrow_mut().disks[index].slowness = times;
    }

    /// Lets a disk break the contract from now on.
    pub fn set_mutant(&self, index: DiskIndex, mutant: DeviceMutant) {
        self.state.borrow_mut().disks[index].cache.mutant = mutant;
    }

    /// From now on operations are struck by this rule; of several that fit, by the first.
    pub fn add_fault(&self, rule: FaultRule) {
        self.state.borrow_mut().faults.push(ArmedRule::new(rule));
    }

    /// No rule strikes any more. Damage that is done stays.
    pub fn clear_faults(&self) {
        self.state.borrow_mut().faults.clear();
    }

    /// How often which fault took effect on which operation.
    #[must_use]
    pub fn faults_struck(&self) -> BTreeMap<(DeviceOp, &'static str), u64> {
        self.state.borrow().struck.clone()
    }

    /// Begins a new history from the disks as they are durable now. To be called while nothing is
    /// in flight and everything written is flushed: what is open now is not in it.
    pub fn record(&self) {
        let state = &mut *self.state.borrow_mut();
        let initial = state.disks.iter_mut().map(|media| {
            media.cache.durable.freeze();
            media.cache.durable.clone()
        });
        state.history = Some(History { initial: initial.collect(), steps: Vec::new() });
    }

    /// What holds from here on, for the images of a crash after this.
    pub fn mark(&self, mark: u64) {
        let state = &mut *self.state.borrow_mut();
        state.trace.event(b'm', &[mark]);
        if let Some(history) = &mut state.history {
            history.steps.push(Step::Mark { mark });
        }
    }

    /// The history since [`Self::record`]; recording ends.
    #[must_use]
    pub fn take_history(&self) -> Option<History> {
        self.state.borrow_mut().history.take()
    }

    /// What a disk was asked since the world began.
    #[must_use]
    pub fn counters(&self, index: DiskIndex) -> Counters {
        self.state.borrow().disks[index].counters.get()
    }

    /// Virtual nanoseconds since the world began.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.state.borrow().now
    }

    /// The hash of everything that happened so far.
    #[must_use]
    pub fn trace_hash(&self) -> [u8; 32] {
        self.state.borrow().trace.hash()
    }

    /// Folds a fact of the test itself into the trace.
    pub fn note(&self, fact: u64) {
        self.state.borrow_mut().trace.event(b'n', &[fact]);
    }

    /// A seeded number below `bound`, for decisions of the test.
    #[must_use]
    pub fn choose(&self, bound: u64) -> u64 {
        self.state.borrow_mut().rng.below(bound)
    }

    /// The power goes. Every operation in flight is lost, of what no flush covered any part
    /// persists, and handles opened before are dead. Drop the executor first or after; nothing on it
    /// will ever be woken by this world again.
    pub fn crash(&self) {
        let state = &mut *self.state.borrow_mut();
        state.trace.event(b'c', &[state.now]);
        state.forget_operations();
        state.history = None;
        for media in &mut state.disks {
            media.crash(&mut state.rng);
        }
    }

    /// Ready after `nanos` of virtual time.
    pub fn sleep(&self, nanos: u64) -> impl Future<Output = ()> + use<> {
        let world = self.clone();
        async move {
            let id = world.with(|state| state.start(None, nanos));
            let _always_ok = Pending::new(world, id).await;
        }
    }

    pub(super) fn state(&self) -> &RefCell<State> {
        &self.state
    }

    pub(super) fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.borrow_mut())
    }

    /// Lets the next operation end and moves the clock there. False if none is in flight.
    pub(super) fn deliver_next(&self) -> bool {
        // In a statement of its own: the borrow ends before anybody is woken.
        let ended = self.state.borrow_mut().end_next();
        let Some(waker) = ended else { return false };
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }
}

impl fmt::Debug for SimWorld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.borrow();
        write!(f, "SimWorld(seed {}, {} disks, at {} ns)", state.seed, state.disks.len(), state.now)
    }
}
