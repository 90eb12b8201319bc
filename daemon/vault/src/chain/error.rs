//! Why a vault does not open, or a manifest was not added.

use thiserror::Error;

use super::Seen;
use crate::format::{FormatFault, MergeFault, Parent};
use crate::keys::OpenError;
use crate::store::StoreError;
use crate::units::ManifestNumber;

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ChainError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("there is no vault here: no manifest is listed")]
    Empty,
    #[error("there is something here already: nothing is founded over it")]
    NotEmpty,
    #[error("manifest {number} does not open: {error}")]
    Unlock {
        number: ManifestNumber,
        #[source]
        error: OpenError,
    },
    #[error("this opens manifests up to {opens} and not {number}: it was replaced since")]
    Replaced { number: ManifestNumber, opens: ManifestNumber },
    #[error("of {} manifests none opens, the highest is {}", .void.len(), highest(.void))]
    NothingOpens { void: Vec<Void> },
    #[error("the {tried} highest names of manifests lead to none that opens; the last is {last}")]
    TooManyVoid { tried: usize, last: ManifestNumber },
    #[error("manifest {base}, which {number} is a difference to, cannot be read: {reason}")]
    Base { number: ManifestNumber, base: ManifestNumber, reason: VoidReason },
    #[error("manifest {number} and its base do not belong together: {fault}")]
    Merge {
        number: ManifestNumber,
        #[source]
        fault: MergeFault,
    },
    #[error("the vault was set back: manifest {} was seen, the newest is {} now", .seen.number, .found.number)]
    Rollback { seen: Seen, found: Parent },
    #[error("manifest {number} was added by somebody else")]
    Overtaken { number: ManifestNumber },
    #[error("no number from {first} on could be had")]
    Contended { first: ManifestNumber },
    #[error("manifest {number} does not read back as it was written")]
    NotReadBack { number: ManifestNumber },
    #[error("a manifest carries slots of its own master key, at least one")]
    Slots,
    #[error("a manifest of {len} bytes is too long")]
    TooLong { len: u64 },
    #[error("no number is left")]
    Exhausted,
}

fn highest(void: &[Void]) -> ManifestNumber {
    void.iter().map(|void| void.number).max().unwrap_or(ManifestNumber(0))
}

/// A number that is used up by something that is no manifest of this vault, or none that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Void {
    pub number: ManifestNumber,
    pub reason: VoidReason,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum VoidReason {
    #[error("it is listed, or named, and not there")]
    Missing,
    #[error("{len} bytes are no manifest")]
    TooLong { len: u64 },
    #[error("{0}")]
    Format(#[source] FormatFault),
    #[error("{0}")]
    Unlock(#[source] OpenError),
    #[error("it is manifest {found}")]
    Number { found: ManifestNumber },
    /// It opens, and the one above it was written by somebody who did not believe it, or never saw it.
    #[error("it opens, and manifest {by} goes past it")]
    PassedOver { by: ManifestNumber },
    #[error("it is another than the one that is named")]
    Link,
    #[error("two writers wanted it")]
    Claimed,
}
