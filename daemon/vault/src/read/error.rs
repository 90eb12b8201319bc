//! Why something is not read from the vault.

use keelhold_chunk::DecodeError;
use thiserror::Error;

use crate::format::FormatFault;
use crate::store::{StoreError, StoreFault};
use crate::units::{PointId, PoolId};

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ReadError {
    #[error(transparent)]
    Store(StoreError),
    #[error("{object} is lost, or shorter than it was")]
    Lost { object: String },
    #[error("{object} is damaged: {fault}")]
    Damaged {
        object: String,
        #[source]
        fault: FormatFault,
    },
    #[error("{object} holds something else under chunk {number} than its id says")]
    OtherBytes { object: String, number: u64 },
    #[error("the index leads nowhere for chunk {number} of pool {pool:?}")]
    NoChunk { pool: PoolId, number: u64 },
    #[error("chunks from {first} on in {object} are not those that were meant")]
    OtherChunks { object: String, first: u64 },
    #[error("the index leads to something else for chunk {number} than {object} has there")]
    Misled { object: String, number: u64 },
    #[error("point {point} is not in the vault")]
    NoPoint { point: PointId },
    #[error("the root of point {point} cannot be decoded")]
    Root {
        point: PointId,
        #[source]
        source: DecodeError,
    },
    #[error("chunks cannot be proved before the id key is known")]
    NoIdKey,
    #[error("nothing is written through a reader")]
    ReadOnly,
}

impl ReadError {
    /// The object that is to blame, if one is.
    #[must_use]
    pub fn object(&self) -> Option<&str> {
        match self {
            Self::Store(error) => Some(&error.name),
            Self::Lost { object }
            | Self::Damaged { object, .. }
            | Self::OtherBytes { object, .. }
            | Self::OtherChunks { object, .. }
            | Self::Misled { object, .. } => Some(object),
            Self::NoChunk { .. }
            | Self::NoPoint { .. }
            | Self::Root { .. }
            | Self::NoIdKey
            | Self::ReadOnly => None,
        }
    }

    /// What a store said while an object was read.
    pub(crate) fn of_store(error: StoreError) -> Self {
        match error.fault {
            StoreFault::NotFound | StoreFault::Range { .. } => Self::Lost { object: error.name },
            _ => Self::Store(error),
        }
    }
}
