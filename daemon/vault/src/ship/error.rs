//! Why a shipment ended before its manifest.

use thiserror::Error;

use crate::chain::ChainError;
use crate::ids::IdsError;
use crate::store::StoreError;
use crate::units::PointId;

/// Why the pool did not give what was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SourceError {
    /// Retention or an operator was quicker.
    #[error("the point is not in the pool any more")]
    Gone,
    #[error("{count} chunks are lost in the pool, the first is {first}")]
    Lost { first: u64, count: u64 },
    #[error("the pool does not answer: {0}")]
    Failed(String),
}

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ShipError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Chain(#[from] ChainError),
    #[error(transparent)]
    Ids(#[from] IdsError),
    #[error("{0}")]
    Source(#[source] SourceError),
    /// What the pool gave is not what was asked for: nothing of it is sealed.
    #[error("the pool gave {what}")]
    Answer { what: &'static str },
    #[error("there is something else under the fresh name {name}")]
    Foreign { name: String },
    /// What an interrupted shipment left behind cannot be locked for as long as it shall be.
    #[error("{name} was left behind, and does not stay locked as long as it must")]
    Lock { name: String },
    #[error("chunk {number} of point {point} is in the vault, and where it is is not known")]
    Unplaced { point: PointId, number: u64 },
    /// The caller has to give all of them: [`wants_all_records`](super::wants_all_records).
    #[error("eight record objects are named already")]
    AllRecordsNeeded,
    #[error("records do not fit into eight objects")]
    TooManyRecords,
    /// Everything that was on its way has arrived, and is found again.
    #[error("stopped")]
    Stopped,
}

/// Why a point was left out of a shipment that went on without it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LeftOut {
    #[error("it is not in the pool any more")]
    Gone,
    #[error("{count} chunks of it are lost in the pool, the first is {first}")]
    Lost { first: u64, count: u64 },
}
