//! The pool's own structures: who claims which byte of a disk, and whether each of them is sound at
//! every place it has. A damaged copy beside a sound one hurts nobody today: it is found here.

mod sets;

use super::layout::state_slot;
use super::verify::VerifyFinding;
use super::{Inner, Pool, Work};
use crate::device::Device;
use crate::error::ReadError;
use crate::format::{
    BlobRef, ContainerFooter, ContainerRow, Directory, Fault, HeadFault, Label, Place, Purpose,
    RunRef, SlotRef, Superblock,
};
use crate::seal::ENTRY_OVERHEAD;
use crate::units::{BLOCK, BLOCK_U64};

/// Bytes that mean something, and what they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    pub what: &'static str,
    pub place: Place,
    pub len: u64,
}

/// What a walk over the structures gathers.
#[derive(Default)]
pub(super) struct Walk {
    claims: Vec<Claim>,
    /// Runs of the state, by what they hold.
    kinds: Vec<Claim>,
    pub(super) faults: Vec<ReadError>,
}

impl Walk {
    fn claim(&mut self, what: &'static str, place: Place, len: u64) {
        self.claims.push(Claim { what, place, len });
    }

    /// The structure at `place` was looked at.
    fn judge<T>(&mut self, claim: Claim, found: Result<T, ReadError>) {
        self.claims.push(claim);
        if let Err(error) = found {
            self.faults.push(error);
        }
    }
}

fn fault(claim: Claim, fault: HeadFault) -> ReadError {
    let Claim { what, place, .. } = claim;
    Fault { what, place, fault }.into()
}

impl<D: Device, W: Work> Pool<D, W> {
    /// Every stretch of a disk that some structure of the pool claims. What lies elsewhere is left
    /// over from before and is read by nobody.
    pub async fn claims(&self) -> Vec<Claim> {
        let inner = &self.inner;
        let mut walk = inner.walk_structures().await;
        for run in inner.runs().into_keys() {
            if let Ok(directory) = inner.directory(run).await {
                for slot in inner.slots(run.0).into_iter().flat_map(|slots| slots.iter()) {
                    claim_run(&mut walk, inner.place(slot, run.1), &directory);
                }
            }
        }
        walk.claims
    }

    /// The runs of the newest checkpoint: `checkpoint`, `tables`, `index` and `steps`.
    pub async fn state_runs(&self) -> Vec<Claim> {
        self.inner.walk_structures().await.kinds
    }
}

fn claim_run(walk: &mut Walk, place: Place, directory: &Directory) {
    walk.claim("run directory", place, directory.byte_len() as u64);
    for frame in &directory.frames {
        let offset = place.offset + u64::from(frame.offset);
        walk.claim("frame", Place { offset, ..place }, u64::from(frame.stored_len));
    }
}

impl<D: Device, W: Work> Inner<D, W> {
    /// What is wrong with the pool's own structures. Data and pages are not among them.
    pub(super) async fn audit(&self) -> Vec<VerifyFinding> {
        let walk = self.walk_structures().await;
        walk.faults.into_iter().map(VerifyFinding::of).collect()
    }

    /// What is wrong with a container's own structures.
    pub(super) async fn audit_container(&self, row: &ContainerRow) -> Vec<VerifyFinding> {
        let mut walk = Walk::default();
        for slot in row.slots.iter().filter(|slot| self.disk_of(*slot).is_there()) {
            self.walk_container(&mut walk, row, slot).await;
        }
        walk.faults.into_iter().map(VerifyFinding::of).collect()
    }

    async fn walk_structures(&self) -> Walk {
        // No new root while the old one is looked at.
        let checkpoints = self.checkpoints.lock().await;
        let mut walk = Walk::default();
        let rows: Vec<ContainerRow> = {
            let tables = self.tables.borrow();
            tables
                .containers
                .values()
                .filter(|container| container.journaled)
                .map(|container| container.row)
                .collect()
        };
        // Headers and footers of these may be on their way. A pool that failed to write says so
        // elsewhere; what can be read is looked at.
        let _ = self.writes_ended().await;
        self.walk_fixed(&mut walk, checkpoints.sequence).await;
        self.walk_journal(&mut walk).await;
        self.walk_state(&mut walk).await;
        let mut are_bad = !walk.faults.is_empty();
        for row in &rows {
            for slot in row.slots.iter().filter(|slot| self.disk_of(*slot).is_there()) {
                let faults = self.walk_copy(&mut walk, row, slot).await;
                are_bad |= row.purpose == Purpose::State && !faults.is_empty();
                for error in &faults {
                    self.note_fault((row.container, 0), slot, error);
                }
                walk.faults.extend(faults);
            }
        }
        if are_bad {
            self.noted.note_structures();
        }
        walk
    }

    /// Whether header and footer of one copy of a container are as they should be.
    pub(super) async fn is_shell_sound(&self, row: &ContainerRow, slot: SlotRef) -> bool {
        self.walk_copy(&mut Walk::default(), row, slot).await.is_empty()
    }

    async fn walk_copy(
        &self,
        walk: &mut Walk,
        row: &ContainerRow,
        slot: SlotRef,
    ) -> Vec<ReadError> {
        let before = std::mem::take(&mut walk.faults);
        self.walk_container(walk, row, slot).await;
        std::mem::replace(&mut walk.faults, before)
    }

    pub(super) async fn walk_fixed(&self, walk: &mut Walk, sequence: u64) {
        for disk in self.written_disks() {
            for offset in disk.zones.labels() {
                let (place, len) = (disk.place(offset), BLOCK_U64);
                let claim = Claim { what: "label", place, len };
                let found = disk.read(offset, BLOCK).await.and_then(|block| {
                    Label::decode(&block, offset).map_err(|wrong| fault(claim, wrong))
                });
                walk.judge(claim, found);
            }
            for offset in disk.zones.superblocks() {
                let (place, len) = (disk.place(offset), BLOCK_U64);
                let claim = Claim { what: "superblock", place, len };
                let found = disk.read(offset, BLOCK).await.and_then(|block| {
                    let (key, pool) = (&self.fixed.key, self.fixed.pool);
                    match Superblock::decode(&block, key, pool, place) {
                        Ok(found) if found.sequence == sequence => Ok(()),
                        Ok(_) => Err(fault(claim, HeadFault::Content)),
                        Err(wrong) => Err(fault(claim, wrong)),
                    }
                });
                walk.judge(claim, found);
            }
        }
    }

    /// Entries that no root holds yet, in both copies.
    async fn walk_journal(&self, walk: &mut Walk) {
        let (mut position, end) = (self.journal.start.get(), self.journal.end.get());
        let ring_len = self.fixed.journal_len;
        let overhead = if self.fixed.is_encrypted() { ENTRY_OVERHEAD } else { 0 };
        while position < end {
            let mut next = None;
            let mut copies = Vec::new();
            for copy in 0..2 {
                let found = match self.read_entry(copy, position).await {
                    Ok(Some((entry, len, _))) if entry.header.position == position => {
                        next = Some(position + len);
                        Ok((entry.byte_len() + overhead) as u64)
                    }
                    Ok(_) => Err(None),
                    Err(error) => Err(Some(error)),
                };
                copies.push(found);
            }
            let wrapped = position.next_multiple_of(ring_len);
            if next.is_none() && wrapped > position && wrapped < end {
                // The entry did not fit before the ring's end.
                position = wrapped;
                continue;
            }
            let len = copies.iter().find_map(|found| found.as_ref().ok().copied());
            for (copy, found) in copies.into_iter().enumerate() {
                let place = self.entry_place(copy, position);
                let claim = Claim { what: "journal entry", place, len: len.unwrap_or(BLOCK_U64) };
                let wrong = |error: Option<ReadError>| {
                    error.unwrap_or_else(|| fault(claim, HeadFault::Content))
                };
                walk.judge(claim, found.map_err(wrong));
            }
            position = next.unwrap_or(position + BLOCK_U64);
        }
    }

    pub(super) fn entry_place(&self, copy: usize, position: u64) -> Place {
        let (disk, offset) = self.journal_place(copy, position);
        disk.place(offset)
    }

    async fn walk_container(&self, walk: &mut Walk, row: &ContainerRow, slot: SlotRef) {
        let disk = self.disk_of(slot);
        let start = disk.offset(slot.slot, 0);
        let claim = Claim { what: "container header", place: disk.place(start), len: BLOCK_U64 };
        let header = self.container_header(slot).await;
        let found = header.and_then(|header| {
            let same = (header.generation, header.salt) == (row.generation, row.salt);
            same.then_some(()).ok_or(fault(claim, HeadFault::Content))
        });
        walk.judge(claim, found);
        if !row.has_footer {
            return;
        }
        let offset = start + self.fixed.container_len - BLOCK_U64;
        let place = disk.place(offset);
        let claim = Claim { what: "container footer", place, len: BLOCK_U64 };
        let key = self.fixed.run_key(&row.salt);
        let footer = disk.read(offset, BLOCK).await.and_then(|block| {
            ContainerFooter::decode(&block, &key, self.fixed.pool, place)
                .map_err(|wrong| fault(claim, wrong))
        });
        if let Ok(footer) = &footer {
            self.walk_footer_body(walk, slot, footer).await;
        }
        walk.judge(claim, footer);
    }

    async fn walk_footer_body(&self, walk: &mut Walk, slot: SlotRef, footer: &ContainerFooter) {
        let disk = self.disk_of(slot);
        let offset = disk.offset(slot.slot, footer.body_block);
        let len = footer.body_len.min(self.fixed.container_len);
        let claim = Claim { what: "container footer", place: disk.place(offset), len };
        let found = disk.read(offset, len as usize).await.and_then(|bytes| {
            let same = bytes
                .get(..len as usize)
                .is_some_and(|bytes| *blake3::hash(bytes).as_bytes() == footer.body_hash);
            same.then_some(()).ok_or(fault(claim, HeadFault::Checksum))
        });
        walk.judge(claim, found);
    }

    /// Every run of the newest root, in all copies.
    async fn walk_state(&self, walk: &mut Walk) {
        let runs: Vec<(&'static str, RunRef)> = {
            let tables = self.tables.borrow();
            let named = |what, runs: Vec<RunRef>| runs.into_iter().map(move |run| (what, run));
            let root = named("checkpoint", tables.root_runs.clone());
            let of = |blobs: &[(u64, BlobRef)]| {
                blobs.iter().flat_map(|(_, blob)| blob.runs().copied()).collect::<Vec<_>>()
            };
            let state = named("tables", tables.root.tables.runs().copied().collect());
            let index = named("index", of(&tables.root.segments));
            let sheets = named("sheet", of(&tables.root.sheets));
            let steps = named("steps", of(&tables.root.steps));
            root.chain(state).chain(index).chain(steps).chain(sheets).collect()
        };
        for (what, run) in runs {
            let (place, len) = (self.run_place((run.container, run.block)), u64::from(run.blocks));
            walk.kinds.push(Claim { what, place, len: len * BLOCK_U64 });
            if let Err(error) = self.read_runs(std::slice::from_ref(&run)).await {
                walk.faults.push(error);
                continue;
            }
            let Some(slot) = state_slot(run.container) else {
                continue;
            };
            let Ok(header) = self.container_header(slot).await else {
                continue;
            };
            let key = (run.container, run.block);
            if let Ok(directory) = self.read_directory(slot, key, &header.salt).await {
                claim_run(walk, self.run_place(key), &directory);
            }
        }
    }
}
