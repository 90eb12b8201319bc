//! Giving every container as many sound copies as it should have, and the pool's own structures
//! too.

use std::collections::BTreeSet;

use super::moves::Move;
use super::{Inner, Pool, Work};
use crate::buffer::AlignedBuf;
use crate::device::Device;
use crate::error::{CommitError, MoveError, ReadError};
use crate::format::{ContainerRow, DiskState, HeadFault, Label, SlotRef};
use crate::units::BLOCK;

/// What healing did.
#[derive(Debug, Clone, Default)]
pub struct HealReport {
    /// Copies of containers made, and the bytes in them.
    pub copies_made: u64,
    pub bytes: u64,
    /// Copies that had given a fault and were found sound.
    pub found_sound: u64,
    /// What has no sound copy, or no disk with room: it stays as it is, and is tried again.
    pub unhealed: Vec<MoveError>,
    /// Where the next part begins; none once all of them were looked at.
    pub next: Option<u32>,
}

impl<D: Device, W: Work> Pool<D, W> {
    /// Makes copies anew that gave a fault, and those that are missing, as far as there are disks
    /// for them. [`verify`](Self::verify) finds what nobody has read. Backups go on meanwhile.
    pub async fn heal(&self) -> Result<HealReport, CommitError> {
        self.heal_part(0, usize::MAX).await
    }

    /// As [`heal`](Self::heal), at most so many containers from one on: whoever calls decides the
    /// pace. Structures are healed with the first part.
    pub async fn heal_part(&self, from: u32, most: usize) -> Result<HealReport, CommitError> {
        let inner = &self.inner;
        let mut report = HealReport::default();
        if from == 0 {
            inner.heal_structures().await?;
        }
        let mut noted = inner.noted.copies();
        let mut short = inner.short_containers();
        let mut containers: BTreeSet<u32> = noted.iter().map(|(container, _)| *container).collect();
        containers.extend(&short);
        containers.retain(|container| *container >= from);
        if let Some(next) = containers.iter().nth(most).copied() {
            containers.split_off(&next);
            report.next = Some(next);
        }
        noted.retain(|(container, _)| containers.contains(container));
        short.retain(|container| containers.contains(container));
        match inner.settle(&containers).await {
            Err(MoveError::Commit(error)) => return Err(error),
            Err(_) => return Ok(report),
            Ok(()) => {}
        }
        for (container, disk) in noted {
            let disk = usize::from(disk);
            let slot = inner.slots(container).and_then(|slots| slots.on(disk));
            let Some((row, slot)) = inner.container_row(container).zip(slot) else {
                inner.noted.forget(container, disk as u16);
                continue;
            };
            if inner.is_copy_sound(&row, slot).await {
                inner.noted.forget(container, disk as u16);
                report.found_sound += 1;
                continue;
            }
            let order = Move { container, replaces: Some(disk), prefer: None, salvage: false };
            report.take(inner.make_copy(order).await)?;
        }
        for container in short {
            let replaces = inner.missing_copy(container);
            let order = Move { container, replaces, prefer: None, salvage: false };
            report.take(inner.make_copy(order).await)?;
        }
        Ok(report)
    }
}

impl HealReport {
    fn take(&mut self, made: Result<u64, MoveError>) -> Result<(), CommitError> {
        match made {
            Ok(bytes) => {
                self.copies_made += 1;
                self.bytes += bytes;
            }
            // Reclaimed meanwhile: there is nothing to heal.
            Err(MoveError::Gone) => {}
            Err(MoveError::Commit(error @ CommitError::Fenced { .. })) => return Err(error),
            Err(error) => self.unhealed.push(error),
        }
        Ok(())
    }
}

impl<D: Device, W: Work> Inner<D, W> {
    /// Containers with fewer copies on disks that are there than the policy asks for and the disks
    /// allow.
    pub(super) fn short_containers(&self) -> BTreeSet<u32> {
        let wanted = usize::from(self.fixed.copies).min(self.taking_disks().len());
        let is_short = |row: &ContainerRow| {
            let there = row.slots.iter().filter(|slot| self.disk_of(*slot).is_there()).count();
            there > 0 && there < wanted
        };
        let rows = self.data_rows().into_iter();
        rows.filter(is_short).map(|row| row.container).collect()
    }

    /// The disk that should have a copy of the container and is not there.
    fn missing_copy(&self, container: u32) -> Option<usize> {
        let slots = self.slots(container)?;
        let gone = slots.iter().find(|slot| !self.disk_of(*slot).is_there());
        gone.map(|slot| usize::from(slot.disk))
    }

    async fn is_copy_sound(&self, row: &ContainerRow, slot: SlotRef) -> bool {
        if !self.is_shell_sound(row, slot).await {
            return false;
        }
        for block in self.needed_blocks(row.container).await {
            let run = (row.container, block);
            if !self.is_run_sound(slot, run, &row.salt).await {
                return false;
            }
        }
        true
    }

    /// Superblocks, journal and state are whole again behind a checkpoint that writes all of the
    /// state anew. A label is copied from the other end of its disk.
    async fn heal_structures(&self) -> Result<(), CommitError> {
        for disk in self.written_disks() {
            let [front, back] = disk.zones.labels();
            for (offset, other) in [(front, back), (back, front)] {
                let bad = match disk.read(offset, BLOCK).await {
                    Ok(block) => Label::decode(&block, offset).is_err(),
                    Err(_) => true,
                };
                let sound = async || -> Result<Label, ReadError> {
                    let block = disk.read(other, BLOCK).await?;
                    let fault = |fault: HeadFault| {
                        let place = disk.place(other);
                        crate::format::Fault { what: "label", place, fault }
                    };
                    Ok(Label::decode(&block, other).map_err(fault)?)
                };
                if bad && let Ok(label) = sound().await {
                    let buf = AlignedBuf::padded(&label.encode(offset));
                    if disk.write(offset, buf).await.is_err() {
                        self.disk_failed(disk.index);
                    }
                }
            }
        }
        let away = self.disks.borrow().iter().any(|disk| disk.state.get() == DiskState::Failed);
        if !self.noted.has_structures() && !away {
            return Ok(());
        }
        // What is written now must not stand behind a damaged header, and what it replaces is free
        // two roots later.
        self.close_state_containers();
        self.checkpoint().await?;
        self.noted.forget_structures();
        self.checkpoint().await?;
        self.checkpoint().await?;
        Ok(())
    }
}
