//! What happened to the disks, kept so that a crash can be tried after each of its steps.

use std::sync::Arc;

use super::cache::{Cache, DeviceMutant};
use super::image::{Block, Image};
use super::rng::Rng;
use super::state::OpId;
use super::world::DiskIndex;

/// One step of one disk.
#[derive(Clone, Debug)]
pub(super) enum Event {
    WriteBegun { id: OpId, blocks: Arc<[(u64, Block)]> },
    WriteEnded { id: OpId },
    WriteLost { id: OpId },
    FlushBegun { id: OpId },
    FlushEnded { id: OpId },
    FlushFailed { id: OpId, forgotten: Vec<OpId> },
    Altered { index: u64, block: Block },
}

#[derive(Clone, Debug)]
pub(super) enum Step {
    Disk {
        disk: DiskIndex,
        event: Event,
    },
    /// The test says what holds from here on.
    Mark {
        mark: u64,
    },
}

/// The steps of all disks of a world from the moment it began to record, and the disks as they were
/// then.
#[derive(Clone, Debug)]
pub struct History {
    pub(super) initial: Vec<Image>,
    pub(super) steps: Vec<Step>,
}

impl History {
    /// How many steps there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }
}

/// The disks of a history at one of its steps.
pub(super) struct Replay {
    pub(super) caches: Vec<Cache>,
    pub(super) mark: Option<u64>,
}

impl Replay {
    pub(super) fn new(history: &History, mutant: DeviceMutant) -> Self {
        let caches = history.initial.iter().map(|image| {
            let mut cache = Cache::new(image.clone());
            cache.mutant = mutant;
            cache
        });
        Self { caches: caches.collect(), mark: None }
    }

    pub(super) fn apply(&mut self, step: &Step, rng: &mut Rng) {
        let (cache, event) = match step {
            Step::Mark { mark } => {
                self.mark = Some(*mark);
                return;
            }
            Step::Disk { disk, event } => (&mut self.caches[*disk], event),
        };
        match event {
            Event::WriteBegun { id, blocks } => cache.begin_write(*id, Arc::clone(blocks)),
            Event::WriteEnded { id } => cache.end_write(*id),
            Event::WriteLost { id } => cache.lose_write(*id),
            Event::FlushBegun { id } => cache.begin_flush(*id),
            Event::FlushEnded { id } => cache.end_flush(*id, rng),
            Event::FlushFailed { id, forgotten } => {
                cache.fail_flush(*id, |write| forgotten.contains(&write));
            }
            Event::Altered { index, block } => cache.durable.set_block(*index, Arc::clone(block)),
        }
    }
}
