//! What deleting points would free: asked of the sets, at once.

use std::collections::BTreeMap;

use roaring::RoaringTreemap;

use super::reclaim::plan::{self, Candidate};
use super::tables::Tables;
use super::{Pool, Work};
use crate::device::Device;
use crate::sets::Chain;
use crate::units::{ChunkNumber, PointId, SourceId};

/// What dropping points and reclaiming afterwards would do, in stored bytes of chunks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Forecast {
    /// Bytes that nothing else needs.
    pub exclusive_len: u64,
    /// Bytes that the next reclaim gives back, together with what was dead before.
    pub freed_len: u64,
    /// Bytes that nothing needs and that stay in containers too dense to be worth compacting.
    pub left_len: u64,
}

impl<D: Device, W: Work> Pool<D, W> {
    /// For each listed point of a source the stored bytes that it alone needs. Points in the trash
    /// count as gone.
    #[must_use]
    pub fn exclusive(&self, source: &SourceId) -> BTreeMap<PointId, u64> {
        self.inner.tables.borrow_mut().exclusive(source).cloned().unwrap_or_default()
    }

    /// Stored bytes that only these points need, all of them taken together.
    #[must_use]
    pub fn exclusive_len(&self, points: &[PointId]) -> u64 {
        let tables = self.inner.tables.borrow();
        tables.stored_len(&tables.dead_without(points).0)
    }

    /// Stored bytes that only points in the trash need.
    #[must_use]
    pub fn trash_len(&self) -> u64 {
        let tables = self.inner.tables.borrow();
        if tables.points.iter().all(|point| point.trashed_until == 0) {
            return 0;
        }
        let mut trash = RoaringTreemap::new();
        for source in tables.sources.values() {
            trash |= source.chain.held() - source.chain.held_by_listed();
        }
        // What left one source may still be needed by another.
        for source in tables.sources.values() {
            trash -= source.chain.held_by_listed();
        }
        tables.stored_len(&trash)
    }

    /// What dropping these points, and everything in the trash, would do.
    #[must_use]
    pub fn forecast(&self, points: &[PointId], least_dead: u8) -> Forecast {
        let inner = &self.inner;
        let tables = inner.tables.borrow();
        let (exclusive, dead) = tables.dead_without(points);
        let shares = plan::shares_with(&tables, &dead);
        let open = |container: u32| inner.is_open(container);
        let candidates: Vec<Candidate> = plan::candidates(&tables, &shares, open);
        let chosen = plan::choose(candidates.clone(), inner.packing(), least_dead);
        let garbage = |all: &[Candidate]| all.iter().map(Candidate::garbage_len).sum::<u64>();
        let freed_len = garbage(&chosen.dead) + garbage(&chosen.sparse);
        Forecast {
            exclusive_len: tables.stored_len(&exclusive),
            freed_len,
            left_len: garbage(&candidates) - freed_len,
        }
    }
}

impl Tables {
    fn exclusive(&mut self, id: &SourceId) -> Option<&BTreeMap<PointId, u64>> {
        let (sharing, index) = (self.sharing, &self.index);
        let source = self.sources.get_mut(id)?;
        if source.exclusive.as_ref().is_none_or(|(at, _)| *at != sharing) {
            let mut found = BTreeMap::new();
            source.chain.own(|point, own| {
                let slots = own.iter().filter_map(|number| index.slot(ChunkNumber(number)));
                let only_here = slots.filter(|slot| slot.sources <= 1);
                found.insert(point, only_here.map(|slot| u64::from(slot.stored_len)).sum());
            });
            source.exclusive = Some((sharing, found));
        }
        source.exclusive.as_ref().map(|(_, found)| found)
    }

    /// What only these points hold, and everything that would be dead without them.
    fn dead_without(&self, points: &[PointId]) -> (RoaringTreemap, RoaringTreemap) {
        let mut by_source: BTreeMap<SourceId, Vec<PointId>> = BTreeMap::new();
        for row in points.iter().filter_map(|point| self.point(point)) {
            by_source.entry(row.source).or_default().push(row.id);
        }
        let mut gone = RoaringTreemap::new();
        let mut without: BTreeMap<SourceId, Chain> = BTreeMap::new();
        for (source, points) in by_source {
            let Some(mut chain) = self.sources.get(&source).map(|source| source.chain.clone())
            else {
                continue;
            };
            for point in points {
                gone |= chain.hide(&point).unwrap_or_default().vanished;
            }
            without.insert(source, chain);
        }
        let mut trash = self.suspects.clone();
        for (id, source) in &self.sources {
            let chain = without.get(id).unwrap_or(&source.chain);
            trash |= chain.held() - chain.held_by_listed();
        }
        // What left one source may still be needed by another.
        for (id, source) in &self.sources {
            let held = without.get(id).unwrap_or(&source.chain).held_by_listed();
            gone -= held;
            trash -= held;
        }
        for session in self.sessions.values() {
            trash -= &session.numbers;
        }
        (gone, trash)
    }

    /// Stored bytes of chunks.
    pub(super) fn stored_len(&self, numbers: &RoaringTreemap) -> u64 {
        let slots = numbers.iter().filter_map(|number| self.index.slot(ChunkNumber(number)));
        slots.map(|slot| u64::from(slot.stored_len)).sum()
    }
}
