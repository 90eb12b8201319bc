//! The catalog: points and finished jobs on sled, a view of the pool that can be deleted at any
//! moment. It knows which state of the pool it shows; when it shows another one, or cannot be opened
//! or read, it is made anew. Nothing is only here.
//!
//! sled runs on a thread of its own: it blocks, and on a damaged file it may panic. A panic there
//! moves the directory aside and starts over with an empty one.

mod rows;
mod tree;

use crate::failure::{Code, Failure};
use crate::job::{FinishedJob, JobId};
pub use rows::{PointRow, View};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use thiserror::Error;
use tree::Tree;

#[derive(Debug, Error)]
pub enum CatalogError {
    #[error("the catalog cannot be kept at {}", path.display())]
    Directory { path: PathBuf, source: std::io::Error },
    #[error("the catalog's store failed")]
    Sled(#[from] sled::Error),
    #[error("the catalog's store panicked")]
    Panicked,
    #[error("the catalog's thread has ended")]
    Gone,
}

impl From<CatalogError> for Failure {
    fn from(error: CatalogError) -> Self {
        Self::of(Code::CatalogFailed, &error)
    }
}

type Request = Box<dyn FnOnce(&mut Tree) + Send>;

/// Handle to the catalog's thread. Reads that fail answer as an empty catalog would, and are logged.
#[derive(Clone)]
pub struct Catalog {
    requests: SyncSender<Request>,
}

impl std::fmt::Debug for Catalog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Catalog")
    }
}

impl Catalog {
    /// Opens the catalog in `directory`, empty if what is there cannot be used.
    pub fn open(directory: &Path) -> Result<Self, CatalogError> {
        let (requests, queue) = sync_channel::<Request>(64);
        let (opened, open) = sync_channel(1);
        let directory = directory.to_owned();
        std::thread::Builder::new()
            .name("catalog".into())
            .spawn(move || {
                let mut tree = match Tree::open(&directory) {
                    Ok(tree) => tree,
                    Err(error) => return drop(opened.send(Err(error))),
                };
                drop(opened.send(Ok(())));
                while let Ok(request) = queue.recv() {
                    request(&mut tree);
                }
            })
            .map_err(|source| CatalogError::Directory { path: PathBuf::new(), source })?;
        open.recv().map_err(|_| CatalogError::Gone)??;
        Ok(Self { requests })
    }

    fn ask<T: Send + 'static>(
        &self,
        request: impl FnOnce(&mut Tree) -> Result<T, CatalogError> + Send + 'static,
    ) -> Result<T, CatalogError> {
        let (answer, answered) = sync_channel(1);
        let request: Request = Box::new(move |tree| drop(answer.send(request(tree))));
        self.requests.send(request).map_err(|_| CatalogError::Gone)?;
        answered.recv().map_err(|_| CatalogError::Gone)?
    }

    fn read<T: Send + 'static>(
        &self,
        empty: T,
        request: impl FnOnce(&mut Tree) -> Result<T, CatalogError> + Send + 'static,
    ) -> T {
        self.ask(request).unwrap_or_else(|error| {
            tracing::warn!(error = crate::failure::chain(&error), "catalog not readable");
            empty
        })
    }

    /// Which state of the pool is shown.
    #[must_use]
    pub fn position(&self) -> Option<String> {
        self.read(None, |tree| tree.position())
    }

    pub fn set_position(&self, position: String) -> Result<(), CatalogError> {
        self.ask(move |tree| tree.set_position(&position))
    }

    /// Throws everything away and shows `view` instead.
    pub fn rebuild(&self, view: Arc<View>) -> Result<(), CatalogError> {
        self.ask(move |tree| tree.rebuild(&view))
    }

    /// Puts a new point behind the others.
    pub fn put_point(&self, row: PointRow) -> Result<(), CatalogError> {
        self.ask(move |tree| tree.put_point(row))
    }

    /// Makes the points those of `rows`, writing only what changed.
    pub fn set_points(&self, rows: Vec<PointRow>) -> Result<(), CatalogError> {
        self.ask(move |tree| tree.set_points(rows))
    }

    pub fn put_job(&self, job: FinishedJob) {
        self.read((), move |tree| tree.put_job(&job));
    }

    /// Rows of all points, in the order of their commits.
    #[must_use]
    pub fn points(&self) -> Vec<PointRow> {
        self.read(Vec::new(), |tree| tree.points())
    }

    #[must_use]
    pub fn job(&self, job: JobId) -> Option<FinishedJob> {
        self.read(None, move |tree| tree.job(job))
    }

    /// The newest finished jobs.
    #[must_use]
    pub fn jobs(&self, limit: usize) -> Vec<FinishedJob> {
        self.read(Vec::new(), move |tree| tree.jobs(limit))
    }
}

#[cfg(test)]
mod tests;
