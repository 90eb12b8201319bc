//! Sets against what they are caches of: the trees, walked; and counts against the sets.

use std::collections::{BTreeMap, BTreeSet};

use roaring::RoaringTreemap;

use crate::device::Device;
use crate::error::ReadError;
use crate::pool::tables::Tables;
use crate::pool::verify::VerifyFinding;
use crate::pool::{Inner, Pool, Work};
use crate::sets::Lives;
use crate::tree::Touched;
use crate::units::{ChunkNumber, PointId};

impl<D: Device, W: Work> Pool<D, W> {
    /// Walks the tree of every point and compares what it needs with the sets; then the counts of
    /// sources, the shares of containers and the free slots with the sets. Reads every page.
    pub async fn audit_sets(&self) -> Result<(), ReadError> {
        for row in self.points() {
            let reach = self.walk_reach(&row.id).await?;
            self.inner.compare_reach(&row.id, &reach).map_or(Ok(()), Err)?;
        }
        let mut findings = self.inner.audit_counts(0, u64::MAX);
        findings.extend(self.inner.audit_space());
        findings.into_iter().next().map_or(Ok(()), |finding| Err(finding.error))?;
        self.inner.tables.borrow().audit_shares()
    }

    /// Every number a point needs, by walking its tree: what [`reach`](Self::reach) is held against.
    pub async fn walk_reach(&self, point: &PointId) -> Result<RoaringTreemap, ReadError> {
        let recipe = self.inner.row(point).ok_or(ReadError::NoPoint { point: *point })?.recipe;
        let mut reach = self.reader(point).await?.walk_refs().await?.into_set();
        reach.insert(recipe.0);
        Ok(reach)
    }

    /// Stored bytes of chunks that are in the pool.
    #[must_use]
    pub fn stored_len(&self, numbers: &RoaringTreemap) -> u64 {
        self.inner.tables.borrow().stored_len(numbers)
    }

    /// Chunks that cannot be read anywhere: whoever sends them again heals every point that needs
    /// them.
    #[must_use]
    pub fn lost(&self) -> RoaringTreemap {
        self.inner.tables.borrow().lost.clone()
    }

    /// The entries of a point that need one of `chunks`, in order. `None` if the point's recipe is
    /// one of them: then it is all of them, and nobody knows their names.
    pub async fn touched(
        &self,
        point: &PointId,
        chunks: &RoaringTreemap,
    ) -> Result<Option<Vec<Touched>>, ReadError> {
        let recipe = self.inner.row(point).ok_or(ReadError::NoPoint { point: *point })?.recipe;
        if chunks.contains(recipe.0) {
            return Ok(None);
        }
        self.reader(point).await?.touched(chunks).await.map(Some)
    }
}

impl<D: Device, W: Work> Inner<D, W> {
    /// What is wrong with the set of a point whose tree reaches `reach`.
    pub(in crate::pool) fn compare_reach(
        &self,
        point: &PointId,
        reach: &RoaringTreemap,
    ) -> Option<ReadError> {
        let tables = self.tables.borrow();
        let chain = &tables.sources.get(&tables.point(point)?.source)?.chain;
        let mut same = true;
        chain.reaches(|of, found| {
            same = of != *point || found == reach;
            of != *point
        });
        (!same).then_some(ReadError::Sets { point: *point })
    }

    /// Counts of sources of `count` numbers from `from` on, made anew and compared.
    pub(in crate::pool) fn audit_counts(&self, from: u64, count: u64) -> Vec<VerifyFinding> {
        let tables = self.tables.borrow();
        let upto = from.saturating_add(count).min(ChunkNumber::LIMIT);
        let mut uses = Lives::default();
        for source in tables.sources.values() {
            let mut held = source.chain.held_by_listed().clone();
            held.remove_range(..from);
            held.remove_range(upto..);
            uses.begin(&held);
        }
        let numbers = ChunkNumber(from)..ChunkNumber(upto);
        let wrong = tables.index.range(numbers).filter(|(number, slot)| {
            uses.count(number.0).min(u64::from(u8::MAX)) != u64::from(slot.sources)
        });
        wrong.map(|(number, _)| VerifyFinding::of(ReadError::Count { number })).collect()
    }

    /// Whether every slot is either free or a container's, and none both.
    pub(in crate::pool) fn audit_space(&self) -> Vec<VerifyFinding> {
        let tables = self.tables.borrow();
        let mut findings = Vec::new();
        let containers = tables.containers.values().flat_map(|of| of.row.slots.iter());
        let released = tables.released.iter().map(|released| released.slot);
        let mut used = BTreeSet::new();
        for slot in containers.chain(released) {
            let free = tables.free[usize::from(slot.disk)].as_ref();
            let is_free = free.is_some_and(|free| free.contains(&slot.slot));
            if is_free || !used.insert((slot.disk, slot.slot)) {
                findings.push(VerifyFinding::of(ReadError::Slot { container: slot.slot }));
            }
        }
        for (disk, free) in self.disks().iter().zip(&tables.free) {
            let Some(free) = free else { continue };
            let used = used.iter().filter(|(of, _)| usize::from(*of) == disk.index).count();
            if used as u64 + free.len() as u64 != disk.zones.container_count {
                let container = disk.index as u32;
                findings.push(VerifyFinding::of(ReadError::Slot { container }));
            }
        }
        findings
    }
}

impl Tables {
    /// Shares of the containers, made anew and compared.
    fn audit_shares(&self) -> Result<(), ReadError> {
        let mut shares: BTreeMap<u32, (u64, u64, u64)> = BTreeMap::new();
        for (number, slot) in self.index.iter() {
            let share = shares.entry(slot.place.container).or_default();
            share.0 += 1;
            share.1 += u64::from(slot.stored_len);
            share.2 += u64::from(self.dead.contains(number.0));
        }
        for (container, found) in &self.containers {
            let of = found.shares;
            let counted = shares.remove(container).unwrap_or_default();
            if (of.indexed, of.indexed_len, of.dead) != counted {
                return Err(ReadError::Slot { container: *container });
            }
        }
        Ok(())
    }
}
