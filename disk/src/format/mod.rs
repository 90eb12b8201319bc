//! Every byte on disk. The tables are in `disk/FORMAT.md`; a test compares them with this code.
//!
//! Fixed structures are `repr(C)` structs of byte-aligned little-endian fields, without padding the
//! compiler could choose. Each begins with a [`Head`]: checksum, kind, version, pool, and its own
//! place, so that a block written to or read from the wrong place is not believed. Decoding is two
//! steps: [`Head::open`] verifies, only then is the body looked at.

mod container;
#[cfg(test)]
mod document;
mod head;
mod journal;
mod label;
mod op;
mod raw;
mod recipe;
mod run;
mod slots;
mod state;
mod superblock;

pub use container::{ContainerFooter, ContainerHeader, Purpose};
pub use head::{ChecksumKey, Fault, Head, HeadFault, Magic, Place};
pub use journal::{
    EntryHeader, JournalEntry, NAME_LEN_MAX, PointRow, RECORD_LEN_MAX, RunRow, SealedEntry,
    ops_bytes,
};
pub use label::{Label, Zones};
pub use op::Op;
pub use raw::{Check, RawField, checks, magic_of, raw_fields, raw_frame};
pub use recipe::Recipe;
pub use run::{
    CHUNK_ROW_LEN, ChunkEntry, ChunkKind, ClearDirectory, Codec, Directory, FRAME_PLAIN_MAX,
    FrameEntry, RunHeader,
};
pub use slots::{SlotRef, Slots};
pub use state::{
    BlobRef, ContainerRow, Released, RunRef, SeriesRow, SessionRow, SourceRow, State, StateRoot,
    WorkingRow,
};
pub use superblock::{
    DISKS_MAX, DiskRow, DiskState, FEATURE_ENCRYPTED, Features, JournalPlace, Superblock,
};

/// Version of the format this code writes. Older ones it reads are listed in FORMAT.md.
pub const VERSION: u16 = 1;
