//! Reading everything and proving it: every frame decoded, every chunk against its id, every number
//! against the index, and the pool's own structures at every place they have.

mod whole;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use roaring::RoaringTreemap;

use super::read::Proof;
use super::space::RunKey;
use super::{Inner, Pool, Work};
use crate::device::Device;
use crate::error::ReadError;
use crate::format::{Directory, SlotRef};
use crate::sets::common;
use crate::units::{ChunkNumber, PointId};

/// Runs read and checked at the same time.
const RUNS_AT_ONCE: usize = 6;

/// One damaged place and what it touches.
#[derive(Debug, Clone)]
pub struct VerifyFinding {
    pub error: ReadError,
    /// Chunks that cannot be served because of it.
    pub chunks: RoaringTreemap,
    /// Points that need one of them.
    pub points: Vec<PointId>,
}

#[derive(Debug, Clone, Default)]
pub struct VerifyReport {
    pub runs: u64,
    pub frames: u64,
    pub chunks: u64,
    pub bytes_stored: u64,
    pub bytes_plain: u64,
    pub findings: Vec<VerifyFinding>,
}

impl<D: Device, W: Work> Pool<D, W> {
    /// Reads every run of the pool from its disk. `progress` is told the share that is done, in
    /// stored bytes.
    pub async fn verify(&self, mut progress: impl FnMut(u64, u64)) -> VerifyReport {
        let inner = &self.inner;
        inner.cache.borrow_mut().clear();
        let runs = inner.runs();
        let total: u64 = runs.values().map(|numbers| numbers.len()).sum();
        let (mut report, mut done) = (VerifyReport::default(), 0);
        let reaches = whole::reaches(runs.keys(), inner.fixed.container_len);
        let mut waiting = runs.into_iter();
        let mut running = FuturesUnordered::new();
        loop {
            while running.len() < RUNS_AT_ONCE
                && let Some((run, numbers)) = waiting.next()
            {
                running.push(inner.verify_run(run, reaches[&run], numbers));
            }
            let Some(part) = running.next().await else {
                break;
            };
            done += part.chunks;
            progress(done, total);
            report.add(part);
        }
        report.findings.extend(inner.audit().await);
        for finding in &mut report.findings {
            finding.points = inner.points_touched(&finding.chunks);
        }
        report
    }

    /// Points whose reach sets meet `chunks`.
    #[must_use]
    pub fn points_touched(&self, chunks: &RoaringTreemap) -> Vec<PointId> {
        self.inner.points_touched(chunks)
    }
}

impl VerifyFinding {
    pub(super) fn of(error: ReadError) -> Self {
        Self { error, chunks: RoaringTreemap::new(), points: Vec::new() }
    }
}

impl VerifyReport {
    pub(super) fn add(&mut self, part: Self) {
        self.runs += part.runs;
        self.frames += part.frames;
        self.chunks += part.chunks;
        self.bytes_stored += part.bytes_stored;
        self.bytes_plain += part.bytes_plain;
        self.findings.extend(part.findings);
    }
}

impl<D: Device, W: Work> Inner<D, W> {
    /// All runs that hold chunks, with the numbers the index has in each.
    pub(super) fn runs(&self) -> BTreeMap<RunKey, RoaringTreemap> {
        let tables = self.tables.borrow();
        let mut runs: BTreeMap<RunKey, RoaringTreemap> = BTreeMap::new();
        for (number, slot) in tables.index.iter() {
            let run = (slot.place.container, slot.place.run_block);
            runs.entry(run).or_default().insert(number.0);
        }
        runs
    }

    /// Every copy of a run. What is wrong with one of them touches the chunks that no other serves.
    pub(super) async fn verify_run(
        &self,
        run: RunKey,
        reach: usize,
        numbers: RoaringTreemap,
    ) -> VerifyReport {
        let slots: Vec<SlotRef> =
            self.slots(run.0).into_iter().flat_map(|slots| slots.iter()).collect();
        let mut report = VerifyReport { runs: 1, chunks: numbers.len(), ..VerifyReport::default() };
        let mut copies = Vec::new();
        for slot in slots {
            let part = self.verify_copy(slot, run, reach, &numbers).await;
            let bad = part.findings.iter().fold(RoaringTreemap::new(), |mut bad, finding| {
                bad |= &finding.chunks;
                bad
            });
            copies.push((slot, part, bad));
        }
        let Some(lost) =
            copies.iter().map(|(_, _, bad)| bad.clone()).reduce(|one, other| one & other)
        else {
            let error = ReadError::NoChunk { number: ChunkNumber(numbers.min().unwrap_or(0)) };
            report.findings.push(VerifyFinding { error, chunks: numbers, points: Vec::new() });
            return report;
        };
        for (slot, mut part, _) in copies {
            for finding in &mut part.findings {
                self.note_fault(run, slot, &finding.error);
                finding.chunks &= &lost;
            }
            if !self.disk_of(slot).is_there() {
                // A missing disk is no finding, what it alone held is.
                part.findings.retain(|finding| !finding.chunks.is_empty());
            }
            report.add(part);
        }
        report
    }

    async fn verify_copy(
        &self,
        slot: SlotRef,
        run: RunKey,
        reach: usize,
        numbers: &RoaringTreemap,
    ) -> VerifyReport {
        let mut report = VerifyReport::default();
        let finding = |error, chunks| VerifyFinding { error, chunks, points: Vec::new() };
        let (directory, proved) = match self.prove_run(slot, run, reach).await {
            Some(whole) => whole,
            // Whatever was wrong, the single parts tell which of them it is.
            None => match self.own_directory(slot, run, &mut report).await {
                Ok(directory) => {
                    let unproved = vec![false; directory.frames.len()];
                    (Rc::new(directory), unproved)
                }
                Err(error) => {
                    report.findings.push(finding(error, numbers.clone()));
                    return report;
                }
            },
        };
        let mut listed = RoaringTreemap::new();
        for (frame, entry) in (0u16..).zip(&directory.frames) {
            report.frames += 1;
            report.bytes_stored += u64::from(entry.stored_len);
            report.bytes_plain += u64::from(entry.plain_len);
            let of_frame = directory.chunks_of(frame).iter();
            let chunks: RoaringTreemap = of_frame.map(|chunk| chunk.number.0).collect();
            // What moved away, or was sent again, is proved where it is now.
            let here = common(&chunks, numbers);
            let needed = !here.is_empty() || chunks.is_empty();
            if needed
                && !proved[usize::from(frame)]
                && let Err(error) = self.prove_frame(slot, run, &directory, frame).await
            {
                report.findings.push(finding(error, here));
            }
            listed |= chunks;
        }
        let missing = (numbers - &listed) | self.exchanged(&directory, numbers);
        if let Some(number) = missing.min() {
            let place = self.place(slot, run.1);
            let error = ReadError::WrongChunk { number: ChunkNumber(number), place };
            report.findings.push(finding(error, missing));
        }
        report
    }

    /// The directory of one copy of a run that could not be proved as a whole. One that is damaged
    /// where it belongs is a finding, also if the container's footer has it.
    async fn own_directory(
        &self,
        slot: SlotRef,
        run: RunKey,
        report: &mut VerifyReport,
    ) -> Result<Directory, ReadError> {
        // Twice before a verdict: one read may have been wrong where the disk is right.
        let salt = self.salt(run.0).ok_or(ReadError::NoChunk { number: ChunkNumber(0) })?;
        if let Ok(own) = self.read_directory(slot, run, &salt).await {
            return Ok(own);
        }
        let error = match self.read_directory(slot, run, &salt).await {
            Ok(own) => return Ok(own),
            Err(error) => error,
        };
        let listed = self.listed_in(slot, run).await.ok_or(error.clone())?;
        report.findings.push(VerifyFinding::of(error));
        Ok(listed)
    }

    /// Numbers that stand in the directory, but not where the index has them.
    fn exchanged(&self, directory: &Directory, numbers: &RoaringTreemap) -> RoaringTreemap {
        let tables = self.tables.borrow();
        let stands = |number: &u64| {
            let slot = tables.index.slot(ChunkNumber(*number))?;
            directory.chunks.get(usize::from(slot.place.ordinal))
        };
        let wrong = |number: &u64| stands(number).is_none_or(|chunk| chunk.number.0 != *number);
        numbers.iter().filter(wrong).collect()
    }

    async fn prove_frame(
        &self,
        slot: SlotRef,
        run: RunKey,
        directory: &Rc<Directory>,
        frame: u16,
    ) -> Result<(), ReadError> {
        // Twice before a verdict, as above.
        match self.read_frame_at(slot, run, directory, frame, Proof::Stored).await {
            Ok(_) => Ok(()),
            Err(_) => {
                self.read_frame_at(slot, run, directory, frame, Proof::Stored).await.map(drop)
            }
        }
    }

    /// In the order of their commits.
    pub(super) fn points_touched(&self, chunks: &RoaringTreemap) -> Vec<PointId> {
        let tables = self.tables.borrow();
        let chains = tables.sources.values().map(|source| source.chain.touched(chunks));
        let touched: BTreeSet<PointId> = chains.flatten().collect();
        let ids = tables.points.iter().map(|row| row.id);
        ids.filter(|id| touched.contains(id)).collect()
    }
}
