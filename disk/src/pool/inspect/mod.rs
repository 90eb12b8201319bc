//! What a disk holds, structure by structure, without believing any of it: for people who have to
//! look at three in the morning, and for tests that ask who claims a byte.

mod containers;
mod journal;
mod offset;
mod section;
mod seen;
mod tables;

use std::collections::BTreeMap;

use keelhold_chunk::ChunkId;

use super::keys::Keys;
use super::open::root;
use super::{Pool, Surroundings};
use crate::buffer::AlignedBuf;
use crate::device::Device;
use crate::error::OpenError;
use crate::format::SlotRef;
use crate::format::{ChecksumKey, HeadFault, Label, Place, SealedEntry, Superblock};
use crate::pool::open::{LabelFound, read_label};
use crate::seal::DataKey;
use crate::units::{BLOCK, BLOCK_U64, ChunkNumber, PointId, SessionId, SourceId};
use crate::work::Work;
use section::words;
pub use section::{Fact, Section};
use seen::Seen;

/// What somebody wants to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Where {
    Overview,
    Label,
    /// All copies on every disk, or the one with this number.
    Superblock(Option<u64>),
    /// All entries, or those with this sequence.
    Journal(Option<u64>),
    Container(u32),
    /// Container and first block.
    Run(u32, u16),
    Chunk(ChunkNumber),
    ChunkId(ChunkId),
    Point(PointId),
    Session(SessionId),
    Source(SourceId),
    Record(String),
    /// The byte `offset` of the disk with this index among those given.
    Offset {
        disk: usize,
        offset: u64,
    },
    State,
}

/// Disks as they are found, and the pool on them as far as it can be opened.
pub struct Inspector<D: Device, W: Work> {
    disks: Vec<Seen<D>>,
    root: Option<Superblock>,
    data_key: Option<DataKey>,
    pool: Option<Pool<D, W>>,
    /// Why the pool is not open, or not as far as it should be.
    stopped: Option<String>,
    /// Where containers lie as their headers say: for pools whose tables do not.
    headers: BTreeMap<u32, SlotRef>,
}

impl<D: Device, W: Work> Inspector<D, W> {
    /// Looks at the disks. Nothing is written, and nothing found is an error here.
    pub async fn look(devices: Vec<D>, surroundings: Surroundings<W>) -> Self {
        let mut disks = Vec::new();
        for device in &devices {
            disks.push(Seen::look(device.clone()).await);
        }
        let headers = BTreeMap::new();
        let mut own =
            Self { disks, root: None, data_key: None, pool: None, stopped: None, headers };
        let mutants = surroundings.mutants;
        match root(devices.clone(), mutants).await {
            Ok((labelled, superblock)) => {
                let pool = labelled[0].label.pool;
                let keys = Keys::open(&superblock, pool, surroundings.key.as_ref(), mutants);
                own.data_key = keys.ok().and_then(|keys| keys.data_key);
                own.root = Some(superblock);
            }
            Err(error) => own.stopped = Some(words(&error)),
        }
        match Pool::open_damaged(devices, surroundings).await {
            Ok((pool, stopped)) => {
                own.pool = Some(pool);
                own.stopped = stopped.map(|error| words(&error));
            }
            Err(error) => own.stopped = Some(words(&error)),
        }
        if own.stopped.is_some() {
            own.headers = own.scan_headers().await;
        }
        own
    }

    /// Labels of the disks in the order they were given.
    #[must_use]
    pub fn labels(&self) -> Vec<Option<&Label>> {
        self.disks.iter().map(|disk| disk.label.as_ref()).collect()
    }

    pub async fn show(&self, place: &Where) -> Vec<Section> {
        match place {
            Where::Overview => self.overview().await,
            Where::Label => {
                let mut sections = Vec::new();
                for disk in &self.disks {
                    sections.extend(disk.label_sections().await);
                }
                sections
            }
            Where::Superblock(copy) => {
                let mut sections = Vec::new();
                for disk in &self.disks {
                    sections.extend(disk.superblock_sections(*copy, self.root.as_ref()).await);
                }
                sections
            }
            Where::Journal(sequence) => self.journal(*sequence).await,
            Where::Container(number) => vec![self.container(*number).await],
            Where::Run(container, block) => vec![self.run(*container, *block).await],
            Where::Offset { disk, offset } => self.offset(*disk, *offset).await,
            Where::Chunk(number) => self.chunk(*number).await,
            Where::ChunkId(id) => self.chunk_id(id).await,
            Where::Point(id) => vec![self.point(id).await],
            Where::Session(id) => vec![self.session(id)],
            Where::Source(id) => vec![self.source(id)],
            Where::Record(name) => vec![self.record(name)],
            Where::State => self.state().await,
        }
    }

    async fn overview(&self) -> Vec<Section> {
        let mut sections = Vec::new();
        for disk in &self.disks {
            let mut section = Section::new(format!("disk {}", disk.name));
            let Some(label) = &disk.label else {
                section.parts = disk.label_sections().await;
                sections.push(section.fault("no sound label"));
                continue;
            };
            let zones = &label.zones;
            let [front, back] = zones.journals();
            section = section
                .fact("pool", label.pool.0)
                .fact("disk", label.disk.0)
                .fact("index", u32::from(label.disk_index))
                .fact("copies", u32::from(label.copies))
                .time("created_at", label.created_at as i64)
                .fact("bytes", zones.disk_len)
                .fact(
                    "journal_zones",
                    format!("{front} and {back}, {} bytes each", zones.journal_len),
                )
                .fact("containers_from", zones.container(0))
                .fact("container_count", zones.container_count)
                .fact("container_len", zones.container_len);
            for part in disk.label_sections().await {
                section = section.part(brief(part, &["offset"]));
            }
            let keep = ["sequence", "epoch", "journal_sequence", "journal_position", "wins"];
            for part in disk.superblock_sections(None, self.root.as_ref()).await {
                section = section.part(brief(part, &keep));
            }
            sections.push(section);
        }
        sections.push(self.journal_span().await);
        sections.push(self.pool_summary());
        sections
    }

    /// Notes why the pool is not open, or only in part.
    fn with_state(&self, section: Section) -> Section {
        match &self.stopped {
            Some(why) => section.fault(format!("the pool does not open: {why}")),
            None => section,
        }
    }
}

impl<D: Device, W: Work> std::fmt::Debug for Inspector<D, W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Inspector({} disks, {:?})", self.disks.len(), self.pool)
    }
}

/// A section with only some of its facts: what is wrong with it stays.
fn brief(mut section: Section, keep: &[&str]) -> Section {
    section.facts.retain(|(name, _)| keep.contains(&name.as_str()));
    section
}

/// What was found at the fixed places of a disk.
#[derive(Debug)]
pub struct DiskReport {
    pub label: Label,
    /// The four superblocks with their offsets.
    pub superblocks: Vec<(u64, Result<Superblock, HeadFault>)>,
    /// Valid journal entries: zone, offset on the disk, entry. Their operations may be sealed.
    pub journal: Vec<(usize, u64, SealedEntry)>,
}

/// Reads label, superblocks and journal of one disk. Touches nothing.
pub async fn inspect_disk<D: Device>(device: &D) -> Result<DiskReport, OpenError> {
    let name = || device.geometry().name.to_string();
    let label = match read_label(device).await? {
        LabelFound::Ours(label) => *label,
        LabelFound::None => return Err(OpenError::NoLabel { name: name() }),
        LabelFound::Damaged { front, back } => {
            return Err(OpenError::BadLabels { name: name(), front, back });
        }
    };
    let key = ChecksumKey::new(&label.secret, &[0; 16]);
    let mut superblocks = Vec::new();
    for offset in label.zones.superblocks() {
        let block = read(device, offset, BLOCK).await?;
        let place = Place { disk: label.disk, offset };
        superblocks.push((offset, Superblock::decode(&block, &key, label.pool, place)));
    }
    let mut journal = Vec::new();
    for (zone, start) in label.zones.journals().into_iter().enumerate() {
        for within in (0..label.zones.journal_len).step_by(BLOCK) {
            let offset = start + within;
            let block = read(device, offset, BLOCK).await?;
            let Ok(len) = SealedEntry::peek_len(&block) else {
                continue;
            };
            if len as u64 > label.zones.journal_len - within {
                continue;
            }
            let bytes = read(device, offset, len.next_multiple_of(BLOCK)).await?;
            let place = Place { disk: label.disk, offset };
            if let Ok((entry, _)) = SealedEntry::decode(&bytes, &key, label.pool, place) {
                journal.push((zone, offset, entry));
            }
        }
    }
    Ok(DiskReport { label, superblocks, journal })
}

async fn read<D: Device>(device: &D, offset: u64, len: usize) -> Result<AlignedBuf, OpenError> {
    debug_assert!(offset.is_multiple_of(BLOCK_U64));
    let (result, buf) = device.read(offset, AlignedBuf::zeroed(len)).await;
    let name = device.geometry().name.to_string();
    result.map_err(|source| OpenError::Device { name, source })?;
    Ok(buf)
}
