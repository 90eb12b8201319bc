//! Live chunks from old objects into new ones.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use keelhold_chunk::{ChunkId, IdKey};

use super::{Order, RepackError, Repacked, Spot, name_of, spot};
use crate::chain::Opened;
use crate::format::{Class, FormatFault, LEVEL, Name, ObjectKey, ObjectRef, Place, pack};
use crate::ids::Entry;
use crate::pack::{Drawn, Group, Packer, Rooms, SourceChunk, SourceFrame, seal};
use crate::random::Random;
use crate::ship::Leftovers;
use crate::store::{Settled, Store, StoreError, Until, settle};
use crate::units::PoolId;
use crate::work::Work;

/// How often a creation whose answer was lost is repeated, with the same bytes.
const ATTEMPTS: usize = 3;

pub(super) struct Moves<'a, S, W> {
    pub store: &'a S,
    pub opened: &'a Opened,
    pub id_key: &'a IdKey,
    pub order: &'a Order,
    pub work: &'a W,
    pub rooms: Rooms,
    pub repacked: &'a mut Repacked,
}

/// Creates an object under its fresh name.
pub(super) async fn create(
    store: &impl Store,
    object: &ObjectRef,
    bytes: &Bytes,
    until: Option<Until>,
) -> Result<(), RepackError> {
    let name = Name::of(object).to_string();
    let mut settled: Result<Settled, StoreError> = settle(store, &name, bytes, until).await;
    for _ in 1..ATTEMPTS {
        match settled {
            Err(error) if error.is_passing() => settled = settle(store, &name, bytes, until).await,
            _ => break,
        }
    }
    if settled? == Settled::Ours { Ok(()) } else { Err(RepackError::Foreign { name }) }
}

impl<S: Store, W: Work> Moves<'_, S, W> {
    /// The new place of every chunk that moves, by its old one.
    pub async fn all(
        &mut self,
        moving: &[Entry],
        leftovers: &Leftovers,
        random: &mut (impl Random + Send),
    ) -> Result<BTreeMap<Spot, Place>, RepackError> {
        let mut places = BTreeMap::new();
        // One chunk may have several numbers: it moves once.
        let mut chunks: BTreeMap<(Class, PoolId, Spot), &Entry> = BTreeMap::new();
        for entry in moving {
            match leftovers.find(&entry.id) {
                Some(left) => drop(places.insert(spot(&entry.place), left.place)),
                None => {
                    let key = (entry.place.object.class, entry.pool, spot(&entry.place));
                    chunks.entry(key).or_insert(entry);
                }
            }
        }
        self.repacked.taken_over = places.len() as u64;
        self.lock(&places).await?;
        let chunks: Vec<&Entry> = chunks.into_values().collect();
        let kin = |left: &&Entry, right: &&Entry| {
            let kind = |entry: &Entry| (entry.place.object.class, entry.pool);
            kind(left) == kind(right)
        };
        for of_class in chunks.chunk_by(kin) {
            let (class, pool) = (of_class[0].place.object.class, of_class[0].pool);
            let mut spots: BTreeMap<u64, Spot> = BTreeMap::new();
            let mut packer = Packer::new(pool, class, self.order.object_len);
            let same = |left: &&Entry, right: &&Entry| left.place.object == right.place.object;
            for of_object in of_class.chunk_by(same) {
                for frame in self.frames(of_object).await? {
                    if let Some(full) = packer.push(frame) {
                        self.send(full, &mut spots, of_class, &mut places, random).await?;
                    }
                }
            }
            for group in packer.finish() {
                self.send(group, &mut spots, of_class, &mut places, random).await?;
            }
        }
        Ok(places)
    }

    /// What was left behind is locked like what is new.
    async fn lock(&self, places: &BTreeMap<Spot, Place>) -> Result<(), RepackError> {
        let objects: BTreeSet<ObjectRef> = places.values().map(|place| place.object).collect();
        for object in objects {
            if let Some(until) = self.order.locks.of(object.class) {
                let name = Name::of(&object).to_string();
                self.store.extend(&name, until).await?;
            }
        }
        Ok(())
    }

    /// The live chunks of one object, a frame for each frame they lie in: one request.
    async fn frames(&self, entries: &[&Entry]) -> Result<Vec<SourceFrame>, RepackError> {
        let object = entries[0].place.object;
        let name = name_of(entries[0]);
        let ranges = || entries.iter().map(|entry| entry.place.frame.range());
        let start = ranges().map(|range| range.start).min().unwrap_or(0);
        let end = ranges().map(|range| range.end).max().unwrap_or(0);
        let bytes = self.store.read(&name, start..end).await?;
        let key = ObjectKey::new(&self.opened.master, &object);
        let damaged = |fault| RepackError::Damaged { object: name.clone(), fault };
        let mut frames = Vec::new();
        let same = |left: &&Entry, right: &&Entry| left.place.frame == right.place.frame;
        for of_frame in entries.chunk_by(same) {
            let range = of_frame[0].place.frame.range();
            let stored = bytes.get((range.start - start) as usize..(range.end - start) as usize);
            let short = FormatFault::Len { expected: end - start, found: bytes.len() as u64 };
            let stored = stored.ok_or_else(|| damaged(short))?;
            let old = key.open_frame(&of_frame[0].place.frame, stored).map_err(damaged)?;
            let (mut plain, mut chunks) = (Vec::new(), Vec::new());
            for entry in of_frame {
                let (from, len) = (entry.place.start as usize, entry.place.len as usize);
                let (number, id) = (entry.number, ChunkId::from_bytes(entry.id));
                let content = old.get(from..from + len).filter(|bytes| self.id_key.id(bytes) == id);
                let other = || RepackError::OtherBytes { object: name.clone(), number };
                plain.extend_from_slice(content.ok_or_else(other)?);
                chunks.push(SourceChunk { number, id, kind: entry.kind, len: entry.place.len });
            }
            let plain_len = plain.len() as u32;
            let (codec, packed) = self.work.run(move || pack(&plain, LEVEL)).await;
            frames.push(SourceFrame { codec, packed: packed.into(), plain_len, chunks });
        }
        Ok(frames)
    }

    async fn send(
        &mut self,
        group: Group,
        spots: &mut BTreeMap<u64, Spot>,
        of_class: &[&Entry],
        places: &mut BTreeMap<Spot, Place>,
        random: &mut (impl Random + Send),
    ) -> Result<(), RepackError> {
        if spots.is_empty() {
            spots.extend(of_class.iter().map(|entry| (entry.number, spot(&entry.place))));
        }
        let until = self.order.locks.of(group.class);
        let (master, shipment) = (Arc::clone(&self.opened.master), self.opened.next);
        let (drawn, rooms) = (Drawn::draw(random), self.rooms.clone());
        let sealed = self.work.run(move || seal(&master, shipment, group, drawn, &rooms)).await;
        create(self.store, &sealed.object, &sealed.bytes, until).await?;
        self.repacked.sent += 1;
        self.repacked.sent_bytes += sealed.bytes.len() as u64;
        self.repacked.chunks += sealed.chunks.len() as u64;
        for chunk in &sealed.chunks {
            let frame = sealed.places[usize::from(chunk.frame)];
            let (object, start, len) = (sealed.object, chunk.start, chunk.len);
            places.insert(spots[&chunk.number], Place { object, frame, start, len });
        }
        Ok(())
    }
}
