//! Reading chunks, every byte proved: the directory by its checksum and place, the chunk by its id, and
//! that id by the digest of the span or page that referred to it. The frame's hash is only for who
//! verifies and for the pool's own state.

use std::ops::Range;
use std::rc::Rc;

use bytes::Bytes;
use futures_util::future::join_all;
use keelhold_chunk::{IdKey, SpanDigest};

use super::epoch::Epoch;
use super::frame;
use super::run::RunPlace;
use super::space::RunKey;
use super::{Inner, Work};
use crate::buffer::AlignedBuf;
use crate::device::Device;
use crate::error::ReadError;
use crate::format::{
    ChunkEntry, ClearDirectory, Directory, Fault, FrameEntry, HeadFault, Place, RunHeader, RunRef,
    SlotRef,
};
use crate::mutants::Mutant;
use crate::seal::RunSeal;
use crate::units::{BLOCK, ChunkNumber};

/// What is read at once to get a directory: nearly all fit, and the first frames often come along.
const DIRECTORY_READ: usize = 32 << 10;

/// A chunk as its directory describes it, and where that is.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) run: RunKey,
    pub(super) directory: Rc<Directory>,
    pub(super) chunk: ChunkEntry,
    /// What is there stays while this is held.
    _epoch: Epoch,
}

impl<D: Device, W: Work> Inner<D, W> {
    /// The directory of the run at `run`.
    pub(super) async fn directory(&self, run: RunKey) -> Result<Rc<Directory>, ReadError> {
        if let Some(directory) = self.cache.borrow_mut().directory(run) {
            return Ok(directory);
        }
        self.run_written(run).await;
        let salt = self.salt(run.0).ok_or_else(|| self.fault(run, HeadFault::Content))?;
        let read = async |slot| self.read_directory(slot, run, &salt).await;
        let directory = match self.ask_copies(run, read).await {
            Ok(directory) => Rc::new(directory),
            Err(error) => self.listed_directory(run).await.ok_or(error)?,
        };
        self.cache.borrow_mut().keep_directory(run, Rc::clone(&directory));
        Ok(directory)
    }

    pub(super) async fn read_directory(
        &self,
        slot: SlotRef,
        run: RunKey,
        salt: &[u8; 16],
    ) -> Result<Directory, ReadError> {
        let (directory, _) = self.read_checked_directory(slot, run, salt).await?;
        Ok(directory)
    }

    /// The directory of a run of the pool's own state.
    pub(super) async fn read_state_directory(
        &self,
        slot: SlotRef,
        run: &RunRef,
        salt: &[u8; 16],
    ) -> Result<Directory, ReadError> {
        let key = (run.container, run.block);
        let (directory, check) = self.read_checked_directory(slot, key, salt).await?;
        // An older run of the slot may stand here, sound in itself: the write of ours was lost.
        if check != run.check && self.mutants.keeps(Mutant::StateCheck) {
            return Err(self.fault(key, HeadFault::Checksum));
        }
        Ok(directory)
    }

    /// The directory of a run and its checksum, which is what a reference to the run names.
    async fn read_checked_directory(
        &self,
        slot: SlotRef,
        run: RunKey,
        salt: &[u8; 16],
    ) -> Result<(Directory, [u8; 16]), ReadError> {
        let block = run.1;
        let disk = self.disk_of(slot);
        let offset = disk.offset(slot.slot, block);
        let within = (self.fixed.container_len as usize) - usize::from(block) * BLOCK;
        let mut bytes = disk.read(offset, DIRECTORY_READ.min(within)).await?;
        let place = disk.place(offset);
        let wrong = |fault| ReadError::from(Fault { what: "run directory", place, fault });
        let len = Directory::peek_len(&bytes).map_err(wrong)?;
        if len > within {
            return Err(wrong(HeadFault::Len { found: len as u32 }));
        }
        if len > bytes.len() {
            bytes = disk.read(offset, len).await?;
        }
        let directory = self.decode_directory(slot, run, salt, &bytes).map_err(wrong)?;
        let mut check = [0; 16];
        check.copy_from_slice(&bytes[..16]);
        Ok((directory, check))
    }

    /// The directory at the start of `bytes`, proved to be the one of this run.
    pub(super) fn decode_directory(
        &self,
        slot: SlotRef,
        run: RunKey,
        salt: &[u8; 16],
        bytes: &[u8],
    ) -> Result<Directory, HeadFault> {
        self.decode_directory_at(self.place(slot, run.1), run, salt, bytes)
    }

    /// As [`decode_directory`](Self::decode_directory), of a run that was written for `place`.
    pub(super) fn decode_directory_at(
        &self,
        place: Place,
        run: RunKey,
        salt: &[u8; 16],
        bytes: &[u8],
    ) -> Result<Directory, HeadFault> {
        let (container, block) = run;
        let within = (self.fixed.container_len as usize) - usize::from(block) * BLOCK;
        let key = self.fixed.run_key(salt);
        let clear = ClearDirectory::decode(bytes, &key, self.fixed.pool, place)?;
        if clear.header.container != container || clear.header.run_len as usize > within {
            return Err(HeadFault::Content);
        }
        let seal = self.run_seal(run, salt, &clear.header);
        clear.open(seal.as_ref())
    }

    /// The key of a run whose container was opened with this salt.
    pub(super) fn run_seal(
        &self,
        (container, block): RunKey,
        salt: &[u8; 16],
        header: &RunHeader,
    ) -> Option<RunSeal> {
        let place = RunPlace { container, block, generation_salt: *salt };
        self.fixed.run_seal(&place, header)
    }

    pub(super) fn salt(&self, container: u32) -> Option<[u8; 16]> {
        self.tables.borrow().containers.get(&container).map(|container| container.row.salt)
    }

    /// Where the first copy of a run lies; of one nobody knows, the beginning of the first disk.
    pub(super) fn run_place(&self, run: RunKey) -> Place {
        match self.slots(run.0) {
            Some(slots) => self.place(slots.first(), run.1),
            None => self.disk(0).place(0),
        }
    }

    fn fault(&self, run: RunKey, fault: HeadFault) -> ReadError {
        Fault { what: "run directory", place: self.run_place(run), fault }.into()
    }

    /// Where a chunk is. Its number is proved by the directory; whether it is the chunk somebody
    /// means is for the caller to prove by a digest.
    pub(super) async fn locate(&self, number: ChunkNumber) -> Result<Found, ReadError> {
        // Before the look-up: compaction may move the chunk away at any time.
        let epoch = self.epochs.hold();
        let slot = self.tables.borrow().index.slot(number);
        let place = slot.ok_or(ReadError::NoChunk { number })?.place;
        let run = (place.container, place.run_block);
        let directory = self.directory(run).await?;
        match directory.chunks.get(usize::from(place.ordinal)) {
            Some(chunk) if chunk.number == number => {
                let chunk = *chunk;
                Ok(Found { run, directory, chunk, _epoch: epoch })
            }
            _ => Err(ReadError::WrongChunk { number, place: self.run_place(run) }),
        }
    }

    /// The chunks of a span, proved to be those the recipe means.
    pub(super) async fn locate_span(
        &self,
        first: ChunkNumber,
        count: u64,
        digest: SpanDigest,
    ) -> Result<Vec<Found>, ReadError> {
        let mut found = Vec::with_capacity(count as usize);
        for number in first.0..first.0 + count {
            found.push(self.locate(ChunkNumber(number)).await?);
        }
        if self.mutants.keeps(Mutant::SpanDigest) {
            let ids = found.iter().map(|found| &found.chunk.id);
            if self.fixed.id_key.span_digest(ids) != digest {
                return Err(ReadError::WrongSpan { first });
            }
        }
        Ok(found)
    }

    /// The bytes of a located chunk.
    pub(super) async fn chunk_bytes(&self, found: &Found) -> Result<Bytes, ReadError> {
        let plain = self.frame_plain(found.run, &found.directory, found.chunk.frame).await?;
        let start = found.chunk.offset as usize;
        Ok(plain.slice(start..start + found.chunk.len as usize))
    }

    /// The bytes of several located chunks, in order; frames they share are read once.
    pub(super) async fn chunks_bytes(&self, found: &[Found]) -> Result<Vec<Bytes>, ReadError> {
        let mut frames: Vec<&Found> = Vec::new();
        for each in found {
            let same = |last: &&Found| (last.run, last.chunk.frame) == (each.run, each.chunk.frame);
            if !frames.last().is_some_and(same) {
                frames.push(each);
            }
        }
        let plains = join_all(
            frames.iter().map(|each| self.frame_plain(each.run, &each.directory, each.chunk.frame)),
        )
        .await;
        let mut plains = frames.iter().zip(plains).peekable();
        let mut bytes = Vec::with_capacity(found.len());
        for each in found {
            while let Some((of, _)) = plains.peek() {
                if (of.run, of.chunk.frame) == (each.run, each.chunk.frame) {
                    break;
                }
                plains.next();
            }
            let Some((_, plain)) = plains.peek() else {
                break;
            };
            let start = each.chunk.offset as usize;
            let plain = plain.as_ref().map_err(Clone::clone)?;
            bytes.push(plain.slice(start..start + each.chunk.len as usize));
        }
        Ok(bytes)
    }

    /// A whole plain frame, every chunk in it proved.
    pub(super) async fn frame_plain(
        &self,
        run: RunKey,
        directory: &Rc<Directory>,
        frame: u16,
    ) -> Result<Bytes, ReadError> {
        let _loading = loop {
            let loaded = {
                let mut cache = self.cache.borrow_mut();
                if let Some(plain) = cache.frame(run, frame) {
                    return Ok(plain);
                }
                if cache.begin_load(run, frame) {
                    break Loading { inner: self, run, frame };
                }
                cache.loaded()
            };
            // Somebody reads it already. Should that fail, we see for ourselves.
            let ended = || !self.cache.borrow().is_loading(run, frame);
            loaded.until(|| ended().then_some(())).await;
        };
        let plain = self.read_frame(run, directory, frame, Proof::Chunks).await?;
        self.cache.borrow_mut().keep_frame(run, frame, plain.clone());
        Ok(plain)
    }

    /// A whole plain frame from the disk, whatever the cache has.
    pub(super) async fn read_frame(
        &self,
        run: RunKey,
        directory: &Rc<Directory>,
        frame: u16,
        proof: Proof,
    ) -> Result<Bytes, ReadError> {
        self.run_written(run).await;
        let read = async |slot| self.read_frame_at(slot, run, directory, frame, proof).await;
        self.ask_copies(run, read).await
    }

    /// A whole plain frame of one copy.
    pub(super) async fn read_frame_at(
        &self,
        slot: SlotRef,
        run: RunKey,
        directory: &Rc<Directory>,
        frame: u16,
        proof: Proof,
    ) -> Result<Bytes, ReadError> {
        let entry = directory.frames[usize::from(frame)];
        let salt = self.salt(run.0).ok_or_else(|| self.fault(run, HeadFault::Content))?;
        let seal = self.run_seal(run, &salt, &directory.header);
        let place = self.frame_place(slot, run, &entry);
        let stored = self.stored_frame(slot, place, &entry).await?;
        let chunks = directory.chunks_of(frame).to_vec();
        let number = chunks.first().map_or(ChunkNumber(0), |chunk| chunk.number);
        let id_key = self.fixed.id_key.clone();
        let check_ids = self.mutants.keeps(Mutant::ChunkId);
        let check_hash = proof == Proof::Stored && self.mutants.keeps(Mutant::FrameHash);
        let opened = self.work.run(move || {
            let plain = stored.open(frame, &entry, seal.as_ref(), check_hash).ok_or(number)?;
            prove_chunks(&chunks, &plain, check_ids.then_some(&id_key)).map(|()| plain)
        });
        opened.await.map_err(|number| ReadError::Frame { number, place })
    }

    pub(super) fn frame_place(&self, slot: SlotRef, run: RunKey, entry: &FrameEntry) -> Place {
        let place = self.place(slot, run.1);
        Place { offset: place.offset + u64::from(entry.offset), ..place }
    }

    pub(super) async fn stored_frame(
        &self,
        slot: SlotRef,
        place: Place,
        entry: &FrameEntry,
    ) -> Result<Stored, ReadError> {
        let disk = self.disk_of(slot);
        let start = place.offset;
        let aligned = start - start % BLOCK as u64;
        let before = (start - aligned) as usize;
        let len = disk.whole_blocks(aligned, before + entry.stored_len as usize);
        let buf = self.read_buffers.try_take(len).unwrap_or_else(|| AlignedBuf::zeroed(len));
        let buf = disk.read_into(aligned, buf).await?;
        Ok(Stored { buf, range: before..before + entry.stored_len as usize })
    }

    /// All plain frames of a run of the pool's own state, joined.
    pub(super) async fn read_state_run(
        &self,
        slot: SlotRef,
        run: &RunRef,
        salt: &[u8; 16],
    ) -> Result<Vec<u8>, ReadError> {
        let key = (run.container, run.block);
        let directory = self.read_state_directory(slot, run, salt).await?;
        let mut bytes = Vec::new();
        for (index, entry) in (0u16..).zip(directory.frames.iter().copied()) {
            let place = self.frame_place(slot, key, &entry);
            let stored = self.stored_frame(slot, place, &entry).await?;
            let number = ChunkNumber(0);
            let check_hash = self.mutants.keeps(Mutant::FrameHash);
            let seal = self.run_seal(key, salt, &directory.header);
            let opened =
                self.work.run(move || stored.open(index, &entry, seal.as_ref(), check_hash));
            let plain = opened.await.ok_or(ReadError::Frame { number, place })?;
            bytes.extend_from_slice(&plain);
        }
        Ok(bytes)
    }
}

/// What a frame is held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof {
    /// The ids of its chunks, which cover every plain byte: enough to serve them.
    Chunks,
    /// Also the hash of its stored bytes: whoever verifies wants the disk as it was written.
    Stored,
}

/// Holds every chunk of a frame against its id; `Err` has the first that is another.
pub(super) fn prove_chunks(
    chunks: &[ChunkEntry],
    plain: &[u8],
    key: Option<&IdKey>,
) -> Result<(), ChunkNumber> {
    for chunk in chunks {
        let end = chunk.offset as usize + chunk.len as usize;
        let bytes = plain.get(chunk.offset as usize..end).ok_or(chunk.number)?;
        if key.is_some_and(|key| key.id(bytes) != chunk.id) {
            return Err(chunk.number);
        }
    }
    Ok(())
}

/// A frame on its way into the cache, also if the read is given up.
struct Loading<'a, D: Device, W: Work> {
    inner: &'a Inner<D, W>,
    run: RunKey,
    frame: u16,
}

impl<D: Device, W: Work> Drop for Loading<'_, D, W> {
    fn drop(&mut self) {
        let loaded = {
            let mut cache = self.inner.cache.borrow_mut();
            cache.end_load(self.run, self.frame);
            cache.loaded()
        };
        loaded.notify();
    }
}

/// The blocks around a frame as they were read.
pub(super) struct Stored {
    buf: AlignedBuf,
    range: Range<usize>,
}

impl Stored {
    /// The plain bytes, the stored ones held against the frame's hash first if that is asked for.
    fn open(
        self,
        index: u16,
        entry: &FrameEntry,
        seal: Option<&RunSeal>,
        check_hash: bool,
    ) -> Option<Bytes> {
        let compressed = self.unseal(index, entry, seal, check_hash)?;
        frame::decompress(entry.codec, &compressed, entry.plain_len as usize)
    }

    /// The compressed bytes, opened where they lie if they are sealed.
    pub(super) fn unseal(
        self,
        index: u16,
        entry: &FrameEntry,
        seal: Option<&RunSeal>,
        check_hash: bool,
    ) -> Option<Bytes> {
        let Self { mut buf, mut range } = self;
        if check_hash && *blake3::hash(buf.get(range.clone())?).as_bytes() != entry.hash {
            return None;
        }
        if let Some(seal) = seal {
            let FrameEntry { codec, plain_len, .. } = *entry;
            let room = buf.get_mut(range.clone())?;
            range.end = range.start + seal.open_frame(index, codec as u8, plain_len, room).ok()?;
        }
        Some(Bytes::from_owner(buf).slice(range))
    }
}
