//! Giving space back. Sets decide what is dead; counts say only what was expected.
//!
//! 1. Points whose time in the trash is over are dropped, leases that ran out are ended. Whatever lost
//!    somebody who needed it became a *suspect* then: work follows what was forgotten.
//! 2. Suspects that are in no set are dead. If they are far more than was expected when they became
//!    suspects, nothing is given up before somebody confirms it: one of the two ways to come to the
//!    figure is wrong.
//! 3. Containers in which everything is dead are freed. Of the sparse ones the live chunks are moved,
//!    each proved, and when the copies are durable the container is freed.
//!
//! A container is freed in one step between two awaits: every chunk the index has there is dead, no
//! session was told of it meanwhile, and the index forgets it, so that nobody can be told of it again.
//! Its slot is taken again two checkpoints later, and not before the last one who reads there is done.

mod compact;
mod free;
pub(super) mod plan;

use roaring::RoaringTreemap;

use super::{Inner, Pool, Work};
use crate::device::Device;
use crate::error::{ReadError, ReclaimError};
use crate::format::CHUNK_ROW_LEN;
use crate::mutants::Mutant;
use crate::sets::{Chain, common};
use crate::units::UnixNanos;

use compact::Compactor;
use free::Freed;

/// Containers compacted before their copies are made durable and they are freed.
const BATCH_COUNT: usize = 16;

#[derive(Debug, Clone, Copy)]
pub struct ReclaimOptions {
    /// Give up also far more than was expected.
    pub confirmed: bool,
    /// Containers with at least so many per cent of garbage are compacted.
    pub least_dead: u8,
}

impl Default for ReclaimOptions {
    fn default() -> Self {
        Self { confirmed: false, least_dead: 25 }
    }
}

#[derive(Debug, Clone, Default)]
pub struct ReclaimReport {
    pub points_dropped: u64,
    pub sessions_ended: u64,
    /// Stored bytes of what was found to be dead.
    pub died_len: u64,
    pub containers_freed: u64,
    pub containers_compacted: u64,
    /// Stored bytes of frames that are no longer in any container, moved ones not counted.
    pub freed_len: u64,
    /// Stored bytes of frames that were written for chunks that moved.
    pub moved_len: u64,
    /// What could not be moved because it is damaged: its container stays as it is.
    pub damaged: Vec<ReadError>,
}

/// How far a reclaim is. Zeros when none runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReclaimProgress {
    /// Containers chosen to be freed or compacted, and those that were looked at.
    pub chosen: u64,
    pub done: u64,
}

impl<D: Device, W: Work> Pool<D, W> {
    /// How far the reclaim is that runs now.
    #[must_use]
    pub fn reclaim_progress(&self) -> ReclaimProgress {
        self.inner.reclaim_progress.get()
    }

    /// Gives back what nothing needs any more. One call at a time; others wait.
    pub async fn reclaim(
        &self,
        options: ReclaimOptions,
        now: UnixNanos,
    ) -> Result<ReclaimReport, ReclaimError> {
        let inner = &self.inner;
        let _turn = inner.reclaiming.lock().await;
        inner.witness(now);
        let ended = inner.reclaim_all(options).await;
        inner.reclaim_progress.set(ReclaimProgress::default());
        ended
    }
}

impl<D: Device, W: Work> Inner<D, W> {
    async fn reclaim_all(&self, options: ReclaimOptions) -> Result<ReclaimReport, ReclaimError> {
        let inner = self;
        let mut report = ReclaimReport {
            points_dropped: inner.drop_due().await?,
            sessions_ended: inner.end_due_sessions().await?,
            ..ReclaimReport::default()
        };
        report.died_len = inner.judge_suspects(options.confirmed)?;
        if inner.seal_sparse(options.least_dead) {
            inner.append(Vec::new()).await?;
        }
        let mut freed = Freed::default();
        let chosen = inner.choose(options.least_dead);
        let all = (chosen.dead.len() + chosen.sparse.len()) as u64;
        inner.reclaim_progress.set(ReclaimProgress { chosen: all, done: 0 });
        for candidate in &chosen.dead {
            freed.add(inner.free_container(candidate.container).await?);
            inner.reclaim_advanced(1);
        }
        report.containers_freed = freed.containers;
        inner.settle_freed(freed.containers > 0).await?;
        // Again: what was dead a moment ago has made room, and sessions went on.
        for batch in inner.choose(options.least_dead).sparse.chunks(BATCH_COUNT) {
            let mut compactor = Compactor::new(inner);
            for candidate in batch {
                compactor.empty(candidate.container).await?;
            }
            let emptied = compactor.finish(&mut report).await?;
            freed.add(emptied);
            inner.reclaim_advanced(batch.len() as u64);
            inner.settle_freed(emptied.containers > 0).await?;
        }
        report.freed_len = freed.stored_len.saturating_sub(report.moved_len);
        Ok(report)
    }

    fn reclaim_advanced(&self, by: u64) {
        let ReclaimProgress { chosen, done } = self.reclaim_progress.get();
        let done = done + by;
        // The sparse are chosen again when the dead are gone, and may be more then.
        self.reclaim_progress.set(ReclaimProgress { chosen: chosen.max(done), done });
    }

    /// Finds out which suspects are dead; gives how many stored bytes more than before.
    fn judge_suspects(&self, confirmed: bool) -> Result<u64, ReclaimError> {
        let mut tables = self.tables.borrow_mut();
        // Somebody reads a working state that was replaced: what it needs, no set says.
        let readers = self.readers.borrow();
        if readers.keys().any(|point| self.is_unlisted(&tables, point)) {
            return Ok(0);
        }
        let mut unheld = tables.suspects.clone();
        for source in tables.sources.values() {
            unheld -= match self.mutants.keeps(Mutant::TrashPins) {
                true => source.chain.held(),
                false => Chain::held_by_listed(&source.chain),
            };
        }
        let dead = &unheld - &self.told(&tables, &unheld);
        let died_len = tables.stored_len(&(&dead - &tables.dead));
        let slack = self.fixed.container_len;
        if !confirmed && died_len > tables.expected_len.saturating_mul(2) + slack {
            let expected_len = tables.expected_len;
            return Err(ReclaimError::Brake { found_len: died_len, expected_len });
        }
        // Of those that a session may still give up, the forecast stays.
        tables.expected_len = tables.stored_len(&(&unheld - &dead));
        tables.suspects = unheld;
        tables.set_dead(dead);
        Ok(died_len)
    }

    fn is_unlisted(&self, tables: &super::tables::Tables, point: &crate::units::PointId) -> bool {
        let mut working = tables.sources.values().filter_map(|source| source.working.as_ref());
        tables.point(point).is_none() && !working.any(|(row, _)| row.id == *point)
    }

    /// Those of `numbers` that some session stored or was told to exist.
    fn told(&self, tables: &super::tables::Tables, numbers: &RoaringTreemap) -> RoaringTreemap {
        let mut told = RoaringTreemap::new();
        if !self.mutants.keeps(Mutant::SessionPins) {
            return told;
        }
        for session in tables.sessions.values() {
            told |= common(numbers, &session.numbers);
        }
        for live in self.live.borrow().values() {
            told |= live.pinned(numbers);
        }
        told
    }

    pub(super) fn packing(&self) -> plan::Packing {
        // Footers are left out where they find no room.
        plan::Packing { room: self.packed_len(), row_len: CHUNK_ROW_LEN }
    }

    fn choose(&self, least_dead: u8) -> plan::Chosen {
        let tables = self.tables.borrow();
        let shares = tables.containers.iter().map(|(number, of)| (*number, of.shares)).collect();
        let candidates = plan::candidates(&tables, &shares, |container| self.is_open(container));
        plan::choose(candidates, self.packing(), least_dead)
    }

    /// A freed slot can be taken after two checkpoints: they are made at once.
    async fn settle_freed(&self, any: bool) -> Result<(), ReclaimError> {
        if any {
            self.checkpoint().await?;
            self.checkpoint().await?;
        }
        Ok(())
    }
}
