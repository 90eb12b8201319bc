//! Containers and runs by their place, believed or not.

use std::collections::BTreeMap;

use super::section::Section;
use super::seen::Seen;
use super::{Inspector, Work};
use crate::device::Device;
use crate::format::{
    ChecksumKey, ClearDirectory, ContainerFooter, ContainerHeader, Directory, FrameEntry, Head,
    Label, Magic, Place, SlotRef,
};
use crate::pool::layout::state_slot;
use crate::seal::{RunOrigin, RunSeal};
use crate::units::{BLOCK, BLOCK_U64, DiskId};

/// Where a container lies.
pub(super) struct Slot<'a, D> {
    pub(super) disk: &'a Seen<D>,
    pub(super) label: &'a Label,
    pub(super) container: u32,
    pub(super) start: u64,
}

impl<D> Slot<'_, D> {
    fn place(&self, offset: u64) -> Place {
        Place { disk: self.label.disk, offset }
    }

    fn end(&self) -> u64 {
        self.start + self.label.zones.container_len
    }
}

/// What is wrong at a place, in words.
type Fault = String;

impl<D: Device, W: Work> Inspector<D, W> {
    /// Index of a disk in the pool: the superblock's order, or else what its label says.
    pub(super) fn disk_index(&self, label: &Label) -> usize {
        let by_root = |id: &DiskId| {
            let root = self.root.as_ref()?;
            root.disks.iter().position(|disk| disk.id == *id)
        };
        by_root(&label.disk).unwrap_or(usize::from(label.disk_index))
    }

    /// Where a container of the state lies by its number, and one of data by the tables: the first of
    /// its copies whose disk is here.
    fn slot_of(&self, container: u32) -> Option<SlotRef> {
        if let Some(slot) = state_slot(container) {
            return Some(slot);
        }
        let known = self.inner().and_then(|inner| inner.slots(container));
        let Some(slots) = known else {
            return self.headers.get(&container).copied();
        };
        let is_here = |slot: &SlotRef| {
            let mut labels = self.disks.iter().filter_map(|disk| disk.label.as_ref());
            labels.any(|label| self.disk_index(label) == usize::from(slot.disk))
        };
        slots.iter().find(is_here)
    }

    /// Where each container lies that has a sound header: of several generations of one number the
    /// newest, of its copies the first.
    pub(super) async fn scan_headers(&self) -> BTreeMap<u32, SlotRef> {
        let mut found: BTreeMap<u32, (u64, SlotRef)> = BTreeMap::new();
        for disk in &self.disks {
            let Some(label) = &disk.label else { continue };
            let (key, index) = (Seen::<D>::key(label), self.disk_index(label) as u16);
            for slot in 0..label.zones.container_count {
                let offset = label.zones.container(slot);
                let Ok(block) = disk.read(offset, BLOCK).await else { continue };
                let place = Place { disk: label.disk, offset };
                let Ok(header) = ContainerHeader::decode(&block, &key, label.pool, place) else {
                    continue;
                };
                let here = (header.generation, SlotRef { disk: index, slot: slot as u32 });
                let kept = found.entry(header.container).or_insert(here);
                if kept.0 < header.generation {
                    *kept = here;
                }
            }
        }
        found.into_iter().map(|(container, (_, slot))| (container, slot)).collect()
    }

    fn slot(&self, container: u32) -> Result<Slot<'_, D>, Fault> {
        let found = self.slot_of(container);
        let found = found.ok_or("only the tables tell where it lies, and they do not")?;
        let (index, slot) = (usize::from(found.disk), u64::from(found.slot));
        let disk = self.disks.iter().find_map(|disk| {
            let label = disk.label.as_ref()?;
            (self.disk_index(label) == index).then_some((disk, label))
        });
        let (disk, label) = disk.ok_or(format!("disk {index} of the pool is not here"))?;
        if slot >= label.zones.container_count {
            return Err(format!("disk {index} has {} slots", label.zones.container_count));
        }
        Ok(Slot { disk, label, container, start: label.zones.container(slot) })
    }

    /// The container's header; or that of the tables, where the disk's is damaged.
    async fn header(&self, slot: &Slot<'_, D>) -> (Section, Option<ContainerHeader>) {
        let section = Section::new("container header").at(slot.place(slot.start), BLOCK_U64);
        let block = match slot.disk.read(slot.start, BLOCK).await {
            Ok(block) => block,
            Err(error) => return (section.fault(error), self.row_header(slot.container)),
        };
        if block.iter().all(|byte| *byte == 0) {
            return (section.fact("unused", true), None);
        }
        let key = Seen::<D>::key(slot.label);
        let section = Seen::<D>::raw(slot.label, Magic::ContainerHeader, &key, slot.start, &block);
        let place = slot.place(slot.start);
        match ContainerHeader::decode(&block, &key, slot.label.pool, place) {
            Ok(header) => (section, Some(header)),
            Err(fault) if section.faults.is_empty() => {
                (section.fault(fault.to_string()), self.row_header(slot.container))
            }
            Err(_) => (section, self.row_header(slot.container)),
        }
    }

    pub(super) async fn container(&self, container: u32) -> Section {
        let section = Section::new(format!("container {container}"));
        let slot = match self.slot(container) {
            Ok(slot) => slot,
            Err(fault) => return section.fault(fault),
        };
        let section = section.at(slot.place(slot.start), slot.label.zones.container_len);
        let (header_section, header) = self.header(&slot).await;
        let mut section = self.row_facts(section, container).part(header_section);
        let Some(header) = header else {
            return section;
        };
        let key = ChecksumKey::new(&slot.label.secret, &header.salt);
        // Behind the runs stand copies of their directories: these begin like runs, too.
        let footer = self.sound_footer(&slot, &key).await;
        let blocks = slot.label.zones.container_len / BLOCK_U64;
        let end = footer.map_or(blocks, |footer| u64::from(footer.body_block));
        for block in 1..end {
            let offset = slot.start + block * BLOCK_U64;
            let Ok(bytes) = slot.disk.read(offset, BLOCK).await else {
                let run = Section::new("block").at(slot.place(offset), BLOCK_U64);
                section = section.part(run.fault("cannot be read"));
                continue;
            };
            if Head::peek(&bytes, Magic::Run).is_ok() {
                section = section.part(self.run_line(&slot, &key, block as u16).await);
            }
        }
        section.part(self.footer(&slot, &key).await)
    }

    async fn sound_footer(&self, slot: &Slot<'_, D>, key: &ChecksumKey) -> Option<ContainerFooter> {
        let offset = slot.end() - BLOCK_U64;
        let block = slot.disk.read(offset, BLOCK).await.ok()?;
        ContainerFooter::decode(&block, key, slot.label.pool, slot.place(offset)).ok()
    }

    /// Where in the container the copies of directories stand, if it has a sound footer.
    pub(super) async fn copies(&self, container: u32) -> Option<std::ops::Range<u64>> {
        let slot = self.slot(container).ok()?;
        let (_, header) = self.header(&slot).await;
        let key = ChecksumKey::new(&slot.label.secret, &header?.salt);
        let footer = self.sound_footer(&slot, &key).await?;
        let from = u64::from(footer.body_block) * BLOCK_U64;
        Some(from..from.saturating_add(footer.body_len))
    }

    async fn footer(&self, slot: &Slot<'_, D>, key: &ChecksumKey) -> Section {
        let offset = slot.end() - BLOCK_U64;
        let section = Section::new("container footer").at(slot.place(offset), BLOCK_U64);
        let block = match slot.disk.read(offset, BLOCK).await {
            Ok(block) => block,
            Err(error) => return section.fault(error),
        };
        if Head::peek(&block, Magic::ContainerFooter).is_err() {
            return section.fact("present", false);
        }
        let section = Seen::<D>::raw(slot.label, Magic::ContainerFooter, key, offset, &block);
        let place = slot.place(offset);
        let Ok(footer) = ContainerFooter::decode(&block, key, slot.label.pool, place) else {
            return section.fact("stale_or_damaged", true);
        };
        let start = slot.start + u64::from(footer.body_block) * BLOCK_U64;
        let len = footer.body_len.min(slot.label.zones.container_len) as usize;
        match slot.disk.read(start, len).await {
            Ok(body)
                if body.get(..len).map(|body| *blake3::hash(body).as_bytes())
                    == Some(footer.body_hash) =>
            {
                section
            }
            Ok(_) => section.fault("its directories do not have the hash it names"),
            Err(error) => section.fault(error),
        }
    }

    /// The bytes of a directory, as long as its head says.
    async fn directory_bytes(&self, slot: &Slot<'_, D>, block: u16) -> Result<Vec<u8>, Fault> {
        let offset = slot.start + u64::from(block) * BLOCK_U64;
        let within = slot.end().saturating_sub(offset) as usize;
        let first = slot.disk.read(offset, BLOCK.min(within)).await?;
        let len = Head::peek(&first, Magic::Run).map_or(BLOCK, |head| head.len.get() as usize);
        Ok(slot.disk.read(offset, len.clamp(BLOCK, within.max(BLOCK))).await?.to_vec())
    }

    /// One run in a few facts.
    async fn run_line(&self, slot: &Slot<'_, D>, key: &ChecksumKey, block: u16) -> Section {
        let place = slot.place(slot.start + u64::from(block) * BLOCK_U64);
        let section = Section::new(format!("run {}:{block}", slot.container)).at(place, 0);
        let bytes = match self.directory_bytes(slot, block).await {
            Ok(bytes) => bytes,
            Err(error) => return section.fault(error),
        };
        match ClearDirectory::decode(&bytes, key, slot.label.pool, place) {
            Ok(clear) => {
                let header = clear.header;
                Section { len: Some(header.run_len.into()), ..section }
                    .fact("ordinal", header.ordinal)
                    .fact("frames", clear.frames.len())
                    .fact("domain", header.domain.0)
                    .fact("session", header.session.0)
            }
            // Of an earlier use of the slot, or damaged: the checksum cannot tell.
            Err(fault) => section.fact("not_of_this_generation", fault.to_string()),
        }
    }

    pub(super) async fn run(&self, container: u32, block: u16) -> Section {
        let section = Section::new(format!("run {container}:{block}"));
        let slot = match self.slot(container) {
            Ok(slot) => slot,
            Err(fault) => return section.fault(fault),
        };
        let offset = slot.start + u64::from(block) * BLOCK_U64;
        if offset >= slot.end() {
            return section.fault("the container has fewer blocks");
        }
        let bytes = match self.directory_bytes(&slot, block).await {
            Ok(bytes) => bytes,
            Err(error) => return section.fault(error),
        };
        let (header_section, header) = self.header(&slot).await;
        let salt = header.map_or([0; 16], |header| header.salt);
        let key = ChecksumKey::new(&slot.label.secret, &salt);
        let mut section = Seen::<D>::raw(slot.label, Magic::Run, &key, offset, &bytes);
        section.what = format!("run {container}:{block}");
        if !header_section.is_sound() {
            section = section.part(header_section);
        }
        let place = slot.place(offset);
        let clear = match ClearDirectory::decode(&bytes, &key, slot.label.pool, place) {
            Ok(clear) => clear,
            Err(fault) if section.faults.is_empty() => return section.fault(fault.to_string()),
            Err(_) => return section,
        };
        section.len = Some(clear.header.run_len.into());
        let origin = RunOrigin {
            pool: slot.label.pool,
            container,
            generation: salt,
            block,
            salt: clear.header.salt,
        };
        let seal = self.data_key.as_ref().map(|key| key.run(&origin));
        section = self.frames(section, &slot, offset, &clear.frames, seal.as_ref()).await;
        match clear.open(seal.as_ref()) {
            Ok(directory) => self.chunks(section, &directory, (container, block)),
            Err(fault) => section.fact("chunks", fault.to_string()),
        }
    }

    async fn frames(
        &self,
        mut section: Section,
        slot: &Slot<'_, D>,
        offset: u64,
        frames: &[FrameEntry],
        seal: Option<&RunSeal>,
    ) -> Section {
        for (index, frame) in (0u16..).zip(frames) {
            let start = offset + u64::from(frame.offset);
            let place = slot.place(start);
            let part = Section::new(format!("frame {index}"))
                .at(place, frame.stored_len.into())
                .fact("codec", format!("{:?}", frame.codec))
                .fact("plain_len", frame.plain_len)
                .fact("hash", frame.hash);
            let before = (start % BLOCK_U64) as usize;
            let read = slot.disk.read(start - before as u64, before + frame.stored_len as usize);
            section = section.part(match read.await {
                Err(error) => part.fault(error),
                Ok(mut bytes) => match bytes.get_mut(before..before + frame.stored_len as usize) {
                    Some(stored) if *blake3::hash(stored).as_bytes() == frame.hash => {
                        let codec = frame.codec as u8;
                        let opened =
                            seal.map(|seal| seal.open_frame(index, codec, frame.plain_len, stored));
                        match opened {
                            Some(Err(error)) => part.fault(error.to_string()),
                            _ => part,
                        }
                    }
                    _ => part.fault("stored bytes do not have the hash"),
                },
            });
        }
        section
    }

    fn chunks(&self, section: Section, directory: &Directory, run: (u32, u16)) -> Section {
        directory.chunks.iter().enumerate().fold(section, |section, (ordinal, chunk)| {
            let part = Section::new(format!("chunk {}", chunk.number.0))
                .fact("id", *chunk.id.as_bytes())
                .fact("kind", format!("{:?}", chunk.kind))
                .fact("len", chunk.len)
                .fact("frame", u32::from(chunk.frame))
                .fact("offset", chunk.offset);
            section.part(match self.index_place(chunk.number) {
                Some(place) if place == (run, ordinal as u16) => part,
                Some(((container, block), _)) => {
                    part.fact("elsewhere_now", format!("run {container}:{block}"))
                }
                None if self.pool.is_some() => part.fact("in_index", false),
                None => part,
            })
        })
    }
}
