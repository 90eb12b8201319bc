//! The chain of manifests: which one is the newest, what it says, and how the next one comes to be
//! (VAULT.md, sections 8 and 9).
//!
//! A manifest counts when it opens under the vault's master key. Listings are evidence: they say where
//! to look, never what is there. What a reader saw before he tells again ([`Seen`]), so that nobody can
//! set the vault back unnoticed.
//!
//! Opening with a passphrase stretches it, which takes seconds and a lot of memory on the thread that
//! polls.

mod claim;
mod commit;
mod error;
mod fetch;
mod lineage;
mod open;
mod unlock;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::format::{Link, Manifest, Parent};
use crate::keys::{KitSecret, MasterKey, Passphrase, Slots};
use crate::units::ManifestNumber;

pub use commit::{Terms, commit, found};
pub use error::{ChainError, Void, VoidReason};
pub use open::{open, open_below};

/// Most numbers that are looked at, or tried, in one go.
pub const VOID_MAX: usize = 64;

/// The highest manifest a reader ever believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    pub number: ManifestNumber,
    pub link: Link,
}

/// What opens a vault.
#[derive(Debug, Clone, Copy)]
pub enum Unlock<'a> {
    Master(&'a MasterKey),
    Passphrase(&'a Passphrase),
    Kit(&'a KitSecret),
}

/// How what was seen before and what is newest now hang together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lineage {
    /// Nothing was seen before, or it was not to be compared.
    Unasked,
    /// Link by link from the newest to what was seen.
    Proved,
    /// This manifest between them is not there any more, or is not what the one above it names.
    Broken { at: ManifestNumber },
}

/// A vault as its newest manifest says it is.
#[derive(Debug, Clone)]
pub struct Opened {
    pub master: Arc<MasterKey>,
    pub slots: Slots,
    pub newest: Parent,
    /// The full manifest the newest one is a difference to, or the newest itself.
    pub base: Parent,
    pub base_view: Arc<Manifest>,
    /// Bytes of the base as it is stored.
    pub base_len: u64,
    /// What the newest manifest says, as a full one.
    pub view: Arc<Manifest>,
    /// Numbers that are taken and say nothing, as far as they were looked at.
    pub void: Vec<Void>,
    /// Lowest number above the newest that is not known to be taken.
    pub next: ManifestNumber,
    pub lineage: Lineage,
}

impl Opened {
    /// What to tell at the next opening.
    #[must_use]
    pub fn seen(&self) -> Seen {
        Seen { number: self.newest.number, link: self.newest.link }
    }
}

/// The number behind this one.
fn above(number: ManifestNumber) -> Result<ManifestNumber, ChainError> {
    number.0.checked_add(1).map(ManifestNumber).ok_or(ChainError::Exhausted)
}

/// The lowest number above this one that is not known to be taken.
fn free_above(number: ManifestNumber, void: &[Void]) -> Result<ManifestNumber, ChainError> {
    let mut next = above(number)?;
    while void.iter().any(|void| void.number == next) {
        next = above(next)?;
    }
    Ok(next)
}
