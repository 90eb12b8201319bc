//! Copying a container into another slot: the one way in which copies are healed, disks emptied and
//! replaced.
//!
//! Nothing is mended in place. 1. The container takes no more runs, and all it has are journaled.
//! 2. Every run that holds chunks is read, each frame from whichever copy has it sound, proved by
//! checksum, hashes and ids, and written at the same blocks of a free slot of another disk, header first and footer
//! last. 3. All of it is flushed, and a journal entry says where the copies lie from now on. 4. The
//! slot that is left is free when two checkpoints have not needed it. A crash before 3. leaves a
//! free slot, one behind it the new copy.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::space::RunKey;
use super::tables::{Effect, Pending};
use super::{Inner, Work};
use crate::buffer::AlignedBuf;
use crate::device::Device;
use crate::error::{MoveError, ReadError};
use crate::format::{
    ContainerFooter, ContainerHeader, ContainerRow, Directory, Op, Place, Purpose, SlotRef, Slots,
};
use crate::mutants::Mutant;
use crate::units::{BLOCK, ChunkNumber};

/// A copy that is to be made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Move {
    pub(super) container: u32,
    /// The disk whose copy it takes the place of; none if it is one more.
    pub(super) replaces: Option<usize>,
    /// The disk it should go to, if that has room.
    pub(super) prefer: Option<usize>,
    /// Where no copy of a run is sound, one with a sound directory is taken as it is: better than
    /// to lose the rest of it with the disk.
    pub(super) salvage: bool,
}

impl<D: Device, W: Work> Inner<D, W> {
    /// Closes these containers and waits until all their runs are journaled.
    pub(super) async fn settle(&self, containers: &BTreeSet<u32>) -> Result<(), MoveError> {
        containers.iter().for_each(|container| self.close_container(*container));
        let space = &self.space;
        let placing = || containers.iter().any(|container| space.is_placing(*container));
        space.changed.until(|| (!placing()).then_some(())).await;
        loop {
            {
                let _nobody_writes = self.journal.tail.lock().await;
                self.journal.check()?;
                if self.journal.is_idle() {
                    return Ok(());
                }
            }
            self.append(Vec::new()).await?;
        }
    }

    /// Rows of the containers of data.
    pub(super) fn data_rows(&self) -> Vec<ContainerRow> {
        let tables = self.tables.borrow();
        let rows = tables.containers.values().map(|container| container.row);
        rows.filter(|row| row.purpose == Purpose::Data).collect()
    }

    pub(super) fn container_row(&self, container: u32) -> Option<ContainerRow> {
        self.tables.borrow().containers.get(&container).map(|container| container.row)
    }

    /// Makes the copy of a container that is settled; gives the bytes copied.
    pub(super) async fn make_copy(&self, order: Move) -> Result<u64, MoveError> {
        let _one_at_a_time = self.moving.lock().await;
        let container = order.container;
        let row = self.container_row(container).ok_or(MoveError::Gone)?;
        let kept: Vec<SlotRef> = row
            .slots
            .iter()
            .filter(|slot| order.replaces.is_none_or(|disk| !slot.on(disk)))
            .collect();
        let avoid: Vec<usize> = kept.iter().map(|slot| usize::from(slot.disk)).collect();
        let target = self.slot_for_copy(&avoid, order.prefer).ok_or(MoveError::NoRoom)?;
        let blocks = self.needed_blocks(container).await;
        let copied = self.fill_slot(&row, target, &blocks, order.salvage).await;
        let done = match copied {
            Ok(bytes) => self.name_copy(&row, &kept, target).await.map(|()| bytes),
            Err(error) => Err(error),
        };
        match done {
            Ok(bytes) => {
                if let Some(disk) = order.replaces {
                    self.noted.forget(container, disk as u16);
                }
                Ok(bytes)
            }
            Err(error) => {
                // No journal tells of it.
                self.tables.borrow_mut().give_back(target);
                Err(error)
            }
        }
    }

    /// Journals that the container lies in `kept` and `target` from now on.
    async fn name_copy(
        &self,
        row: &ContainerRow,
        kept: &[SlotRef],
        target: SlotRef,
    ) -> Result<(), MoveError> {
        let is_same =
            |found: ContainerRow| (found.generation, found.slots) == (row.generation, row.slots);
        if !self.container_row(row.container).is_some_and(is_same) {
            return Err(MoveError::Gone);
        }
        let slots = match kept {
            [] => Slots::one(target),
            [first, ..] => Slots::two(*first, target),
        };
        let op = Op::ContainerSlots { container: row.container, slots };
        self.append(vec![Pending { op, effect: Effect::None }]).await?;
        let named = |found: ContainerRow| found.slots == slots;
        // Freed while the entry was on its way.
        if self.container_row(row.container).is_some_and(named) {
            Ok(())
        } else {
            Err(MoveError::Gone)
        }
    }

    async fn fill_slot(
        &self,
        row: &ContainerRow,
        target: SlotRef,
        blocks: &BTreeSet<u16>,
        salvage: bool,
    ) -> Result<u64, MoveError> {
        let (container, generation, salt) = (row.container, row.generation, row.salt);
        let disk = self.disk_of(target);
        let header = ContainerHeader { container, generation, purpose: row.purpose, salt };
        let place = self.place(target, 0);
        let header = header.encode(&self.fixed.key, self.fixed.pool, place);
        self.write_copy(target, 0, AlignedBuf::padded(&header)).await?;
        let key = self.fixed.run_key(&salt);
        let (mut directories, mut bytes) = (Vec::new(), 0);
        for block in blocks {
            let (mut run, directory) = self.sound_run(row, *block, salvage).await?;
            let place = self.place(target, *block);
            let seal = self.run_seal((container, *block), &row.salt, &directory.header);
            let head = directory.encode_sealed(&key, self.fixed.pool, place, seal.as_ref());
            run[..head.len()].copy_from_slice(&head);
            directories.extend_from_slice(&head);
            bytes += run.len() as u64;
            self.write_copy(target, *block, run).await?;
        }
        if row.has_footer {
            let body_block = row.used_blocks as u16;
            let footer = ContainerFooter {
                container,
                generation,
                run_count: blocks.len() as u32,
                body_block,
                body_len: directories.len() as u64,
                body_hash: *blake3::hash(&directories).as_bytes(),
            };
            if !directories.is_empty() {
                self.write_copy(target, body_block, AlignedBuf::padded(&directories)).await?;
            }
            let last = (self.fixed.container_blocks() - 1) as u16;
            let place = self.place(target, last);
            let footer = footer.encode(&key, self.fixed.pool, place);
            self.write_copy(target, last, AlignedBuf::padded(&footer)).await?;
        }
        let lost = crate::error::CommitError::DiskLost { disk: disk.id };
        if disk.is_written() { Ok(bytes) } else { Err(lost.into()) }
    }

    async fn write_copy(
        &self,
        target: SlotRef,
        block: u16,
        buf: AlignedBuf,
    ) -> Result<(), MoveError> {
        let disk = self.disk_of(target);
        let offset = disk.offset(target.slot, block);
        if disk.write(offset, buf).await.is_err() {
            self.disk_failed(disk.index);
            return Err(crate::error::CommitError::DiskLost { disk: disk.id }.into());
        }
        Ok(())
    }

    /// The bytes of a run, every frame from whichever copy has it sound.
    async fn sound_run(
        &self,
        row: &ContainerRow,
        block: u16,
        salvage: bool,
    ) -> Result<(AlignedBuf, Directory), MoveError> {
        let run = (row.container, block);
        let read = async |slot| self.read_directory(slot, run, &row.salt).await;
        let directory = Rc::new(self.ask_copies(run, read).await?);
        let (mut best, mut error): (Option<(AlignedBuf, Vec<bool>)>, _) = (None, None);
        for slot in self.read_order(run.0) {
            match self.run_of_copy(slot, run, &directory).await {
                Err(wrong) => error = error.or(Some(wrong)),
                Ok(found) => match &mut best {
                    None => best = Some(found),
                    Some(best) => take_sound(best, &found, &directory),
                },
            }
            if best.as_ref().is_some_and(|(_, sound)| sound.iter().all(|sound| *sound)) {
                break;
            }
        }
        let missing = ReadError::NoChunk { number: ChunkNumber(0) };
        let (mut buf, sound) = best.ok_or(error.unwrap_or(missing))?;
        if let Some(bad) = sound.iter().position(|sound| !sound)
            && !salvage
        {
            let frame = &directory.frames[bad];
            let number = directory.chunks_of(bad as u16).first().map(|chunk| chunk.number);
            let place = self.run_place(run);
            let place = Place { offset: place.offset + u64::from(frame.offset), ..place };
            let number = number.unwrap_or(ChunkNumber(0));
            return Err(ReadError::Frame { number, place }.into());
        }
        // What stands outside of frames was proved by nobody.
        let end = directory
            .frames
            .last()
            .map_or(directory.byte_len(), |last| (last.offset + last.stored_len) as usize);
        buf[end..].fill(0);
        Ok((buf, (*directory).clone()))
    }

    /// The bytes of a run as one copy has them, and for each frame whether it is sound.
    async fn run_of_copy(
        &self,
        slot: SlotRef,
        run: RunKey,
        directory: &Rc<Directory>,
    ) -> Result<(AlignedBuf, Vec<bool>), ReadError> {
        let disk = self.disk_of(slot);
        let len = (directory.header.run_len as usize).next_multiple_of(BLOCK);
        let buf = disk.read(disk.offset(slot.slot, run.1), len).await?;
        let (buf, sound) = self.prove_frames(run, buf, Rc::clone(directory)).await;
        match self.mutants.keeps(Mutant::HealProof) {
            true => Ok((buf, sound)),
            false => Ok((buf, vec![true; sound.len()])),
        }
    }

    /// Whether one copy of a run is sound, every byte that means something.
    pub(super) async fn is_run_sound(&self, slot: SlotRef, run: RunKey, salt: &[u8; 16]) -> bool {
        let Ok(directory) = self.read_directory(slot, run, salt).await else {
            return false;
        };
        let found = self.run_of_copy(slot, run, &Rc::new(directory)).await;
        found.is_ok_and(|(_, sound)| sound.iter().all(|sound| *sound))
    }
}

/// Puts frames into `best` that only the other copy has sound.
fn take_sound(
    best: &mut (AlignedBuf, Vec<bool>),
    (other, theirs): &(AlignedBuf, Vec<bool>),
    directory: &Directory,
) {
    let (buf, ours) = best;
    let frames = directory.frames.iter().zip(ours.iter_mut()).zip(theirs);
    for ((frame, ours), theirs) in frames {
        if !*ours && *theirs {
            let place = frame.offset as usize..(frame.offset + frame.stored_len) as usize;
            buf[place.clone()].copy_from_slice(&other[place]);
            *ours = true;
        }
    }
}
