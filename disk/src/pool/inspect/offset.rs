//! Which structure a byte of a disk belongs to: first by the arithmetic of zones, then by what stands
//! there.

use super::section::Section;
use super::seen::Seen;
use super::{Inspector, Work};
use crate::device::Device;
use crate::format::{ContainerHeader, Head, Label, Magic, Place, SealedEntry, magic_of};
use crate::units::{BLOCK, BLOCK_U64};

/// Blocks looked back at for the beginning of a run: the longest there can be.
const RUN_BLOCKS_MAX: u64 = 1 << 16;

impl<D: Device, W: Work> Inspector<D, W> {
    pub(super) async fn offset(&self, disk: usize, offset: u64) -> Vec<Section> {
        let Some(disk) = self.disks.get(disk) else {
            return vec![Section::new("byte").fault("there is no such disk")];
        };
        let mut section = Section::new(format!("byte {offset} of {}", disk.name));
        let Some(label) = &disk.label else {
            return vec![self.unlabelled(section, disk, offset).await];
        };
        let zones = &label.zones;
        if offset >= zones.disk_len {
            return vec![section.fault("behind the end of the pool's part of the disk")];
        }
        let block = offset - offset % BLOCK_U64;
        section = section.fact("block", block).fact("within_block", offset % BLOCK_U64);
        let journals = zones.journals();
        let containers =
            zones.container(0)..zones.container(0) + zones.container_count * zones.container_len;
        let mut found = Vec::new();
        if zones.labels().contains(&block) {
            section = section.fact("zone", "label");
            found = disk.label_sections().await;
            found.retain(|part| part.place.is_some_and(|place| place.offset == block));
        } else if let Some(copy) = zones.superblocks().iter().position(|at| *at == block) {
            section = section.fact("zone", "superblock");
            found = disk.superblock_sections(Some(copy as u64), self.root.as_ref()).await;
        } else if let Some(zone) =
            journals.iter().position(|start| (*start..start + zones.journal_len).contains(&offset))
        {
            section = section.fact("zone", format!("journal {zone}"));
            found.push(self.journal_byte(disk, label, journals[zone], offset).await);
        } else if containers.contains(&offset) {
            let slot = (offset - containers.start) / zones.container_len;
            section = section.fact("zone", "containers").fact("slot", slot);
            found.push(self.container_byte(disk, label, slot, offset).await);
        } else {
            section = section.fact("zone", "reserved, written by nobody");
        }
        section.parts = found;
        vec![self.claimed(section, Place { disk: label.disk, offset }).await]
    }

    /// Without a label only what the block itself says is known.
    async fn unlabelled(&self, section: Section, disk: &Seen<D>, offset: u64) -> Section {
        let section = section.fault("no label says what lies where");
        let Ok(block) = disk.read(offset - offset % BLOCK_U64, BLOCK).await else {
            return section.fault("the block cannot be read");
        };
        match magic_of(&block) {
            Some(magic) => section.fact("begins_like", format!("{magic:?}")),
            None => section,
        }
    }

    /// The entry whose bytes reach over the byte.
    async fn journal_byte(&self, disk: &Seen<D>, label: &Label, zone: u64, offset: u64) -> Section {
        let none = Section::new("journal").fact("entry", "none covers this byte");
        let mut at = offset - offset % BLOCK_U64;
        loop {
            let block = match disk.read(at, BLOCK).await {
                Ok(block) => block,
                Err(error) => return none.fault(error),
            };
            if let Ok(len) = SealedEntry::peek_len(&block) {
                let whole = (len as u64).next_multiple_of(BLOCK_U64);
                if at + whole <= offset || at + whole > zone + label.zones.journal_len {
                    return none;
                }
                return match disk.read(at, len).await {
                    Ok(bytes) => {
                        let bytes = &bytes[..len.min(bytes.len())];
                        self.entry_section(label, at, bytes).fact("byte_within", offset - at)
                    }
                    Err(error) => none.fault(error),
                };
            }
            if at == zone {
                return none;
            }
            at -= BLOCK_U64;
        }
    }

    /// Number of the container in a slot: as its header says, or else the tables.
    async fn container_at(&self, disk: &Seen<D>, label: &Label, slot: u64) -> Option<u32> {
        let offset = label.zones.container(slot);
        if let Ok(block) = disk.read(offset, BLOCK).await {
            let place = Place { disk: label.disk, offset };
            let key = Seen::<D>::key(label);
            if let Ok(header) = ContainerHeader::decode(&block, &key, label.pool, place) {
                return Some(header.container);
            }
        }
        let index = self.disk_index(label);
        let tables = self.inner()?.tables.borrow();
        let mut rows = tables.containers.values().map(|container| container.row);
        let row = rows.find(|row| {
            row.slots.iter().any(|of| (usize::from(of.disk), u64::from(of.slot)) == (index, slot))
        });
        row.map(|row| row.container)
    }

    async fn container_byte(
        &self,
        disk: &Seen<D>,
        label: &Label,
        slot: u64,
        offset: u64,
    ) -> Section {
        let start = label.zones.container(slot);
        let Some(container) = self.container_at(disk, label, slot).await else {
            return Section::new("slot").fact("container", "none that header or tables tell of");
        };
        let within = offset - start;
        let last = label.zones.container_len - BLOCK_U64;
        let section = Section::new(format!("container {container}")).fact("byte_within", within);
        let copies = self.copies(container).await.filter(|copies| copies.contains(&within));
        let section = match copies {
            Some(_) => section.fact("byte_is_in", "copies of directories"),
            None => section,
        };
        if within < BLOCK_U64 || within >= last || copies.is_some() {
            let whole = self.container(container).await;
            let wanted = if within < BLOCK_U64 { "container header" } else { "container footer" };
            let parts = whole.parts.into_iter().filter(|part| part.what == wanted);
            return Section { parts: parts.collect(), ..section };
        }
        let mut block = within / BLOCK_U64;
        let first = block.saturating_sub(RUN_BLOCKS_MAX).max(1);
        while block >= first {
            let at = start + block * BLOCK_U64;
            let bytes = match disk.read(at, BLOCK).await {
                Ok(bytes) => bytes,
                Err(error) => return section.fault(error),
            };
            if Head::peek(&bytes, Magic::Run).is_ok() {
                let run = self.run(container, block as u16).await;
                if run.len.is_some_and(|len| at + len <= offset) {
                    return section.fact("run", "none covers this byte");
                }
                return section.part(within_run(run, offset - at, offset));
            }
            block -= 1;
        }
        section.fact("run", "none covers this byte")
    }

    /// What the pool itself says: left-overs look like structures, and nobody reads them.
    async fn claimed(&self, section: Section, place: Place) -> Section {
        let Some(pool) = &self.pool else {
            return self.with_state(section);
        };
        let mut claims = pool.claims().await;
        claims.retain(|claim| {
            let from = claim.place.offset;
            claim.place.disk == place.disk && (from..from + claim.len).contains(&place.offset)
        });
        let section = self.with_state(section.fact("claimed", !claims.is_empty()));
        claims.iter().fold(section, |section, claim| section.fact("claimed_by", claim.what))
    }
}

/// Says which part of a run the byte is in, and leaves the other parts away.
fn within_run(mut run: Section, within: u64, offset: u64) -> Section {
    let frame = run.parts.iter().position(|part| {
        let from = part.place.map(|place| place.offset);
        let len = part.len.unwrap_or(0);
        part.what.starts_with("frame")
            && from.is_some_and(|from| (from..from + len).contains(&offset))
    });
    let part = match frame {
        Some(frame) => {
            let name = run.parts[frame].what.clone();
            run.parts.swap(0, frame);
            run.parts.truncate(1);
            name
        }
        None => {
            let frames = run.facts.iter().find(|(name, _)| name == "frames_offset");
            let directory = matches!(frames, Some((_, super::Fact::Number(len))) if within < *len);
            run.parts.clear();
            let name = if directory { "header and tables" } else { "padding" };
            name.to_owned()
        }
    };
    run.fact("byte_within", within).fact("byte_is_in", part)
}
