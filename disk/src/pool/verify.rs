//! Reading everything and proving it: every frame decoded, every chunk against its id, every number
//! against the index, and the pool's own structures at every place they have.

mod whole;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use roaring::RoaringTreemap;

use super::layout::container_slot;
use super::read::Proof;
use super::space::RunKey;
use super::{Inner, Pool, Work};
use crate::device::Device;
use crate::error::ReadError;
use crate::format::Directory;
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

    pub(super) async fn verify_run(
        &self,
        run: RunKey,
        reach: usize,
        numbers: RoaringTreemap,
    ) -> VerifyReport {
        let mut report = VerifyReport { runs: 1, chunks: numbers.len(), ..VerifyReport::default() };
        let finding = |error, chunks| VerifyFinding { error, chunks, points: Vec::new() };
        let (directory, proved) = match self.prove_run(run, reach).await {
            Some(whole) => whole,
            // Whatever was wrong, the single parts tell which of them it is.
            None => match self.own_directory(run, &mut report).await {
                Ok(directory) => {
                    let unproved = vec![false; directory.frames.len()];
                    (directory, unproved)
                }
                Err(error) => {
                    report.findings.push(finding(error, numbers));
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
            let here = common(&chunks, &numbers);
            let needed = !here.is_empty() || chunks.is_empty();
            if needed
                && !proved[usize::from(frame)]
                && let Err(error) = self.prove_frame(run, &directory, frame).await
            {
                report.findings.push(finding(error, here));
            }
            listed |= chunks;
        }
        let missing = (&numbers - &listed) | self.exchanged(&directory, &numbers);
        if let Some(number) = missing.min() {
            let disk = &self.disks[container_slot(run.0).0];
            let place = disk.place(disk.offset(run.0, run.1));
            let error = ReadError::WrongChunk { number: ChunkNumber(number), place };
            report.findings.push(finding(error, missing));
        }
        report
    }

    /// The directory of a run that could not be proved as a whole. One that is damaged where it
    /// belongs is a finding, also if the container's footer has it.
    async fn own_directory(
        &self,
        run: RunKey,
        report: &mut VerifyReport,
    ) -> Result<Rc<Directory>, ReadError> {
        let salt = self.salt(run.0).ok_or(ReadError::NoChunk { number: ChunkNumber(0) })?;
        let first = self.read_directory(run.0, run.1, &salt).await;
        let own = match first {
            Ok(own) => return Ok(Rc::new(own)),
            Err(_) => self.read_directory(run.0, run.1, &salt).await,
        };
        let error = match own {
            Ok(own) => return Ok(Rc::new(own)),
            Err(error) => error,
        };
        self.cache.borrow_mut().forget_container(run.0);
        let listed = self.directory(run).await.map_err(|_| error.clone())?;
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
        run: RunKey,
        directory: &Rc<Directory>,
        frame: u16,
    ) -> Result<(), ReadError> {
        // Twice before a verdict: one read may have been wrong where the disk is right.
        match self.read_frame(run, directory, frame, Proof::Stored).await {
            Ok(_) => Ok(()),
            Err(_) => self.read_frame(run, directory, frame, Proof::Stored).await.map(|_| ()),
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
