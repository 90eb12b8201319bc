//! What the server asks for when it wants a source backed up, and how that ends.

use bytes::Bytes;
use keelhold_chunk::{DecodeError, Reader, Writer};

use crate::demands::{Demands, Reached, put_addition, take_addition};
use crate::field::{Field, codes, fields, put_list, put_text, take_bytes, take_list, take_text};
use crate::hello::Refusal;
use crate::limits::{CUT_PARAMS_LEN_MAX, EXCLUDE_COUNT_MAX, EXCLUDE_LEN_MAX, NAME_LEN_MAX};
use crate::limits::{FRAME_PLAIN_LEN_MAX, INLINE_LEN_MAX, ROOT_LEN_MAX};
use crate::refs::{Codec, Runs};

/// Begins a job. After a broken connection the server sends it again with the same `session`: the
/// agent walks from the start, and what the pool already has is not wanted again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartBackup {
    /// Names the job on this connection. Everything said under it ends with the connection.
    pub job: u64,
    pub session: [u8; 16],
    pub source: Source,
    pub id_key: [u8; 32],
    /// Encoded `keelhold_chunk::cut::CutParams`.
    pub cut: Vec<u8>,
    /// Content up to this length travels inside its entry.
    pub inline_max: u32,
    /// Plain length a frame should reach.
    pub frame_len: u32,
    pub codec: Codec,
    pub mode: Mode,
    pub basis: Option<Basis>,
    /// Ordinals of the basis whose content must be read whatever the shortcut says. More than a
    /// message holds is sent as fewer, wider runs: reading too much is never wrong.
    pub read_again: Runs,
    /// From version 2 on.
    /// Boxed: most sessions demand nothing, and a message is as long as its longest kind.
    pub demands: Box<Demands>,
}

impl Field for StartBackup {
    fn put(&self, writer: &mut Writer) {
        self.job.put(writer);
        self.session.put(writer);
        self.source.put(writer);
        self.id_key.put(writer);
        writer.bytes(&self.cut);
        self.inline_max.put(writer);
        self.frame_len.put(writer);
        self.codec.put(writer);
        self.mode.put(writer);
        self.basis.put(writer);
        self.read_again.put(writer);
        put_addition(writer, &*self.demands);
    }

    fn take(reader: &mut Reader<'_>, body: &Bytes) -> Result<Self, DecodeError> {
        let start = Self {
            job: Field::take(reader, body)?,
            session: Field::take(reader, body)?,
            source: Field::take(reader, body)?,
            id_key: Field::take(reader, body)?,
            cut: take_bytes(reader, CUT_PARAMS_LEN_MAX)?,
            inline_max: Field::take(reader, body)?,
            frame_len: Field::take(reader, body)?,
            codec: Field::take(reader, body)?,
            mode: Field::take(reader, body)?,
            basis: Field::take(reader, body)?,
            read_again: Field::take(reader, body)?,
            demands: Box::new(take_addition(reader, body)?),
        };
        if start.inline_max as usize > INLINE_LEN_MAX {
            return Err(reader.undefined("inline limit", u64::from(start.inline_max)));
        }
        if start.frame_len == 0 || start.frame_len as usize > FRAME_PLAIN_LEN_MAX {
            return Err(reader.undefined("frame length", u64::from(start.frame_len)));
        }
        Ok(start)
    }
}

/// What is to be protected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    pub name: String,
    pub kind: SourceKind,
}

fields!(Source { name: text(NAME_LEN_MAX), kind });

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceKind {
    Tree(TreeSource),
}

impl Field for SourceKind {
    fn put(&self, writer: &mut Writer) {
        match self {
            Self::Tree(tree) => {
                writer.u8(0);
                tree.put(writer);
            }
        }
    }

    fn take(reader: &mut Reader<'_>, body: &Bytes) -> Result<Self, DecodeError> {
        match reader.u8()? {
            0 => Ok(Self::Tree(TreeSource::take(reader, body)?)),
            other => Err(reader.undefined("kind of source", u64::from(other))),
        }
    }
}

/// A file tree and where its edges are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeSource {
    /// Absolute, in the machine's own bytes.
    pub root: Vec<u8>,
    /// Globs, relative to the root.
    pub excludes: Vec<String>,
    pub all_file_systems: bool,
    /// Kernel file systems and the like are left out.
    pub default_excludes: bool,
    pub honour_cachedir_tag: bool,
    pub honour_ignore_file: bool,
    pub honour_nodump: bool,
}

impl TreeSource {
    /// A tree with the excludes everybody gets who asks for nothing.
    #[must_use]
    pub fn new(root: impl Into<Vec<u8>>) -> Self {
        Self {
            root: root.into(),
            excludes: Vec::new(),
            all_file_systems: false,
            default_excludes: true,
            honour_cachedir_tag: true,
            honour_ignore_file: true,
            honour_nodump: true,
        }
    }
}

impl Field for TreeSource {
    fn put(&self, writer: &mut Writer) {
        writer.bytes(&self.root);
        writer.varint(self.excludes.len() as u64);
        self.excludes.iter().for_each(|glob| put_text(writer, glob, EXCLUDE_LEN_MAX));
        self.all_file_systems.put(writer);
        self.default_excludes.put(writer);
        self.honour_cachedir_tag.put(writer);
        self.honour_ignore_file.put(writer);
        self.honour_nodump.put(writer);
    }

    fn take(reader: &mut Reader<'_>, body: &Bytes) -> Result<Self, DecodeError> {
        let root = take_bytes(reader, ROOT_LEN_MAX)?;
        let count = reader.count(EXCLUDE_COUNT_MAX)?;
        let mut excludes = Vec::new();
        for _ in 0..count {
            excludes.push(take_text(reader, EXCLUDE_LEN_MAX)?);
        }
        Ok(Self {
            root,
            excludes,
            all_file_systems: Field::take(reader, body)?,
            default_excludes: Field::take(reader, body)?,
            honour_cachedir_tag: Field::take(reader, body)?,
            honour_ignore_file: Field::take(reader, body)?,
            honour_nodump: Field::take(reader, body)?,
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// What the shortcut calls unchanged is not read.
    Backup,
    /// Everything is read; the shortcut is only judged.
    Check,
}

codes!(Mode, "mode" { Backup = 0, Check = 1 });

/// The point or working state a session describes its differences from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Basis {
    pub id: [u8; 16],
    pub entries: u64,
}

fields!(Basis { id, entries });

/// The agent works on the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Started {
    pub job: u64,
}

fields!(Started { job });

/// The job cannot be done, or could not be finished, and nothing of it counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRefusal {
    pub job: u64,
    pub refusal: Refusal,
}

fields!(JobRefusal { job, refusal });

/// The stream is complete: all items are sent, every reference is answered, every wanted chunk is
/// sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finish {
    pub job: u64,
    pub stats: BackupStats,
    /// From version 2 on.
    pub reached: Reached,
}

impl Field for Finish {
    fn put(&self, writer: &mut Writer) {
        self.job.put(writer);
        self.stats.put(writer);
        put_addition(writer, &self.reached);
    }

    fn take(reader: &mut Reader<'_>, body: &Bytes) -> Result<Self, DecodeError> {
        let (job, stats) = (u64::take(reader, body)?, BackupStats::take(reader, body)?);
        Ok(Self { job, stats, reached: take_addition(reader, body)? })
    }
}

/// What the agent counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BackupStats {
    /// All entries of the new point.
    pub entries: u64,
    /// Regular files among them.
    pub files: u64,
    /// Logical length of all files.
    pub bytes_source: u64,
    /// Entries that are not `Same`.
    pub files_changed: u64,
    /// File bytes that were read.
    pub bytes_read: u64,
    /// Entries that were skipped, however many of them were named.
    pub skipped: u64,
    /// In a check: entries the shortcut called unchanged and whose content or attributes differ.
    pub wrong_shortcuts: u64,
}

fields!(BackupStats {
    entries,
    files,
    bytes_source,
    files_changed,
    bytes_read,
    skipped,
    wrong_shortcuts,
});

/// The point exists and everything it needs is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    pub job: u64,
    pub point: [u8; 16],
    /// What the next session will name as its basis, unless it has forgotten.
    pub basis: Basis,
    pub partial: bool,
}

fields!(Committed { job, point, basis, partial });

/// The job ends now. The agent answers `Aborted`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cancel {
    pub job: u64,
}

fields!(Cancel { job });

/// What was left out or cannot be trusted, by path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    pub job: u64,
    pub entries: Vec<SkippedEntry>,
}

impl Field for Skipped {
    fn put(&self, writer: &mut Writer) {
        self.job.put(writer);
        put_list(writer, &self.entries);
    }

    fn take(reader: &mut Reader<'_>, body: &Bytes) -> Result<Self, DecodeError> {
        let job = u64::take(reader, body)?;
        Ok(Self { job, entries: take_list(reader, body, crate::limits::SKIPPED_COUNT_MAX)? })
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkippedEntry {
    pub path: Vec<u8>,
    pub reason: SkipReason,
    /// The system's words, for people.
    pub text: String,
}

impl Field for SkippedEntry {
    fn put(&self, writer: &mut Writer) {
        writer.bytes(&self.path);
        self.reason.put(writer);
        put_text(writer, &self.text, crate::limits::TEXT_LEN_MAX);
    }

    fn take(reader: &mut Reader<'_>, body: &Bytes) -> Result<Self, DecodeError> {
        Ok(Self {
            path: take_bytes(reader, keelhold_chunk::entry::PATH_LEN_MAX)?,
            reason: SkipReason::take(reader, body)?,
            text: take_text(reader, crate::limits::TEXT_LEN_MAX)?,
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SkipReason {
    /// It changed while it was read; the entry is in the point as it was read last.
    ChangedWhileRead,
    /// It was gone when it was opened; the entry is not in the point.
    Vanished,
    /// It could not be read; the entry is not in the point, or lacks what could not be read.
    Unreadable,
    /// Another file system is mounted here and does not belong to the source.
    NotCovered,
    /// The kind of entry, its name or its length is beyond what a tree can hold.
    Unsupported,
    /// In a restore: it exists already and was left alone.
    Exists,
    /// In a restore: the system does not let this user make it.
    NotPermitted,
    /// In a restore: it could not be written.
    NotWritten,
}

codes!(SkipReason, "reason" {
    ChangedWhileRead = 0,
    Vanished = 1,
    Unreadable = 2,
    NotCovered = 3,
    Unsupported = 4,
    Exists = 5,
    NotPermitted = 6,
    NotWritten = 7,
});

impl SkipReason {
    /// The word of listings and JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::ChangedWhileRead => "changed while read",
            Self::Vanished => "vanished",
            Self::Unreadable => "unreadable",
            Self::NotCovered => "not covered",
            Self::Unsupported => "unsupported",
            Self::Exists => "exists",
            Self::NotPermitted => "not permitted",
            Self::NotWritten => "not written",
        }
    }

    /// Whether a result with such an entry is partial. What the operator left out is named and
    /// takes nothing from the result.
    #[must_use]
    pub fn makes_partial(self) -> bool {
        !matches!(self, Self::NotCovered | Self::Exists)
    }
}

/// How far the agent is; sent about once a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    pub job: u64,
    pub entries: u64,
    pub files: u64,
    /// Logical length of the files dealt with, read or not.
    pub bytes: u64,
}

fields!(Progress { job, entries, files, bytes });
