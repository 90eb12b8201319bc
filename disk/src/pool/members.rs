//! Disks that join and leave while the pool is in use.
//!
//! A disk joins with a label, then with a root that lists it; only then is anything put there. It
//! leaves when nothing that is needed lies on it: copies are moved away one by one, which may be
//! stopped and gone on with at any time, and then a root says that it is retired. Its position is
//! never another's.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::disk::Disk;
use super::moves::Move;
use super::open::{LabelFound, read_label};
use super::tables::{Effect, Pending};
use super::{Inner, Pool, Work};
use crate::buffer::AlignedBuf;
use crate::device::{Device, DeviceError};
use crate::error::{CommitError, MemberError, MoveError};
use crate::format::{DISKS_MAX, DiskRow, DiskState, Label, Op, Zones};
use crate::units::{BLOCK_U64, DiskId, UnixNanos};

/// Containers a disk must hold to be of use.
const CONTAINER_COUNT_MIN: u64 = 12;

/// What became of a disk that was to be emptied.
#[derive(Debug, Clone, Default)]
pub struct DrainReport {
    pub copies_moved: u64,
    pub bytes: u64,
    /// The disk is of the pool no more.
    pub retired: bool,
    /// Containers that could not be moved: no copy of them can be read. The disk stays as long.
    pub unmoved: Vec<MoveError>,
}

impl<D: Device, W: Work> Pool<D, W> {
    /// Takes one more disk into the pool. What is on it is lost.
    pub async fn add_disk(&self, device: D, now: UnixNanos) -> Result<DiskId, MemberError> {
        self.inner.witness(now);
        let zones = self.inner.plan_disk(&device).await?;
        self.inner.join(device, zones).await
    }

    /// Moves everything off a disk and takes it out of the pool. Called again after a crash it goes
    /// on where it was.
    pub async fn drain_disk(&self, id: DiskId, now: UnixNanos) -> Result<DrainReport, MemberError> {
        let inner = &self.inner;
        inner.witness(now);
        let disk = inner.member(id)?;
        inner.check_room(&disk)?;
        inner.empty(&disk, None).await
    }

    /// Takes `device` into the pool, moves there what `old` has or should have, and takes `old` out.
    pub async fn replace_disk(
        &self,
        old: DiskId,
        device: D,
        now: UnixNanos,
    ) -> Result<(DiskId, DrainReport), MemberError> {
        let inner = &self.inner;
        inner.witness(now);
        let disk = inner.member(old)?;
        let zones = inner.plan_disk(&device).await?;
        let needed = inner.containers_on(disk.index).len() as u64 + inner.reserve_per_disk();
        if zones.container_count < needed {
            let name = device.geometry().name.to_string();
            let needed = needed * inner.fixed.container_len;
            let len = zones.container_count * inner.fixed.container_len;
            return Err(MemberError::TooSmall { name, len, needed });
        }
        let new = inner.join(device, zones).await?;
        let prefer = inner.member(new)?.index;
        Ok((new, inner.empty(&disk, Some(prefer)).await?))
    }

    /// Takes a failed or missing disk out of the pool whose every container has another copy.
    pub async fn retire_disk(&self, id: DiskId, now: UnixNanos) -> Result<(), MemberError> {
        let inner = &self.inner;
        inner.witness(now);
        let disk = inner.member(id)?;
        if disk.is_written() {
            return Err(MemberError::InService { disk: id });
        }
        let elsewhere = |container: &u32| {
            let slots = inner.slots(*container)?;
            slots.filtered(|slot| !slot.on(disk.index) && inner.disk_of(slot).is_there())
        };
        let containers = inner.containers_on(disk.index);
        let only = containers.iter().filter(|container| elsewhere(container).is_none()).count();
        if only > 0 {
            return Err(MemberError::OnlyCopy { disk: id, containers: only as u64 });
        }
        let _one_at_a_time = inner.moving.lock().await;
        for container in containers {
            if let Some(slots) = elsewhere(&container) {
                let op = Op::ContainerSlots { container, slots };
                inner.append(vec![Pending { op, effect: Effect::None }]).await?;
            }
        }
        inner.retire(&disk).await
    }
}

impl<D: Device, W: Work> Inner<D, W> {
    fn member(&self, id: DiskId) -> Result<Rc<Disk<D>>, MemberError> {
        let disks = self.disks.borrow();
        let found = disks.iter().find(|disk| disk.id == id);
        let found = found.filter(|disk| disk.state.get() != DiskState::Retired);
        found.cloned().ok_or(MemberError::NoDisk { disk: id })
    }

    /// Containers of data with a copy on this disk.
    fn containers_on(&self, disk: usize) -> BTreeSet<u32> {
        let rows = self.data_rows().into_iter();
        rows.filter(|row| row.slots.on(disk).is_some()).map(|row| row.container).collect()
    }

    /// How a new disk would be laid out, if it is free and large enough.
    async fn plan_disk(&self, device: &D) -> Result<Zones, MemberError> {
        let geometry = device.geometry();
        let name = || geometry.name.to_string();
        match read_label(device).await {
            Ok(LabelFound::Ours(label)) => {
                let is_ours = label.pool == self.fixed.pool && self.member(label.disk).is_err();
                // One that was being added when the power went, or that left, may join.
                if !is_ours {
                    return Err(MemberError::InUse { name: name(), pool: label.pool });
                }
            }
            Ok(_) => {}
            Err(source) => return Err(MemberError::Unreadable { source: Box::new(source) }),
        }
        if self.disks.borrow().len() >= DISKS_MAX {
            return Err(MemberError::TooMany { limit: DISKS_MAX });
        }
        let (container_len, journal_len) = (self.fixed.container_len, self.fixed.journal_len);
        let len = geometry.len - geometry.len % BLOCK_U64;
        let zones = Zones::plan(len, container_len, journal_len);
        let enough = |zones: &Zones| zones.container_count >= CONTAINER_COUNT_MIN;
        zones.filter(enough).ok_or_else(|| MemberError::TooSmall {
            name: name(),
            len,
            needed: CONTAINER_COUNT_MIN * container_len + 2 * journal_len + 32 * BLOCK_U64,
        })
    }

    async fn join(&self, device: D, zones: Zones) -> Result<DiskId, MemberError> {
        let _one_at_a_time = self.moving.lock().await;
        self.journal.check()?;
        let id = DiskId(self.random());
        let index = self.disks.borrow().len();
        let label = Label {
            pool: self.fixed.pool,
            disk: id,
            disk_index: index as u16,
            copies: self.fixed.copies,
            created_at: self.tables.borrow().witnessed as u64,
            zones,
            secret: self.fixed.secret,
        };
        let name = device.geometry().name.to_string();
        let failed = |source: DeviceError| MemberError::Device { name: name.clone(), source };
        for offset in zones.labels() {
            let block = AlignedBuf::padded(&label.encode(offset));
            device.write(offset, block).await.0.map_err(failed)?;
        }
        device.flush().await.map_err(failed)?;
        let row = DiskRow { id, state: DiskState::Online, left_epoch: 0 };
        let disk = Rc::new(Disk::new(index, row, Some(device), zones, self.mutants));
        // Listed, and nothing put there: a journal that told of it before a root lists it would
        // point nowhere.
        disk.joining.set(true);
        self.tables.borrow_mut().free.push(None);
        self.disks.borrow_mut().push(Rc::clone(&disk));
        self.checkpoint().await?;
        if !disk.is_written() {
            return Err(CommitError::DiskLost { disk: id }.into());
        }
        disk.joining.set(false);
        let slots = (0..zones.container_count as u32).collect();
        self.tables.borrow_mut().free[index] = Some(slots);
        // The journal and the state may lie better now.
        self.checkpoint().await?;
        Ok(id)
    }

    /// Whether the other disks can take what this one has, with as many copies as there should be.
    fn check_room(&self, disk: &Disk<D>) -> Result<(), MemberError> {
        let mut others = self.taking_disks();
        others.retain(|other| other.index != disk.index);
        if others.is_empty() {
            return Err(MemberError::LastDisk { disk: disk.id });
        }
        if others.len() < usize::from(self.fixed.copies) {
            return Err(MemberError::TooFewDisks { copies: self.fixed.copies });
        }
        let needed = self.containers_on(disk.index).len() as u64;
        let tables = self.tables.borrow();
        let reserve = self.reserve_per_disk();
        let room = |other: &Rc<Disk<D>>| tables.free_on(other.index).saturating_sub(reserve);
        let free: u64 = others.iter().map(room).sum();
        if free < needed {
            let len = self.fixed.container_len;
            return Err(MemberError::NoRoom { needed: needed * len, free: free * len });
        }
        Ok(())
    }

    async fn empty(
        &self,
        disk: &Rc<Disk<D>>,
        prefer: Option<usize>,
    ) -> Result<DrainReport, MemberError> {
        if disk.state.get() == DiskState::Online {
            disk.state.set(DiskState::Draining);
        }
        self.tables.borrow_mut().close_disk(disk.index);
        self.close_containers_on(disk.index);
        // The root says so, and journal and state leave the disk.
        self.checkpoint().await?;
        let mut report = DrainReport::default();
        self.settle(&self.containers_on(disk.index)).await?;
        for container in self.containers_on(disk.index) {
            let replaces = Some(disk.index);
            let order = Move { container, replaces, prefer, salvage: true };
            match self.make_copy(order).await {
                Ok(bytes) => {
                    report.copies_moved += 1;
                    report.bytes += bytes;
                }
                Err(MoveError::Gone) => {}
                Err(error @ MoveError::Read(_)) => report.unmoved.push(error),
                Err(error) => return Err(error.into()),
            }
        }
        if self.containers_on(disk.index).is_empty() {
            let _one_at_a_time = self.moving.lock().await;
            self.retire(disk).await?;
            report.retired = true;
        }
        Ok(report)
    }

    async fn retire(&self, disk: &Disk<D>) -> Result<(), MemberError> {
        disk.state.set(DiskState::Retired);
        disk.left_epoch.set(self.journal.epoch.get());
        self.tables.borrow_mut().close_disk(disk.index);
        self.checkpoint().await?;
        Ok(())
    }
}
