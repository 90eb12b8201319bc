//! Why nothing was deleted.

use thiserror::Error;

use crate::chain::{ChainError, VoidReason};
use crate::format::{FormatFault, MergeFault};
use crate::store::StoreError;
use crate::units::ManifestNumber;

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PruneError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Chain(#[from] ChainError),
    #[error("manifest {number} is held and cannot be read: {reason}")]
    Manifest { number: ManifestNumber, reason: VoidReason },
    #[error("manifest {number} is held, and does not belong together with its base: {fault}")]
    Base { number: ManifestNumber, fault: MergeFault },
    #[error("{name} is part of a held manifest's index and cannot be read: {fault}")]
    Index { name: String, fault: FormatFault },
    #[error("{name} is part of a held manifest's index and is not there")]
    IndexLost { name: String },
    /// Somebody has to look at these figures and confirm.
    #[error("{bytes} bytes of {total} would be deleted, {} were expected", told(.forecast))]
    TooMuch { bytes: u64, total: u64, forecast: Option<u64> },
}

fn told(forecast: &Option<u64>) -> String {
    forecast.map_or_else(|| "it is not known how many".to_owned(), |bytes| bytes.to_string())
}
