//! A run proved as a whole: read with one transfer, every frame opened by one job.

use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;

use keelhold_chunk::IdKey;

use crate::buffer::AlignedBuf;
use crate::device::Device;
use crate::format::Directory;
use crate::mutants::Mutant;
use crate::pool::frame;
use crate::pool::layout::container_slot;
use crate::pool::run::RUN_BUFFER_LEN;
use crate::pool::space::RunKey;
use crate::pool::{Inner, Work};
use crate::seal::RunSeal;
use crate::units::BLOCK;

/// Which protections are on; tests switch them off one by one.
#[derive(Clone, Copy)]
struct Checks {
    hash: bool,
    ids: bool,
}

/// For each run the bytes up to the next one: as far as one read may go.
pub(super) fn reaches<'a>(
    runs: impl Iterator<Item = &'a RunKey>,
    container_len: u64,
) -> BTreeMap<RunKey, usize> {
    let blocks = (container_len / BLOCK as u64) as usize;
    let mut reaches = BTreeMap::new();
    let mut runs = runs.peekable();
    while let Some((container, block)) = runs.next() {
        let next = runs.peek().filter(|(of, _)| of == container);
        let end = next.map_or(blocks, |(_, block)| usize::from(*block));
        let reach = (end - usize::from(*block)) * BLOCK;
        reaches.insert((*container, *block), reach.min(RUN_BUFFER_LEN));
    }
    reaches
}

impl<D: Device, W: Work> Inner<D, W> {
    /// The bytes from a run to the one at `next`, or to the end: as far as one read may go.
    pub(in crate::pool) fn run_reach(&self, run: RunKey, next: Option<u16>) -> usize {
        let blocks = self.fixed.container_blocks();
        let end = next.map_or(blocks, u32::from);
        ((end - u32::from(run.1)) as usize * BLOCK).min(RUN_BUFFER_LEN)
    }

    /// The directory of a run and for each frame whether it is sound. `None` if that cannot be told
    /// from one read of `reach` bytes: it failed, or the run is longer.
    pub(super) async fn prove_run(
        &self,
        run: RunKey,
        reach: usize,
    ) -> Option<(Rc<Directory>, Vec<bool>)> {
        self.run_written(run).await;
        let salt = self.salt(run.0)?;
        let buf = self.run_buffer(reach).await;
        let disk = &self.disks[container_slot(run.0).0];
        let (result, mut buf) = disk.device.read(disk.offset(run.0, run.1), buf).await;
        result.ok()?;
        let directory = self.decode_directory(run, &salt, &buf).ok()?;
        if directory.header.run_len as usize > buf.len() {
            return None;
        }
        let key = self.fixed.id_key.clone();
        let checks = Checks {
            hash: self.mutants.keeps(Mutant::FrameHash),
            ids: self.mutants.keeps(Mutant::ChunkId),
        };
        let seal = self.run_seal(run, &salt, &directory.header);
        let job = move || {
            let proved = prove_frames(&directory, &mut buf, seal.as_ref(), &key, checks);
            (directory, proved)
        };
        let (directory, proved) = self.work.run(job).await;
        Some((Rc::new(directory), proved))
    }
}

/// One memory serves the plain bytes of all frames: they are hashed and forgotten. Sealed ones are opened
/// where they lie.
fn prove_frames(
    directory: &Directory,
    run: &mut AlignedBuf,
    seal: Option<&RunSeal>,
    key: &IdKey,
    checks: Checks,
) -> Vec<bool> {
    let mut room = Vec::new();
    let mut chunks = directory.chunks.iter().peekable();
    let mut proved = Vec::with_capacity(directory.frames.len());
    for (number, entry) in (0u16..).zip(&directory.frames) {
        let stored = &mut run[place_of(entry.offset, entry.stored_len)];
        let mut sound = !checks.hash || *blake3::hash(stored).as_bytes() == entry.hash;
        let compressed = match seal {
            None => Some(&*stored),
            Some(seal) => {
                let opened = seal.open_frame(number, entry.codec as u8, entry.plain_len, stored);
                opened.ok().map(|len| &stored[..len])
            }
        };
        let len = entry.plain_len as usize;
        let plain = compressed
            .and_then(|compressed| frame::decompress_into(entry.codec, compressed, len, &mut room));
        sound &= plain.is_some();
        let plain = plain.unwrap_or_default();
        // Chunks stand in the order of their frames.
        while let Some(chunk) = chunks.next_if(|chunk| chunk.frame == number) {
            let bytes = plain.get(place_of(chunk.offset, chunk.len));
            sound &= bytes.is_some_and(|bytes| !checks.ids || key.id(bytes) == chunk.id);
        }
        proved.push(sound);
    }
    proved
}

fn place_of(offset: u32, len: u32) -> Range<usize> {
    offset as usize..offset as usize + len as usize
}
