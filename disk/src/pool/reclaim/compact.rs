//! Moving what is live out of sparse containers. Chunks keep their numbers, and neighbours by number
//! stay together; every byte is proved before it is moved.

use std::collections::BTreeMap;

use super::free::Freed;
use super::{Inner, ReclaimReport};
use crate::device::Device;
use crate::error::{CommitError, ReadError};
use crate::format::{ChunkEntry, Directory, Purpose};
use crate::mutants::Mutant;
use crate::pool::frame::BuiltFrame;
use crate::pool::listing::Runs;
use crate::pool::prove::{Checks, Proved};
use crate::pool::run::{NewChunk, RunBuilder, RunParts, keep_frame};
use crate::pool::space::RunKey;
use crate::pool::tables::COMPACTOR;
use crate::seal::TAG_LEN;
use crate::units::DomainId;
use crate::work::Work;

/// Some containers being emptied together.
pub(super) struct Compactor<'a, D: Device, W: Work> {
    inner: &'a Inner<D, W>,
    /// Trust domains never share a frame.
    builders: BTreeMap<DomainId, RunBuilder>,
    emptied: Vec<(u32, Runs)>,
    damaged: Vec<ReadError>,
    moved_len: u64,
}

impl<'a, D: Device, W: Work> Compactor<'a, D, W> {
    pub(super) fn new(inner: &'a Inner<D, W>) -> Self {
        let (emptied, damaged) = (Vec::new(), Vec::new());
        Self { inner, builders: BTreeMap::new(), emptied, damaged, moved_len: 0 }
    }

    /// Sends what is live in a container on its way elsewhere.
    pub(super) async fn empty(&mut self, container: u32) -> Result<(), CommitError> {
        let runs = match self.inner.runs_of(container).await {
            Ok(runs) => runs,
            Err(error) => {
                self.damaged.push(error);
                return Ok(());
            }
        };
        for (run, directory) in &runs {
            for frame in (0u16..).take(directory.frames.len()) {
                let live = self.inner.live_in(*run, directory, frame);
                if live.is_empty() {
                    continue;
                }
                let proves = self.inner.mutants.keeps(Mutant::MovedIsProved);
                let checks = Checks { hash: proves, ids: proves };
                match self.inner.prove_whole(*run, directory, frame, checks).await {
                    Ok(proved) => self.move_frame(directory, frame, proved, live).await?,
                    // The container is not freed: its chunks are still there.
                    Err(error) => self.damaged.push(error),
                }
            }
        }
        self.emptied.push((container, runs));
        Ok(())
    }

    async fn move_frame(
        &mut self,
        directory: &Directory,
        frame: u16,
        proved: Proved,
        live: Vec<ChunkEntry>,
    ) -> Result<(), CommitError> {
        let domain = directory.header.domain;
        let all = live.len() == directory.chunks_of(frame).len();
        let Proved { entry, compressed, plain } = proved;
        let new = |chunk: &ChunkEntry| {
            let ChunkEntry { number, id, len, kind, .. } = *chunk;
            NewChunk { number, id, len, kind }
        };
        if all {
            let kept = keep_frame(entry.codec, entry.plain_len, compressed, entry.hash);
            return self.push_frame(domain, kept, live.iter().map(new).collect()).await;
        }
        for chunk in &live {
            let start = chunk.offset as usize;
            let bytes = &plain[start..start + chunk.len as usize];
            let builder = self.builders.entry(domain).or_default();
            if let Some((plain, chunks)) =
                builder.push_chunk(new(chunk), bytes, self.inner.frame_len())
            {
                let built = self.inner.build_frame(self.inner.codec.get(), plain).await;
                self.push_frame(domain, built, chunks).await?;
            }
        }
        Ok(())
    }

    async fn push_frame(
        &mut self,
        domain: DomainId,
        frame: BuiltFrame,
        chunks: Vec<NewChunk>,
    ) -> Result<(), CommitError> {
        self.moved_len += self.stored_len(&frame);
        let builder = self.builders.entry(domain).or_default();
        if builder.is_full(frame.stored.len(), chunks.len(), self.inner.run_len_max()) {
            let frames = builder.take_frames();
            self.emit(domain, frames).await?;
        }
        self.builders.entry(domain).or_default().push_frame(frame, chunks);
        Ok(())
    }

    /// What the frame takes where it will stand.
    fn stored_len(&self, frame: &BuiltFrame) -> u64 {
        let tag = if self.inner.fixed.is_encrypted() { TAG_LEN } else { 0 };
        (frame.stored.len() + tag) as u64
    }

    async fn emit(
        &self,
        domain: DomainId,
        frames: Vec<(BuiltFrame, Vec<NewChunk>)>,
    ) -> Result<(), CommitError> {
        if frames.is_empty() {
            return Ok(());
        }
        let parts =
            RunParts { purpose: Purpose::Data, domain, session: COMPACTOR, moved: true, frames };
        self.inner.place_run(parts).await.map(drop)
    }

    /// Makes the copies durable and gives the emptied containers up, those that can be.
    pub(super) async fn finish(mut self, report: &mut ReclaimReport) -> Result<Freed, CommitError> {
        for (domain, mut builder) in std::mem::take(&mut self.builders) {
            for (plain, chunks) in builder.take_loose() {
                let built = self.inner.build_frame(self.inner.codec.get(), plain).await;
                self.moved_len += self.stored_len(&built);
                if builder.is_full(built.stored.len(), chunks.len(), self.inner.run_len_max()) {
                    self.emit(domain, builder.take_frames()).await?;
                }
                builder.push_frame(built, chunks);
            }
            self.emit(domain, builder.take_frames()).await?;
        }
        self.inner.release(COMPACTOR);
        self.inner.append(Vec::new()).await?;
        let mut freed = Freed::default();
        for (container, runs) in &self.emptied {
            freed.add(self.inner.give_up(*container, runs).await?);
        }
        report.containers_compacted += freed.containers;
        report.moved_len += self.moved_len;
        report.damaged.append(&mut self.damaged);
        Ok(freed)
    }
}

impl<D: Device, W: Work> Inner<D, W> {
    /// Chunks of a frame that the index has there and that are not dead.
    fn live_in(&self, run: RunKey, directory: &Directory, frame: u16) -> Vec<ChunkEntry> {
        let tables = self.tables.borrow();
        let is_live = |chunk: &ChunkEntry| {
            let here = tables.index.slot(chunk.number).is_some_and(|slot| {
                let place = slot.place;
                let ordinal = directory.chunks.get(usize::from(place.ordinal));
                (place.container, place.run_block) == run
                    && ordinal.is_some_and(|at| at.number == chunk.number)
            });
            here && !tables.dead.contains(chunk.number.0)
        };
        directory.chunks_of(frame).iter().filter(|chunk| is_live(chunk)).copied().collect()
    }
}
