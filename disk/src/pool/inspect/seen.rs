//! One disk as it is found: labels, and every structure that is looked at by its place.

use super::section::{Section, words};
use crate::buffer::AlignedBuf;
use crate::device::Device;
use crate::format::{
    ChecksumKey, HeadFault, Label, Magic, Place, RawField, Superblock, checks, raw_fields,
};
use crate::units::{BLOCK, BLOCK_U64};

/// A disk, with whichever of its labels is sound.
pub(super) struct Seen<D> {
    pub(super) device: D,
    pub(super) name: String,
    pub(super) label: Option<Label>,
    labels: Vec<(u64, Result<Label, String>)>,
}

impl<D: Device> Seen<D> {
    pub(super) async fn look(device: D) -> Self {
        let geometry = device.geometry();
        let (name, len) = (geometry.name.to_string(), geometry.len - geometry.len % BLOCK_U64);
        let mut seen = Self { device, name, label: None, labels: Vec::new() };
        for offset in [0, len.saturating_sub(BLOCK_U64)] {
            let found = match seen.read(offset, BLOCK).await {
                Ok(block) => Label::decode(&block, offset).map_err(|fault| fault.to_string()),
                Err(error) => Err(error),
            };
            if let (Ok(label), None) = (&found, &seen.label) {
                seen.label = Some(label.clone());
            }
            seen.labels.push((offset, found));
        }
        seen
    }

    /// Whole blocks, as many as there are.
    pub(super) async fn read(&self, offset: u64, len: usize) -> Result<AlignedBuf, String> {
        let end = self.device.geometry().len;
        let left = end.saturating_sub(offset) as usize;
        let len = len.next_multiple_of(BLOCK).min(left - left % BLOCK);
        let (result, buf) = self.device.read(offset, AlignedBuf::zeroed(len)).await;
        result.map(|()| buf).map_err(|error| words(&error))
    }

    /// Key of structures that belong to no container's generation.
    pub(super) fn key(label: &Label) -> ChecksumKey {
        ChecksumKey::new(&label.secret, &[0; 16])
    }

    /// Every field of the structure at `bytes`, believed or not, and every check that fails.
    pub(super) fn raw(
        label: &Label,
        magic: Magic,
        key: &ChecksumKey,
        offset: u64,
        bytes: &[u8],
    ) -> Section {
        let place = Place { disk: label.disk, offset };
        let mut section = Section::new(name_of(magic)).at(place, BLOCK_U64);
        for field in raw_fields(magic, bytes) {
            section = add_field(section, &field);
        }
        for check in checks(bytes, magic, key, label.pool, place) {
            if let Some(fault) = check.fault {
                section = section.fault(format!("{}: {fault}", check.what));
            }
        }
        section
    }

    pub(super) async fn label_sections(&self) -> Vec<Section> {
        let mut sections = Vec::new();
        for (offset, found) in &self.labels {
            // A label that cannot be read at all has nobody to say where it should be.
            let (Ok(block), Some(own)) = (self.read(*offset, BLOCK).await, &self.label) else {
                let fault = found.as_ref().err().cloned().unwrap_or_default();
                let section = Section::new("label").fact("disk", self.name.as_str());
                sections.push(section.fact("offset", *offset).fault(fault));
                continue;
            };
            let key = ChecksumKey::public();
            let mut section = Self::raw(own, Magic::Label, &key, *offset, &block);
            if let (Err(fault), true) = (found, section.faults.is_empty()) {
                section = section.fault(fault.clone());
            }
            sections.push(section);
        }
        sections
    }

    /// The four superblocks, or one of them. `root` is the one that holds.
    pub(super) async fn superblock_sections(
        &self,
        only: Option<u64>,
        root: Option<&Superblock>,
    ) -> Vec<Section> {
        let Some(label) = &self.label else {
            return vec![self.unknown("superblocks")];
        };
        let mut sections = Vec::new();
        for (copy, offset) in (0u64..).zip(label.zones.superblocks()) {
            if only.is_some_and(|only| only != copy) {
                continue;
            }
            let place = Place { disk: label.disk, offset };
            let block = match self.read(offset, BLOCK).await {
                Ok(block) => block,
                Err(error) => {
                    sections.push(Section::new("superblock").at(place, BLOCK_U64).fault(error));
                    continue;
                }
            };
            let key = Self::key(label);
            let decoded = Superblock::decode(&block, &key, label.pool, place);
            let mut section = Self::raw(label, Magic::Superblock, &key, offset, &block);
            section.what = format!("superblock {copy}");
            if let Some(fields) = Superblock::decode_unproved(&block) {
                section = superblock_facts(section, &fields);
            }
            section = match (&decoded, root) {
                (Ok(found), Some(root)) if found == root => section.fact("wins", true),
                (Ok(_), Some(_)) => section.fact("wins", false).fault("not the one that holds"),
                (Err(fault @ (HeadFault::Content | HeadFault::Reserved)), _) => {
                    section.fault(fault.to_string())
                }
                _ => section.fact("wins", false),
            };
            sections.push(section);
        }
        sections
    }

    pub(super) fn unknown(&self, what: &str) -> Section {
        let section = Section::new(what).fact("disk", self.name.as_str());
        section.fault("no label says where they are")
    }
}

fn name_of(magic: Magic) -> &'static str {
    match magic {
        Magic::Label => "label",
        Magic::Superblock => "superblock",
        Magic::JournalEntry => "journal entry",
        Magic::ContainerHeader => "container header",
        Magic::Run => "run",
        Magic::ContainerFooter => "container footer",
    }
}

/// Numbers as numbers, ids and checksums as they stand. The label's secret is not shown: what is
/// printed here is passed on.
fn add_field(section: Section, field: &RawField) -> Section {
    let bytes = &field.bytes;
    if field.name == "secret" {
        return section.fact("secret", "not shown");
    }
    if field.name.starts_with("reserved") && bytes.iter().all(|byte| *byte == 0) {
        return section;
    }
    if field.name == "magic" {
        return section.fact("magic", String::from_utf8_lossy(bytes).into_owned());
    }
    match bytes.len() {
        1 | 2 | 4 | 8 => {
            let mut wide = [0; 8];
            wide[..bytes.len()].copy_from_slice(bytes);
            let number = u64::from_le_bytes(wide);
            if field.name == "witnessed" || field.name == "created_at" {
                return section.time(field.name, number as i64);
            }
            section.fact(field.name, number)
        }
        len if len <= 32 => section.fact(field.name, super::Fact::Bytes(bytes.clone())),
        len => section.fact(field.name, format!("{len} bytes, not all zero")),
    }
}

fn superblock_facts(section: Section, found: &Superblock) -> Section {
    let features = found.features;
    let section = section
        .fact("parent", found.parent)
        .fact("compatible", features.compatible)
        .fact("read_only_compatible", features.read_only_compatible)
        .fact("incompatible", features.incompatible)
        .fact("encrypted", found.is_encrypted())
        .fact("epoch", found.epoch)
        .fact("journal_sequence", found.journal_sequence)
        .fact("journal_position", found.journal_position)
        .fact("journal_parent", found.journal_parent)
        .time("witnessed", found.witnessed)
        .fact("key_number", found.key_number)
        .fact("wrapped_key_len", found.wrapped_key.len())
        .fact("secrets", "not shown");
    let section = found.root.iter().fold(section, |section, run| {
        let text = format!(
            "container {} generation {} block {}, {} blocks",
            run.container, run.generation, run.block, run.blocks
        );
        section.fact("root", text)
    });
    found.disks.iter().fold(section, |section, disk| {
        section.fact("member", format!("{} {:?}", disk.id, disk.state))
    })
}
