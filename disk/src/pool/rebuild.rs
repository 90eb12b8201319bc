//! What a checkpoint carries only to save work, made again from what it was made of: the index from
//! the directories of the containers, the steps between points from their trees.

use std::collections::BTreeMap;

use roaring::RoaringTreemap;

use super::recover::link_chains;
use super::run::index_entries;
use super::{Inner, Work};
use crate::device::Device;
use crate::error::OpenError;
use crate::format::{PointRow, Purpose};
use crate::sets::SetDelta;
use crate::units::{PointId, SourceId};

impl<D: Device, W: Work> Inner<D, W> {
    /// The index of all containers that are in use. Reads directories only; a run whose directory
    /// cannot be read is left out, and scrub tells which points that touches.
    pub(super) async fn rebuild_index(&self) {
        tracing::warn!("the index cannot be read: it is made again from the directories");
        let containers: Vec<u32> = {
            let tables = self.tables.borrow();
            let of_data = tables.containers.values().filter(|container| {
                container.row.purpose == Purpose::Data && container.row.freed_at == 0
            });
            // In the order of their opening: what was written again lies in the later one.
            let mut rows: Vec<_> =
                of_data.map(|of| (of.row.generation, of.row.container)).collect();
            rows.sort_unstable();
            rows.into_iter().map(|(_, container)| container).collect()
        };
        for container in containers {
            for (run, directory) in self.runs_of(container).await.unwrap_or_default() {
                let mut tables = self.tables.borrow_mut();
                let entries = index_entries(&tables.index, run.0, run.1, &directory);
                entries.iter().for_each(|entry| tables.replace(entry));
            }
        }
    }

    /// The chains of all sources, by walking every tree.
    pub(super) async fn rebuild_chains(
        &self,
        working: Vec<(SourceId, Vec<u8>)>,
    ) -> Result<(), OpenError> {
        tracing::warn!(
            "the steps between points cannot be read: they are made again from the trees"
        );
        let rows: Vec<PointRow> = self.tables.borrow().points.clone();
        let mut last: BTreeMap<SourceId, RoaringTreemap> = BTreeMap::new();
        let mut steps: BTreeMap<PointId, SetDelta> = BTreeMap::new();
        for row in &rows {
            let mut reach = self.walk_reach(row).await?.into_set();
            reach.insert(row.recipe.0);
            let before = last.entry(row.source).or_default();
            steps.insert(row.id, SetDelta::between(before, &reach));
            *before = reach;
        }
        let mut tables = self.tables.borrow_mut();
        tables.unsaved_steps = rows.iter().map(|row| row.id).collect();
        link_chains(&mut tables, working, |point| steps.get(point).cloned())
    }
}
