//! Looking after a vault: whether what the newest manifest needs is there, and is what it was.
//!
//! Index and records are always read whole, as everything depends on them; of the objects of chunks all,
//! or one in so many, drawn at random, and of the others whether they are there. Every finding names
//! the object, and the points that need it.

mod objects;
mod points;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use crate::format::ObjectRef;
use crate::random::Random;
use crate::read::{ReadError, VaultReader, name_of};
use crate::store::Store;
use crate::units::PointId;

/// Objects whose index entries are held at a time.
const BATCH: usize = 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sample {
    Whole,
    /// Each object, and each point's tree, with a probability of one in so many.
    OneIn(u32),
}

impl Sample {
    fn draws(self, random: &mut impl Random) -> bool {
        match self {
            Self::Whole | Self::OneIn(0) => true,
            Self::OneIn(many) => u32::from_le_bytes(random.array()) % many == 0,
        }
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    pub objects: u64,
    pub objects_all: u64,
    pub points: u64,
    pub points_all: u64,
    pub bytes: u64,
}

/// What is wrong with one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Its name; none if the index leads nowhere.
    pub object: Option<String>,
    pub fault: ReadError,
    /// The points that need it.
    pub points: BTreeSet<PointId>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Objects that were read whole, and bytes of these.
    pub objects: u64,
    pub bytes: u64,
    /// Objects that were only asked for.
    pub present: u64,
    pub frames: u64,
    pub chunks: u64,
    /// Entries of the index that were held against the object they lead to.
    pub entries: u64,
    /// Points whose tree was walked.
    pub points: u64,
    pub findings: Vec<Finding>,
}

struct Run<'a, S> {
    reader: &'a VaultReader<S>,
    report: VerifyReport,
    progress: Progress,
    tell: &'a dyn Fn(Progress),
    faults: BTreeMap<Option<String>, (ReadError, BTreeSet<PointId>)>,
}

/// Verifies what the manifest of `reader` needs; the reader must have the id key. Not for threads: trees
/// are walked.
pub async fn verify<S: Store + 'static>(
    reader: &VaultReader<S>,
    sample: Sample,
    random: &mut impl Random,
    tell: &dyn Fn(Progress),
) -> Result<VerifyReport, ReadError> {
    reader.id_key().ok_or(ReadError::NoIdKey)?;
    let (report, progress) = (VerifyReport::default(), Progress::default());
    let mut run = Run { reader, report, progress, tell, faults: BTreeMap::new() };
    run.progress.points_all = reader.view().points.len() as u64;
    run.records().await;
    let objects = run.index().await;
    let drawn: Vec<(ObjectRef, bool)> =
        objects.into_iter().map(|object| (object, sample.draws(random))).collect();
    for (object, _) in drawn.iter().filter(|(_, is_drawn)| !is_drawn) {
        let there = run.is_there(object).await;
        run.report.present += 1;
        run.note(there);
        run.step(0);
    }
    let whole: Vec<ObjectRef> =
        drawn.iter().filter(|(_, is_drawn)| *is_drawn).map(|(object, _)| *object).collect();
    for batch in whole.chunks(BATCH) {
        run.batch(batch).await;
    }
    // Once something is wrong, every point is asked whether it needs it.
    let is_sound = run.faults.is_empty();
    let damaged = run.damaged(&drawn).await;
    for row in &reader.view().points {
        if !is_sound || sample.draws(random) {
            run.point(row, &damaged).await;
        }
        run.progress.points += 1;
        run.step(0);
    }
    let finding = |(object, (fault, points))| Finding { object, fault, points };
    run.report.findings = run.faults.into_iter().map(finding).collect();
    Ok(run.report)
}

impl<S: Store + 'static> Run<'_, S> {
    /// The first fault of an object stands for it.
    fn note(&mut self, checked: Result<(), ReadError>) {
        if let Err(fault) = checked {
            self.faults
                .entry(fault.object().map(str::to_owned))
                .or_insert((fault, BTreeSet::new()));
        }
    }

    fn step(&mut self, bytes: u64) {
        self.progress.bytes += bytes;
        (self.tell)(self.progress);
    }

    fn is_faulty(&self, object: &ObjectRef) -> bool {
        self.faults.contains_key(&Some(name_of(object)))
    }
}
