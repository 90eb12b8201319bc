//! Objects: there, whole, and what the index says they are.

use std::collections::{BTreeSet, HashMap};

use super::Run;
use crate::format::{
    ClearObject, Directory, FormatFault, FramePlace, Leaf, LeafEntry, ObjectRef, decode_records,
};
use crate::mutants::{Mutant, keeps};
use crate::read::{ReadError, name_of};
use crate::store::{Store, has_others};
use crate::units::ObjectId;

/// Leaves that are read at a time.
const LEAVES: usize = 64;

/// What the index says of one object.
pub(super) type Entries = HashMap<ObjectId, Vec<(FramePlace, LeafEntry)>>;

impl<S: Store + 'static> Run<'_, S> {
    /// What lies on top of an object may be somebody else's: then what is below it is asked for.
    async fn has_others(&self, name: &str, fault: &ReadError) -> Result<bool, ReadError> {
        let is_about_bytes = matches!(
            fault,
            ReadError::Damaged { .. } | ReadError::Lost { .. } | ReadError::OtherBytes { .. }
        );
        if !is_about_bytes || !keeps(Mutant::FirstVersion) {
            return Ok(false);
        }
        has_others(&**self.reader.store(), name).await.map_err(ReadError::Store)
    }

    pub(super) async fn is_there(&self, object: &ObjectRef) -> Result<(), ReadError> {
        match self.looked_for(object).await {
            Err(fault) if self.has_others(&name_of(object), &fault).await? => {
                self.looked_for(object).await
            }
            found => found,
        }
    }

    async fn looked_for(&self, object: &ObjectRef) -> Result<(), ReadError> {
        let name = name_of(object);
        let head = self.reader.store().head(&name).await.map_err(ReadError::of_store)?;
        let found = head.ok_or_else(|| ReadError::Lost { object: name.clone() })?;
        let expected = u64::from(object.len);
        if found == expected {
            return Ok(());
        }
        Err(ReadError::Damaged { object: name, fault: FormatFault::Len { expected, found } })
    }

    /// Reads an object whole, with every check there is. `each` may be called for a frame twice.
    async fn whole(
        &mut self,
        object: &ObjectRef,
        mut each: impl FnMut(&FramePlace, &[u8]) -> Result<(), ReadError>,
    ) -> Result<Directory, ReadError> {
        let checked = match self.checked(object, &mut each).await {
            Err(fault) if self.has_others(&name_of(object), &fault).await? => {
                self.checked(object, &mut each).await
            }
            checked => checked,
        };
        let directory = checked?;
        self.report.objects += 1;
        self.report.bytes += u64::from(object.len);
        self.report.frames += directory.frames.len() as u64;
        self.report.chunks += directory.chunks.len() as u64;
        self.progress.objects += 1;
        self.step(object.len.into());
        Ok(directory)
    }

    async fn checked(
        &self,
        object: &ObjectRef,
        each: &mut impl FnMut(&FramePlace, &[u8]) -> Result<(), ReadError>,
    ) -> Result<Directory, ReadError> {
        self.looked_for(object).await?;
        let name = name_of(object);
        let read = self.reader.store().read(&name, 0..u64::from(object.len)).await;
        let bytes = read.map_err(ReadError::of_store)?;
        let damaged = |fault| ReadError::Damaged { object: name.clone(), fault };
        let master = self.reader.master();
        let head = ClearObject::read(&bytes).map_err(damaged)?;
        let head = head.expect(master.vault(), object).map_err(damaged)?;
        let directory = head.directory(master, &bytes).map_err(damaged)?;
        let mut checked = Ok(());
        let frame_chunks = |frame: &FramePlace| {
            let index = frame.index as usize;
            let begin = directory.chunks.partition_point(|chunk| usize::from(chunk.frame) < index);
            let end = directory.chunks.partition_point(|chunk| usize::from(chunk.frame) <= index);
            &directory.chunks[begin..end]
        };
        let key = self.reader.id_key();
        head.verify(master, &bytes, |frame, plain| {
            for chunk in frame_chunks(frame) {
                let content = &plain[chunk.start as usize..(chunk.start + chunk.len) as usize];
                let is_it = key.is_none_or(|key| key.id(content).as_bytes() == &chunk.id);
                if !is_it && checked.is_ok() {
                    let (object, number) = (name.clone(), chunk.number);
                    checked = Err(ReadError::OtherBytes { object, number });
                }
            }
            if checked.is_ok() {
                checked = each(frame, plain);
            }
        })
        .map_err(damaged)?;
        checked?;
        Ok(directory)
    }

    pub(super) async fn records(&mut self) {
        for record in self.reader.view().records.clone() {
            let name = name_of(&record.object);
            let damaged = |fault| ReadError::Damaged { object: name.clone(), fault };
            let decode =
                |_: &FramePlace, plain: &[u8]| decode_records(plain).map(|_| ()).map_err(damaged);
            let found = self.whole(&record.object, decode).await;
            let counted = found.and_then(|directory| {
                let is_right = directory.frames.len() == record.frame_count as usize;
                let fault = FormatFault::Content { what: "count of frames" };
                if is_right { Ok(()) } else { Err(damaged(fault)) }
            });
            self.note(counted);
        }
    }

    /// Reads the index, and gives all objects that hold chunks.
    pub(super) async fn index(&mut self) -> BTreeSet<ObjectRef> {
        let view = std::sync::Arc::clone(self.reader.view());
        let mut objects = BTreeSet::new();
        for point in &view.points {
            objects.insert(point.recipe.object);
            objects.extend(point.root_page.map(|place| place.object));
        }
        for (index, row) in view.indexes.iter().enumerate() {
            let (reader, mut leaves) = (self.reader, BTreeSet::new());
            let found = self
                .whole(&row.object, |frame, plain| {
                    let at = row.leaves.iter().position(|leaf| leaf.frame == *frame);
                    if let Some(at) = at {
                        leaves.insert(at);
                        objects.extend(reader.leaf((index, at), plain)?.objects);
                    }
                    Ok(())
                })
                .await;
            let all = found.and_then(|_| {
                let fault = FormatFault::Content { what: "place of a leaf" };
                let object = name_of(&row.object);
                let is_all = leaves.len() == row.leaves.len();
                if is_all { Ok(()) } else { Err(ReadError::Damaged { object, fault }) }
            });
            self.note(all);
        }
        if view.indexes.iter().any(|row| self.is_faulty(&row.object)) {
            // Of what is damaged, the leaves that still open lead on.
            self.leaves(|leaf| objects.extend(leaf.objects.iter().copied())).await;
        }
        self.progress.objects_all = self.progress.objects + objects.len() as u64;
        objects
    }

    /// The leaves that can be read, one after the other; who cannot be was noted before.
    pub(super) async fn leaves(&self, mut each: impl FnMut(&Leaf)) {
        for (index, row) in self.reader.view().indexes.iter().enumerate() {
            let slots: Vec<_> = (0..row.leaves.len()).map(|at| (index, at)).collect();
            for some in slots.chunks(LEAVES) {
                match self.reader.leaves(some).await {
                    Ok(leaves) => leaves.values().for_each(|leaf| each(leaf)),
                    // One of them: the others are still needed.
                    Err(_) => {
                        for slot in some {
                            if let Ok(leaves) = self.reader.leaves(&[*slot]).await {
                                leaves.values().for_each(|leaf| each(leaf));
                            }
                        }
                    }
                }
            }
        }
    }

    /// Reads objects whole and holds what the index says of them against what they are.
    pub(super) async fn batch(&mut self, objects: &[ObjectRef]) {
        let wanted: BTreeSet<ObjectId> = objects.iter().map(|object| object.object).collect();
        let mut entries = Entries::new();
        self.leaves(|leaf| {
            for entry in &leaf.entries {
                let frame = &leaf.frames[usize::from(entry.frame)];
                let object = leaf.objects[usize::from(frame.object)].object;
                if wanted.contains(&object) {
                    entries.entry(object).or_default().push((frame.place, *entry));
                }
            }
        })
        .await;
        for object in objects {
            let said = entries.remove(&object.object).unwrap_or_default();
            self.report.entries += said.len() as u64;
            let found = self.whole(object, |_, _| Ok(())).await;
            let led = found.and_then(|directory| leads(object, &directory, &said));
            self.note(led);
        }
    }
}

/// Whether entries lead to chunks of the object. The number may be another: a chunk that came back has
/// a new one.
fn leads(
    object: &ObjectRef,
    directory: &Directory,
    said: &[(FramePlace, LeafEntry)],
) -> Result<(), ReadError> {
    let chunks: HashMap<(u32, u32), (u32, [u8; 32])> = directory
        .chunks
        .iter()
        .map(|chunk| ((u32::from(chunk.frame), chunk.start), (chunk.len, chunk.id)))
        .collect();
    for (place, entry) in said {
        let is_frame = directory.frames.get(place.index as usize) == Some(place);
        let chunk = chunks.get(&(place.index, entry.start));
        let leads = is_frame && chunk == Some(&(entry.len, entry.id));
        if !leads && keeps(Mutant::LeafEntries) {
            return Err(ReadError::Misled { object: name_of(object), number: entry.number });
        }
    }
    Ok(())
}
