//! Getting frames: neighbours of one object with one request.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use keelhold_chunk::ChunkId;

use super::shelf::Slot;
use super::{FrameKey, Located, ReadError, VaultReader, lock, name_of};
use crate::format::{FormatFault, FramePlace, Leaf, ObjectKey, ObjectRef, Place};
use crate::mutants::{Mutant, keeps};
use crate::store::{Store, StoreError, has_others};

/// What lies between two frames is read and thrown away rather than asked around: about what a request
/// costs at a store far away.
const GAP: u64 = 256 << 10;
/// Longest range of one request: what is held at a time.
const RANGE_MAX: u64 = 16 << 20;

/// Most plain bytes of one request.
const PLAIN_MAX: u64 = 64 << 20;

/// Frames of one object that one request gives.
#[derive(Debug, Clone)]
pub(super) struct Stretch {
    pub object: ObjectRef,
    pub frames: Vec<FramePlace>,
}

impl Stretch {
    pub fn start(&self) -> u64 {
        self.frames.first().map_or(0, |frame| frame.range().start)
    }

    fn plain_len(&self) -> u64 {
        self.frames.iter().map(|frame| u64::from(frame.plain_len)).sum()
    }

    pub fn end(&self) -> u64 {
        self.frames.last().map_or(0, |frame| frame.range().end)
    }
}

/// The requests it takes to get these frames, each once.
pub(super) fn stretches(frames: impl Iterator<Item = (ObjectRef, FramePlace)>) -> Vec<Stretch> {
    let mut all: BTreeMap<(ObjectRef, u64, u32), FramePlace> = BTreeMap::new();
    for (object, frame) in frames {
        all.insert((object, frame.range().start, frame.index), frame);
    }
    let mut stretches: Vec<Stretch> = Vec::new();
    for ((object, ..), frame) in all {
        if let Some(last) = stretches.last_mut() {
            let range = frame.range();
            let joins = last.object == object
                && range.start >= last.end()
                && range.start - last.end() <= GAP
                && range.end - last.start() <= RANGE_MAX
                && last.plain_len() + u64::from(frame.plain_len) <= PLAIN_MAX;
            if joins {
                last.frames.push(frame);
                continue;
            }
        }
        stretches.push(Stretch { object, frames: vec![frame] });
    }
    stretches
}

impl<S: Store> VaultReader<S> {
    /// The plain frames of a stretch, one request.
    pub(super) async fn stretch(&self, stretch: &Stretch) -> Result<Vec<Bytes>, ReadError> {
        let (object, start) = (&stretch.object, stretch.start());
        let name = name_of(object);
        let key = ObjectKey::new(&self.inner.master, object);
        let prove = |bytes: &Bytes| {
            let mut opened = Vec::with_capacity(stretch.frames.len());
            for frame in &stretch.frames {
                let range = frame.range();
                let (from, upto) = ((range.start - start) as usize, (range.end - start) as usize);
                let (expected, found) = (stretch.end() - start, bytes.len() as u64);
                let stored = bytes.get(from..upto).ok_or(FormatFault::Len { expected, found })?;
                opened.push(Bytes::from(key.open_frame(frame, stored)?));
            }
            Ok(opened)
        };
        self.proved(&name, start..stretch.end(), prove).await
    }

    /// What a part of an object proves to be. Bytes that prove nothing may lie on top of ours: then those
    /// below are read.
    pub(crate) async fn proved<T>(
        &self,
        name: &str,
        range: Range<u64>,
        prove: impl Fn(&Bytes) -> Result<T, FormatFault>,
    ) -> Result<T, ReadError> {
        let store = &*self.inner.store;
        let judge = |read: Result<Bytes, StoreError>| {
            let bytes = read.map_err(ReadError::of_store)?;
            let damaged = |fault| ReadError::Damaged { object: name.to_owned(), fault };
            prove(&bytes).map_err(damaged)
        };
        match judge(store.read(name, range.clone()).await) {
            Err(ReadError::Damaged { .. } | ReadError::Lost { .. })
                if keeps(Mutant::FirstVersion)
                    && has_others(store, name).await.map_err(ReadError::Store)? =>
            {
                judge(store.read(name, range).await)
            }
            answer => answer,
        }
    }

    /// Leaves of the index, decoded.
    pub(crate) async fn leaves(
        &self,
        slots: &[Slot],
    ) -> Result<HashMap<Slot, Arc<Leaf>>, ReadError> {
        let mut found = HashMap::new();
        let mut missing: HashMap<FrameKey, Slot> = HashMap::new();
        for slot in slots {
            let (object, place) = self.leaf_place(*slot);
            let key = (object.object, place.frame.index);
            match lock(&self.inner.leaves).get(key) {
                Some(leaf) => drop(found.insert(*slot, leaf)),
                None => drop(missing.insert(key, *slot)),
            }
        }
        let frames = missing.values().map(|slot| {
            let (object, place) = self.leaf_place(*slot);
            (*object, place.frame)
        });
        for stretch in stretches(frames) {
            let opened = self.stretch(&stretch).await?;
            for (frame, plain) in stretch.frames.iter().zip(opened) {
                let key = (stretch.object.object, frame.index);
                let slot = missing[&key];
                let leaf = Arc::new(self.leaf(slot, &plain)?);
                lock(&self.inner.leaves).keep(key, Arc::clone(&leaf), plain.len());
                found.insert(slot, leaf);
            }
        }
        Ok(found)
    }

    pub(super) fn leaf_place(&self, (index, row): Slot) -> (&ObjectRef, &crate::format::LeafPlace) {
        let index = &self.inner.view.indexes[index];
        (&index.object, &index.leaves[row])
    }

    /// A leaf that is the one the manifest means.
    pub(crate) fn leaf(&self, slot: Slot, plain: &[u8]) -> Result<Leaf, ReadError> {
        let (object, place) = self.leaf_place(slot);
        let damaged = |fault| ReadError::Damaged { object: name_of(object), fault };
        let leaf = Leaf::from_bytes(plain).map_err(damaged)?;
        if leaf.pool != place.pool || leaf.range() != Some((place.first, place.last)) {
            return Err(damaged(FormatFault::Content { what: "numbers of a leaf" }));
        }
        Ok(leaf)
    }

    /// The bytes of chunks, each held against its id. Neighbours share requests.
    pub(super) async fn contents(
        &self,
        located: &[Located],
    ) -> Result<BTreeMap<u64, (ChunkId, Bytes)>, ReadError> {
        let mut by_frame: HashMap<FrameKey, Vec<&Located>> = HashMap::new();
        for located in located {
            let key = (located.place.object.object, located.place.frame.index);
            by_frame.entry(key).or_default().push(located);
        }
        let mut found = BTreeMap::new();
        let mut missing = Vec::new();
        for (key, chunks) in &by_frame {
            let kept = lock(&self.inner.frames).get(*key);
            match kept {
                Some(plain) => self.cut(chunks, &plain, &mut found)?,
                None => missing.push((chunks[0].place.object, chunks[0].place.frame)),
            }
        }
        for stretch in stretches(missing.into_iter()) {
            let opened = self.stretch(&stretch).await?;
            for (frame, plain) in stretch.frames.iter().zip(opened) {
                let key = (stretch.object.object, frame.index);
                self.cut(&by_frame[&key], &plain, &mut found)?;
                lock(&self.inner.frames).keep(key, plain.clone(), plain.len());
            }
        }
        Ok(found)
    }

    fn cut(
        &self,
        chunks: &[&Located],
        plain: &Bytes,
        found: &mut BTreeMap<u64, (ChunkId, Bytes)>,
    ) -> Result<(), ReadError> {
        for located in chunks {
            let (object, number) = (&located.place.object, located.number);
            let (start, len) = (located.place.start as usize, located.place.len as usize);
            let other = || ReadError::OtherBytes { object: name_of(object), number };
            let bytes = plain.get(start..start + len).ok_or_else(other)?;
            let is_it = match &self.inner.id_key {
                Some(key) if keeps(Mutant::ChunkIds) => key.id(bytes) == located.id,
                _ => true,
            };
            if !is_it {
                return Err(other());
            }
            // Copied where the frame is long beside it: a slice would hold all of it.
            let bytes = if len * 2 < plain.len() {
                Bytes::copy_from_slice(bytes)
            } else {
                plain.slice(start..start + len)
            };
            found.insert(number, (located.id, bytes));
        }
        Ok(())
    }

    /// The whole frame a chunk lies in.
    pub(super) async fn frame_of(&self, place: &Place) -> Result<Bytes, ReadError> {
        let key = (place.object.object, place.frame.index);
        if let Some(plain) = lock(&self.inner.frames).get(key) {
            return Ok(plain);
        }
        let stretch = Stretch { object: place.object, frames: vec![place.frame] };
        let plain = self.stretch(&stretch).await?.pop().unwrap_or_default();
        lock(&self.inner.frames).keep(key, plain.clone(), plain.len());
        Ok(plain)
    }
}
