//! What an interrupted shipment left in the vault: found by listing, proved by opening directories,
//! taken over by the entries of the next index.

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;

use super::error::ShipError;
use crate::format::{
    Class, ClearObject, Directory, FormatFault, Name, ObjectKind, ObjectRef, Place,
};
use crate::ids::Entry;
use crate::keys::MasterKey;
use crate::mutants::{Mutant, keeps};
use crate::store::{self, LIST_MAX, Store, StoreError, StoreFault, has_others};
use crate::units::{ManifestNumber, ObjectId};

/// More than one shipment leaves behind: whoever finds more leaves the rest to pruning.
const CHUNKS_MAX: usize = 1 << 20;
/// Of an object's beginning, read in one go: the directory of a data object of large chunks.
const BEGINNING_LEN: u64 = 64 << 10;

/// Chunks that lie in objects no manifest names.
#[derive(Debug, Default)]
pub(crate) struct Leftovers {
    chunks: HashMap<[u8; 32], Entry>,
}

impl Leftovers {
    /// Looks in the folders of these classes, from a shipment on. What is known already is no leftover.
    pub async fn look(
        store: &impl Store,
        master: &MasterKey,
        from: ManifestNumber,
        classes: &BTreeSet<Class>,
        known: &BTreeSet<ObjectId>,
    ) -> Result<Self, ShipError> {
        let mut found = Self::default();
        for class in classes {
            for kind in [ObjectKind::Data, ObjectKind::Pages] {
                found.look_in(store, master, from, (kind, *class), known).await?;
            }
        }
        Ok(found)
    }

    async fn look_in(
        &mut self,
        store: &impl Store,
        master: &MasterKey,
        from: ManifestNumber,
        (kind, class): (ObjectKind, Class),
        known: &BTreeSet<ObjectId>,
    ) -> Result<(), ShipError> {
        let folder = Name::folder(kind, class);
        let mut after = Name::from_shipment(kind, class, from);
        loop {
            let listing = store.list(&folder, &after, LIST_MAX).await?;
            for listed in &listing.entries {
                let Ok(Name::Object { object, .. }) = Name::parse(&listed.name) else { continue };
                if known.contains(&object) || self.chunks.len() >= CHUNKS_MAX {
                    continue;
                }
                if let Some((object, directory)) = proved(store, master, listed).await? {
                    self.take(object, &directory);
                }
            }
            match listing.entries.last() {
                Some(last) if listing.has_more => after.clone_from(&last.name),
                _ => return Ok(()),
            }
        }
    }

    fn take(&mut self, object: ObjectRef, directory: &Directory) {
        for chunk in &directory.chunks {
            let frame = directory.frames[usize::from(chunk.frame)];
            let place = Place { object, frame, start: chunk.start, len: chunk.len };
            let (number, id, kind) = (chunk.number, chunk.id, chunk.kind);
            let entry = Entry { pool: directory.pool, number, id, kind, place };
            self.chunks.entry(id).or_insert(entry);
        }
    }

    pub fn find(&self, id: &[u8; 32]) -> Option<&Entry> {
        self.chunks.get(id)
    }
}

/// An object that is what its name says, as long as its head says, and opens under the vault's key.
/// `None`: it is of no use to us, whatever it is.
async fn proved(
    store: &impl Store,
    master: &MasterKey,
    listed: &store::Entry,
) -> Result<Option<(ObjectRef, Directory)>, ShipError> {
    let found = looked_at(store, master, listed).await?;
    // What lies on top may be somebody else's.
    if found.is_none() && keeps(Mutant::FirstVersion) && has_others(store, &listed.name).await? {
        return looked_at(store, master, listed).await;
    }
    Ok(found)
}

async fn looked_at(
    store: &impl Store,
    master: &MasterKey,
    listed: &store::Entry,
) -> Result<Option<(ObjectRef, Directory)>, ShipError> {
    // The listing may be stale or invented: the length is asked for by itself.
    let Some(len) = store.head(&listed.name).await? else { return Ok(None) };
    let Some(mut bytes) = beginning(store, &listed.name, len.min(BEGINNING_LEN)).await? else {
        return Ok(None);
    };
    let end = match ClearObject::read(&bytes).and_then(|object| object.directory_end(master)) {
        Ok(end) if end <= len => end,
        _ => return Ok(None),
    };
    if end > bytes.len() as u64 {
        match beginning(store, &listed.name, end).await? {
            Some(more) => bytes = more,
            None => return Ok(None),
        }
    }
    Ok(opened(master, &listed.name, len, &bytes).ok())
}

/// `None` if somebody deleted it meanwhile.
async fn beginning(store: &impl Store, name: &str, len: u64) -> Result<Option<Bytes>, StoreError> {
    match store.read(name, 0..len).await {
        Err(error) if error.fault == StoreFault::NotFound => Ok(None),
        read => read.map(Some),
    }
}

fn opened(
    master: &MasterKey,
    name: &str,
    len: u64,
    bytes: &[u8],
) -> Result<(ObjectRef, Directory), FormatFault> {
    let clear = ClearObject::read(bytes)?;
    let object = clear.head.object;
    let is_named = Name::of(&object).to_string() == name && u64::from(object.len) == len;
    if !is_named && keeps(Mutant::LeftoverProof) {
        return Err(FormatFault::Object { found: object.object });
    }
    let directory = clear.expect(master.vault(), &object)?.directory(master, bytes)?;
    Ok((object, directory))
}
