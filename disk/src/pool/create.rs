//! Making a pool on empty disks.
//!
//! Labels are written last: until the first of them is durable a disk is not ours, and whoever looks
//! finds what was there before or nothing.

use keelhold_chunk::cut::CutParams;

use super::Entropy;
use super::keys::{Keys, lock};
use crate::buffer::AlignedBuf;
use crate::device::Device;
use crate::error::CreateError;
use crate::format::{
    ChecksumKey, DISKS_MAX, DiskRow, DiskState, Features, JournalPlace, Label, Place, Superblock,
    Zones,
};
use crate::seal::{Secrets, WrappingKey};
use crate::units::{BLOCK_U64, DiskId, PoolId, UnixNanos};

const CONTAINER_LEN_MIN: u64 = 64 << 10;
const CONTAINER_LEN_MAX: u64 = 256 << 20;
const CONTAINER_LEN_DEFAULT: u64 = 32 << 20;
const JOURNAL_LEN_MIN: u64 = 64 << 10;
const JOURNAL_LEN_MAX: u64 = 32 << 20;
/// Fewer containers per pool would leave nothing beside the reserve.
const CONTAINER_COUNT_MIN: u64 = 24;

/// What can be chosen about a pool when it is made.
#[derive(Debug, Clone, Default)]
pub struct CreateOptions {
    /// By default 32 MiB, less on small pools.
    pub container_len: Option<u64>,
    /// By default a 64th of the smallest disk, between 64 KiB and 32 MiB.
    pub journal_len: Option<u64>,
    /// By default the measured ones under a random seed.
    pub cut: Option<CutParams>,
    /// The id key of an appliance whose pool was lost; random for a new one.
    pub id_key: Option<[u8; 32]>,
    /// Disks every container is written to: 1 by default, or 2.
    pub copies: Option<u16>,
}

struct Plan {
    zones: Vec<Zones>,
}

impl CreateOptions {
    fn plan<D: Device>(&self, devices: &[D]) -> Result<Plan, CreateError> {
        if devices.is_empty() || devices.len() > DISKS_MAX {
            return Err(CreateError::DiskCount { found: devices.len(), limit: DISKS_MAX });
        }
        let copies = self.copies.unwrap_or(1);
        if !(1..=2).contains(&copies) || usize::from(copies) > devices.len() {
            return Err(CreateError::Copies { copies, disks: devices.len() });
        }
        let lens: Vec<u64> = devices.iter().map(|device| device.geometry().len).collect();
        let smallest = lens.iter().copied().min().unwrap_or(0);
        let total: u64 = lens.iter().sum();
        let container_len = self.container_len.unwrap_or_else(|| {
            let largest = (total / 128).next_power_of_two() / 2;
            largest.clamp(CONTAINER_LEN_MIN, CONTAINER_LEN_DEFAULT)
        });
        if !(CONTAINER_LEN_MIN..=CONTAINER_LEN_MAX).contains(&container_len)
            || !container_len.is_multiple_of(BLOCK_U64)
        {
            return Err(CreateError::ContainerLen { len: container_len });
        }
        let journal_len = self.journal_len.unwrap_or(smallest / 64);
        let journal_len = journal_len.clamp(JOURNAL_LEN_MIN, JOURNAL_LEN_MAX);
        let journal_len = journal_len - journal_len % BLOCK_U64;
        let per_disk = CONTAINER_COUNT_MIN.div_ceil(devices.len() as u64);
        let mut zones = Vec::new();
        for (device, len) in devices.iter().zip(lens) {
            let plan = Zones::plan(len - len % BLOCK_U64, container_len, journal_len);
            match plan.filter(|zones| zones.container_count >= per_disk) {
                Some(plan) => zones.push(plan),
                None => {
                    return Err(CreateError::TooSmall {
                        name: device.geometry().name.to_string(),
                        len,
                        needed: per_disk * container_len + 2 * journal_len + 32 * BLOCK_U64,
                    });
                }
            }
        }
        Ok(Plan { zones })
    }
}

/// Writes superblocks and labels. The disks' former content is lost.
pub(super) async fn format<D: Device>(
    devices: &[D],
    entropy: &mut dyn Entropy,
    options: &CreateOptions,
    key: Option<&WrappingKey>,
    now: UnixNanos,
) -> Result<PoolId, CreateError> {
    let plan = options.plan(devices)?;
    let mut random = |len: usize| {
        let mut bytes = vec![0; len];
        entropy.fill(&mut bytes);
        bytes
    };
    let mut random32 = || -> [u8; 32] { random(32).try_into().expect("asked for 32 bytes") };
    let (secret, index_secret, seed) = (random32(), random32(), random32());
    let id_key = options.id_key.unwrap_or_else(&mut random32);
    let mut random16 = || -> [u8; 16] { random(16).try_into().expect("asked for 16 bytes") };
    let pool = PoolId(random16());
    let disks: Vec<DiskId> = devices.iter().map(|_| DiskId(random16())).collect();
    let cut = options.cut.clone().unwrap_or_else(|| CutParams::with_seed(seed));
    let secrets = Secrets { id_key, index_secret, cut_params: cut.to_bytes() };
    let keys = Keys::make(secrets, pool, key, |bytes| entropy.fill(bytes));
    let superblock = Superblock {
        sequence: 1,
        parent: [0; 16],
        features: Features::default(),
        epoch: 1,
        journal_sequence: 1,
        journal_position: 0,
        journal_parent: [0; 16],
        witnessed: now.0,
        id_key: [0; 32],
        cut_params: Vec::new(),
        index_secret: [0; 32],
        key_number: 0,
        wrapped_key: Vec::new(),
        root: Vec::new(),
        journal: journal_of(devices.len()),
        disks: disks
            .iter()
            .map(|id| DiskRow { id: *id, state: DiskState::Online, left_epoch: 0 })
            .collect(),
    };
    let superblock = lock(superblock, &keys.secrets, keys.wrapping.as_ref());
    let key = ChecksumKey::new(&secret, &[0; 16]);
    for ((device, disk), zones) in devices.iter().zip(&disks).zip(&plan.zones) {
        for offset in zones.superblocks() {
            let block = superblock.encode(&key, pool, Place { disk: *disk, offset });
            write(device, offset, &block).await?;
        }
        flush(device).await?;
    }
    for (index, ((device, disk), zones)) in devices.iter().zip(&disks).zip(&plan.zones).enumerate()
    {
        let label = Label {
            pool,
            disk: *disk,
            disk_index: index as u16,
            copies: options.copies.unwrap_or(1),
            created_at: now.0 as u64,
            zones: *zones,
            secret,
        };
        for offset in zones.labels() {
            write(device, offset, &label.encode(offset)).await?;
        }
        flush(device).await?;
    }
    Ok(pool)
}

/// On the first two disks, or at both ends of the only one.
fn journal_of(disk_count: usize) -> [JournalPlace; 2] {
    let second = if disk_count > 1 { (1, 0) } else { (0, 1) };
    [(0, 0), second].map(|(disk, zone)| JournalPlace { disk, zone })
}

async fn write<D: Device>(device: &D, offset: u64, block: &[u8]) -> Result<(), CreateError> {
    let (result, _) = device.write(offset, AlignedBuf::padded(block)).await;
    result.map_err(|source| failed(device, source))
}

async fn flush<D: Device>(device: &D) -> Result<(), CreateError> {
    device.flush().await.map_err(|source| failed(device, source))
}

fn failed<D: Device>(device: &D, source: crate::device::DeviceError) -> CreateError {
    CreateError::Device { name: device.geometry().name.to_string(), source }
}
