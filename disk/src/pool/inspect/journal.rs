//! The journal's zones as they stand: every entry, in force or not.

use super::section::Section;
use super::seen::Seen;
use super::{Inspector, Work};
use crate::device::Device;
use crate::format::{Head, JournalEntry, Label, Magic, Op, Place, SealedEntry};
use crate::pool::tables::decode_set;
use crate::units::BLOCK;

/// Something that begins like an entry.
struct Found {
    disk: usize,
    zone: usize,
    offset: u64,
    bytes: Vec<u8>,
}

impl<D: Device, W: Work> Inspector<D, W> {
    /// Everything in all zones that has the head of an entry.
    async fn entries(&self) -> (Vec<Found>, Vec<Section>) {
        let (mut found, mut faults) = (Vec::new(), Vec::new());
        for (index, disk) in self.disks.iter().enumerate() {
            let Some(label) = &disk.label else {
                faults.push(disk.unknown("journal"));
                continue;
            };
            for (zone, start) in label.zones.journals().into_iter().enumerate() {
                let bytes = match disk.read(start, label.zones.journal_len as usize).await {
                    Ok(bytes) => bytes,
                    Err(error) => {
                        let place = Place { disk: label.disk, offset: start };
                        let section = Section::new("journal").at(place, label.zones.journal_len);
                        faults.push(section.fault(error));
                        continue;
                    }
                };
                for within in (0..bytes.len()).step_by(BLOCK) {
                    if let Ok(len) = SealedEntry::peek_len(&bytes[within..]) {
                        let end = (within + len).min(bytes.len());
                        let offset = start + within as u64;
                        let bytes = bytes[within..end].to_vec();
                        found.push(Found { disk: index, zone, offset, bytes });
                    }
                }
            }
        }
        (found, faults)
    }

    pub(super) async fn journal(&self, only: Option<u64>) -> Vec<Section> {
        let (found, mut sections) = self.entries().await;
        for entry in found {
            let sequence =
                Head::peek(&entry.bytes, Magic::JournalEntry).map(|head| head.sequence());
            if only.is_some_and(|only| sequence != Ok(only)) {
                continue;
            }
            let disk = &self.disks[entry.disk];
            let Some(label) = &disk.label else { continue };
            let section = self.entry_section(label, entry.offset, &entry.bytes);
            sections.push(section.fact("zone", entry.zone));
        }
        if let (Some(only), true) = (only, sections.is_empty()) {
            sections.push(Section::new(format!("journal entry {only}")).fault("stands in no zone"));
        }
        sections
    }

    /// One entry, its operations opened if they can be.
    pub(super) fn entry_section(&self, label: &Label, offset: u64, bytes: &[u8]) -> Section {
        let key = Seen::<D>::key(label);
        let mut section = Seen::<D>::raw(label, Magic::JournalEntry, &key, offset, bytes);
        section.len = Some(bytes.len() as u64);
        let place = Place { disk: label.disk, offset };
        let (entry, link) = match SealedEntry::decode(bytes, &key, label.pool, place) {
            Ok(decoded) => decoded,
            Err(fault) if section.faults.is_empty() => return section.fault(fault.to_string()),
            Err(_) => return section,
        };
        section = section.fact("link", link);
        if let Some(root) = &self.root {
            let ahead = entry.header.sequence >= root.journal_sequence;
            let in_force = ahead && entry.header.epoch == root.epoch;
            section = section.fact("in_force", in_force);
        }
        let encrypted = self.root.as_ref().is_some_and(super::Superblock::is_encrypted);
        if encrypted && self.data_key.is_none() {
            return section.fact("operations", "sealed, and no key was given");
        }
        match entry.open(label.pool, self.data_key.as_ref()) {
            Ok(entry) => ops(section, &entry),
            Err(fault) => section.fault(format!("operations: {fault}")),
        }
    }

    /// How far the journal reaches behind the root.
    pub(super) async fn journal_span(&self) -> Section {
        let section = Section::new("journal");
        let Some(root) = &self.root else {
            return section.fault("no superblock says where it begins");
        };
        let section = section
            .fact("begins_at_sequence", root.journal_sequence)
            .fact("begins_at_position", root.journal_position)
            .fact("epoch", root.epoch);
        let (found, _) = self.entries().await;
        let (mut sound, mut in_force, mut newest) = (0u64, 0u64, None);
        for entry in &found {
            let Some(label) = &self.disks[entry.disk].label else { continue };
            let place = Place { disk: label.disk, offset: entry.offset };
            let key = Seen::<D>::key(label);
            let decoded = SealedEntry::decode(&entry.bytes, &key, label.pool, place);
            let Ok((decoded, _)) = decoded else { continue };
            sound += 1;
            let header = decoded.header;
            if header.epoch == root.epoch && header.sequence >= root.journal_sequence {
                in_force += 1;
                newest = newest.max(Some(header.sequence));
            }
        }
        let section = section
            .fact("entries_sound", sound)
            .fact("entries_damaged_or_stale", found.len() as u64 - sound)
            .fact("copies_in_force", in_force);
        match newest {
            Some(newest) => section.fact("newest_sequence", newest),
            None => section,
        }
    }
}

/// The operations one by one. What records and attributes hold is not shown.
fn ops(section: Section, entry: &JournalEntry) -> Section {
    entry.ops.iter().fold(section, |section, op| {
        let debug = format!("{op:?}");
        let kind = debug.split([' ', '(', '{']).next().unwrap_or_default().to_owned();
        let part = Section::new(kind);
        section.part(match op {
            Op::Record { name, version, value } => {
                let part = part.fact("name", name.as_str()).fact("version", *version);
                match value {
                    Some(value) => part.fact("value_len", value.len()),
                    None => part.fact("removed", true),
                }
            }
            Op::SeriesAppended { name, sequence, entry } => part
                .fact("name", name.as_str())
                .fact("sequence", *sequence)
                .fact("entry_len", entry.len()),
            Op::SeriesTrimmed { name, first } => {
                part.fact("name", name.as_str()).fact("first", *first)
            }
            Op::SessionStep { session, numbers } => {
                part.fact("session", session.0).fact("numbers", decode_set(numbers).len())
            }
            Op::PointCommitted { session, point } => {
                super::tables::row_facts(part.fact("session", session.0), point)
            }
            Op::WorkingPromoted { source, point, attributes } => part
                .fact("source", source.0)
                .fact("point", point.0)
                .fact("attributes_len", attributes.len()),
            Op::PointAttributes { point, attributes } => {
                part.fact("point", point.0).fact("attributes_len", attributes.len())
            }
            Op::PointsTrashed { until, points } => points
                .iter()
                .fold(part.time("until", *until), |part, point| part.fact("point", point.0)),
            Op::ChunksDropped { segment } => part.fact("segment_len", segment.len()),
            Op::ChunksLost { numbers } | Op::ChunksFound { numbers } => {
                part.fact("numbers", decode_set(numbers).len())
            }
            _ => part.fact("operation", debug),
        })
    })
}
