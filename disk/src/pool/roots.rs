//! Which root holds, over all disks that are there: one misdirected or torn write never decides it,
//! a disk that was away never does, and halves that were written apart are not put together.

use super::open::Labelled;
use crate::buffer::AlignedBuf;
use crate::device::Device;
use crate::error::OpenError;
use crate::format::{ChecksumKey, DiskRow, DiskState, Place, Superblock};
use crate::mutants::{Mutant, Mutants};
use crate::units::{BLOCK, DiskId};

/// What the superblocks of one disk say.
struct OfDisk {
    disk: DiskId,
    /// Sound ones, with the number of copies that agree.
    found: Vec<(Superblock, u32)>,
}

/// The superblock of highest sequence that two copies confirm.
pub(super) async fn root_superblock<D: Device>(
    labelled: &[Labelled<D>],
    mutants: Mutants,
) -> Result<Superblock, OpenError> {
    let mut disks = Vec::new();
    let mut failure = None;
    for labelled in labelled {
        disks.push(read_disk(labelled, &mut failure).await);
    }
    let mut found: Vec<(Superblock, u32)> = Vec::new();
    for (superblock, copies) in disks.iter().flat_map(|disk| &disk.found) {
        match found.iter_mut().find(|(other, _)| other == superblock) {
            Some((_, sum)) => *sum += copies,
            None => found.push((superblock.clone(), *copies)),
        }
    }
    let quorum = if mutants.keeps(Mutant::Quorum) { 2 } else { 1 };
    found.retain(|(_, copies)| *copies >= quorum);
    let newest = |(superblock, _): &(Superblock, u32)| {
        (superblock.sequence, is_complete(superblock, &disks))
    };
    let chosen = match mutants.keeps(Mutant::StaleDisk) {
        true => found.iter().max_by_key(|found| newest(found)),
        false => found.last(),
    };
    let Some((root, _)) = chosen else {
        return Err(failure.unwrap_or(OpenError::NoSuperblock));
    };
    if mutants.keeps(Mutant::SplitHalves) {
        refuse_split(root, &disks)?;
    }
    Ok(root.clone())
}

async fn read_disk<D: Device>(labelled: &Labelled<D>, failure: &mut Option<OpenError>) -> OfDisk {
    let Labelled { device, label } = labelled;
    let key = ChecksumKey::new(&label.secret, &[0; 16]);
    let mut found: Vec<(Superblock, u32)> = Vec::new();
    for offset in label.zones.superblocks() {
        let (result, block) = device.read(offset, AlignedBuf::zeroed(BLOCK)).await;
        if let Err(source) = result {
            let name = device.geometry().name.to_string();
            *failure = Some(OpenError::Device { name, source });
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
    OfDisk { disk: label.disk, found }
}

impl OfDisk {
    /// The newest root this disk confirms by itself.
    fn own(&self) -> Option<&Superblock> {
        let confirmed = self.found.iter().filter(|(_, copies)| *copies >= 2);
        confirmed.map(|(superblock, _)| superblock).max_by_key(|superblock| superblock.sequence)
    }
}

fn is_member(row: &DiskRow) -> bool {
    matches!(row.state, DiskState::Online | DiskState::Draining)
}

fn counts(superblock: &Superblock, disk: DiskId) -> bool {
    superblock.disks.iter().any(|row| row.id == disk && is_member(row))
}

/// Whether no disk it counts as its own shows another root of the same sequence or a later one. An
/// opening that ended before its first root stood on all its disks leaves one that is not: it made
/// nothing true, and the next opening may have passed it by.
fn is_complete(superblock: &Superblock, disks: &[OfDisk]) -> bool {
    let own = disks.iter().filter(|disk| counts(superblock, disk.disk)).filter_map(OfDisk::own);
    own.into_iter().all(|own| own == superblock || own.sequence < superblock.sequence)
}

/// A disk that was written in an opening after the one in which it left the others, without one of
/// them: both went on, and what each told its machines is true in one half only.
fn refuse_split(root: &Superblock, disks: &[OfDisk]) -> Result<(), OpenError> {
    for disk in disks {
        let Some(own) = disk.own().filter(|own| *own != root) else {
            continue;
        };
        let Some(row) = root.disks.iter().find(|row| row.id == disk.disk) else {
            continue;
        };
        let together = if is_member(row) { root.epoch } else { row.left_epoch };
        let without = root.disks.iter().find(|row| is_member(row) && !counts(own, row.id));
        if let Some(other) = without
            && own.epoch > together
        {
            return Err(OpenError::Split { one: disk.disk, other: other.id });
        }
    }
    Ok(())
}
