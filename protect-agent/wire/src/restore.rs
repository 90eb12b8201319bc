//! Restores through the agent: the same stream in the other direction.

use bytes::Bytes;
use keelhold_chunk::{DecodeError, Reader, Writer};

use crate::backup::SkippedEntry;
use crate::field::{Field, codes, fields, put_list, take_bytes, take_list};
use crate::limits::{ROOT_LEN_MAX, SKIPPED_COUNT_MAX};

/// Begins a restore. `Items` follow; the agent wants only what its disk does not already hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartRestore {
    pub job: u64,
    /// Absolute path on the machine. The machine's own configuration says what is allowed.
    pub target: Vec<u8>,
    /// The target is the source's own place.
    pub original: bool,
    pub on_clash: OnClash,
    pub id_key: [u8; 32],
}

impl Field for StartRestore {
    fn put(&self, writer: &mut Writer) {
        self.job.put(writer);
        writer.bytes(&self.target);
        self.original.put(writer);
        self.on_clash.put(writer);
        self.id_key.put(writer);
    }

    fn take(reader: &mut Reader<'_>, body: &Bytes) -> Result<Self, DecodeError> {
        Ok(Self {
            job: Field::take(reader, body)?,
            target: take_bytes(reader, ROOT_LEN_MAX)?,
            original: Field::take(reader, body)?,
            on_clash: Field::take(reader, body)?,
            id_key: Field::take(reader, body)?,
        })
    }
}

/// What happens to a path that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnClash {
    Skip,
    /// The restored one gets another name.
    Copy,
    Overwrite,
}

codes!(OnClash, "clash rule" { Skip = 0, Copy = 1, Overwrite = 2 });

/// The server has sent all items. `entries` is their count, so that nothing can be lost unnoticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ItemsEnd {
    pub job: u64,
    pub entries: u64,
}

fields!(ItemsEnd { job, entries });

/// Everything is written, flushed and verified, except what is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    pub job: u64,
    pub stats: RestoreStats,
    /// The first of them; the counts are in `stats`.
    pub skipped: Vec<SkippedEntry>,
    pub failed: Vec<SkippedEntry>,
}

impl Field for Restored {
    fn put(&self, writer: &mut Writer) {
        self.job.put(writer);
        self.stats.put(writer);
        put_list(writer, &self.skipped);
        put_list(writer, &self.failed);
    }

    fn take(reader: &mut Reader<'_>, body: &Bytes) -> Result<Self, DecodeError> {
        Ok(Self {
            job: Field::take(reader, body)?,
            stats: Field::take(reader, body)?,
            skipped: take_list(reader, body, SKIPPED_COUNT_MAX)?,
            failed: take_list(reader, body, SKIPPED_COUNT_MAX)?,
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RestoreStats {
    pub entries: u64,
    pub files: u64,
    pub bytes_written: u64,
    /// Bytes that were on the disk already and matched their chunk.
    pub bytes_kept: u64,
    pub skipped: u64,
    pub failed: u64,
}

fields!(RestoreStats { entries, files, bytes_written, bytes_kept, skipped, failed });
