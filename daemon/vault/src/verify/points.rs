//! Points: every page of a tree can be read, every chunk has a place, and who needs what is damaged.

use std::collections::{BTreeMap, BTreeSet};

use super::Run;
use crate::format::{ObjectRef, Point};
use crate::read::{ReadError, name_of};
use crate::store::Store;
use crate::units::{ObjectId, PoolId};

/// Chunks that are looked up at a time.
const STEP: usize = 4096;

/// What cannot be had, by number.
#[derive(Debug, Default)]
pub(super) struct Damaged {
    /// Chunks in damaged objects.
    numbers: BTreeMap<(PoolId, u64), String>,
    /// Leaves of damaged index objects.
    leaves: Vec<(PoolId, u64, u64, String)>,
    objects: BTreeMap<ObjectId, String>,
}

impl<S: Store + 'static> Run<'_, S> {
    /// What the faults so far take away.
    pub(super) async fn damaged(&self, objects: &[(ObjectRef, bool)]) -> Damaged {
        let mut damaged = Damaged::default();
        if self.faults.is_empty() {
            return damaged;
        }
        for (object, _) in objects.iter().filter(|(object, _)| self.is_faulty(object)) {
            damaged.objects.insert(object.object, name_of(object));
        }
        for index in self.reader.view().indexes.iter().filter(|row| self.is_faulty(&row.object)) {
            let name = name_of(&index.object);
            let leaf =
                |leaf: &crate::format::LeafPlace| (leaf.pool, leaf.first, leaf.last, name.clone());
            damaged.leaves.extend(index.leaves.iter().map(leaf));
        }
        let Damaged { numbers, objects, .. } = &mut damaged;
        self.leaves(|leaf| {
            for entry in &leaf.entries {
                let frame = &leaf.frames[usize::from(entry.frame)];
                let object = leaf.objects[usize::from(frame.object)].object;
                if let Some(name) = objects.get(&object) {
                    numbers.insert((leaf.pool, entry.number), name.clone());
                }
            }
        })
        .await;
        damaged
    }

    pub(super) async fn point(&mut self, row: &Point, damaged: &Damaged) {
        self.report.points += 1;
        let mut needs: BTreeSet<&String> = BTreeSet::new();
        let roots = std::iter::once(row.recipe).chain(row.root_page);
        needs.extend(roots.filter_map(|place| damaged.objects.get(&place.object.object)));
        let walked = self.walk(row).await;
        if let Ok(reach) = &walked {
            for number in reach {
                needs.extend(damaged.numbers.get(&(row.pool, *number)));
                let covers = |leaf: &&(PoolId, u64, u64, String)| {
                    leaf.0 == row.pool && (leaf.1..=leaf.2).contains(number)
                };
                needs.extend(damaged.leaves.iter().filter(covers).map(|leaf| &leaf.3));
            }
        }
        for name in needs {
            if let Some((_, points)) = self.faults.get_mut(&Some(name.clone())) {
                points.insert(row.point);
            }
        }
        if let Err(fault) = walked {
            let object = fault.object().map(str::to_owned);
            let found = self.faults.entry(object).or_insert((fault, BTreeSet::new()));
            found.1.insert(row.point);
        }
    }

    /// All numbers a point needs, each with a place.
    async fn walk(&self, row: &Point) -> Result<Vec<u64>, ReadError> {
        let numbers: Vec<u64> = self.reader.reach(&row.point).await?.iter().collect();
        // A place in a leaf is enough here: whether the object is right is asked of the object.
        for step in numbers.chunks(STEP) {
            match self.reader.locate(row.pool, step).await {
                Ok(_) => {}
                // A leaf that cannot be read was found before; the point is counted by its numbers.
                Err(fault) if fault.object().is_some_and(|name| self.has(name)) => {}
                Err(fault) => return Err(fault),
            }
        }
        Ok(numbers)
    }

    fn has(&self, object: &str) -> bool {
        self.faults.contains_key(&Some(object.to_owned()))
    }
}
