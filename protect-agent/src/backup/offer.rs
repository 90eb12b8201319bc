//! Turns what was read into items and references, and counts.

use keelhold_wire::items::{Batch, EXTENTS_PER_ITEM};
use keelhold_wire::{BackupStats, Content, Extent, Item, SkippedEntry};

use super::bounds::{OFFER_LEN, SKIPPED_COUNT};
use super::plan::Same;
use super::reading::{Facts, Note, Outcome, Part, ReadContent, Reading};
use super::remember::Remembered;
use super::window::Held;

/// Everything that is said and not yet sent.
#[derive(Debug, Default)]
pub(crate) struct Offers {
    pub(crate) batch: Batch,
    pub(crate) held: Held,
    pub(crate) skipped: Vec<SkippedEntry>,
    pub(crate) stats: BackupStats,
    /// Bytes of the files dealt with, for progress.
    pub(crate) bytes_done: u64,
    /// Content named in `batch`.
    offered_len: u64,
    named: u64,
}

impl Offers {
    /// Whether the batch should leave.
    pub(crate) fn is_full(&self) -> bool {
        self.batch.is_full() || self.offered_len >= OFFER_LEN
    }

    /// The message and its weight, if there is anything to say.
    pub(crate) fn take(&mut self, job: u64, seq: u64) -> Option<(Vec<u8>, u64)> {
        self.offered_len = 0;
        let weight = self.batch.weight();
        if self.batch.is_empty() { None } else { Some((self.batch.take(job, seq), weight)) }
    }

    pub(crate) fn same(&mut self, same: Same) -> Remembered {
        let Same { first, count, files, bytes } = same;
        self.batch.push(&Item::Same { first, count });
        self.stats.entries += count;
        self.stats.files += files;
        self.stats.bytes_source += bytes;
        self.bytes_done += bytes;
        Remembered::Same { first, count }
    }

    /// An entry that was read whole. More than one item only for a file with very many pieces:
    /// `full` is called where the batch may have to leave in between.
    pub(crate) fn reading(&mut self, reading: Reading) -> Option<Remembered> {
        let Reading { path, outcome, .. } = reading;
        let (facts, content) = match outcome {
            Outcome::Entry { facts, content } => (facts, content),
            Outcome::Skipped(note) => {
                self.skip(path, note);
                return None;
            }
        };
        let content = match content {
            ReadContent::None => Content::None,
            ReadContent::Inline(bytes) => Content::Inline(bytes),
            ReadContent::Parts(parts) => Content::Extents(self.extents(parts)),
        };
        let attributes = facts.attributes.clone();
        self.batch.push(&Item::Entry { path: path.clone(), attributes, content });
        Some(self.done(path, facts))
    }

    pub(crate) fn open(&mut self, path: &[u8]) {
        self.batch.push(&Item::EntryOpen { path: path.to_vec() });
    }

    /// Takes at most as many pieces as one item holds.
    pub(crate) fn more(&mut self, parts: &mut std::vec::IntoIter<Part>) {
        let some: Vec<Part> = parts.take(EXTENTS_PER_ITEM).collect();
        let extents = self.extents(some);
        self.batch.push(&Item::EntryMore { extents });
    }

    pub(crate) fn close(&mut self, path: Vec<u8>, facts: Facts) -> Remembered {
        self.batch.push(&Item::EntryClose { attributes: facts.attributes.clone() });
        self.done(path, facts)
    }

    fn done(&mut self, path: Vec<u8>, facts: Facts) -> Remembered {
        self.stats.entries += 1;
        self.stats.bytes_read += facts.bytes_read;
        if facts.is_file {
            self.stats.files += 1;
            self.stats.files_changed += 1;
            self.stats.bytes_source += facts.size;
            self.bytes_done += facts.size;
        }
        self.stats.wrong_shortcuts += u64::from(facts.shortcut_wrong);
        if let Some(note) = facts.note {
            self.skip(path.clone(), note);
        }
        Remembered::Entry { path, record: facts.record }
    }

    pub(crate) fn skip(&mut self, path: Vec<u8>, note: Note) {
        self.stats.skipped += 1;
        if self.named < SKIPPED_COUNT {
            self.named += 1;
            self.skipped.push(SkippedEntry { path, reason: note.reason, text: note.text });
        }
    }

    fn extents(&mut self, parts: Vec<Part>) -> Vec<Extent> {
        parts
            .into_iter()
            .map(|part| match part {
                Part::Hole { len } => Extent::Hole { len },
                Part::Known { id, len } => {
                    self.held.push(Held::KNOWN);
                    Extent::Chunk { id, len }
                }
                Part::Chunk { id, bytes } => {
                    let len = bytes.len() as u32;
                    self.offered_len += u64::from(len);
                    self.held.push(bytes);
                    Extent::Chunk { id, len }
                }
            })
            .collect()
    }
}

/// Whether a file read whole has too many pieces for one item.
pub(crate) fn needs_pieces(reading: &Reading) -> bool {
    matches!(
        &reading.outcome,
        Outcome::Entry { content: ReadContent::Parts(parts), .. } if parts.len() > EXTENTS_PER_ITEM
    )
}
