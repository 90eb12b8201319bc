//! Opening a pool: whose disks these are, which root holds, and then [`recover`](super::recover).

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use futures_util::lock::Mutex;
use keelhold_chunk::cut::CutParams;
use keelhold_chunk::{IdKey, Reader};

use super::cache::{Cache, READ_MEMORY};
use super::checkpoint::Checkpoints;
use super::journal::{Journal, Tail};
use super::layout::{Disk, Fixed};
use super::phase::Phase;
use super::space::Space;
use super::tables::Tables;
use super::{CreateOptions, Inner, Pool, Surroundings, create, epoch};
use crate::buffer::AlignedBuf;
use crate::device::Device;
use crate::device::latch::Latched;
use crate::error::{CreateError, OpenError};
use crate::format::{ChecksumKey, Codec, HeadFault, Label, Place, Superblock};
use crate::index::Index;
use crate::mutants::{Mutant, Mutants};
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

async fn labels<D: Device>(devices: Vec<D>) -> Result<Vec<(D, Label)>, OpenError> {
    let mut labelled: Vec<(D, Label)> = Vec::new();
    for device in devices {
        let name = device.geometry().name.to_string();
        let label = match read_label(&device).await? {
            LabelFound::Ours(label) => *label,
            LabelFound::None => return Err(OpenError::NoLabel { name }),
            LabelFound::Damaged { front, back } => {
                return Err(OpenError::BadLabels { name, front, back });
            }
        };
        if let Some((_, first)) = labelled.first()
            && first.pool != label.pool
        {
            return Err(OpenError::OtherPool { name, expected: first.pool, found: label.pool });
        }
        if labelled.iter().any(|(_, other)| other.disk == label.disk) {
            return Err(OpenError::Twice { disk: label.disk });
        }
        labelled.push((device, label));
    }
    Ok(labelled)
}

/// The superblock of highest sequence that two copies confirm: one misdirected or torn write never
/// decides what the pool is.
async fn root_superblock<D: Device>(
    labelled: &[(D, Label)],
    mutants: Mutants,
) -> Result<Superblock, OpenError> {
    let mut found: Vec<(Superblock, u32)> = Vec::new();
    let mut failure = None;
    for (device, label) in labelled {
        let key = ChecksumKey::new(&label.secret, &[0; 16]);
        for offset in label.zones.superblocks() {
            let (result, block) = device.read(offset, AlignedBuf::zeroed(BLOCK)).await;
            if let Err(source) = result {
                let name = device.geometry().name.to_string();
                failure = Some(OpenError::Device { name, source });
                continue;
            }
            let place = Place { disk: label.disk, offset };
            let Ok(superblock) = Superblock::decode(&block, &key, label.pool, place) else {
                continue;
            };
            match found.iter_mut().find(|(other, _)| *other == superblock) {
                Some((_, copies)) => *copies += 1,
                None => found.push((superblock, 1)),
            }
        }
    }
    let quorum = if mutants.keeps(Mutant::Quorum) { 2 } else { 1 };
    found
        .into_iter()
        .filter(|(_, copies)| *copies >= quorum)
        .map(|(superblock, _)| superblock)
        .max_by_key(|superblock| superblock.sequence)
        .ok_or(failure.unwrap_or(OpenError::NoSuperblock))
}

/// Orders the disks as the superblock does; all of them must be there.
fn in_order<D: Device>(
    labelled: Vec<(D, Label)>,
    superblock: &Superblock,
    mutants: Mutants,
) -> Result<Vec<Disk<D>>, OpenError> {
    let mut by_id: BTreeMap<DiskId, (D, Label)> =
        labelled.into_iter().map(|(device, label)| (label.disk, (device, label))).collect();
    let mut disks = Vec::new();
    for id in &superblock.disks {
        let (device, label) = by_id.remove(id).ok_or(OpenError::Missing { disk: *id })?;
        disks.push(Disk {
            id: *id,
            device: Latched::new(device),
            zones: label.zones,
            dirty: Cell::new(false),
            flushing: Mutex::new(()),
            mutants,
            in_flight: Cell::new(0),
        });
    }
    if by_id.is_empty() {
        return Ok(disks);
    }
    Err(OpenError::Contradiction { what: "a disk carries the pool's label and is not a member" })
}

impl<D: Device, W: Work> Pool<D, W> {
    /// Makes a pool on `devices` and opens it. What was on them is lost: callers ask before.
    pub async fn create(
        devices: Vec<D>,
        mut surroundings: Surroundings<W>,
        options: CreateOptions,
        now: UnixNanos,
    ) -> Result<Self, CreateError> {
        create::format(&devices, surroundings.entropy.as_mut(), &options, now).await?;
        let name = devices.first().map(|device| device.geometry().name.to_string());
        Self::open(devices, surroundings, now).await.map_err(|error| match error {
            OpenError::Device { name, source } => CreateError::Device { name, source },
            OpenError::Commit(error) => error.into(),
            other => {
                CreateError::NotReadBack { name: name.unwrap_or_default(), source: Box::new(other) }
            }
        })
    }

    /// Opens the pool on `devices`, all of its disks in any order. Recovers by itself from whatever
    /// a crash left, and makes a checkpoint.
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
        let pool = Self::open_unrecovered(devices, surroundings).await?;
        pool.inner.journal.fail(pool.inner.disks[0].id);
        Ok(pool)
    }

    async fn open_unrecovered(
        devices: Vec<D>,
        surroundings: Surroundings<W>,
    ) -> Result<Self, OpenError> {
        let labelled = labels(devices).await?;
        let Some((_, label)) = labelled.first() else {
            return Err(OpenError::NoSuperblock);
        };
        let label = label.clone();
        let superblock = root_superblock(&labelled, surroundings.mutants).await?;
        let features = superblock.features;
        if features.incompatible != 0 || features.read_only_compatible != 0 {
            let bits = features.incompatible | features.read_only_compatible;
            return Err(OpenError::Features { bits });
        }
        let disks = in_order(labelled, &superblock, surroundings.mutants)?;
        let mut reader = Reader::new(&superblock.cut_params);
        let cut = CutParams::decode(&mut reader).map_err(OpenError::Tables)?;
        let fixed = Fixed {
            pool: label.pool,
            secret: label.secret,
            key: ChecksumKey::new(&label.secret, &[0; 16]),
            id_key: IdKey::new(superblock.id_key),
            cut,
            index_secret: superblock.index_secret,
            container_len: label.zones.container_len,
            journal_len: label.zones.journal_len,
        };
        let inner = assemble(fixed, disks, surroundings, &superblock);
        inner.recover(&superblock).await?;
        Ok(Self { inner })
    }
}

fn assemble<D: Device, W: Work>(
    fixed: Fixed,
    disks: Vec<Disk<D>>,
    surroundings: Surroundings<W>,
    superblock: &Superblock,
) -> Rc<Inner<D, W>> {
    let capacity: u64 = disks.iter().map(|disk| disk.zones.disk_len).sum();
    // Small files make chunks of some 16 KiB: more shards than needed cost a few KiB.
    let index = Index::for_chunks(superblock.index_secret, capacity >> 14);
    let slots = disks.iter().map(|disk| disk.zones.container_count);
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
        disks,
        work: surroundings.work,
        spawner: surroundings.spawner,
        entropy: RefCell::new(surroundings.entropy),
        read_buffers: surroundings.buffers.alike(READ_MEMORY),
        buffers: surroundings.buffers,
        mutants: surroundings.mutants,
        tables: RefCell::new(tables),
        journal: Journal::new(tail),
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
        checkpoints: Mutex::new(checkpoints),
        codec: Cell::new(Codec::Zstd),
    })
}
