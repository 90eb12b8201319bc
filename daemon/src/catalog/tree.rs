//! The sled side, on the catalog's own thread.
//!
//! | tree | key | value |
//! |---|---|---|
//! | `points` | a number that grows with every commit, 8 bytes big first | JSON of [`PointRow`] |
//! | `jobs` | number, 8 bytes big first | JSON of [`FinishedJob`] |
//! | default | `position` | state of the pool that is shown |
//!
//! Batches are small and `len()` is never asked: in sled 0.34 memory follows the size of a batch and
//! counting is a scan.

use super::{CatalogError, PointRow, View};
use crate::job::{FinishedJob, JobId};
use serde::de::DeserializeOwned;
use sled::{Batch, Db};
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

const BATCH_COUNT: usize = 100;
const CACHE_LEN: u64 = 32 << 20;
const POSITION: &str = "position";

pub(super) struct Tree {
    directory: PathBuf,
    opened: Option<Opened>,
}

struct Opened {
    db: Db,
    points: sled::Tree,
    jobs: sled::Tree,
}

fn key(number: u64) -> [u8; 8] {
    // sled orders keys as bytes.
    let mut bytes = number.to_le_bytes();
    bytes.reverse();
    bytes
}

fn open(directory: &Path) -> Result<Opened, CatalogError> {
    let opening = || -> Result<Opened, sled::Error> {
        let db = sled::Config::new().path(directory).cache_capacity(CACHE_LEN).open()?;
        let (points, jobs) = (db.open_tree("points")?, db.open_tree("jobs")?);
        Ok(Opened { db, points, jobs })
    };
    match catch_unwind(AssertUnwindSafe(opening)) {
        Ok(opened) => Ok(opened?),
        Err(_) => Err(CatalogError::Panicked),
    }
}

impl Tree {
    pub(super) fn open(directory: &Path) -> Result<Self, CatalogError> {
        match open(directory) {
            Ok(opened) => Ok(Self { directory: directory.to_owned(), opened: Some(opened) }),
            Err(error) => {
                tracing::info!(
                    error = crate::failure::chain(&error),
                    "catalog not usable, made anew"
                );
                let mut tree = Self { directory: directory.to_owned(), opened: None };
                tree.start_over()?;
                Ok(tree)
            }
        }
    }

    /// Moves what is there aside, one generation kept for a look, and opens an empty catalog.
    fn start_over(&mut self) -> Result<(), CatalogError> {
        self.opened = None;
        let aside = self.directory.with_extension("broken");
        let failed = |source| CatalogError::Directory { path: self.directory.clone(), source };
        if aside.exists() {
            std::fs::remove_dir_all(&aside).map_err(failed)?;
        }
        if self.directory.exists() {
            std::fs::rename(&self.directory, &aside).map_err(failed)?;
        }
        self.opened = Some(open(&self.directory)?);
        Ok(())
    }

    fn run<T>(
        &mut self,
        work: impl FnOnce(&Opened) -> Result<T, sled::Error>,
    ) -> Result<T, CatalogError> {
        let Some(opened) = &self.opened else {
            return Err(CatalogError::Gone);
        };
        match catch_unwind(AssertUnwindSafe(|| work(opened))) {
            Ok(done) => Ok(done?),
            Err(_) => {
                // What a panic left behind is not trusted; the next start fills an empty one.
                self.start_over()?;
                Err(CatalogError::Panicked)
            }
        }
    }

    pub(super) fn position(&mut self) -> Result<Option<String>, CatalogError> {
        self.run(|opened| {
            let value = opened.db.get(POSITION)?;
            Ok(value.and_then(|value| String::from_utf8(value.to_vec()).ok()))
        })
    }

    pub(super) fn set_position(&mut self, position: &str) -> Result<(), CatalogError> {
        self.run(|opened| {
            opened.db.insert(POSITION, position)?;
            opened.db.flush().map(drop)
        })
    }

    pub(super) fn rebuild(&mut self, view: &View) -> Result<(), CatalogError> {
        // No position while rows come and go: a stop in between is noticed.
        self.run(|opened| {
            opened.db.remove(POSITION)?;
            opened.db.flush().map(drop)
        })?;
        self.start_over()?;
        self.run(|opened| {
            let points = view.points.iter().map(|row| (row.order, encode(row)));
            insert_all(&opened.points, points)?;
            insert_all(&opened.jobs, view.jobs.iter().map(|job| (job.job.id, encode(job))))
        })?;
        self.set_position(&view.position)
    }

    pub(super) fn put_point(&mut self, row: PointRow) -> Result<(), CatalogError> {
        self.run(|opened| {
            // Points go, and their numbers are not given again: the order of the others stays.
            let order = match opened.points.last()?.map(|(_, last)| decode::<PointRow>(&last)) {
                // Somebody who looked at the pool was quicker.
                Some(Ok(last)) if last.id == row.id => last.order,
                _ => next_order(&opened.points)?,
            };
            opened.points.insert(key(order), encode(&PointRow { order, ..row })).map(drop)
        })
    }

    pub(super) fn set_points(&mut self, rows: Vec<PointRow>) -> Result<(), CatalogError> {
        let known = self.points()?;
        self.run(|opened| {
            let mut known: HashMap<String, PointRow> =
                known.into_iter().map(|row| (row.id.clone(), row)).collect();
            let mut next = next_order(&opened.points)?;
            for row in rows {
                let old = known.remove(&row.id);
                let order = old.as_ref().map_or(next, |old| old.order);
                next = next.max(order + 1);
                let row = PointRow { order, ..row };
                if old.as_ref() != Some(&row) {
                    opened.points.insert(key(order), encode(&row))?;
                }
            }
            known.values().try_for_each(|gone| opened.points.remove(key(gone.order)).map(drop))
        })
    }

    pub(super) fn put_job(&mut self, job: &FinishedJob) -> Result<(), CatalogError> {
        self.run(|opened| opened.jobs.insert(key(job.job.id), encode(job)).map(drop))
    }

    pub(super) fn points(&mut self) -> Result<Vec<PointRow>, CatalogError> {
        self.run(|opened| opened.points.iter().values().map(|row| decode(&row?)).collect())
    }

    pub(super) fn job(&mut self, job: JobId) -> Result<Option<FinishedJob>, CatalogError> {
        self.run(|opened| opened.jobs.get(key(job))?.map(|value| decode(&value)).transpose())
    }

    pub(super) fn jobs(&mut self, limit: usize) -> Result<Vec<FinishedJob>, CatalogError> {
        self.run(|opened| {
            opened.jobs.iter().values().rev().take(limit).map(|value| decode(&value?)).collect()
        })
    }
}

fn next_order(points: &sled::Tree) -> Result<u64, sled::Error> {
    let last = points.last()?.map(|(_, value)| decode::<PointRow>(&value)).transpose()?;
    Ok(last.map_or(0, |row| row.order + 1))
}

fn encode(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

fn decode<T: DeserializeOwned>(value: &[u8]) -> Result<T, sled::Error> {
    serde_json::from_slice(value).map_err(|error| sled::Error::Unsupported(error.to_string()))
}

fn insert_all(
    tree: &sled::Tree,
    rows: impl Iterator<Item = (u64, Vec<u8>)>,
) -> Result<(), sled::Error> {
    let mut batch = Batch::default();
    let mut count = 0;
    for (number, value) in rows {
        batch.insert(&key(number)[..], value);
        count += 1;
        if count % BATCH_COUNT == 0 {
            tree.apply_batch(std::mem::take(&mut batch))?;
        }
    }
    tree.apply_batch(batch)
}
