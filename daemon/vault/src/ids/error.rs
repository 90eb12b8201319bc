use std::path::PathBuf;

use thiserror::Error;

use crate::format::FormatFault;
use crate::store::StoreError;
use crate::units::ObjectId;

/// Why it is not known what the vault has.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum IdsError {
    #[error("{path}: {kind}")]
    Io { path: PathBuf, kind: std::io::ErrorKind },
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The local file is gone already: bringing up makes it again.
    #[error("the local index of {object} is damaged and is made again")]
    Damaged { object: ObjectId },
    #[error("index object {name} cannot be read: {fault}")]
    Index {
        name: String,
        #[source]
        fault: FormatFault,
    },
}
