//! Who does what next.
//!
//! Pieces of work wait in the order of the walk. A worker takes the earliest; the reader takes the one
//! it needs, or waits for whoever is at it. Results wait where the reader will look for them.

use super::branch::{Branch, Item, Listing};
use super::decide::Decide;
use super::position::Position;
use crate::dirs::lock;
use crate::skipped::SkippedReason;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

#[derive(Debug, Clone)]
pub(crate) enum Work {
    List(Arc<Branch>),
    Stat(Arc<Listing>, usize),
}

#[derive(Debug)]
pub(crate) enum Done {
    /// A directory with its first block.
    Listed(Arc<Listing>, Vec<Item>),
    Unlisted(SkippedReason),
    Statted(Vec<Item>),
}

#[derive(Debug, Default)]
struct State {
    waiting: BTreeMap<Position, Work>,
    /// What a worker has begun, and what came of it.
    begun: BTreeMap<Position, Option<Done>>,
    /// Entries in results that nobody has taken.
    ready_count: usize,
    stopped: bool,
}

#[derive(Debug)]
pub(crate) struct Schedule {
    pub(crate) decide: Decide,
    read_ahead: usize,
    state: Mutex<State>,
    work: Condvar,
    done: Condvar,
}

impl Done {
    fn items(&self) -> &[Item] {
        match self {
            Self::Listed(_, items) | Self::Statted(items) => items,
            Self::Unlisted(_) => &[],
        }
    }
}

impl Work {
    pub(crate) fn position(&self) -> Position {
        match self {
            Self::List(branch) => {
                let dir = branch.dir.parent().unwrap_or(&branch.dir).clone();
                Position { dir, name: branch.dir.name().into(), block: false }
            }
            Self::Stat(listing, block) => {
                let name = listing.block_name(*block).into();
                Position { dir: listing.branch.dir.clone(), name, block: true }
            }
        }
    }

    fn run(&self, decide: &Decide) -> Done {
        match self {
            Self::List(branch) => match branch.list(decide) {
                Err(reason) => Done::Unlisted(reason),
                Ok(listing) => {
                    let items = match listing.block_count() {
                        0 => Vec::new(),
                        _ => listing.stat_block(0, decide),
                    };
                    Done::Listed(Arc::new(listing), items)
                }
            },
            Self::Stat(listing, block) => Done::Statted(listing.stat_block(*block, decide)),
        }
    }
}

/// The work that a result brings: directories found, and the other blocks of a large directory.
fn consequences(done: &Done) -> Vec<Work> {
    let below = |item: &Item| match item {
        Item::Entry { below: Some(branch), .. } => Some(Work::List(branch.clone())),
        _ => None,
    };
    let mut works: Vec<Work> = done.items().iter().filter_map(below).collect();
    if let Done::Listed(listing, _) = done {
        works.extend((1..listing.block_count()).map(|block| Work::Stat(listing.clone(), block)));
    }
    works
}

impl Schedule {
    pub(crate) fn new(decide: Decide, read_ahead: usize) -> Self {
        let (state, work, done) = (Mutex::default(), Condvar::new(), Condvar::new());
        Self { decide, read_ahead: read_ahead.max(1), state, work, done }
    }

    /// None if the machine grants no more threads; the reader goes on alone.
    pub(crate) fn spawn(schedule: &Arc<Self>) -> Option<JoinHandle<()>> {
        let schedule = schedule.clone();
        std::thread::Builder::new().name("walk".to_owned()).spawn(move || schedule.serve()).ok()
    }

    fn serve(&self) {
        let mut state = lock(&self.state);
        while !state.stopped {
            let room = state.ready_count < self.read_ahead;
            let Some((position, work)) = room.then(|| state.waiting.pop_first()).flatten() else {
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            state.begun.insert(position.clone(), None);
            drop(state);
            let done = catch_unwind(AssertUnwindSafe(|| work.run(&self.decide)));
            state = lock(&self.state);
            let Ok(done) = done else {
                // The reader tries it again and meets the panic itself, instead of waiting for ever.
                state.begun.remove(&position);
                self.done.notify_one();
                return;
            };
            state.ready_count += done.items().len();
            self.add(&mut state, consequences(&done));
            state.begun.insert(position, Some(done));
            self.done.notify_one();
        }
    }

    fn add(&self, state: &mut State, works: Vec<Work>) {
        match works.len() {
            0 => {}
            1 => self.work.notify_one(),
            _ => self.work.notify_all(),
        }
        state.waiting.extend(works.into_iter().map(|work| (work.position(), work)));
    }

    /// The result of `work`, wherever it stands: done before, begun by a worker, or done here and now.
    pub(crate) fn obtain(&self, work: Work) -> Done {
        let position = work.position();
        let mut state = lock(&self.state);
        while let Some(begun) = state.begun.get_mut(&position) {
            let Some(done) = begun.take() else {
                state = self.done.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            state.begun.remove(&position);
            let full = state.ready_count >= self.read_ahead;
            state.ready_count -= done.items().len();
            if full && state.ready_count < self.read_ahead {
                self.work.notify_all();
            }
            return done;
        }
        state.waiting.remove(&position);
        drop(state);
        let done = work.run(&self.decide);
        self.add(&mut lock(&self.state), consequences(&done));
        done
    }

    pub(crate) fn stop(&self) {
        lock(&self.state).stopped = true;
        self.work.notify_all();
    }
}
