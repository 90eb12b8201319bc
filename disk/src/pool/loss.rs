//! What a failed disk takes along.
//!
//! Before an entry is written, everything it names was written and flushed, on every disk that did
//! not fail meanwhile. A container that lost a copy so goes on with the other: the entry says it. A
//! run that has no other is lost, and nobody was told that it is durable: its chunks leave the
//! index, what was to be journaled and needs one of them is refused, and the sessions that stored
//! or were told of them have failed.

use std::collections::{BTreeSet, VecDeque};

use roaring::RoaringTreemap;

use super::journal::Batch;
use super::tables::{Effect, Pending, decode_set};
use super::{Inner, Work};
use crate::device::Device;
use crate::error::CommitError;
use crate::format::{DiskState, Op, SlotRef};
use crate::index::segment::Entry;
use crate::mutants::Mutant;
use crate::units::SessionId;

impl<D: Device, W: Work> Inner<D, W> {
    /// Takes what did not reach any disk out of what is to be journaled. The payload of `batches`
    /// was flushed where that was possible.
    pub(super) fn bury_lost(&self, batches: &mut VecDeque<Batch>) {
        let any_failed = self.disks.borrow().iter().any(|disk| !disk.is_written());
        if !any_failed || !self.mutants.keeps(Mutant::LostRuns) {
            return;
        }
        self.refuse_lost_copies(batches);
        let mut touched = BTreeSet::new();
        for pending in batches.iter().flat_map(|batch| &batch.ops) {
            match &pending.op {
                Op::RunPlaced(row) => drop(touched.insert(row.run.container)),
                Op::ContainerOpened { container, .. }
                | Op::ContainerSealed { container, has_footer: true } => {
                    touched.insert(*container);
                }
                _ => {}
            }
        }
        let lost: BTreeSet<u32> =
            touched.into_iter().filter(|container| !self.shrink(*container, batches)).collect();
        if !lost.is_empty() {
            self.forget_runs(&lost, batches);
        }
        self.refuse_failed(batches);
    }

    /// What sessions asked for that failed before it was queued.
    fn refuse_failed(&self, batches: &mut VecDeque<Batch>) {
        let live = self.live.borrow();
        for batch in batches {
            let failure = batch.ops.iter().find_map(|pending| match &pending.op {
                Op::SessionStep { session, .. } | Op::PointCommitted { session, .. } => {
                    live.get(session).and_then(|live| live.failure())
                }
                _ => None,
            });
            if let Some(error) = failure {
                batch.ops.clear();
                self.journal.refuse(batch.ticket, error);
            }
        }
    }

    /// A copy that was to be named and did not reach its disk.
    fn refuse_lost_copies(&self, batches: &mut VecDeque<Batch>) {
        for batch in batches {
            let lost = batch.ops.iter().find_map(|pending| {
                let Op::ContainerSlots { container, slots } = &pending.op else {
                    return None;
                };
                let known = self.slots(*container)?;
                let is_new = |slot: &SlotRef| known.iter().all(|known| known != *slot);
                let mut new = slots.iter().filter(is_new).map(|slot| self.disk_of(slot));
                new.find(|disk| !disk.is_written()).map(|disk| disk.id)
            });
            if let Some(disk) = lost {
                batch.ops.clear();
                self.journal.refuse(batch.ticket, CommitError::DiskLost { disk });
            }
        }
    }

    /// Leaves the container's copies on failed disks behind. False if it has no other.
    fn shrink(&self, container: u32, batches: &mut VecDeque<Batch>) -> bool {
        let Some(slots) = self.slots(container) else {
            return true;
        };
        let good = |slot: SlotRef| self.disk_of(slot).is_written();
        let Some(kept) = slots.filtered(good) else {
            return false;
        };
        if kept == slots {
            return true;
        }
        let ops = || batches.iter().flat_map(|batch| &batch.ops);
        let is_new = ops().any(|pending| {
            matches!(&pending.op, Op::ContainerOpened { container: opened, .. } if *opened == container)
        });
        if is_new {
            for pending in batches.iter_mut().flat_map(|batch| &mut batch.ops) {
                if let Op::ContainerOpened { container: opened, slots, .. } = &mut pending.op
                    && *opened == container
                {
                    *slots = kept;
                }
            }
            // No journal tells of the other slot.
            if let Some(opened) = self.tables.borrow_mut().containers.get_mut(&container) {
                opened.row.slots = kept;
            }
        } else {
            let op = Op::ContainerSlots { container, slots: kept };
            batches.push_front(Batch::unasked(op, Effect::None));
        }
        true
    }

    fn forget_runs(&self, lost: &BTreeSet<u32>, batches: &mut VecDeque<Batch>) {
        let mut numbers = RoaringTreemap::new();
        let mut disk = None;
        for batch in batches.iter_mut() {
            batch.ops.retain_mut(|pending| match (&mut pending.op, &pending.effect) {
                (Op::RunPlaced(row), Effect::Run(entries)) if lost.contains(&row.run.container) => {
                    self.forget_chunks(entries);
                    numbers.extend(entries.iter().map(|entry| entry.number.0));
                    self.cache.borrow_mut().forget_container(row.run.container);
                    disk = disk.or(self.slots(row.run.container).map(|slots| slots.first()));
                    false
                }
                // What was to be moved is still where it was.
                (Op::RunPlaced(row), Effect::Moved(_)) if lost.contains(&row.run.container) => {
                    self.cache.borrow_mut().forget_container(row.run.container);
                    false
                }
                (Op::ContainerOpened { container, .. }, _) if lost.contains(container) => {
                    self.tables.borrow_mut().forget_container(*container);
                    false
                }
                (Op::ContainerSealed { container, has_footer }, _) if lost.contains(container) => {
                    *has_footer = false;
                    self.tables.borrow().containers.contains_key(container)
                }
                _ => true,
            });
        }
        let failed = disk.map(|slot| self.disk_of(slot).id).or_else(|| {
            let disks = self.disks.borrow();
            disks.iter().find(|disk| disk.state.get() == DiskState::Failed).map(|disk| disk.id)
        });
        let Some(disk) = failed else { return };
        let error = CommitError::DiskLost { disk };
        let sessions = self.fail_sessions(&numbers, &error);
        for batch in batches.iter_mut() {
            if batch.ops.iter().any(|pending| needs(pending, &numbers, &sessions)) {
                batch.ops.clear();
                self.journal.refuse(batch.ticket, error.clone());
            }
        }
    }

    fn forget_chunks(&self, entries: &[Entry]) {
        // Put there when the run was placed.
        self.tables.borrow_mut().drop_chunks(entries);
    }

    /// Sessions that stored one of these chunks, or were told that it is there.
    fn fail_sessions(&self, lost: &RoaringTreemap, error: &CommitError) -> BTreeSet<SessionId> {
        let live = self.live.borrow();
        let failing = live.values().filter(|live| live.knows_of(lost));
        failing
            .map(|live| {
                live.fail(error.clone());
                live.id
            })
            .collect()
    }
}

/// Whether an operation cannot be true without the lost chunks.
fn needs(pending: &Pending, lost: &RoaringTreemap, sessions: &BTreeSet<SessionId>) -> bool {
    match (&pending.op, &pending.effect) {
        (Op::SessionStep { session, numbers }, _) => {
            sessions.contains(session) || !decode_set(numbers).is_disjoint(lost)
        }
        (Op::PointCommitted { session, point }, Effect::Point(effect)) => {
            sessions.contains(session)
                || lost.contains(point.recipe.0)
                || !effect.refs.set().is_disjoint(lost)
        }
        _ => false,
    }
}
