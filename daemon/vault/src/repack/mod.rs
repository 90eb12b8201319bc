//! Writing again what lives in objects that are mostly dead (VAULT.md, section 10, step 2).
//!
//! An object is worth it when less than half of it lives: writing the live half again costs its bytes
//! once more for as long as the old object stays (the margin, and what is left of its lock: some five
//! weeks of its length), and saves the dead half for as long as the live one is kept. What is wholly dead
//! costs nothing but the leaves. Chunks are proved by their ids before they are sealed anew, and frames
//! keep their company: what was not compressed together before is not now.
//!
//! Old objects are not touched: a reader of an older manifest finds everything where it was until
//! deleting lets it go. Objects of an interrupted run are taken over by the next.

mod moves;

#[cfg(test)]
pub(crate) mod tests;

use std::collections::{BTreeMap, BTreeSet};

use keelhold_chunk::IdKey;
use roaring::RoaringTreemap;
use thiserror::Error;

use crate::chain::{self, ChainError, Opened};
use crate::format::{FormatFault, Manifest, Name, Place};
use crate::ids::{Entry, Fullness, Ids, IdsError};
use crate::pack::{Drawn, Rooms};
use crate::random::Random;
use crate::ship::{Leftovers, Locks, ShipError, index};
use crate::store::{Store, StoreError};
use crate::units::{ObjectId, PointId, PoolId};
use crate::work::Work;

/// An object is repacked when less of it lives.
pub const BAR_PER_MILLE: u64 = 500;
/// Live bytes of one run, and of its manifest.
pub const BYTES_DEFAULT: u64 = 4 << 30;

/// Numbers that the points of a manifest need.
#[derive(Debug, Clone, Default)]
pub struct Live {
    numbers: BTreeMap<PoolId, RoaringTreemap>,
    points: BTreeSet<PointId>,
}

impl Live {
    /// What one point reaches: recipe, pages, data.
    pub fn add(&mut self, point: PointId, pool: PoolId, reach: &RoaringTreemap) {
        *self.numbers.entry(pool).or_default() |= reach;
        self.points.insert(point);
    }

    #[must_use]
    pub fn has(&self, pool: PoolId, number: u64) -> bool {
        self.numbers.get(&pool).is_some_and(|numbers| numbers.contains(number))
    }
}

#[derive(Debug, Clone)]
pub struct Order {
    pub bar_per_mille: u64,
    pub bytes: u64,
    pub object_len: usize,
    pub locks: Locks,
    pub now: i64,
    pub witnessed: i64,
    pub creates_only: bool,
}

/// What came of a run; counted apart from shipping.
#[derive(Debug, Clone)]
pub struct Repacked {
    pub opened: Opened,
    /// Objects that the new manifest does not need any more, and their bytes.
    pub let_go: u64,
    pub let_go_bytes: u64,
    /// Objects sent, index objects too, and their bytes.
    pub sent: u64,
    pub sent_bytes: u64,
    /// Chunks written again, and those that an interrupted run had written.
    pub chunks: u64,
    pub taken_over: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RepackError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Chain(#[from] ChainError),
    #[error(transparent)]
    Ids(#[from] IdsError),
    #[error(transparent)]
    Leftovers(#[from] ShipError),
    #[error("what point {point} needs is not known: nothing may count as dead")]
    Unknown { point: PointId },
    #[error("{object} is damaged: {fault}")]
    Damaged { object: String, fault: FormatFault },
    #[error("{object} has other bytes under chunk {number}")]
    OtherBytes { object: String, number: u64 },
    #[error("there is something else under the fresh name {name}")]
    Foreign { name: String },
}

/// Where a chunk lay.
pub(crate) type Spot = (ObjectId, u32, u32);

fn spot(place: &Place) -> Spot {
    (place.object.object, place.frame.index, place.start)
}

/// One run. `live` has every point of the newest manifest. Nothing to do is no manifest.
#[expect(clippy::too_many_arguments, reason = "what is used is lent for the length of the call")]
pub async fn repack<S: Store, W: Work>(
    store: &S,
    opened: &Opened,
    ids: &mut Ids,
    live: &Live,
    id_key: &IdKey,
    order: &Order,
    work: &W,
    random: &mut (impl Random + Send),
) -> Result<Repacked, RepackError> {
    ids.bring_up(store, &opened.master, &opened.view).await?;
    let unknown = opened.view.points.iter().find(|point| !live.points.contains(&point.point));
    if let Some(point) = unknown {
        return Err(RepackError::Unknown { point: point.point });
    }
    let victims = victims(&ids.fullness(|pool, number| live.has(pool, number))?, order);
    let mut repacked = Repacked {
        opened: opened.clone(),
        let_go: victims.len() as u64,
        let_go_bytes: victims.values().map(|full| u64::from(full.object.len)).sum(),
        sent: 0,
        sent_bytes: 0,
        chunks: 0,
        taken_over: 0,
    };
    if victims.is_empty() {
        return Ok(repacked);
    }
    let affected: BTreeSet<ObjectId> = (opened.view.indexes.iter().map(|row| row.object.object))
        .filter(|row| ids.leads_to(*row).any(|object| victims.contains_key(&object)))
        .collect();
    let (mut entries, moving) = entries(ids, opened, live, &affected, &victims)?;
    let vault = opened.master.vault();
    let is_clean = ids.leftovers_from(vault, opened.newest).is_none();
    ids.remember(vault, opened.newest, opened.next.0)?;
    let classes = victims.values().map(|full| full.object.class).collect();
    let from = opened.newest.number;
    let leftovers = Leftovers::look(store, &opened.master, from, &classes, &ids.objects()).await?;
    let rooms = Rooms::default();
    let mut moves =
        moves::Moves { store, opened, id_key, order, work, rooms, repacked: &mut repacked };
    let places = moves.all(&moving, &leftovers, random).await?;
    entries
        .extend(moving.iter().map(|entry| Entry { place: places[&spot(&entry.place)], ..*entry }));
    entries.sort_unstable_by_key(|entry| (entry.pool, entry.number));
    let others = |pool| ids.numbers_of(pool, |row| !affected.contains(&row));
    let leaves = index::leaves(&entries, others);
    let packed = index::packed(&leaves);
    let drawn: Vec<Drawn> = packed.iter().map(|_| Drawn::draw(random)).collect();
    let new = index::seal(&opened.master, opened.next, &leaves, &packed, drawn);
    let until = order.locks.longest();
    for sealed in &new {
        moves::create(store, &sealed.index.object, &sealed.bytes, until).await?;
        repacked.sent += 1;
        repacked.sent_bytes += sealed.bytes.len() as u64;
    }
    let view = view(opened, order, &affected, &new, &places);
    let terms = chain::Terms { creates_only: order.creates_only, until };
    repacked.opened = chain::commit(store, opened, &view, &opened.slots, terms, random).await?;
    let mut rest = entries.into_iter();
    for sealed in &new {
        ids.add(&sealed.index.object, rest.by_ref().take(sealed.entry_count))?;
    }
    let after = repacked.opened.clone();
    ids.bring_up(store, &after.master, &after.view).await?;
    if is_clean {
        ids.remember(vault, after.newest, 0)?;
    }
    Ok(repacked)
}

/// What is worth it: the emptiest first, as many as one run takes.
fn victims(fullness: &BTreeMap<ObjectId, Fullness>, order: &Order) -> BTreeMap<ObjectId, Fullness> {
    let is_poor = |full: &&Fullness| {
        full.live_bytes * 1000 < u64::from(full.object.len) * order.bar_per_mille
            && (full.live_chunks == 0 || full.live_bytes * 1000 < full.bytes.max(1) * 950)
    };
    let mut poor: Vec<&Fullness> = fullness.values().filter(is_poor).collect();
    poor.sort_by_key(|full| (full.live_bytes * 1000 / u64::from(full.object.len), full.object));
    let mut left = order.bytes;
    let taken = poor.into_iter().take_while(|full| {
        let fits = full.live_bytes <= left;
        left = left.saturating_sub(full.live_bytes);
        fits
    });
    taken.map(|full| (full.object.object, *full)).collect()
}

/// Entries of the affected index objects that still count: those that stay, and those whose chunks
/// move. What is dead in a victim is in neither.
fn entries(
    ids: &Ids,
    opened: &Opened,
    live: &Live,
    affected: &BTreeSet<ObjectId>,
    victims: &BTreeMap<ObjectId, Fullness>,
) -> Result<(Vec<Entry>, Vec<Entry>), RepackError> {
    let (mut stay, mut moving) = (Vec::new(), Vec::new());
    let mut newer: BTreeSet<ObjectId> = BTreeSet::new();
    for row in opened.view.indexes.iter().rev().map(|row| row.object.object) {
        if affected.contains(&row) {
            let mut replaced: BTreeMap<PoolId, RoaringTreemap> = BTreeMap::new();
            for entry in ids.entries(row)? {
                let numbers = |pool| ids.numbers_of(pool, |of| newer.contains(&of));
                let by = replaced.entry(entry.pool).or_insert_with_key(|pool| numbers(*pool));
                if by.contains(entry.number) {
                    continue;
                }
                if !victims.contains_key(&entry.place.object.object) {
                    stay.push(entry);
                } else if live.has(entry.pool, entry.number) {
                    moving.push(entry);
                }
            }
        }
        newer.insert(row);
    }
    Ok((stay, moving))
}

/// The newest manifest with other leaves, and points whose recipe or root page has moved.
fn view(
    opened: &Opened,
    order: &Order,
    affected: &BTreeSet<ObjectId>,
    new: &[index::SealedIndex],
    places: &BTreeMap<Spot, Place>,
) -> Manifest {
    let mut view = Manifest::clone(&opened.view);
    (view.made_at, view.witnessed) = (order.now, order.witnessed);
    view.locks = order.locks.promise().to_vec();
    view.indexes.retain(|row| !affected.contains(&row.object.object));
    view.indexes.extend(new.iter().map(|sealed| sealed.index.clone()));
    view.indexes.sort_by_key(|row| (row.rank, row.object.object));
    for point in &mut view.points {
        if let Some(place) = places.get(&spot(&point.recipe)) {
            point.recipe = *place;
        }
        if let Some(root) = &mut point.root_page
            && let Some(place) = places.get(&spot(root))
        {
            *root = *place;
        }
    }
    view
}

fn name_of(entry: &Entry) -> String {
    Name::of(&entry.place.object).to_string()
}
