//! What a disk holds, structure by structure, without believing any of it: for people who have to
//! look at three in the morning, and for tests that ask who claims a byte.

use crate::buffer::AlignedBuf;
use crate::device::Device;
use crate::error::OpenError;
use crate::format::{ChecksumKey, HeadFault, Label, Place, SealedEntry, Superblock};
use crate::pool::open::{LabelFound, read_label};
use crate::units::{BLOCK, BLOCK_U64};

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
