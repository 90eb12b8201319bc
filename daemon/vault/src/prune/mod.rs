//! Deleting what no manifest needs any more (VAULT.md, section 10).
//!
//! The permission to delete comes from manifests alone: every one that is held is read, with every leaf
//! of its index, before anything goes. A listing only says which names there may be; what it hides stays
//! until another run, what it invents is not there. Works with a store of a credential of its own, and
//! in witnessed time.
//!
//! An object may go if no held manifest names it and the number of its shipment is below every manifest
//! of the safety margin: that number is over, so nobody can still commit what was sent under it, and
//! whatever an interrupted shipment left is not taken over any more.

mod error;
mod facts;
mod plan;
mod run;

#[cfg(test)]
mod tests;

use crate::units::ManifestNumber;

pub use error::PruneError;
pub use facts::{Facts, gather};
pub use plan::{Deletion, Plan, plan};
pub use run::{Pruned, carry_out};

/// Seven days: a restore that began may take that long.
pub const MARGIN_DEFAULT: i64 = 7 * 86_400 * 1_000_000_000;

/// What a run goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// Highest time the appliance has seen, in nanoseconds.
    pub witnessed: i64,
    pub margin: i64,
    /// Bytes that were expected to go.
    pub forecast: Option<u64>,
    /// Somebody was shown both figures and said yes.
    pub confirmed: bool,
}

/// Why an object is not needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Because {
    /// This manifest was the first that did not name it any more.
    LetGo { by: ManifestNumber },
    /// No manifest that can still be read names it.
    Orphan { shipment: ManifestNumber },
    /// It is a manifest, older than the margin.
    Old { below: ManifestNumber },
}
