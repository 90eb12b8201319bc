//! What the vault has, known here without asking: which numbers, and for every id where its bytes lie.
//!
//! A directory of the appliance with one file for each index object that the newest manifest names. It
//! is a cache: what is missing or damaged is made again from the vault, one request for each index
//! object. A file belongs to an object that never changes, so a file can be missing, damaged or too many,
//! and never out of date. In memory are ten bits for each chunk and eight bytes for 56 of them, the
//! numbers as bitmaps and a row for each object: 16 million chunks are 27 MiB.
//!
//! Files are read and written on the thread that polls: it must be one that may wait for a disk.

mod error;
mod file;
mod filter;
mod row;
mod state;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use keelhold_chunk::ChunkId;
use roaring::RoaringTreemap;

use crate::format::{ClearObject, FormatFault, Index, Leaf, Manifest, Name, ObjectRef, Parent};
use crate::keys::MasterKey;
use crate::store::{Store, has_others};
use crate::units::{ManifestNumber, ObjectId, PoolId, VaultId};

pub use error::IdsError;
use file::IdFile;
pub use row::Entry;
pub(crate) use row::entries;
use state::State;

/// How much of an object the index still names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fullness {
    pub object: ObjectRef,
    /// Chunks that entries lead to, and those of them that are needed.
    pub chunks: u64,
    pub live_chunks: u64,
    /// Their share of the stored bytes.
    pub bytes: u64,
    pub live_bytes: u64,
}

/// The local index of one vault.
#[derive(Debug)]
pub struct Ids {
    dir: PathBuf,
    /// In the order of the manifest: what a later one says of a number counts.
    files: Vec<IdFile>,
}

impl Ids {
    /// Nothing is known before [`bring_up`](Self::bring_up).
    pub fn open(dir: &Path) -> Result<Self, IdsError> {
        let (dir, files) = (dir.to_owned(), Vec::new());
        std::fs::create_dir_all(&dir).map_err(|error| io(&dir, &error))?;
        Ok(Self { dir, files })
    }

    fn path(&self, index: &ObjectRef) -> PathBuf {
        self.dir.join(format!("{}.ids", index.object))
    }

    /// Makes what is here what the manifest names: reads the index objects that are not here, and
    /// removes the files of those that are gone. Gives how many were read.
    pub async fn bring_up(
        &mut self,
        store: &impl Store,
        master: &MasterKey,
        view: &Manifest,
    ) -> Result<usize, IdsError> {
        let mut known: BTreeMap<ObjectId, IdFile> =
            self.files.drain(..).map(|file| (file.index.object, file)).collect();
        let mut read = 0;
        for index in &view.indexes {
            let path = self.path(&index.object);
            let kept = known.remove(&index.object.object).filter(|file| file.index == index.object);
            let file = match kept.or_else(|| IdFile::open(&path, &index.object)) {
                Some(file) => file,
                None => {
                    read += 1;
                    let entries = fetch(store, master, index).await?;
                    self.write(&index.object, entries.into_iter())?
                }
            };
            self.files.push(file);
        }
        self.sweep();
        Ok(read)
    }

    /// Takes the entries of an index object that was just written: it need not be read again.
    pub(crate) fn add(
        &self,
        index: &ObjectRef,
        entries: impl Iterator<Item = Entry>,
    ) -> Result<(), IdsError> {
        self.write(index, entries).map(|_| ())
    }

    fn write(
        &self,
        index: &ObjectRef,
        entries: impl Iterator<Item = Entry>,
    ) -> Result<IdFile, IdsError> {
        let path = self.path(index);
        let partial = path.with_extension("partial");
        file::write(&partial, index, entries).map_err(|error| io(&partial, &error))?;
        std::fs::rename(&partial, &path).map_err(|error| io(&path, &error))?;
        IdFile::open(&path, index).ok_or(IdsError::Damaged { object: index.object })
    }

    /// Removes what belongs to no index object. Failing at it costs room and nothing else.
    fn sweep(&self) {
        let kept: BTreeSet<PathBuf> =
            self.files.iter().map(|file| self.path(&file.index)).collect();
        for entry in std::fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            let path = entry.path();
            let is_ours = path.extension().is_some_and(|end| end == "ids" || end == "partial");
            if is_ours && !kept.contains(&path) {
                let _ = std::fs::remove_file(&path);
            }
        }
    }

    /// A damaged file goes at once: [`bring_up`](Self::bring_up) makes it again.
    fn damaged(&self, file: &IdFile) -> IdsError {
        self.discard(file);
        IdsError::Damaged { object: file.index.object }
    }

    fn discard(&self, file: &IdFile) {
        let _ = std::fs::remove_file(self.path(&file.index));
    }

    /// Once one file is damaged, others may be: reads all of them, removes those that are, and takes
    /// nothing for known before [`bring_up`](Self::bring_up), which makes them again.
    pub(crate) fn sift(&mut self) {
        let is_whole =
            |file: &IdFile| (0..file.block_count()).all(|block| file.block(block).is_some());
        self.files.iter().filter(|file| !is_whole(file)).for_each(|file| self.discard(file));
        self.files.clear();
    }

    /// The numbers of a pool that are in the vault.
    #[must_use]
    pub fn numbers(&self, pool: PoolId) -> RoaringTreemap {
        self.numbers_of(pool, |_| true)
    }

    /// The numbers of a pool in some of the index objects.
    pub(crate) fn numbers_of(&self, pool: PoolId, of: impl Fn(ObjectId) -> bool) -> RoaringTreemap {
        let mut all = RoaringTreemap::new();
        for file in self.files.iter().filter(|file| of(file.index.object)) {
            let numbers = file.pools.iter().zip(&file.numbers);
            numbers.filter(|(of, _)| **of == pool).for_each(|(_, numbers)| all |= numbers);
        }
        all
    }

    /// Where these chunks lie, in the order of the question: the whole id is compared. Of several places
    /// that of the newest index object.
    pub fn find(&self, ids: &[ChunkId]) -> Result<Vec<Option<Entry>>, IdsError> {
        let mut sorted: Vec<usize> = (0..ids.len()).collect();
        sorted.sort_unstable_by_key(|at| *ids[*at].as_bytes());
        let mut found: Vec<Option<Entry>> = vec![None; ids.len()];
        for file in self.files.iter().rev() {
            sorted.retain(|at| found[*at].is_none());
            let asked = sorted.iter().map(|at| (*at, ids[*at].as_bytes()));
            file.find(asked, |at, entry| found[at] = Some(entry))
                .ok_or_else(|| self.damaged(file))?;
        }
        Ok(found)
    }

    /// All entries of an index object, in the order of ids.
    pub(crate) fn entries(&self, index: ObjectId) -> Result<Vec<Entry>, IdsError> {
        let file = self.files.iter().find(|file| file.index.object == index);
        let file = file.ok_or(IdsError::Damaged { object: index })?;
        let mut all = Vec::with_capacity(file.row_count() as usize);
        for at in 0..file.block_count() {
            for row in file.block(at).ok_or_else(|| self.damaged(file))? {
                let entry = row.entry(&file.pools, &file.objects);
                all.push(entry.ok_or_else(|| self.damaged(file))?);
            }
        }
        Ok(all)
    }

    /// Entries of an index object.
    pub(crate) fn entry_count(&self, index: ObjectId) -> u64 {
        let file = self.files.iter().find(|file| file.index.object == index);
        file.map_or(0, IdFile::row_count)
    }

    /// Every object that an entry leads to.
    #[must_use]
    pub fn objects(&self) -> BTreeSet<ObjectId> {
        self.files.iter().flat_map(|file| &file.objects).map(|object| object.object).collect()
    }

    /// The same, as the index names them.
    pub(crate) fn object_refs(&self) -> BTreeSet<ObjectRef> {
        self.files.iter().flat_map(|file| file.objects.iter().copied()).collect()
    }

    /// Objects the entries of one index object lead to.
    pub(crate) fn leads_to(&self, index: ObjectId) -> impl Iterator<Item = ObjectId> + '_ {
        let of = self.files.iter().filter(move |file| file.index.object == index);
        of.flat_map(|file| &file.objects).map(|object| object.object)
    }

    /// How many objects the index names, and their bytes.
    #[must_use]
    pub fn totals(&self) -> (u64, u64) {
        let named = self.files.iter().flat_map(|file| &file.objects);
        let own = self.files.iter().map(|file| &file.index);
        let objects: BTreeMap<ObjectId, u32> =
            named.chain(own).map(|object| (object.object, object.len)).collect();
        (objects.len() as u64, objects.values().map(|len| u64::from(*len)).sum())
    }

    /// How full every object is: all of it with chunks that are needed, if nothing was forgotten. An entry
    /// that a newer index object replaces does not count. Reads every file.
    pub fn fullness(
        &self,
        mut is_live: impl FnMut(PoolId, u64) -> bool,
    ) -> Result<BTreeMap<ObjectId, Fullness>, IdsError> {
        let mut all = BTreeMap::new();
        for file in self.files.iter() {
            for held in &file.held {
                let empty = Fullness {
                    object: held.object,
                    chunks: 0,
                    live_chunks: 0,
                    bytes: 0,
                    live_bytes: 0,
                };
                all.entry(held.object.object).or_insert(empty);
            }
        }
        for (at, file) in self.files.iter().enumerate() {
            let newer = &self.files[at + 1..];
            let replaced: Vec<RoaringTreemap> = file
                .pools
                .iter()
                .zip(&file.numbers)
                .map(|(pool, own)| own & newer_numbers(newer, *pool))
                .collect();
            for block in 0..file.block_count() {
                for row in file.block(block).ok_or_else(|| self.damaged(file))? {
                    let (pool, number) = (usize::from(row.pool.get()), row.number.get());
                    let object = file.objects.get(row.object.get() as usize);
                    let (Some(object), Some(replaced)) = (object, replaced.get(pool)) else {
                        return Err(self.damaged(file));
                    };
                    if replaced.contains(number) {
                        continue;
                    }
                    let Some(full) = all.get_mut(&object.object) else { continue };
                    let (is_live, share) = (is_live(file.pools[pool], number), row.stored_share());
                    full.chunks += 1;
                    full.bytes += share;
                    full.live_chunks += u64::from(is_live);
                    full.live_bytes += if is_live { share } else { 0 };
                }
            }
        }
        Ok(all)
    }

    /// Bytes that are kept in memory.
    #[must_use]
    pub fn resident(&self) -> usize {
        self.files.iter().map(IdFile::resident).sum()
    }

    /// From which shipment on something may have been left behind; `None` if surely nothing was.
    pub(crate) fn leftovers_from(&self, vault: VaultId, newest: Parent) -> Option<ManifestNumber> {
        let next = ManifestNumber(newest.number.0 + 1);
        match state::read(&self.state_path(), vault) {
            Some(State { newest: known, shipping: 0 }) if known == newest => None,
            Some(State { shipping, .. }) if shipping >= next.0 => Some(next),
            // Who knows nothing, or was overtaken: what has the number of the newest manifest is still
            // kept from pruning.
            _ => Some(newest.number),
        }
    }

    /// Remembers that a shipment begins, or (0) that none is under way.
    pub(crate) fn remember(
        &self,
        vault: VaultId,
        newest: Parent,
        shipping: u64,
    ) -> Result<(), IdsError> {
        let path = self.state_path();
        let state = State { newest, shipping };
        state::write(&path, vault, &state).map_err(|error| io(&path, &error))
    }

    fn state_path(&self) -> PathBuf {
        self.dir.join("state")
    }
}

fn newer_numbers(files: &[IdFile], pool: PoolId) -> RoaringTreemap {
    let mut all = RoaringTreemap::new();
    for file in files {
        let numbers = file.pools.iter().zip(&file.numbers);
        numbers.filter(|(of, _)| **of == pool).for_each(|(_, numbers)| all |= numbers);
    }
    all
}

fn io(path: &Path, error: &std::io::Error) -> IdsError {
    IdsError::Io { path: path.to_owned(), kind: error.kind() }
}

/// The entries of an index object, from the vault.
async fn fetch(
    store: &impl Store,
    master: &MasterKey,
    index: &Index,
) -> Result<Vec<Entry>, IdsError> {
    let name = Name::of(&index.object).to_string();
    let range = 0..u64::from(index.object.len);
    let bytes = store.read(&name, range.clone()).await?;
    match read_index(master, &index.object, &bytes) {
        Ok(entries) => Ok(entries),
        // What lies on top may be somebody else's.
        Err(_) if has_others(store, &name).await? => {
            let bytes = store.read(&name, range).await?;
            let read = read_index(master, &index.object, &bytes);
            read.map_err(|fault| IdsError::Index { name, fault })
        }
        Err(fault) => Err(IdsError::Index { name, fault }),
    }
}

fn read_index(
    master: &MasterKey,
    index: &ObjectRef,
    bytes: &[u8],
) -> Result<Vec<Entry>, FormatFault> {
    let object = ClearObject::read(bytes)?.expect(master.vault(), index)?;
    let (mut all, mut fault) = (Vec::new(), None);
    object.verify(master, bytes, |_, plain| match Leaf::from_bytes(plain) {
        Ok(leaf) => all.extend(entries(&leaf)),
        Err(found) => fault = Some(found),
    })?;
    fault.map_or(Ok(all), Err)
}
