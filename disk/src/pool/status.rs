//! What the pool says about itself: copies, taken at one instant.

use bytes::Bytes;

use super::{Pool, Work};
use crate::device::{Counters, Device, Geometry};
use crate::format::{DiskState, PointRow, Purpose};
use crate::units::{DiskId, PointId, PoolId, SourceId, UnixNanos};

#[derive(Debug, Clone)]
pub struct PoolStatus {
    pub pool: PoolId,
    pub container_len: u64,
    /// Bytes of all containers.
    pub bytes_total: u64,
    /// Bytes in runs, headers and footers of containers in use.
    pub bytes_used: u64,
    pub bytes_free: u64,
    /// Of the free ones, those kept back for the pool's own needs.
    pub bytes_reserved: u64,
    /// Sum of the sizes of all points' sources.
    pub bytes_logical: u64,
    pub chunks: u64,
    /// Stored bytes of all chunks.
    pub bytes_chunks: u64,
    /// Stored bytes of all frames in containers in use: the shares of their chunks add up to it.
    pub bytes_frames: u64,
    /// Shares of chunks that somebody needs or may need, and of those that nobody does.
    pub bytes_live: u64,
    pub bytes_dead: u64,
    /// Shares that the next reclaim is expected to find dead, trash that is not due left out.
    pub bytes_expected: u64,
    pub index_bytes: u64,
    /// Containers that hold data, hold the pool's own state, and wait to be free.
    pub containers_data: u64,
    pub containers_state: u64,
    pub containers_leaving: u64,
    pub points: u64,
    pub sessions: u64,
    /// The disk whose failure ended writing.
    pub fenced: Option<DiskId>,
    /// Copies every container should have.
    pub copies: u16,
    /// Something is less safe than it should be: a disk is away, or bytes have too few copies.
    pub degraded: bool,
    /// Bytes in containers that have fewer copies than they should, and those of which no copy can
    /// be read.
    pub bytes_single: u64,
    pub bytes_unreadable: u64,
    /// Copies that gave faults and wait to be healed, and copies that are missing though there is a
    /// disk for them.
    pub copies_to_heal: u64,
    pub copies_missing: u64,
    /// A structure of the pool itself gave a fault and waits to be healed.
    pub structures_to_heal: bool,
    pub disks: Vec<DiskStatus>,
}

#[derive(Debug, Clone)]
pub struct DiskStatus {
    pub id: DiskId,
    pub state: DiskState,
    /// None while the disk is missing.
    pub geometry: Option<Geometry>,
    pub counters: Counters,
    /// Reads the device refused, reads that gave wrong bytes, and failed writes and flushes, since
    /// the pool was opened.
    pub read_errors: u64,
    pub mismatches: u64,
    pub write_errors: u64,
    pub bytes_total: u64,
    pub bytes_used: u64,
    /// Bytes in containers whose only copy that can be asked for is here.
    pub bytes_single: u64,
    /// Containers of data with a copy here.
    pub containers: u64,
    /// Reads under way.
    pub reading: u32,
}

/// A point, without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PointInfo {
    pub id: PointId,
    pub source: SourceId,
    pub at: UnixNanos,
    pub committed_at: UnixNanos,
    pub partial: bool,
    pub working: bool,
    pub bytes_source: u64,
    pub entries: u64,
    pub trashed_until: Option<UnixNanos>,
    pub attributes: Bytes,
}

impl PointInfo {
    pub(super) fn from_row(row: &PointRow) -> Self {
        Self {
            id: row.id,
            source: row.source,
            at: UnixNanos(row.at),
            committed_at: UnixNanos(row.committed_at),
            partial: row.result != 0,
            working: row.working,
            bytes_source: row.bytes_source,
            entries: row.entry_count,
            trashed_until: (row.trashed_until != 0).then_some(UnixNanos(row.trashed_until)),
            attributes: Bytes::copy_from_slice(&row.attributes),
        }
    }
}

impl<D: Device, W: Work> Pool<D, W> {
    /// All points in the order of their commits. Working states are not among them.
    #[must_use]
    pub fn points(&self) -> Vec<PointInfo> {
        self.inner.tables.borrow().points.iter().map(PointInfo::from_row).collect()
    }

    #[must_use]
    pub fn point(&self, id: &PointId) -> Option<PointInfo> {
        self.inner.tables.borrow().point(id).map(PointInfo::from_row)
    }

    /// Whether there is such a point, or working state.
    #[must_use]
    pub fn has_point(&self, id: &PointId) -> bool {
        self.inner.row(id).is_some()
    }

    /// The newest synchronised state of a source, if it is newer than its newest point.
    #[must_use]
    pub fn working_state(&self, source: &SourceId) -> Option<PointInfo> {
        let tables = self.inner.tables.borrow();
        let working = tables.sources.get(source)?.working.as_ref();
        working.map(|(row, _)| PointInfo::from_row(row))
    }

    #[must_use]
    pub fn newest_point(&self, source: &SourceId) -> Option<PointId> {
        self.inner.tables.borrow().sources.get(source)?.newest_listed()
    }

    #[must_use]
    pub fn status(&self) -> PoolStatus {
        let inner = &self.inner;
        let tables = inner.tables.borrow();
        let container_len = inner.fixed.container_len;
        let listed = tables.points.iter().filter(|point| point.trashed_until == 0);
        let (mut bytes_frames, mut bytes_live) = (0, 0);
        let (mut containers_data, mut containers_state, mut containers_leaving) = (0, 0, 0);
        for container in tables.containers.values() {
            match (container.row.purpose, container.row.freed_at) {
                (Purpose::State, _) => containers_state += 1,
                (Purpose::Data, 0) => containers_data += 1,
                (Purpose::Data, _) => {
                    containers_leaving += 1;
                    continue;
                }
            }
            bytes_frames += container.row.stored_len;
            bytes_live += container.shares.live_len().min(container.row.stored_len);
        }
        let members = inner.disks();
        let mut used = vec![0; members.len()];
        let (mut only_here, mut holds) = (used.clone(), used.clone());
        let (mut single, mut unreadable) = (0, 0);
        for container in tables.containers.values() {
            let bytes = u64::from(container.row.used_blocks) * crate::units::BLOCK_U64;
            let slots = container.row.slots;
            slots.iter().for_each(|slot| used[usize::from(slot.disk)] += bytes);
            if container.row.purpose == Purpose::State {
                continue;
            }
            slots.iter().for_each(|slot| holds[usize::from(slot.disk)] += 1);
            let there = slots.iter().map(|slot| usize::from(slot.disk));
            let there: Vec<usize> = there.filter(|disk| members[*disk].is_there()).collect();
            match there[..] {
                [] => unreadable += bytes,
                [disk] if inner.fixed.copies > 1 => {
                    single += bytes;
                    only_here[disk] += bytes;
                }
                _ => {}
            }
        }
        let disks: Vec<DiskStatus> = members
            .iter()
            .zip(used.into_iter().zip(only_here).zip(holds))
            .map(|(disk, ((bytes_used, bytes_single), containers))| DiskStatus {
                id: disk.id,
                state: disk.state.get(),
                geometry: disk.device.as_ref().map(Device::geometry),
                counters: disk.device.as_ref().map(Device::counters).unwrap_or_default(),
                read_errors: disk.faults.read_errors.get(),
                mismatches: disk.faults.mismatches.get(),
                write_errors: disk.faults.write_errors.get(),
                bytes_total: match disk.state.get() {
                    _ if !disk.is_there() => 0,
                    DiskState::Retired => 0,
                    _ => disk.zones.container_count * container_len,
                },
                bytes_used,
                bytes_single,
                containers,
                reading: disk.reading.get(),
            })
            .collect();
        let away = members.iter().any(|disk| disk.state.get() == DiskState::Failed);
        PoolStatus {
            pool: inner.fixed.pool,
            container_len,
            bytes_total: disks.iter().map(|disk| disk.bytes_total).sum(),
            bytes_used: disks.iter().map(|disk| disk.bytes_used).sum(),
            bytes_free: tables.free_slots() * container_len,
            bytes_reserved: inner.reserved_slots() * container_len,
            bytes_logical: listed.map(|point| point.bytes_source).sum(),
            chunks: tables.index.len(),
            bytes_chunks: tables.containers.values().map(|of| of.shares.indexed_len).sum(),
            bytes_frames,
            containers_data,
            containers_state,
            containers_leaving,
            bytes_live,
            bytes_dead: bytes_frames - bytes_live,
            bytes_expected: tables.expected_len,
            index_bytes: tables.index.bytes_used() + self.inner.near.borrow().bytes_used(),
            points: tables.points.len() as u64,
            sessions: tables.sessions.len() as u64,
            fenced: inner.journal.failed(),
            copies: inner.fixed.copies,
            degraded: away || single + unreadable > 0,
            bytes_single: single,
            bytes_unreadable: unreadable,
            copies_to_heal: inner.noted.copies().len() as u64,
            copies_missing: inner.short_containers().len() as u64,
            structures_to_heal: inner.noted.has_structures(),
            disks,
        }
    }
}
