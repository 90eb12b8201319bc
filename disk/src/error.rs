//! What can go wrong, one enum per family of operations. Variants are facts; damage carries its place.

use keelhold_chunk::{ChunkId, DecodeError};
use thiserror::Error;

use crate::device::DeviceError;
use crate::format::{Fault, HeadFault, Place};
use crate::units::{ChunkNumber, DiskId, PointId, PoolId, SessionId, SourceId};

/// Why stored bytes cannot be served.
#[derive(Debug, Clone, Error)]
pub enum ReadError {
    #[error("disk {disk} failed")]
    Device {
        disk: DiskId,
        #[source]
        source: DeviceError,
    },
    #[error("damage found")]
    Fault(#[from] Fault),
    #[error("frame of chunk {number} on {place} is damaged")]
    Frame { number: ChunkNumber, place: Place },
    #[error("chunk {number} on {place} is not the chunk it should be")]
    WrongChunk { number: ChunkNumber, place: Place },
    #[error("the chunks of the span at {first} are not those the recipe names")]
    WrongSpan { first: ChunkNumber },
    #[error("chunk {number} is nowhere in the pool")]
    NoChunk { number: ChunkNumber },
    #[error("a page or recipe in chunk {number} cannot be decoded")]
    Undecodable {
        number: ChunkNumber,
        #[source]
        source: DecodeError,
    },
    #[error("chunk {number} does not fit where it is used")]
    Misfit { number: ChunkNumber },
    #[error("point {point} does not exist")]
    NoPoint { point: PointId },
    #[error("the sets of point {point} contradict its tree")]
    Sets { point: PointId },
    #[error("what is counted of chunk {number} contradicts the sets")]
    Count { number: ChunkNumber },
    #[error("what is counted of container {container} contradicts what it holds")]
    Slot { container: u32 },
}

impl ReadError {
    /// Whether stored bytes are wrong, in contrast to a disk that does not answer.
    #[must_use]
    pub fn is_corruption(&self) -> bool {
        !matches!(self, Self::Device { .. } | Self::NoPoint { .. })
    }

    /// Where the damage lies, if it has one place.
    #[must_use]
    pub fn place(&self) -> Option<Place> {
        match self {
            Self::Fault(fault) => Some(fault.place),
            Self::Frame { place, .. } | Self::WrongChunk { place, .. } => Some(*place),
            _ => None,
        }
    }
}

/// Why a change did not become durable. Nothing of it is visible.
#[derive(Debug, Clone, Error)]
pub enum CommitError {
    #[error(
        "disk {disk} failed while writing, the pool takes no more changes until it is opened again"
    )]
    Fenced { disk: DiskId },
    #[error("disk {disk} failed while the only copy of what was stored was on its way to it")]
    DiskLost { disk: DiskId },
    #[error("the pool is full: {needed} bytes needed, {free} free beyond the reserve")]
    Full { needed: u64, free: u64 },
    #[error("{len} bytes do not fit the journal, which takes {limit} at once")]
    TooLarge { len: u64, limit: u64 },
    #[error("record {name} has version {found}, not {expected}")]
    Version { name: String, expected: u64, found: u64 },
    #[error("session {session} is not open")]
    NoSession { session: SessionId },
    #[error("point {point} does not exist")]
    NoPoint { point: PointId },
    #[error("stored bytes that the change needs cannot be read")]
    Read(#[from] ReadError),
    #[error("chunk numbers are used up")]
    NumbersUsedUp,
}

/// Why points were not changed.
#[derive(Debug, Clone, Error)]
pub enum ForgetError {
    #[error("point {point} is not in the trash")]
    NotForgotten { point: PointId },
    #[error("the time to undo forgetting point {point} is over")]
    TooLate { point: PointId },
    #[error("source {source_id} has no working state newer than its newest point")]
    NoWorkingState { source_id: SourceId },
    #[error("the change could not be stored")]
    Commit(#[from] CommitError),
}

/// Why a reclaim ended before its end. What it had done is done, and nothing that is needed is lost.
#[derive(Debug, Clone, Error)]
pub enum ReclaimError {
    #[error("{found_len} bytes would be given up where {expected_len} were expected")]
    Brake { found_len: u64, expected_len: u64 },
    #[error("the change could not be stored")]
    Commit(#[from] CommitError),
}

/// Why a copy of a container was not made. What there was is as it was.
#[derive(Debug, Clone, Error)]
pub enum MoveError {
    #[error("no other disk has room for a copy")]
    NoRoom,
    #[error("the container is no longer there")]
    Gone,
    #[error("no copy can be read")]
    Read(#[from] ReadError),
    #[error("the copy did not become durable")]
    Commit(#[from] CommitError),
}

/// Why a disk did not join or leave the pool.
#[derive(Debug, Error)]
pub enum MemberError {
    #[error("disk {disk} is not of this pool")]
    NoDisk { disk: DiskId },
    #[error("disk {name} already belongs to pool {pool}")]
    InUse { name: String, pool: PoolId },
    #[error("disk {name} has room for {len} bytes, {needed} are needed")]
    TooSmall { name: String, len: u64, needed: u64 },
    #[error("a pool can have {limit} disks in its life, and had them")]
    TooMany { limit: usize },
    #[error("disk {disk} is the last one")]
    LastDisk { disk: DiskId },
    #[error("without it there are not disks enough for {copies} copies: add one first")]
    TooFewDisks { copies: u16 },
    #[error("the other disks have room for {free} bytes, {needed} must move")]
    NoRoom { needed: u64, free: u64 },
    #[error("disk {disk} is in service: it has to be drained")]
    InService { disk: DiskId },
    #[error("{containers} containers have their only copy on disk {disk}")]
    OnlyCopy { disk: DiskId, containers: u64 },
    #[error("the disk cannot be read")]
    Unreadable {
        #[source]
        source: Box<OpenError>,
    },
    #[error("disk {name} failed")]
    Device {
        name: String,
        #[source]
        source: DeviceError,
    },
    #[error("a copy could not be made")]
    Move(#[from] MoveError),
    #[error("the change did not become durable")]
    Commit(#[from] CommitError),
}

/// Why what a session sent was refused. The session stays as it was.
#[derive(Debug, Clone, Error)]
pub enum IngestError {
    #[error("a frame of {plain_len} bytes holds chunks of {chunks_len} bytes")]
    FrameLen { plain_len: u64, chunks_len: u64 },
    #[error("a frame of {len} bytes exceeds the limit of {limit}")]
    FrameTooLarge { len: u64, limit: u64 },
    #[error("a frame cannot be decompressed to the {plain_len} bytes it announces")]
    Decompress { plain_len: u32 },
    #[error("bytes sent as chunk {id} are not that chunk")]
    WrongId { id: ChunkId },
    #[error("chunk {id} was neither sent in this session nor known to this machine")]
    UnknownChunk { id: ChunkId },
    #[error("chunk {id} has {found} bytes, not {claimed}")]
    WrongLen { id: ChunkId, claimed: u32, found: u32 },
    #[error("the description of the tree is wrong")]
    Tree(#[source] Box<crate::tree::BuildError<crate::pool::PageError>>),
    #[error("the change could not be stored")]
    Commit(#[from] CommitError),
    #[error("stored bytes that the session refers to cannot be read")]
    Read(#[from] ReadError),
}

/// Why a pool was not made. No disk was changed unless it is said.
#[derive(Debug, Error)]
pub enum CreateError {
    #[error("a pool needs between 1 and {limit} disks, not {found}")]
    DiskCount { found: usize, limit: usize },
    #[error("{copies} copies need as many disks, and at most 2 are kept; there are {disks}")]
    Copies { copies: u16, disks: usize },
    #[error("disk {name} of {len} bytes is too small, {needed} are needed")]
    TooSmall { name: String, len: u64, needed: u64 },
    #[error("disk {name} already belongs to pool {pool}")]
    InUse { name: String, pool: PoolId },
    #[error("containers of {len} bytes: a multiple of 4096 between 64 KiB and 256 MiB is needed")]
    ContainerLen { len: u64 },
    #[error("disk {name} failed")]
    Device {
        name: String,
        #[source]
        source: DeviceError,
    },
    #[error("the first commit failed")]
    Commit(#[from] CommitError),
    #[error("the pool just written to {name} cannot be opened")]
    NotReadBack {
        name: String,
        #[source]
        source: Box<OpenError>,
    },
}

/// Why a pool cannot be opened. Nothing was written.
#[derive(Debug, Error)]
pub enum OpenError {
    #[error("{name} carries no label of a pool")]
    NoLabel { name: String },
    #[error("both labels of {name} are damaged: {front}; {back}")]
    BadLabels { name: String, front: HeadFault, back: HeadFault },
    #[error("{name} belongs to pool {found}, not {expected}")]
    OtherPool { name: String, expected: PoolId, found: PoolId },
    #[error("disk {disk} was given twice")]
    Twice { disk: DiskId },
    #[error("disk {disk} of the pool is missing")]
    Missing { disk: DiskId },
    #[error(
        "disks {one} and {other} were both written without the other: two halves of the pool went \
         their own ways. Open it with the disks of one half only, and add the others anew"
    )]
    Split { one: DiskId, other: DiskId },
    #[error("no two superblocks agree")]
    NoSuperblock,
    #[error("the pool needs features {bits:#x} that this program does not have")]
    Features { bits: u32 },
    #[error("the pool is encrypted and no key was given")]
    KeyNeeded,
    #[error("the key is not the one the pool is locked with (key number {number})")]
    WrongKey { number: u32 },
    #[error("a key was given, but the pool is not encrypted")]
    NotEncrypted,
    #[error("journal entry {sequence} is damaged at every place, and later entries exist")]
    JournalHole { sequence: u64 },
    #[error("the checkpoint is damaged at every place")]
    NoCheckpoint(#[source] ReadError),
    #[error("the checkpoint's tables cannot be decoded")]
    Tables(#[source] DecodeError),
    #[error("the tables contradict themselves: {what}")]
    Contradiction { what: &'static str },
    #[error("disk {name} failed")]
    Device {
        name: String,
        #[source]
        source: DeviceError,
    },
    #[error("stored bytes that recovery needs cannot be read")]
    Read(#[from] ReadError),
    #[error("recovery could not write its checkpoint")]
    Commit(#[from] CommitError),
}
