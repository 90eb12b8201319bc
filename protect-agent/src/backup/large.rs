//! Reads a large file in pieces on a thread of its own, while the stream takes them in order.

use std::sync::Arc;

use bytes::Bytes;
use keelhold_chunk::{Attributes, Kind, LinkGroup};
use keelhold_tree::{Extent, OpenFile, SkippedReason};
use keelhold_wire::SkipReason;
use tokio::sync::mpsc;

use super::bounds::PIECE_COUNT;
use super::budget::Permit;
use super::pieces::Pieces;
use super::read::{Wanted, file_attributes};
use super::reading::{Digest, Facts, Note, Part, Settings};
use crate::shortcut::Record;

/// What comes of a large file, in this order: nothing but `Gone`; or `Parts`, then `End`.
#[derive(Debug)]
pub(crate) enum Piece {
    Gone(Note),
    Parts(Vec<Part>),
    End(Box<Facts>),
}

#[derive(Debug)]
pub(crate) struct Large {
    pub(crate) path: Vec<u8>,
    pub(crate) pieces: mpsc::Receiver<Piece>,
    /// The first name of a file whose other names will refer to it, and what came of it so far.
    pub(crate) group: Option<LinkGroup>,
    pub(crate) known: Vec<Part>,
}

/// Begins to read; a `permit` goes with the thread.
pub(crate) fn start(
    settings: Arc<Settings>,
    wanted: Wanted,
    permit: Option<Permit>,
) -> std::io::Result<Large> {
    let (sender, pieces) = mpsc::channel(PIECE_COUNT);
    let (path, group) = (wanted.entry.path().to_vec(), wanted.group);
    std::thread::Builder::new().name("large file".to_owned()).spawn(move || {
        let _permit = permit;
        // The stream has ended if nobody takes the pieces, and that is all there is to do then.
        let _ = stream(&settings, &wanted, &sender);
    })?;
    Ok(Large { path, pieces, group, known: Vec::new() })
}

/// The stream does not want the rest.
struct Unwanted;

fn stream(
    settings: &Settings,
    wanted: &Wanted,
    sender: &mpsc::Sender<Piece>,
) -> Result<(), Unwanted> {
    let send = |piece| sender.blocking_send(piece).map_err(|_| Unwanted);
    let file = match wanted.entry.open() {
        Ok(file) => file,
        Err(reason) => return send(Piece::Gone(reason.into())),
    };
    let mut sink = PartSink::new(settings, sender);
    let mut note = match read(settings, &file, &mut sink)? {
        Ok(()) => None,
        Err(reason) => Some(stopped(reason, &mut sink, file.stat().identity.size)),
    };
    sink.end_hole();
    sink.flush()?;
    let (mut attributes, no_xattrs) = file_attributes(&file);
    let stat = *file.stat();
    if note.is_none() && (sink.len != stat.identity.size || file.finish().is_err()) {
        note = Some(SkippedReason::Changed.into());
    }
    attributes.kind = Kind::File { size: sink.len };
    let note = note.or(no_xattrs);
    let trusted = note.is_none() && settings.synced.trusts(&stat.identity);
    let mut facts = sink.facts(settings, wanted, (&stat, &attributes), note);
    facts.record.trusted = trusted;
    send(Piece::End(Box::new(facts)))
}

/// A file that cannot be read to its end keeps its length: what follows it stands in its place.
fn stopped(reason: SkippedReason, sink: &mut PartSink<'_>, size: u64) -> Note {
    let text = format!("{reason}; zeros stand for it from byte {} on", sink.len);
    sink.hole(size.saturating_sub(sink.len));
    Note { reason: SkipReason::Unreadable, text }
}

fn read(
    settings: &Settings,
    file: &OpenFile,
    sink: &mut PartSink<'_>,
) -> Result<Result<(), SkippedReason>, Unwanted> {
    let size = file.stat().identity.size;
    let mut pieces = Pieces::new(file, &settings.reads, settings.cutter.window_len());
    while sink.len < size {
        let extent = match file.next_extent(sink.len) {
            Ok(extent) => extent,
            Err(reason) => return Ok(Err(reason)),
        };
        let data_at = extent.map_or(size, |extent| extent.offset);
        sink.hole(data_at - sink.len);
        let Some(extent) = extent else { break };
        match read_extent(settings, &mut pieces, extent, sink)? {
            Ok(true) => {}
            // The file has become shorter: what it had is what there is.
            Ok(false) => break,
            Err(reason) => return Ok(Err(reason)),
        }
    }
    Ok(Ok(()))
}

/// Whether the data was there to its end.
fn read_extent(
    settings: &Settings,
    pieces: &mut Pieces<'_>,
    extent: Extent,
    sink: &mut PartSink<'_>,
) -> Result<Result<bool, SkippedReason>, Unwanted> {
    let room = settings.cutter.window_len();
    let mut rest = Bytes::new();
    pieces.begin(extent);
    while let Some(read) = pieces.next() {
        let piece = match read {
            Ok(piece) => piece,
            Err(reason) => {
                sink.cut(settings, rest, true);
                return Ok(Err(reason));
            }
        };
        sink.bytes_read += piece.len(room) as u64;
        let (short, last) = (piece.short, piece.last);
        rest = sink.cut(settings, piece.join(room, &rest), short || last);
        sink.flush()?;
        if short {
            return Ok(Ok(false));
        }
    }
    Ok(Ok(true))
}

/// Puts parts in order, joins holes, keeps the digest.
struct PartSink<'a> {
    sender: &'a mpsc::Sender<Piece>,
    parts: Vec<Part>,
    digest: Digest<'a>,
    /// Length of the content so far, holes included.
    len: u64,
    open_hole: u64,
    bytes_read: u64,
}

impl<'a> PartSink<'a> {
    fn new(settings: &'a Settings, sender: &'a mpsc::Sender<Piece>) -> Self {
        let digest = Digest::new(&settings.id_key);
        Self { sender, parts: Vec::new(), digest, len: 0, open_hole: 0, bytes_read: 0 }
    }

    fn push(&mut self, part: Part) {
        self.digest.part(&part);
        self.parts.push(part);
    }

    fn hole(&mut self, len: u64) {
        self.open_hole += len;
        self.len += len;
    }

    fn end_hole(&mut self) {
        let len = std::mem::take(&mut self.open_hole);
        if len > 0 {
            self.push(Part::Hole { len });
        }
    }

    /// Cuts what can be cut; the rest comes back unless nothing follows it.
    fn cut(&mut self, settings: &Settings, mut window: Bytes, at_end: bool) -> Bytes {
        while let Some(len) = settings.cutter.cut(&window, at_end) {
            self.end_hole();
            let bytes = window.split_to(len);
            self.len += len as u64;
            self.push(Part::Chunk { id: settings.id_key.id(&bytes), bytes });
        }
        window
    }

    fn flush(&mut self) -> Result<(), Unwanted> {
        if self.parts.is_empty() {
            return Ok(());
        }
        let parts = std::mem::take(&mut self.parts);
        self.sender.blocking_send(Piece::Parts(parts)).map_err(|_| Unwanted)
    }

    fn facts(
        self,
        settings: &Settings,
        wanted: &Wanted,
        (stat, attributes): (&keelhold_tree::Stat, &Attributes),
        note: Option<Note>,
    ) -> Facts {
        let encoded = settings.view.attributes(attributes);
        let digest = self.digest.finish(&encoded);
        Facts {
            attributes: encoded,
            record: Record {
                identity: settings.view.identity(&stat.identity),
                trusted: false,
                digest,
            },
            is_file: true,
            size: self.len,
            bytes_read: self.bytes_read,
            shortcut_wrong: wanted.unchanged_digest.is_some_and(|was| was != digest),
            note,
        }
    }
}

#[cfg(test)]
mod tests;
