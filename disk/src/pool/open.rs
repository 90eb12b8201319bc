//! Opening a pool: whose disks these are, which root holds, and then [`recover`](super::recover).

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use futures_util::lock::Mutex;
use keelhold_chunk::cut::CutParams;
use keelhold_chunk::{IdKey, Reader};

use super::cache::{Cache, READ_MEMORY};
use super::checkpoint::Checkpoints;
use super::copies::Noted;
use super::disk::Disk;
use super::journal::{Journal, Tail};
use super::keys::Keys;
use super::layout::Fixed;
use super::phase::Phase;
use super::roots::root_superblock;
use super::space::Space;
use super::tables::Tables;
use super::{CreateOptions, Inner, Pool, Surroundings, create, epoch};
use crate::buffer::AlignedBuf;
use crate::device::Device;
use crate::error::{CreateError, OpenError};
use crate::format::{
    ChecksumKey, Codec, DiskRow, DiskState, FEATURE_ENCRYPTED, HeadFault, Label, Superblock, Zones,
};
use crate::index::Index;
use crate::mutants::Mutants;
use crate::units::{BLOCK, BLOCK_U64, DiskId, UnixNanos};
use crate::work::Work;

/// What the ends of a disk say about it.
#[derive(Debug)]
pub enum LabelFound {
    Ours(Box<Label>),
    /// Neither end carries the beginning of a label.
    None,
    /// Something that was a label, damaged at both ends.
    Damaged {
        front: HeadFault,
        back: HeadFault,
    },
}

/// Reads who a disk is. Touches nothing.
pub async fn read_label<D: Device>(device: &D) -> Result<LabelFound, OpenError> {
    let len = device.geometry().len;
    let name = || device.geometry().name.to_string();
    let (mut faults, mut failure) = (Vec::new(), None);
    for offset in [0, len.saturating_sub(len % BLOCK_U64).saturating_sub(BLOCK_U64)] {
        let (result, block) = device.read(offset, AlignedBuf::zeroed(BLOCK)).await;
        // One end that cannot be read does not hide what the other says.
        if let Err(source) = result {
            failure = Some(source);
            continue;
        }
        match Label::decode(&block, offset) {
            Ok(label) => return Ok(LabelFound::Ours(Box::new(label))),
            Err(fault) => faults.push(fault),
        }
    }
    if let Some(source) = failure {
        return Err(OpenError::Device { name: name(), source });
    }
    if faults.iter().all(|fault| matches!(fault, HeadFault::Magic { .. })) {
        return Ok(LabelFound::None);
    }
    Ok(LabelFound::Damaged { front: faults[0], back: faults[1] })
}

/// A device and who it says it is.
pub(super) struct Labelled<D> {
    pub(super) device: D,
    pub(super) label: Label,
}

/// Who the devices are. One that cannot be read is as good as missing, as long as another can.
async fn labels<D: Device>(devices: Vec<D>) -> Result<Vec<Labelled<D>>, OpenError> {
    let mut labelled: Vec<Labelled<D>> = Vec::new();
    let mut failure = None;
    for device in devices {
        let name = device.geometry().name.to_string();
        let label = match read_label(&device).await {
            Ok(LabelFound::Ours(label)) => *label,
            Ok(LabelFound::None) => return Err(OpenError::NoLabel { name }),
            Ok(LabelFound::Damaged { front, back }) => {
                return Err(OpenError::BadLabels { name, front, back });
            }
            Err(error) => {
                failure = Some(error);
                continue;
            }
        };
        if let Some(first) = labelled.first()
            && first.label.pool != label.pool
        {
            let (expected, found) = (first.label.pool, label.pool);
            return Err(OpenError::OtherPool { name, expected, found });
        }
        if labelled.iter().any(|other| other.label.disk == label.disk) {
            return Err(OpenError::Twice { disk: label.disk });
        }
        labelled.push(Labelled { device, label });
    }
    match (labelled.is_empty(), failure) {
        (true, Some(error)) => Err(error),
        _ => Ok(labelled),
    }
}

/// The disks at the positions the root gives them, those that are missing among them. A disk with
/// the pool's label that the root does not list was being added in a crash, or was retired: it is
/// left alone.
pub(super) fn in_order<D: Device>(
    labelled: Vec<Labelled<D>>,
    root: &Superblock,
    mutants: Mutants,
) -> Result<Vec<Rc<Disk<D>>>, OpenError> {
    let unknown = Zones {
        // Offsets on a missing disk are still reckoned with, for messages.
        disk_len: 1 << 62,
        container_count: (1 << 20) - 1,
        ..labelled.first().map(|first| first.label.zones).ok_or(OpenError::NoSuperblock)?
    };
    let mut by_id: BTreeMap<DiskId, Labelled<D>> =
        labelled.into_iter().map(|labelled| (labelled.label.disk, labelled)).collect();
    let mut disks = Vec::new();
    for (index, row) in root.disks.iter().enumerate() {
        let there = by_id.remove(&row.id).filter(|_| row.state != DiskState::Retired);
        let (state, left_epoch) = match (row.state, &there) {
            (DiskState::Retired, _) => (DiskState::Retired, row.left_epoch),
            // It was away: what was written meanwhile is elsewhere, and it takes part again.
            (DiskState::Failed | DiskState::Online, Some(_)) => (DiskState::Online, 0),
            (DiskState::Draining, Some(_)) => (DiskState::Draining, 0),
            (DiskState::Failed, None) => (DiskState::Failed, row.left_epoch),
            (DiskState::Online | DiskState::Draining, None) => (DiskState::Failed, root.epoch),
        };
        let zones = there.as_ref().map_or(unknown, |there| there.label.zones);
        let device = there.map(|there| there.device);
        let row = DiskRow { id: row.id, state, left_epoch };
        disks.push(Rc::new(Disk::new(index, row, device, zones, mutants)));
    }
    if !disks.iter().any(|disk| disk.takes_new()) {
        // The others are gone: what was being emptied is needed again.
        disks.iter().filter(|disk| disk.is_there()).for_each(|disk| {
            disk.state.set(DiskState::Online);
        });
    }
    let is_there = |disk: u16| disks.get(usize::from(disk)).is_some_and(|disk| disk.is_there());
    if !root.journal.iter().any(|place| is_there(place.disk)) {
        // Nobody knows what was announced since the root.
        let disk = root.disks.get(usize::from(root.journal[0].disk));
        let disk = disk.ok_or(OpenError::Contradiction { what: "a journal outside the disks" })?;
        return Err(OpenError::Missing { disk: disk.id });
    }
    if root.journal.iter().any(|place| usize::from(place.disk) >= disks.len()) {
        return Err(OpenError::Contradiction { what: "a journal outside the disks" });
    }
    Ok(disks)
}

/// The disks, at least one, and the superblock that holds.
pub(super) async fn root<D: Device>(
    devices: Vec<D>,
    mutants: Mutants,
) -> Result<(Vec<Labelled<D>>, Superblock), OpenError> {
    let labelled = labels(devices).await?;
    if labelled.is_empty() {
        return Err(OpenError::NoSuperblock);
    }
    let superblock = root_superblock(&labelled, mutants).await?;
    let features = superblock.features;
    let unknown = features.incompatible & !FEATURE_ENCRYPTED | features.read_only_compatible;
    if unknown != 0 {
        return Err(OpenError::Features { bits: unknown });
    }
    Ok((labelled, superblock))
}

impl<D: Device, W: Work> Pool<D, W> {
    /// Makes a pool on `devices` and opens it. What was on them is lost: callers ask before.
    pub async fn create(
        devices: Vec<D>,
        mut surroundings: Surroundings<W>,
        options: CreateOptions,
        now: UnixNanos,
    ) -> Result<Self, CreateError> {
        let key = surroundings.key.clone();
        create::format(&devices, surroundings.entropy.as_mut(), &options, key.as_ref(), now)
            .await?;
        let name = devices.first().map(|device| device.geometry().name.to_string());
        Self::open(devices, surroundings, now).await.map_err(|error| match error {
            OpenError::Device { name, source } => CreateError::Device { name, source },
            OpenError::Commit(error) => error.into(),
            other => {
                CreateError::NotReadBack { name: name.unwrap_or_default(), source: Box::new(other) }
            }
        })
    }

    /// Opens the pool on `devices`: its disks in any order, all of them or as many as there are. It
    /// opens as long as everything behind its root is on one of them. Recovers by itself from
    /// whatever a crash left, and makes a checkpoint.
    pub async fn open(
        devices: Vec<D>,
        surroundings: Surroundings<W>,
        now: UnixNanos,
    ) -> Result<Self, OpenError> {
        let phase = Phase::begin("recovery");
        let pool = Self::open_unrecovered(devices, surroundings).await?;
        phase.passed("state read");
        pool.inner.witness(now);
        pool.inner.checkpoint().await?;
        Ok(pool)
    }

    /// As [`open`](Self::open), without writing anything: to look, not to work.
    pub async fn open_read_only(
        devices: Vec<D>,
        surroundings: Surroundings<W>,
    ) -> Result<Self, OpenError> {
        let pool = Self::open_unrecovered(devices, in_memory(surroundings)).await?;
        pool.inner.journal.fail(pool.inner.disk(0).id);
        Ok(pool)
    }

    /// As [`open_read_only`](Self::open_read_only), for looking at damage: where recovery fails, gives the
    /// pool as far as it came, and why it went no further.
    pub(super) async fn open_damaged(
        devices: Vec<D>,
        surroundings: Surroundings<W>,
    ) -> Result<(Self, Option<OpenError>), OpenError> {
        let (inner, superblock) = Self::unrecovered(devices, in_memory(surroundings)).await?;
        inner.journal.fail(inner.disk(0).id);
        let stopped = inner.recover(&superblock).await.err();
        Ok((Self { inner }, stopped))
    }

    async fn open_unrecovered(
        devices: Vec<D>,
        surroundings: Surroundings<W>,
    ) -> Result<Self, OpenError> {
        let (inner, superblock) = Self::unrecovered(devices, surroundings).await?;
        inner.recover(&superblock).await?;
        Ok(Self { inner })
    }

    async fn unrecovered(
        devices: Vec<D>,
        surroundings: Surroundings<W>,
    ) -> Result<(Rc<Inner<D, W>>, Superblock), OpenError> {
        let (labelled, superblock) = root(devices, surroundings.mutants).await?;
        let mutants = surroundings.mutants;
        let label = labelled[0].label.clone();
        let keys = Keys::open(&superblock, label.pool, surroundings.key.as_ref(), mutants)?;
        let disks = in_order(labelled, &superblock, mutants)?;
        let mut reader = Reader::new(&keys.secrets.cut_params);
        let cut = CutParams::decode(&mut reader).map_err(OpenError::Tables)?;
        let fixed = Fixed {
            pool: label.pool,
            secret: label.secret,
            key: ChecksumKey::new(&label.secret, &[0; 16]),
            id_key: IdKey::new(keys.secrets.id_key),
            cut,
            index_secret: keys.secrets.index_secret,
            seal: keys.data_key,
            container_len: label.zones.container_len,
            journal_len: label.zones.journal_len,
            copies: label.copies,
            mutants,
        };
        let inner = assemble(fixed, disks, surroundings, &superblock);
        inner.wrapping.replace(keys.wrapping);
        Ok((inner, superblock))
    }
}

/// Who writes nothing cannot make sheets that are missing: the index is in memory, however large.
fn in_memory<W>(surroundings: Surroundings<W>) -> Surroundings<W> {
    Surroundings { index_budget: u64::MAX, ..surroundings }
}

/// Small files make chunks of some 16 KiB: more shards than needed cost a few KiB.
fn expected_chunks<D: Device>(disks: &[Rc<Disk<D>>]) -> u64 {
    let there = disks.iter().filter(|disk| disk.is_there());
    there.map(|disk| disk.zones.disk_len).sum::<u64>() >> 14
}

impl<D: Device, W: Work> Inner<D, W> {
    pub(super) fn expected_chunks(&self) -> u64 {
        expected_chunks(&self.disks())
    }
}

pub(super) fn assemble<D: Device, W: Work>(
    fixed: Fixed,
    disks: Vec<Rc<Disk<D>>>,
    surroundings: Surroundings<W>,
    superblock: &Superblock,
) -> Rc<Inner<D, W>> {
    let index = Index::for_chunks(fixed.index_secret, expected_chunks(&disks));
    let slots = disks.iter().map(|disk| disk.takes_new().then_some(disk.zones.container_count));
    let tables = Tables::new(index, slots);
    let tail = Tail {
        sequence: superblock.journal_sequence,
        position: superblock.journal_position,
        parent: superblock.journal_parent,
        epoch: superblock.epoch,
    };
    let checkpoints = Checkpoints {
        sequence: superblock.sequence,
        parent: superblock.parent,
        epoch: superblock.epoch + 1,
    };
    Rc::new_cyclic(|this| Inner {
        this: this.clone(),
        fixed,
        disks: RefCell::new(disks),
        noted: Noted::default(),
        work: surroundings.work,
        spawner: surroundings.spawner,
        entropy: RefCell::new(surroundings.entropy),
        read_buffers: surroundings.buffers.alike(READ_MEMORY),
        buffers: surroundings.buffers,
        mutants: surroundings.mutants,
        index_budget: surroundings.index_budget,
        near: RefCell::default(),
        tables: RefCell::new(tables),
        journal: Journal::new(tail, superblock.journal),
        space: Space::default(),
        cache: RefCell::new(Cache::new()),
        live: RefCell::default(),
        trees: RefCell::default(),
        turns: RefCell::default(),
        readers: RefCell::default(),
        reclaiming: Mutex::new(()),
        reclaim_progress: Cell::default(),
        epochs: epoch::Epochs::default(),
        leasing: Mutex::new(()),
        recording: Mutex::new(()),
        moving: Mutex::new(()),
        checkpoints: Mutex::new(checkpoints),
        codec: Cell::new(Codec::Zstd),
        wrapping: RefCell::default(),
    })
}
