//! Points as part of the tables: every change of a chain keeps the counts of sources right, and
//! notes which numbers lost somebody who needed them.

use roaring::RoaringTreemap;

use super::{PointEffect, Source, Tables};
use crate::format::PointRow;
use crate::sets::{SetDelta, Turnover};
use crate::units::{ChunkNumber, PointId, SessionId, SourceId};

impl Tables {
    pub(super) fn commit_point(&mut self, point: PointRow, effect: PointEffect) {
        let step = self.link_step(&point, effect.delta);
        let Some(source) = self.sources.get_mut(&point.source) else {
            return;
        };
        let id = point.source;
        source.working = None;
        let turnover = if point.working {
            source.working = Some((point, effect.refs));
            source.chain.set_working(&step)
        } else {
            source.newest = Some((point.id, effect.refs));
            self.unsaved_steps.push(point.id);
            let turnover = source.chain.push(point.id, &step, true);
            self.points.push(point);
            turnover
        };
        self.turn_over(&id, turnover);
    }

    /// The source's working state becomes a point, if it is the one that was meant.
    pub(super) fn promote_working(&mut self, id: &SourceId, point: &PointId, attributes: Vec<u8>) {
        let Some(source) = self.sources.get_mut(id) else {
            return;
        };
        let Some((row, refs)) = source.working.take_if(|(row, _)| row.id == *point) else {
            return;
        };
        source.chain.promote(row.id);
        source.newest = Some((row.id, refs));
        source.exclusive = None;
        self.unsaved_steps.push(row.id);
        self.points.push(PointRow { working: false, attributes, ..row });
    }

    /// A step as the chain has it: a recipe is a chunk that only its point needs, and no recipe can
    /// name itself.
    pub(in crate::pool) fn link_step(&self, point: &PointRow, mut step: SetDelta) -> SetDelta {
        let last = self.sources.get(&point.source).and_then(|source| source.chain.last_point());
        let last = last.and_then(|last| self.point(&last));
        if let Some(last) = last {
            step.died.insert(last.recipe.0);
        }
        step.born.insert(point.recipe.0);
        step
    }

    /// What the tree of the source's last point reaches.
    pub(in crate::pool) fn last_tree(&self, source: &SourceId) -> RoaringTreemap {
        let Some(source) = self.sources.get(source) else {
            return RoaringTreemap::new();
        };
        let mut reach = source.chain.last_reach().clone();
        if let Some(last) = source.chain.last_point().and_then(|last| self.point(&last)) {
            reach.remove(last.recipe.0);
        }
        reach
    }

    /// The step of a point as a checkpoint writes it.
    pub(in crate::pool) fn step_bytes(&self, point: &PointId) -> Option<Vec<u8>> {
        let row = self.point(point)?;
        let chain = &self.sources.get(&row.source)?.chain;
        chain.step_bytes(point).map(<[u8]>::to_vec)
    }

    pub(super) fn set_trash(&mut self, id: &PointId, trashed_until: i64) {
        let Some(row) = self.points.iter_mut().find(|row| row.id == *id) else {
            return;
        };
        row.trashed_until = trashed_until;
        let source = row.source;
        let Some(chain) = self.sources.get_mut(&source).map(|source| &mut source.chain) else {
            return;
        };
        let turnover = if trashed_until == 0 { chain.show(id) } else { chain.hide(id) };
        self.turn_over(&source, turnover.unwrap_or_default());
    }

    pub(super) fn drop_point(&mut self, id: &PointId) {
        let Some(at) = self.points.iter().position(|row| row.id == *id) else {
            return;
        };
        let row = self.points.remove(at);
        let Some(source) = self.sources.get_mut(&row.source) else {
            return;
        };
        if source.newest.as_ref().is_some_and(|(newest, _)| newest == id) {
            source.newest = None;
        }
        if let Some((turnover, changed)) = source.chain.remove(id) {
            self.unsaved_steps.push(*id);
            self.unsaved_steps.extend(changed);
            self.turn_over(&row.source, turnover);
        }
    }

    pub(super) fn drop_working(&mut self, source: &SourceId) {
        let Some(found) = self.sources.get_mut(source) else {
            return;
        };
        found.working = None;
        let turnover = found.chain.clear_working();
        self.turn_over(source, turnover);
    }

    /// What the session stored or was told of, and the point it made does not need, is nobody's.
    pub(super) fn end_session(&mut self, session: &SessionId) {
        let Some(session) = self.sessions.remove(session) else {
            return;
        };
        let held = self.sources.get(&session.source).map(|source| source.chain.held());
        let left = held.map_or_else(|| session.numbers.clone(), |held| &session.numbers - held);
        self.suspect(&left);
    }

    fn turn_over(&mut self, source: &SourceId, turnover: Turnover) {
        let Turnover { unheld, appeared, vanished } = turnover;
        for number in &appeared {
            // A chunk that is gone from the index is reported by whoever reads it.
            if self.index.begin_use(ChunkNumber(number)) == Ok(2) {
                self.sharing += 1;
            }
        }
        for number in &vanished {
            if self.index.end_use(ChunkNumber(number)) == Ok(1) {
                self.sharing += 1;
            }
        }
        self.suspect(&unheld);
        if let Some(source) = self.sources.get_mut(source) {
            source.exclusive = None;
        }
    }

    /// Counts of sources per chunk are not written down: they follow from the chains.
    pub(in crate::pool) fn count_uses(&mut self) {
        self.index.clear_uses();
        for source in self.sources.values() {
            for number in source.chain.held_by_listed() {
                // A chunk that is not there is reported by whoever reads it.
                let _ = self.index.begin_use(ChunkNumber(number));
            }
        }
        self.sharing += 1;
    }
}

impl Source {
    /// The newest point that is not in the trash.
    pub(in crate::pool) fn newest_listed(&self) -> Option<PointId> {
        self.chain.last_listed()
    }
}
