//! Sets against what they are caches of: every point's tree, walked; and counts against the sets.

use std::collections::BTreeMap;

use roaring::RoaringTreemap;

use crate::device::Device;
use crate::error::ReadError;
use crate::pool::{Pool, Work};
use crate::units::{ChunkNumber, PointId};

impl<D: Device, W: Work> Pool<D, W> {
    /// Walks the tree of every point and compares what it needs with the sets; then the counts of
    /// sources, the shares of containers and the forecast of every point with the sets.
    pub async fn audit_sets(&self) -> Result<(), ReadError> {
        let mut reaches = BTreeMap::new();
        for row in self.points() {
            reaches.insert(row.id, self.reach(&row.id).await?);
        }
        let tables = self.inner.tables.borrow();
        for source in tables.sources.values() {
            let mut wrong = None;
            source.chain.reaches(|point, reach| {
                wrong = Some(point).filter(|_| reaches.get(&point) != Some(reach));
                wrong.is_none()
            });
            wrong.map_or(Ok(()), |point| Err(ReadError::Sets { point }))?;
        }
        tables.audit_counts()
    }

    /// Every number a point needs, by walking its tree.
    pub async fn reach(&self, point: &PointId) -> Result<RoaringTreemap, ReadError> {
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
}

impl crate::pool::tables::Tables {
    /// Counts of sources, and shares of containers, made anew and compared.
    fn audit_counts(&self) -> Result<(), ReadError> {
        let mut shares: BTreeMap<u32, (u64, u64, u64)> = BTreeMap::new();
        for (number, slot) in self.index.iter() {
            let holders = self.sources.values();
            let holds = |source: &&crate::pool::tables::Source| {
                source.chain.held_by_listed().contains(number.0)
            };
            let count = holders.filter(holds).count().min(usize::from(u8::MAX)) as u8;
            if count != slot.sources {
                return Err(ReadError::Count { number });
            }
            let share = shares.entry(slot.place.container).or_default();
            share.0 += 1;
            share.1 += u64::from(slot.stored_len);
            share.2 += u64::from(self.dead.contains(number.0));
        }
        for (container, found) in &self.containers {
            let (indexed, indexed_len, dead) = shares.remove(container).unwrap_or_default();
            let of = found.shares;
            if (of.indexed, of.indexed_len, of.dead) != (indexed, indexed_len, dead) {
                return Err(ReadError::Count { number: ChunkNumber(u64::from(*container)) });
            }
        }
        Ok(())
    }
}
