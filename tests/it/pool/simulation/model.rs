//! What the pool should hold, in the plainest form there is.

use std::collections::{BTreeMap, BTreeSet};

use keelhold_disk::units::{PointId, SourceId};
use keelhold_tests::rig::Files;

#[derive(Debug, Clone)]
pub struct Point {
    pub id: PointId,
    pub at: i64,
    pub source: SourceId,
    pub files: Files,
}

#[derive(Debug, Default, Clone)]
pub struct Model {
    /// In order of commit.
    pub points: Vec<Point>,
    /// The state a source was synchronised to after its newest point.
    pub working: BTreeMap<SourceId, Point>,
    /// Version and value.
    pub records: BTreeMap<String, (u64, Vec<u8>)>,
    pub series: BTreeMap<String, Vec<Vec<u8>>>,
    /// Entries that were given up of each.
    pub trimmed: BTreeMap<String, u64>,
    /// Trees whose every chunk a parked session was sent.
    pub parked: BTreeMap<SourceId, Files>,
    /// Points in the trash and until when.
    pub trash: BTreeMap<PointId, i64>,
    /// Sources of which a point was forgotten since their session was parked: what that point told
    /// the session without words may be gone.
    pub forgot: BTreeSet<SourceId>,
}

/// What was asked for and not answered: after the next opening it happened, or it did not.
#[derive(Debug, Clone)]
pub enum Attempt {
    Point {
        at: i64,
        source: SourceId,
        files: Files,
        working: bool,
    },
    /// The working state becomes a point.
    Promote {
        source: SourceId,
    },
    Record {
        name: String,
        value: Option<Vec<u8>>,
    },
    Entry {
        series: String,
        bytes: Vec<u8>,
    },
    /// Of a series the first so many entries are given up.
    Trim {
        series: String,
        count: usize,
    },
    Park {
        source: SourceId,
        files: Files,
    },
    Cancel {
        source: SourceId,
    },
    Forget {
        points: Vec<PointId>,
        until: i64,
    },
    Undo {
        point: PointId,
    },
    Reclaim {
        least_dead: u8,
    },
}

impl Model {
    pub fn newest(&self, source: SourceId) -> Option<&Point> {
        let listed = |point: &&Point| !self.trash.contains_key(&point.id);
        self.points.iter().filter(listed).rfind(|point| point.source == source)
    }

    /// What a machine's next backup may describe its differences from.
    pub fn basis(&self, source: SourceId) -> Option<&Point> {
        self.working.get(&source).or_else(|| self.newest(source))
    }

    /// The attempt happened. A point brings the id it got.
    pub fn happened(&mut self, attempt: Attempt, id: Option<PointId>) {
        match attempt {
            Attempt::Point { at, source, files, working } => {
                let Some(id) = id else { return };
                let point = Point { id, at, source, files };
                self.parked.remove(&source);
                if working {
                    self.working.insert(source, point);
                } else {
                    self.working.remove(&source);
                    self.points.push(point);
                }
            }
            Attempt::Promote { source } => self.points.extend(self.working.remove(&source)),
            Attempt::Record { name, value } => match value {
                Some(value) => {
                    let version = self.records.get(&name).map_or(0, |(version, _)| *version);
                    self.records.insert(name, (version + 1, value));
                }
                None => drop(self.records.remove(&name)),
            },
            Attempt::Entry { series, bytes } => self.series.entry(series).or_default().push(bytes),
            Attempt::Trim { series, count } => {
                let entries = self.series.entry(series.clone()).or_default();
                let count = count.min(entries.len());
                entries.drain(..count);
                *self.trimmed.entry(series).or_default() += count as u64;
            }
            Attempt::Park { source, files } => {
                self.forgot.remove(&source);
                self.parked.insert(source, files);
            }
            Attempt::Cancel { source } => drop(self.parked.remove(&source)),
            Attempt::Forget { points, until } => {
                let of = self.points.iter().filter(|point| points.contains(&point.id));
                self.forgot.extend(of.map(|point| point.source));
                self.trash.extend(points.into_iter().map(|point| (point, until)));
            }
            Attempt::Undo { point } => drop(self.trash.remove(&point)),
            Attempt::Reclaim { .. } => {}
        }
    }
}
