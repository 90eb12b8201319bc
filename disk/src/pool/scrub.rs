//! Scrub: everything the pool has is read and proved again and again, a little at a time, so that rot
//! is found while there is something to heal it with.
//!
//! A pass goes through its stages in order; each call does one stretch and says where the next one
//! begins, so that whoever calls decides the pace and a pass survives a restart. Nothing is judged by
//! one read. Where damage is found, what lies around it is read at once: damage is local.

use roaring::RoaringTreemap;

use super::tables::{Effect, Pending, encode_set};
use super::verify::{VerifyFinding, VerifyReport};
use super::{Inner, Pool, Work};
use crate::device::Device;
use crate::error::{CommitError, ReadError};
use crate::format::{ContainerRow, Op, Purpose};
use crate::sets::common;
use crate::units::{ChunkNumber, SourceId, UnixNanos};

/// What is read around a damaged place before the pass goes on.
const AROUND_LEN: u64 = 64 << 20;
/// Numbers whose counts are compared at a time.
const COUNTS_AT_ONCE: u64 = 1 << 20;

/// Where a pass stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ScrubAt {
    /// Labels, superblocks, journal, checkpoint, free space.
    #[default]
    Structures,
    /// Containers of data from this number on.
    Containers(u32),
    /// Sets of the sources from this one on, against the trees they are caches of.
    Sets(SourceId),
    /// Counts of sources, from this number on.
    Counts(u64),
}

#[derive(Debug, Clone, Default)]
pub struct ScrubReport {
    pub found: VerifyReport,
    /// Of the findings, those where the disk did not answer, and those where it answered wrongly.
    pub unread: u64,
    pub wrong: u64,
    /// Chunks that counted as lost and are in what was read.
    proved: RoaringTreemap,
    /// Where the next stretch begins; none at the end of the pass.
    pub next: Option<ScrubAt>,
}

impl<D: Device, W: Work> Pool<D, W> {
    /// Reads on from `at` until some `budget` bytes are read or the stage ends. What is found to be
    /// lost is journaled: it is not served, not told to exist, and healed by whoever sends it again.
    pub async fn scrub(
        &self,
        at: ScrubAt,
        budget: u64,
        now: UnixNanos,
    ) -> Result<ScrubReport, CommitError> {
        let inner = &self.inner;
        inner.witness(now);
        let mut report = ScrubReport::default();
        report.next = match at {
            ScrubAt::Structures => {
                report.found.findings.extend(inner.audit().await);
                report.found.findings.extend(inner.audit_space());
                Some(ScrubAt::Containers(0))
            }
            ScrubAt::Containers(first) => inner.scrub_containers(first, budget, &mut report).await,
            ScrubAt::Sets(from) => {
                let (finding, next) = self.scrub_source(from).await;
                report.found.findings.extend(finding);
                Some(next.map_or(ScrubAt::Counts(0), ScrubAt::Sets))
            }
            ScrubAt::Counts(from) => {
                report.found.findings.extend(inner.audit_counts(from, COUNTS_AT_ONCE));
                let more = from + COUNTS_AT_ONCE < inner.tables.borrow().next_number;
                more.then_some(ScrubAt::Counts(from + COUNTS_AT_ONCE))
            }
        };
        for finding in &mut report.found.findings {
            finding.points = inner.points_touched(&finding.chunks);
            let unread = matches!(finding.error, ReadError::Device { .. });
            report.unread += u64::from(unread);
            report.wrong += u64::from(!unread);
        }
        inner.note_lost(&report).await?;
        Ok(report)
    }

    /// The sets of the first source from `from` on, and which source follows.
    async fn scrub_source(&self, from: SourceId) -> (Option<VerifyFinding>, Option<SourceId>) {
        let (source, next) = {
            let tables = self.inner.tables.borrow();
            let mut sources = tables.sources.range(from..).map(|(id, _)| *id);
            (sources.next(), sources.next())
        };
        let Some(newest) = source.and_then(|source| self.newest_point(&source)) else {
            return (None, next);
        };
        // The point may be dropped while its tree is walked: then there is nothing to compare with.
        let error = match self.walk_reach(&newest).await {
            Ok(reach) => self.inner.compare_reach(&newest, &reach),
            // Pages that cannot be read were found where they lie.
            Err(_) => None,
        };
        (error.map(VerifyFinding::of), next)
    }
}

impl<D: Device, W: Work> Inner<D, W> {
    async fn scrub_containers(
        &self,
        first: u32,
        budget: u64,
        report: &mut ScrubReport,
    ) -> Option<ScrubAt> {
        let rows: Vec<ContainerRow> = {
            let tables = self.tables.borrow();
            let of_data = tables.containers.range(first..).map(|(_, found)| found.row);
            of_data.filter(|row| row.purpose == Purpose::Data && row.freed_at == 0).collect()
        };
        let mut left = budget;
        for row in &rows {
            if left == 0 {
                return Some(ScrubAt::Containers(row.container));
            }
            let before = report.found.findings.len();
            let numbers = self.scrub_container(row, &mut report.found).await;
            report.proved |= common(&numbers, &self.tables.borrow().lost);
            left = left.saturating_sub(self.fixed.container_len);
            if report.found.findings.len() > before {
                left = left.max(AROUND_LEN);
            }
        }
        let source = self.tables.borrow().sources.keys().next().copied();
        Some(source.map_or(ScrubAt::Counts(0), ScrubAt::Sets))
    }

    /// Gives the numbers that were looked at.
    async fn scrub_container(
        &self,
        row: &ContainerRow,
        report: &mut VerifyReport,
    ) -> RoaringTreemap {
        let mut all = RoaringTreemap::new();
        let _held = self.epochs.hold();
        let in_use = |row: &ContainerRow| {
            let tables = self.tables.borrow();
            let found = tables.containers.get(&row.container);
            found.is_some_and(|now| now.row.generation == row.generation && now.row.freed_at == 0)
        };
        if !in_use(row) {
            return all;
        }
        report.findings.extend(self.audit_container(row).await);
        let Ok(runs) = self.runs_of(row.container).await else {
            // Which run it is, the index knows.
            self.scrub_by_index(row.container, report).await;
            return all;
        };
        for (at, (run, directory)) in runs.iter().enumerate() {
            let end = runs.get(at + 1).map(|(next, _)| next.1);
            let reach = self.run_reach(*run, end);
            let numbers = self.indexed_in(*run, directory);
            all |= &numbers;
            report.add(self.verify_run(*run, reach, numbers).await);
        }
        let expected = {
            let tables = self.tables.borrow();
            tables.containers.get(&row.container).map(|found| found.shares.indexed)
        };
        // Runs may have been added, and chunks dropped, while the others were read.
        if expected != Some(all.len()) && in_use(row) && !self.is_open(row.container) {
            self.scrub_by_index(row.container, report).await;
        }
        all
    }

    /// As the index sees the container: for what its own tables no longer tell.
    async fn scrub_by_index(&self, container: u32, report: &mut VerifyReport) {
        for (run, numbers) in self.runs() {
            if run.0 == container {
                let reach = self.run_reach(run, None);
                report.add(self.verify_run(run, reach, numbers).await);
            }
        }
    }

    /// Journals what is lost, so that it is asked for again, and what is no longer.
    async fn note_lost(&self, report: &ScrubReport) -> Result<(), CommitError> {
        let (mut lost, mut damaged) = (RoaringTreemap::new(), RoaringTreemap::new());
        for finding in &report.found.findings {
            damaged |= &finding.chunks;
            if finding.error.is_corruption() {
                lost |= &finding.chunks;
            }
        }
        {
            let tables = self.tables.borrow();
            lost -= &tables.lost;
            lost = lost.iter().filter(|n| tables.index.contains(ChunkNumber(*n))).collect();
        }
        let found = &report.proved - &damaged;
        let mut ops = Vec::new();
        if !lost.is_empty() {
            ops.push(Op::ChunksLost { numbers: encode_set(&lost) });
        }
        if !found.is_empty() {
            ops.push(Op::ChunksFound { numbers: encode_set(&found) });
        }
        if ops.is_empty() || self.journal.failed().is_some() {
            return Ok(());
        }
        let pending = ops.into_iter().map(|op| Pending { op, effect: Effect::None });
        self.append(pending.collect()).await
    }
}
