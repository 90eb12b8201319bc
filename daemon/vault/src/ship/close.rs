//! The end of a round: everything arrives, then the index, then the records, then the manifest.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::error::ShipError;
use super::index::{self, SealedIndex};
use super::types::Source;
use super::{Round, Shipment, records};
use crate::chain::{self, Terms};
use crate::format::{Index, Manifest, Name, Point, RecordObject};
use crate::ids::Entry;
use crate::mutants::{Mutant, keeps};
use crate::pack::Drawn;
use crate::random::Random;
use crate::store::Store;
use crate::units::{ManifestNumber, ObjectId, PointId};
use crate::work::Work;

/// The new index objects, and those they stand for.
struct Joined {
    new: Vec<SealedIndex>,
    gone: Vec<ObjectId>,
    /// All entries of the new ones, in their order.
    entries: Vec<Entry>,
}

impl<S, W, O, R> Shipment<'_, S, W, O, R>
where
    S: Store,
    W: Work,
    O: Source,
    R: Random + Send,
{
    /// Writes a manifest with all that has arrived, if there is anything to say. The last one has the
    /// records, and lets points go.
    pub(super) async fn close_round(&mut self, is_last: bool) -> Result<(), ShipError> {
        if is_last {
            self.finish_packer().await?;
        }
        self.lanes.all().await?;
        self.note_arrived();
        if (self.stop)() {
            return Err(ShipError::Stopped);
        }
        self.round.entries.sort_unstable_by_key(|entry| entry.number);
        self.round.entries.dedup_by_key(|entry| entry.number);
        self.lock_leftovers().await?;
        let rows = self.rows().await?;
        let joined = self.join().await?;
        let shipment = self.shipped.opened.next;
        let records = if is_last { self.send_records(shipment).await? } else { Vec::new() };
        let view = self.view(rows, &joined, records, is_last);
        if is_same(&view, &self.shipped.opened.view) {
            return self.remember(is_last);
        }
        self.begin()?;
        if keeps(Mutant::ManifestLast) {
            self.send_indexes(&joined).await?;
        }
        self.commit(&view).await?;
        if !keeps(Mutant::ManifestLast) {
            self.send_indexes(&joined).await?;
        }
        self.learn(joined).await?;
        self.remember(is_last)
    }

    /// Joins the entries of this round with small index objects before it.
    async fn join(&mut self) -> Result<Joined, ShipError> {
        let Round { entries: fresh, known, taken_over, .. } = std::mem::take(&mut self.round);
        if fresh.is_empty() {
            return Ok(Joined { new: Vec::new(), gone: Vec::new(), entries: Vec::new() });
        }
        let opened = self.shipped.opened.clone();
        let gone = index::to_join(&opened.view.indexes, self.ids, fresh.len());
        let entries = index::merged(fresh, &gone, self.ids)?;
        let others = |pool| self.ids.numbers_of(pool, |index| !gone.contains(&index));
        let leaves = index::leaves(&entries, others);
        let packing = move || (index::packed(&leaves), leaves);
        let (packed, leaves) = self.way.work.run(packing).await;
        let drawn: Vec<Drawn> = packed.iter().map(|_| Drawn::draw(self.random)).collect();
        let (master, shipment) = (Arc::clone(self.way.master), opened.next);
        let sealing = move || index::seal(&master, shipment, &leaves, &packed, drawn);
        let new = self.way.work.run(sealing).await;
        self.shipped.known += known;
        self.shipped.taken_over += taken_over;
        Ok(Joined { new, gone, entries })
    }

    async fn send_indexes(&mut self, joined: &Joined) -> Result<(), ShipError> {
        for sealed in &joined.new {
            self.way.send(&sealed.index.object, &sealed.bytes).await?;
            self.shipped.objects += 1;
        }
        Ok(())
    }

    async fn send_records(
        &mut self,
        shipment: ManifestNumber,
    ) -> Result<Vec<RecordObject>, ShipError> {
        let (order, view) = (self.order, &self.shipped.opened.view);
        let packed = records::packed(&order.records, order.records_are_all, view)?;
        let mut sent = Vec::new();
        for frames in packed {
            self.begin()?;
            let drawn = Drawn::draw(self.random);
            let sealed = records::seal(self.way.master, shipment, &frames, drawn);
            self.way.send(&sealed.record.object, &sealed.bytes).await?;
            self.shipped.objects += 1;
            sent.push(sealed.record);
        }
        Ok(sent)
    }

    /// What was left behind may be locked for less than the manifest says.
    async fn lock_leftovers(&mut self) -> Result<(), ShipError> {
        let mut left = BTreeMap::new();
        for entry in &self.round.entries {
            let object = entry.place.object;
            let taken_over = self.leftovers.find(&entry.id);
            let is_taken_over = taken_over.is_some_and(|left| left.place.object == object);
            if let Some(until) = self.order.locks.of(object.class).filter(|_| is_taken_over) {
                left.insert(object.object, (Name::of(&object).to_string(), until));
            }
        }
        for (name, until) in left.into_values() {
            self.way.store.extend(&name, until).await?;
            if self.way.store.locked_until(&name).await?.is_none_or(|found| found < until) {
                return Err(ShipError::Lock { name });
            }
        }
        Ok(())
    }

    fn view(
        &self,
        rows: Vec<Point>,
        joined: &Joined,
        records: Vec<RecordObject>,
        is_last: bool,
    ) -> Manifest {
        let before = &self.shipped.opened.view;
        let mut points: BTreeMap<PointId, Point> =
            before.points.iter().map(|point| (point.point, point.clone())).collect();
        if is_last {
            self.order.gone.iter().for_each(|point| drop(points.remove(point)));
        }
        points.extend(rows.into_iter().map(|row| (row.point, row)));
        let stays = |index: &&Index| !joined.gone.contains(&index.object.object);
        let mut indexes: Vec<Index> = before.indexes.iter().filter(stays).cloned().collect();
        indexes.extend(joined.new.iter().map(|sealed| sealed.index.clone()));
        indexes.sort_by_key(|index| (index.rank, index.object.object));
        let replaces = self.order.records_are_all && !records.is_empty();
        let mut all = if replaces { Vec::new() } else { before.records.clone() };
        all.extend(records);
        all.sort_by_key(|record| (record.rank, record.object.object));
        Manifest {
            made_at: self.order.now,
            witnessed: self.order.witnessed,
            points: points.into_values().collect(),
            indexes,
            records: all,
            locks: self.order.locks.promise().to_vec(),
            ..Manifest::clone(before)
        }
    }

    async fn commit(&mut self, view: &Manifest) -> Result<(), ShipError> {
        let until = self.order.locks.longest();
        let terms = Terms { creates_only: self.order.creates_only, until };
        let opened = &self.shipped.opened;
        let store = self.way.store;
        let committed =
            chain::commit(store, opened, view, &opened.slots, terms, self.random).await?;
        self.shipped.opened = committed;
        self.shipped.manifests += 1;
        Ok(())
    }

    /// What was just written is known here without reading it.
    async fn learn(&mut self, joined: Joined) -> Result<(), ShipError> {
        let mut entries = joined.entries.into_iter();
        for sealed in &joined.new {
            let own = entries.by_ref().take(sealed.entry_count);
            self.ids.add(&sealed.index.object, own)?;
        }
        let opened = self.shipped.opened.clone();
        self.ids.bring_up(self.way.store, &opened.master, &opened.view).await?;
        self.have = self.ids.numbers(self.pool());
        self.round = Round::default();
        Ok(())
    }

    /// After the last manifest nothing is left behind; after another one the shipment goes on.
    fn remember(&mut self, is_last: bool) -> Result<(), ShipError> {
        let opened = &self.shipped.opened;
        let shipping = if is_last { 0 } else { opened.next.0 };
        self.ids.remember(self.way.master.vault(), opened.newest, shipping)?;
        Ok(())
    }
}

/// Whether a manifest would say nothing new: times alone are no news.
fn is_same(view: &Manifest, before: &Manifest) -> bool {
    let Manifest { points, indexes, records, locks, .. } = view;
    (points, indexes, records, locks)
        == (&before.points, &before.indexes, &before.records, &before.locks)
}
