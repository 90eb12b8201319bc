//! What the catalog shows.

use crate::job::FinishedJob;
use crate::point_facts::PointFacts;
use keelhold_disk::pool::PointInfo;
use serde::{Deserialize, Serialize};

/// A point as lists need it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PointRow {
    /// The order of the rows is that of the commits. The catalog gives the numbers.
    pub order: u64,
    pub id: String,
    pub source: String,
    pub at: i64,
    pub committed_at: i64,
    pub partial: bool,
    pub bytes_source: u64,
    pub entries: u64,
    pub trashed_until: Option<i64>,
    pub facts: PointFacts,
}

impl PointRow {
    #[must_use]
    pub fn new(order: u64, point: &PointInfo) -> Self {
        Self {
            order,
            id: crate::id_text::encode(&point.id.0),
            source: crate::id_text::encode(&point.source.0),
            at: point.at.0,
            committed_at: point.committed_at.0,
            partial: point.partial,
            bytes_source: point.bytes_source,
            entries: point.entries,
            trashed_until: point.trashed_until.map(|at| at.0),
            facts: PointFacts::parse(&point.attributes),
        }
    }
}

/// Everything the catalog shows, taken from the pool at one moment.
#[derive(Debug, Clone, Default)]
pub struct View {
    pub position: String,
    pub points: Vec<PointRow>,
    pub jobs: Vec<FinishedJob>,
}
