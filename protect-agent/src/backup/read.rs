//! Reads one entry whole: attributes always, content up to a small file's length.

use bytes::Bytes;
use keelhold_chunk::{Attributes, Kind, LinkGroup};
use keelhold_tree::{Entry, EntryKind, OpenFile, SkippedReason, Stat};
use keelhold_wire::SkipReason;

use super::bounds::SMALL_LEN_MAX;
use super::reading::{
    Digest, Facts, Note, Outcome, Part, ReadContent, Reading, Settings, bare_attributes,
};
use crate::shortcut::Record;

/// A file that changes while it is read is read again so often, then taken as it is.
const TRIES: usize = 3;

/// An entry to be read.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) entry: Entry,
    /// The digest of the basis, where the shortcut calls the entry unchanged all the same.
    pub(crate) unchanged_digest: Option<[u8; 8]>,
    /// The first name of a file whose other names will refer to it.
    pub(crate) group: Option<LinkGroup>,
}

pub(crate) fn read(settings: &Settings, wanted: &Wanted) -> Reading {
    let entry = &wanted.entry;
    let outcome = match entry.kind() {
        EntryKind::File => read_file(settings, wanted),
        _ => read_attributes(settings, wanted),
    };
    Reading { path: entry.path().to_vec(), group: wanted.group, outcome }
}

fn read_attributes(settings: &Settings, wanted: &Wanted) -> Outcome {
    let entry = &wanted.entry;
    let (stat, attributes, note) = match entry.attributes() {
        Ok((stat, attributes)) if stat.kind() == entry.kind() => (stat, attributes, None),
        // Only directories and special files can stand without what could not be read, and a
        // directory must: what is in it has been found already.
        failed => {
            let note = match failed {
                Ok(_) => replaced(),
                Err(reason) => Note::from(reason),
            };
            let gone = note.reason == SkipReason::Vanished && !entry.stat().is_directory();
            match bare_attributes(entry.stat()) {
                Some(bare) if !gone => (*entry.stat(), bare, Some(note)),
                _ => return Outcome::Skipped(note),
            }
        }
    };
    facts(settings, wanted, &stat, &attributes, ReadContent::None, 0, note)
}

fn replaced() -> Note {
    let text = "something else has taken its place".to_owned();
    Note { reason: SkipReason::Vanished, text }
}

fn read_file(settings: &Settings, wanted: &Wanted) -> Outcome {
    let mut bytes_read = 0;
    for attempt in 1.. {
        let attempted = match Attempt::begin(settings, wanted) {
            Ok(attempted) => attempted,
            Err(note) => return Outcome::Skipped(note),
        };
        bytes_read += attempted.read.bytes_read;
        if let Some(taken) = attempted.end(attempt == TRIES) {
            let Taken { stat, attributes, content, note } = taken;
            return facts(settings, wanted, &stat, &attributes, content, bytes_read, note);
        }
    }
    Outcome::Skipped(SkippedReason::Changed.into())
}

/// One reading of a file, between two looks at it.
struct Attempt {
    file: OpenFile,
    read: Read,
}

/// A file as it goes into the point.
struct Taken {
    stat: Stat,
    attributes: Attributes,
    content: ReadContent,
    note: Option<Note>,
}

impl Attempt {
    fn begin(settings: &Settings, wanted: &Wanted) -> Result<Self, Note> {
        let file = match wanted.entry.open() {
            Err(SkippedReason::Changed) => return Err(replaced()),
            opened => opened?,
        };
        let read = read_content(settings, &file)?;
        Ok(Self { file, read })
    }

    /// `None` if the file has moved meanwhile; as it is all the same if this was the last attempt.
    fn end(self, last: bool) -> Option<Taken> {
        let Self { file, read } = self;
        let (mut attributes, mut note) = file_attributes(&file);
        let stat = *file.stat();
        if read.cut_short || file.finish().is_err() {
            if !last {
                return None;
            }
            attributes.kind = Kind::File { size: read.len };
            note = Some(SkippedReason::Changed.into());
        }
        Some(Taken { stat, attributes, content: read.content, note })
    }
}

/// The attributes of an open file, if need be without what cannot be read.
pub(crate) fn file_attributes(file: &OpenFile) -> (Attributes, Option<Note>) {
    match file.attributes() {
        Ok(attributes) => (attributes, None),
        Err(reason) => {
            let stat = file.stat();
            let bare = Attributes {
                kind: Kind::File { size: stat.identity.size },
                mode: stat.mode,
                uid: stat.uid,
                gid: stat.gid,
                mtime: stat.identity.mtime,
                link_group: stat.link_group(),
                xattrs: Vec::new(),
            };
            (bare, Some(reason.into()))
        }
    }
}

struct Read {
    content: ReadContent,
    /// Length of what `content` stands for.
    len: u64,
    bytes_read: u64,
    /// The file had more or less than it said.
    cut_short: bool,
}

fn read_content(settings: &Settings, file: &OpenFile) -> Result<Read, SkippedReason> {
    let size = file.stat().identity.size;
    // A file that has grown beyond a small one since the walk gives the length it had room for.
    let end = size.min(SMALL_LEN_MAX);
    let mut read =
        Read { content: ReadContent::None, len: 0, bytes_read: 0, cut_short: end < size };
    let mut parts = Vec::new();
    while read.len < end {
        let extent = file.next_extent(read.len)?.filter(|extent| extent.offset < end);
        let data_at = extent.map_or(end, |extent| extent.offset);
        if data_at > read.len {
            parts.push(Part::Hole { len: data_at - read.len });
            read.len = data_at;
        }
        let Some(extent) = extent else { break };
        let mut buffer = vec![0; (extent.end().min(end) - extent.offset) as usize];
        let filled = file.read_at(extent.offset, &mut buffer)?;
        let wanted_len = buffer.len();
        buffer.truncate(filled);
        read.len += filled as u64;
        read.bytes_read += filled as u64;
        if parts.is_empty() && read.len == size && size <= settings.inline_max && size > 0 {
            read.content = ReadContent::Inline(buffer);
            return Ok(read);
        }
        cut(settings, Bytes::from(buffer), &mut parts);
        if filled < wanted_len {
            read.cut_short = true;
            break;
        }
    }
    if !parts.is_empty() {
        read.content = ReadContent::Parts(parts);
    }
    Ok(read)
}

fn cut(settings: &Settings, mut content: Bytes, parts: &mut Vec<Part>) {
    while let Some(len) = settings.cutter.cut(&content, true) {
        let bytes = content.split_to(len);
        parts.push(Part::Chunk { id: settings.id_key.id(&bytes), bytes });
    }
}

fn facts(
    settings: &Settings,
    wanted: &Wanted,
    stat: &Stat,
    attributes: &Attributes,
    content: ReadContent,
    bytes_read: u64,
    note: Option<Note>,
) -> Outcome {
    let encoded = settings.view.attributes(attributes);
    let digest = Digest::new(&settings.id_key).content(&content, &encoded);
    let trusted = note.is_none() && settings.synced.trusts(&stat.identity);
    let size = match attributes.kind {
        Kind::File { size } => size,
        _ => 0,
    };
    let facts = Facts {
        attributes: encoded,
        record: Record { identity: settings.view.identity(&stat.identity), trusted, digest },
        is_file: stat.kind() == EntryKind::File,
        size,
        bytes_read,
        shortcut_wrong: wanted.unchanged_digest.is_some_and(|was| was != digest),
        note,
    };
    Outcome::Entry { facts, content }
}

#[cfg(test)]
pub(in crate::backup) mod tests;
