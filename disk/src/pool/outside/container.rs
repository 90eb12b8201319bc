//! One container seen from outside: its header, its runs one after another, its footer.

use super::OutsideReport;
use crate::device::Device;
use crate::error::ReadError;
use crate::format::{
    ClearDirectory, ContainerFooter, ContainerHeader, Fault, FrameEntry, Head, HeadFault, Magic,
    Place, SlotRef,
};
use crate::pool::{Inner, Work};
use crate::units::{BLOCK, BLOCK_U64};

/// What is read at once to get a directory.
const DIRECTORY_READ: usize = 32 << 10;

/// A run whose directory is sound.
pub(super) struct FoundRun {
    pub(super) check: [u8; 16],
    ordinal: u64,
    blocks: u32,
    frames: Vec<FrameEntry>,
    /// Its first frame whose stored bytes are not what they were.
    damaged: Option<ReadError>,
}

impl<D: Device, W: Work> Inner<D, W> {
    pub(super) async fn look_at_container(&self, slot: SlotRef) -> OutsideReport {
        let mut report = OutsideReport::default();
        let header = match self.container_header(slot).await {
            Ok(header) => header,
            Err(error) => {
                // A slot that was never used holds anything. One of ours that is damaged says so.
                if self.was_ours(slot).await {
                    report.findings.push(error);
                }
                return report;
            }
        };
        report.containers = 1;
        let (end, damaged) = self.look_at_runs(slot, &header, &mut report).await;
        match self.look_at_footer(slot, &header, &mut report).await {
            true => report.findings.extend(damaged),
            false => report.doubtful.extend(damaged),
        }
        self.look_behind(slot, &header, end, &mut report).await;
        report
    }

    /// Whether a slot was used by this pool, though its first block is no header: that one says so, or
    /// the run behind it.
    async fn was_ours(&self, slot: SlotRef) -> bool {
        let disk = self.disk_of(slot);
        let Ok(blocks) = disk.read(disk.offset(slot.slot, 0), 2 * BLOCK).await else {
            return true;
        };
        let (first, second) = blocks.split_at(BLOCK);
        let ours = |bytes: &[u8], magic| {
            Head::peek(bytes, magic).is_ok_and(|head| head.pool == self.fixed.pool.0)
        };
        let cleared = first.iter().all(|byte| *byte == 0);
        !cleared && (ours(first, Magic::ContainerHeader) || ours(second, Magic::Run))
    }

    /// Runs from the first block on; gives the block behind the last, and what is damaged in them.
    async fn look_at_runs(
        &self,
        slot: SlotRef,
        header: &ContainerHeader,
        report: &mut OutsideReport,
    ) -> (u32, Vec<ReadError>) {
        let (mut block, mut damaged) = (1, Vec::new());
        while block < self.fixed.container_blocks() {
            let found = self.look_at_run(slot, block as u16, header).await;
            let Ok(run) = found else { break };
            if run.ordinal != report.runs {
                break;
            }
            report.runs += 1;
            report.frames += run.frames.len() as u64;
            let stored = run.frames.iter().map(|frame| u64::from(frame.stored_len));
            report.bytes_stored += stored.sum::<u64>();
            damaged.extend(run.damaged);
            block += run.blocks;
        }
        (block, damaged)
    }

    /// Whether there is a footer of this generation; whether what it tells of was there is judged.
    async fn look_at_footer(
        &self,
        slot: SlotRef,
        header: &ContainerHeader,
        report: &mut OutsideReport,
    ) -> bool {
        let disk = self.disk_of(slot);
        let offset = disk.offset(slot.slot, 0) + self.fixed.container_len - BLOCK_U64;
        let place = disk.place(offset);
        let block = match disk.read(offset, BLOCK).await {
            Ok(block) => block,
            Err(error) => {
                report.findings.push(error);
                return false;
            }
        };
        let key = self.fixed.run_key(&header.salt);
        let footer = match ContainerFooter::decode(&block, &key, self.fixed.pool, place) {
            Ok(footer) => footer,
            Err(fault) => {
                let head = Head::peek(&block, Magic::ContainerFooter);
                if head.is_ok_and(|head| head.sequence() == header.generation) {
                    report.findings.push(Fault { what: "container footer", place, fault }.into());
                }
                return false;
            }
        };
        let place = disk.place(disk.offset(slot.slot, footer.body_block));
        let len = footer.body_len.min(self.fixed.container_len) as usize;
        match disk.read(place.offset, len).await {
            Ok(body) => {
                let body = body.get(..len);
                if body.is_none_or(|body| *blake3::hash(body).as_bytes() != footer.body_hash) {
                    let fault = HeadFault::Checksum;
                    report.findings.push(Fault { what: "container footer", place, fault }.into());
                }
            }
            Err(error) => report.findings.push(error),
        }
        if u64::from(footer.run_count) > report.runs {
            let fault = HeadFault::Content;
            let place = disk.place(disk.offset(slot.slot, 0));
            report
                .findings
                .push(Fault { what: "container with runs missing", place, fault }.into());
        }
        true
    }

    /// Counts runs of this generation behind the last that follows its neighbour.
    async fn look_behind(
        &self,
        slot: SlotRef,
        header: &ContainerHeader,
        end: u32,
        report: &mut OutsideReport,
    ) {
        let disk = self.disk_of(slot);
        let key = self.fixed.run_key(&header.salt);
        for block in end..self.fixed.container_blocks() {
            let offset = disk.offset(slot.slot, block as u16);
            let Ok(bytes) = disk.read(offset, BLOCK).await else { continue };
            if Head::peek(&bytes, Magic::Run).is_err() {
                continue;
            }
            let Ok(bytes) = self.directory_bytes(slot, block as u16).await else { continue };
            let found = ClearDirectory::decode(&bytes, &key, self.fixed.pool, disk.place(offset));
            report.behind_gaps += u64::from(found.is_ok());
        }
        if report.behind_gaps > 0 {
            let place = disk.place(disk.offset(slot.slot, end as u16));
            let fault = HeadFault::Checksum;
            report.doubtful.push(Fault { what: "run directory", place, fault }.into());
        }
    }

    async fn directory_bytes(
        &self,
        slot: SlotRef,
        block: u16,
    ) -> Result<crate::buffer::AlignedBuf, ReadError> {
        let disk = self.disk_of(slot);
        let offset = disk.offset(slot.slot, block);
        let within = self.fixed.container_len as usize - usize::from(block) * BLOCK;
        let bytes = disk.read(offset, DIRECTORY_READ.min(within)).await?;
        let len = Head::peek(&bytes, Magic::Run).map_or(0, |head| head.len.get() as usize);
        if len > bytes.len() && len <= within {
            return disk.read(offset, len).await;
        }
        Ok(bytes)
    }

    /// The run at a block: its directory, and every frame of it against its hash.
    pub(super) async fn look_at_run(
        &self,
        slot: SlotRef,
        block: u16,
        of: &ContainerHeader,
    ) -> Result<FoundRun, ReadError> {
        let place = self.place(slot, block);
        let wrong = |fault| ReadError::from(Fault { what: "run directory", place, fault });
        let within = self.fixed.container_len as usize - usize::from(block) * BLOCK;
        let bytes = self.directory_bytes(slot, block).await?;
        let key = self.fixed.run_key(&of.salt);
        let directory =
            ClearDirectory::decode(&bytes, &key, self.fixed.pool, place).map_err(wrong)?;
        let header = directory.header;
        let whole = header.run_len as usize;
        if header.container != of.container || whole > within || whole == 0 {
            return Err(wrong(HeadFault::Content));
        }
        let mut check = [0; 16];
        check.copy_from_slice(&bytes[..16]);
        let (ordinal, frames) = (header.ordinal, directory.frames);
        let blocks = whole.div_ceil(BLOCK) as u32;
        let disk = self.disk_of(slot);
        // Twice before a verdict: one read may have been wrong where the disk is right.
        let mut damaged = None;
        for _ in 0..2 {
            let run = disk.read(place.offset, whole).await?;
            let hashes = frames.clone();
            let prove = move || hashes.iter().position(|frame| !is_whole(frame, &run));
            damaged = self.work.run(prove).await;
            if damaged.is_none() {
                break;
            }
        }
        let damaged = damaged.map(|frame| {
            let offset = place.offset + u64::from(frames[frame].offset);
            let place = Place { offset, ..place };
            Fault { what: "frame", place, fault: HeadFault::Checksum }.into()
        });
        Ok(FoundRun { check, ordinal, blocks, frames, damaged })
    }
}

fn is_whole(frame: &FrameEntry, run: &[u8]) -> bool {
    let start = frame.offset as usize;
    let stored = run.get(start..start + frame.stored_len as usize);
    stored.is_some_and(|stored| *blake3::hash(stored).as_bytes() == frame.hash)
}
