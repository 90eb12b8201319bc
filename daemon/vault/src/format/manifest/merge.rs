//! Differences between manifests. A difference is one to a full manifest and to nothing else, so a
//! reader never needs more than two.

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

use super::{Index, Manifest, Parent, Point, RecordObject};
use crate::units::{ManifestNumber, ObjectId, PointId};

/// Why two manifests do not belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum MergeFault {
    #[error("manifest {number} is full and has no base")]
    Full { number: ManifestNumber },
    #[error("manifest {number} is not the base that was meant, or is a difference itself")]
    Base { number: ManifestNumber },
    #[error("point {point} has left and was not there")]
    GonePoint { point: PointId },
    #[error("object {object} has left and was not there, or came and was there")]
    Object { object: ObjectId },
}

impl Manifest {
    /// What the vault holds when this difference is the newest manifest.
    pub fn over(mut self, base: &Self, is: Parent) -> Result<Self, MergeFault> {
        let meant = self.base.take().ok_or(MergeFault::Full { number: self.number })?;
        if meant != is || base.number != is.number || base.base.is_some() {
            return Err(MergeFault::Base { number: base.number });
        }
        let mut points: BTreeMap<PointId, Point> =
            base.points.iter().map(|point| (point.point, point.clone())).collect();
        for point in self.gone_points.drain(..) {
            points.remove(&point).ok_or(MergeFault::GonePoint { point })?;
        }
        points.extend(self.points.drain(..).map(|point| (point.point, point)));
        self.points = points.into_values().collect();

        let mut gone: BTreeSet<ObjectId> = self.gone_objects.drain(..).collect();
        let mut stays = |object: ObjectId| !gone.remove(&object);
        let indexes: Vec<Index> =
            base.indexes.iter().filter(|index| stays(index.object.object)).cloned().collect();
        let records: Vec<RecordObject> =
            base.records.iter().filter(|record| stays(record.object.object)).copied().collect();
        if let Some(object) = gone.pop_first() {
            return Err(MergeFault::Object { object });
        }
        self.indexes.extend(indexes);
        self.records.extend(records);
        self.indexes.sort_by_key(|index| (index.rank, index.object.object));
        self.records.sort_by_key(|record| (record.rank, record.object.object));
        let indexes = self.indexes.iter().map(|index| index.object.object);
        let all = indexes.chain(self.records.iter().map(|record| record.object.object));
        let mut seen = BTreeSet::new();
        for object in all {
            if !seen.insert(object) {
                return Err(MergeFault::Object { object });
            }
        }
        Ok(self)
    }

    /// This full manifest as the difference to a base. An object that is in both is the same in both.
    #[must_use]
    pub fn difference(&self, base: &Self, is: Parent) -> Self {
        assert!(self.base.is_none() && base.base.is_none(), "differences are between full ones");
        let before: BTreeMap<PointId, &Point> =
            base.points.iter().map(|point| (point.point, point)).collect();
        let now: BTreeSet<PointId> = self.points.iter().map(|point| point.point).collect();
        let changed = |point: &&Point| before.get(&point.point) != Some(point);
        let objects = |manifest: &Self| -> BTreeSet<ObjectId> {
            let indexes = manifest.indexes.iter().map(|index| index.object.object);
            indexes.chain(manifest.records.iter().map(|record| record.object.object)).collect()
        };
        let (old, new) = (objects(base), objects(self));
        let is_new = |object: ObjectId| !old.contains(&object);
        Self {
            base: Some(is),
            points: self.points.iter().filter(changed).cloned().collect(),
            gone_points: before.keys().filter(|point| !now.contains(point)).copied().collect(),
            gone_objects: old.difference(&new).copied().collect(),
            indexes: (self.indexes.iter())
                .filter(|index| is_new(index.object.object))
                .cloned()
                .collect(),
            records: (self.records.iter())
                .filter(|record| is_new(record.object.object))
                .copied()
                .collect(),
            locks: self.locks.clone(),
            ..*self
        }
    }
}
