//! Putting runs together and sending them on their way.

use std::rc::Rc;

use bytes::Bytes;
use keelhold_chunk::ChunkId;

use super::frame::{self, BuiltFrame, FRAME_TARGET};
use super::space::Room;
use super::tables::Effect;
use super::{Inner, Work};
use crate::buffer::AlignedBuf;
use crate::device::Device;
use crate::error::CommitError;
use crate::format::{
    ChecksumKey, ChunkEntry, ChunkKind, Codec, Directory, FrameEntry, Op, Place, Purpose,
    RunHeader, RunRef, RunRow,
};
use crate::index::segment::{Change, Entry};
use crate::index::{self, STORED_LEN_LIMIT};
use crate::mutants::Mutant;
use crate::seal::{RunSeal, TAG_LEN};
use crate::units::{BLOCK, ChunkNumber, DomainId, PoolId, SessionId};

/// Stored bytes a run is filled up to: long enough that a disk's rate is reached with a few under
/// way, short enough that four of them are little memory.
const RUN_TARGET: usize = 4 << 20;

/// Longest run of a usual frame length: the target is passed by less than a frame.
pub const RUN_BUFFER_LEN: usize = RUN_TARGET + (512 << 10);

/// A chunk that the pool is about to store.
#[derive(Debug, Clone, Copy)]
pub(super) struct NewChunk {
    pub(super) number: ChunkNumber,
    pub(super) id: ChunkId,
    pub(super) len: u32,
    pub(super) kind: ChunkKind,
}

/// Frames of the next run of one stream, and chunks that are not framed yet.
#[derive(Default)]
pub(super) struct RunBuilder {
    frames: Vec<(BuiltFrame, Vec<NewChunk>)>,
    stored_len: usize,
    chunk_count: usize,
    data: Loose,
    pages: Loose,
}

/// Chunks waiting for neighbours to be compressed with.
#[derive(Default)]
struct Loose {
    chunks: Vec<NewChunk>,
    plain: Vec<u8>,
}

/// Where a run stands, as far as it is sealed for that place.
#[derive(Debug, Clone, Copy)]
pub(super) struct RunPlace {
    pub(super) container: u32,
    pub(super) block: u16,
    /// Salt of the container's generation.
    pub(super) generation_salt: [u8; 16],
}

/// What a run is made of.
pub(super) struct RunParts {
    pub(super) purpose: Purpose,
    pub(super) domain: DomainId,
    pub(super) session: SessionId,
    /// Its chunks are in the pool and get a new place.
    pub(super) moved: bool,
    pub(super) frames: Vec<(BuiltFrame, Vec<NewChunk>)>,
}

impl RunBuilder {
    pub(super) fn push_frame(&mut self, frame: BuiltFrame, chunks: Vec<NewChunk>) {
        self.stored_len += frame.stored.len() + TAG_LEN;
        self.chunk_count += chunks.len();
        self.frames.push((frame, chunks));
    }

    /// Takes one chunk. Gives back what is to be framed when enough has come together.
    pub(super) fn push_chunk(
        &mut self,
        chunk: NewChunk,
        bytes: &[u8],
        frame_len: usize,
    ) -> Option<(Vec<u8>, Vec<NewChunk>)> {
        let loose = if chunk.kind == ChunkKind::Data { &mut self.data } else { &mut self.pages };
        let full = !loose.plain.is_empty() && loose.plain.len() + bytes.len() > frame_len;
        let due = if full { Some(loose.take()) } else { None };
        loose.plain.extend_from_slice(bytes);
        loose.chunks.push(chunk);
        due
    }

    /// Everything not framed yet, data and pages apart: they compress better among their own.
    pub(super) fn take_loose(&mut self) -> Vec<(Vec<u8>, Vec<NewChunk>)> {
        [self.data.take(), self.pages.take()]
            .into_iter()
            .filter(|(_, chunks)| !chunks.is_empty())
            .collect()
    }

    /// Whether one more frame of `next` stored bytes and `chunks` would make the run too long.
    pub(super) fn is_full(&self, next: usize, chunks: usize, run_len_max: usize) -> bool {
        let chunk_count = self.chunk_count + chunks;
        // Reckoned as if it were sealed, in every pool.
        let directory = Directory::len_in(true, self.frames.len() + 1, chunk_count);
        let target = RUN_TARGET.min(run_len_max - run_len_max / 4);
        !self.frames.is_empty()
            && (self.stored_len + next + TAG_LEN + directory > target
                || chunk_count > u16::MAX.into())
    }

    pub(super) fn take_frames(&mut self) -> Vec<(BuiltFrame, Vec<NewChunk>)> {
        self.stored_len = 0;
        self.chunk_count = 0;
        std::mem::take(&mut self.frames)
    }
}

impl Loose {
    fn take(&mut self) -> (Vec<u8>, Vec<NewChunk>) {
        (std::mem::take(&mut self.plain), std::mem::take(&mut self.chunks))
    }
}

impl<D: Device, W: Work> Inner<D, W> {
    /// Plain bytes frames of this pool are filled up to.
    pub(super) fn frame_len(&self) -> usize {
        FRAME_TARGET.min(self.fixed.container_len as usize / 8)
    }

    /// Stored bytes that whoever fills containers with full runs surely gets into each of them.
    pub(super) fn packed_len(&self) -> u64 {
        let target = RUN_TARGET.min(self.run_len_max() * 3 / 4);
        let usable = self.fixed.container_len as usize * 15 / 16 - 2 * BLOCK;
        let runs = (usable / (target + BLOCK)).max(1);
        (runs * (target - self.frame_len() - BLOCK)) as u64
    }

    pub(super) async fn build_frame(&self, codec: Codec, plain: Vec<u8>) -> BuiltFrame {
        let hashed = !self.fixed.is_encrypted();
        self.work.run(move || frame::build(codec, plain, hashed)).await
    }

    /// Writes a run: afterwards its chunks are in the index, its bytes on their way to the disk, and
    /// the next journal entry will name it. Gives where it lies.
    pub(super) async fn place_run(&self, parts: RunParts) -> Result<RunRef, CommitError> {
        let chunk_count = parts.frames.iter().map(|(_, chunks)| chunks.len()).sum();
        let is_sealed = self.fixed.is_encrypted();
        let directory_len = Directory::len_in(is_sealed, parts.frames.len(), chunk_count);
        let tag = if is_sealed { TAG_LEN } else { 0 };
        let stored: usize = parts.frames.iter().map(|(frame, _)| frame.stored.len() + tag).sum();
        let run_len = (directory_len + stored).next_multiple_of(BLOCK);
        if run_len > self.run_len_max() {
            let limit = self.run_len_max() as u64;
            return Err(CommitError::TooLarge { len: run_len as u64, limit });
        }
        self.room_in_flight().await;
        self.journal.check()?;
        let blocks = (run_len / BLOCK) as u32;
        let room = self.reserve(parts.purpose, parts.session, blocks, directory_len)?;
        let RunParts { session, purpose, moved, .. } = parts;
        let places: Vec<Place> =
            room.slots.iter().map(|slot| self.place(slot, room.block)).collect();
        let twin = (places.len() > 1).then(|| self.twin_buffer(run_len));
        let header = RunHeader {
            ordinal: room.ordinal,
            container: room.container,
            key_number: self.fixed.key_number(),
            domain: parts.domain,
            session,
            salt: self.run_salt(),
            run_len: run_len as u32,
        };
        let target = Target {
            header,
            key: self.fixed.run_key(&room.salt),
            seal: self.fixed.run_seal(&room.place(), &header),
            pool: self.fixed.pool,
            place: places[0],
        };
        let buf = self.run_buffer(run_len).await;
        let assembled = self.work.run(move || {
            let mut assembled = assemble(parts, &target, buf);
            assembled.twin = twin.map(|twin| assembled.copied(twin, &target, places[1]));
            assembled
        });
        let assembled = assembled.await;
        self.finish_room(&room, &assembled.buf[..directory_len]);
        let run = RunRef {
            container: room.container,
            generation: room.generation,
            block: room.block,
            blocks,
            check: assembled.check,
        };
        let entries = self.index_entries(&room, &assembled.directory);
        let run_key = (room.container, room.block);
        // Chunks that move are found at their old place until the new one is durable.
        if !moved {
            self.tables.borrow_mut().index_run(&entries);
        }
        self.cache.borrow_mut().keep_directory(run_key, Rc::new(assembled.directory));
        for (slot, buf) in room.slots.iter().zip([Some(assembled.buf), assembled.twin]) {
            if let Some(buf) = buf {
                let disk = self.disk_of(slot);
                let offset = disk.offset(slot.slot, room.block);
                self.start_write(disk, offset, buf, Some(run_key));
            }
        }
        if purpose == Purpose::Data {
            let row = RunRow { run, session, ordinal: room.ordinal, moved };
            let effect = if moved { Effect::Moved(entries) } else { Effect::Run(entries) };
            self.journal.push(Op::RunPlaced(row), effect);
        }
        Ok(run)
    }

    /// Never the same for two runs: frames are sealed under a key made from it.
    fn run_salt(&self) -> [u8; 16] {
        let salt = self.random();
        if self.mutants.keeps(Mutant::RunSalt) { salt } else { [0; 16] }
    }

    /// Memory for a run. Long ones share buffers of one length, so that they are used again; waiting
    /// for one is what holds back streams that are faster than the disks.
    pub(super) async fn run_buffer(&self, run_len: usize) -> AlignedBuf {
        if !(RUN_BUFFER_LEN / 8..=RUN_BUFFER_LEN).contains(&run_len) {
            return AlignedBuf::zeroed(run_len);
        }
        let mut buf = self.buffers.take(RUN_BUFFER_LEN).await;
        buf.resize(run_len);
        buf
    }

    /// Memory for the second copy of a run. Whoever holds one buffer must not wait for another: all
    /// could be held by such.
    fn twin_buffer(&self, run_len: usize) -> AlignedBuf {
        let pooled = (RUN_BUFFER_LEN / 8..=RUN_BUFFER_LEN).contains(&run_len);
        let taken = pooled.then(|| self.buffers.try_take(RUN_BUFFER_LEN)).flatten();
        let mut buf = taken.unwrap_or_else(|| AlignedBuf::zeroed(run_len));
        buf.resize(run_len);
        buf
    }

    pub(super) fn index_entries(&self, room: &Room, directory: &Directory) -> Vec<Entry> {
        let (container, run_block) = (room.container, room.block);
        index_entries(&self.tables.borrow().index, container, run_block, directory)
    }
}

/// What the index has to know of a run's chunks.
pub(super) fn index_entries(
    index: &index::Index,
    container: u32,
    run_block: u16,
    directory: &Directory,
) -> Vec<Entry> {
    let mut entries = Vec::with_capacity(directory.chunks.len());
    let mut left = 0;
    for (ordinal, chunk) in directory.chunks.iter().enumerate() {
        let frame = &directory.frames[usize::from(chunk.frame)];
        if chunk.offset == 0 {
            left = frame.stored_len;
        }
        // The last chunk of a frame has the remainder: shares add up to what is stored.
        let is_last = chunk.offset + chunk.len == frame.plain_len;
        let stored_len = if is_last { left } else { share(frame, chunk.len).min(left) };
        left -= stored_len;
        let place = index::Place { container, run_block, ordinal: ordinal as u16 };
        entries.push(Entry {
            number: chunk.number,
            fingerprint: index.fingerprint(&chunk.id),
            change: Change::Stored { place, stored_len },
        });
    }
    entries
}

/// A chunk's part of its frame's stored length, by plain length.
fn share(frame: &FrameEntry, len: u32) -> u32 {
    let plain_len = u64::from(frame.plain_len.max(1));
    let share = u64::from(frame.stored_len) * u64::from(len) / plain_len;
    (share as u32).min(STORED_LEN_LIMIT - 1)
}

struct Assembled {
    buf: AlignedBuf,
    /// The same run for its other place.
    twin: Option<AlignedBuf>,
    directory: Directory,
    check: [u8; 16],
}

impl Assembled {
    /// The run as it will stand at another place: only its head differs.
    fn copied(&self, mut buf: AlignedBuf, target: &Target, place: Place) -> AlignedBuf {
        buf.copy_from_slice(&self.buf);
        let seal = target.seal.as_ref();
        let bytes = self.directory.encode_sealed(&target.key, target.pool, place, seal);
        buf[..bytes.len()].copy_from_slice(&bytes);
        buf
    }
}

/// What a run is made for.
struct Target {
    header: RunHeader,
    key: ChecksumKey,
    seal: Option<RunSeal>,
    pool: PoolId,
    place: Place,
}

/// The run as it will stand on the disk. Work: it passes over every stored byte once, and in an
/// encrypted pool seals it on the way.
fn assemble(parts: RunParts, target: &Target, mut buf: AlignedBuf) -> Assembled {
    let Target { header, ref key, ref seal, pool, place } = *target;
    let chunk_count = parts.frames.iter().map(|(_, chunks)| chunks.len()).sum();
    let mut offset = Directory::len_in(seal.is_some(), parts.frames.len(), chunk_count) as u32;
    let mut directory = Directory { header, frames: Vec::new(), chunks: Vec::new() };
    for (index, (frame, chunks)) in parts.frames.iter().enumerate() {
        let index = index as u16;
        let entry = place_frame(index, frame, offset, seal.as_ref(), &mut buf);
        directory.frames.push(entry);
        offset += entry.stored_len;
        let mut within = 0;
        for chunk in chunks {
            let NewChunk { number, id, len, kind } = *chunk;
            let frame = index;
            directory.chunks.push(ChunkEntry { number, id, len, frame, kind, offset: within });
            within += len;
        }
        // Frames of the pool's own state hold no chunks.
        assert!(chunks.is_empty() || within == frame.plain_len, "chunks fill their frame");
    }
    // The buffer holds what its last user left there.
    buf[offset as usize..].fill(0);
    let bytes = directory.encode_sealed(key, pool, place, seal.as_ref());
    buf[..bytes.len()].copy_from_slice(&bytes);
    let mut check = [0; 16];
    check.copy_from_slice(&bytes[..16]);
    Assembled { buf, twin: None, directory, check }
}

/// Brings a frame to its place in the run. The hash is of the bytes as they stand there.
fn place_frame(
    index: u16,
    frame: &BuiltFrame,
    offset: u32,
    seal: Option<&RunSeal>,
    buf: &mut AlignedBuf,
) -> FrameEntry {
    let BuiltFrame { codec, plain_len, ref stored, hash } = *frame;
    let room = &mut buf[offset as usize..];
    let Some(seal) = seal else {
        room[..stored.len()].copy_from_slice(stored);
        return FrameEntry { offset, stored_len: stored.len() as u32, plain_len, codec, hash };
    };
    let room = &mut room[..stored.len() + TAG_LEN];
    seal.seal_frame(index, codec as u8, plain_len, stored, room);
    let hash = *blake3::hash(room).as_bytes();
    FrameEntry { offset, stored_len: room.len() as u32, plain_len, codec, hash }
}

/// A frame whose stored bytes came from elsewhere and are kept as they are.
pub(super) fn keep_frame(
    codec: Codec,
    plain_len: u32,
    stored: Bytes,
    hash: [u8; 32],
) -> BuiltFrame {
    BuiltFrame { codec, plain_len, stored, hash }
}
