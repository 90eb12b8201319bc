//! The next manifest: put together, created under a number of its own, read back.

use std::sync::Arc;

use bytes::Bytes;

use super::error::{ChainError, Void, VoidReason};
use super::open::opens;
use super::{Lineage, Opened, VOID_MAX, above, claim, fetch, free_above};
use crate::format::{BODY_LEN_MAX, Link, Manifest, Name, Parent};
use crate::keys::{MasterKey, Slots};
use crate::mutants::{Mutant, keeps};
use crate::random::Random;
use crate::store::{Settled, Store, StoreError, Until, settle};
use crate::units::ManifestNumber;

/// A difference longer than this is written only while it is shorter than half of its base.
const DIFFERENCE_LEN: u64 = 1 << 20;
/// So many manifests behind its base a full one is written.
const DIFFERENCES_MAX: u64 = 256;
/// How often a creation whose answer was lost is repeated, with the same bytes.
const ATTEMPTS: usize = 3;

/// What a writer knows of the store, and asks of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// The probe found that what is there stays: no claims are needed.
    pub creates_only: bool,
    /// Lock of the manifest.
    pub until: Option<Until>,
}

/// The first manifest of a new vault. Refuses to found over anything that is listed.
pub async fn found(
    store: &impl Store,
    master: &Arc<MasterKey>,
    slots: &Slots,
    terms: Terms,
    now: i64,
    random: &mut (impl Random + Send),
) -> Result<Opened, ChainError> {
    check_slots(master, slots)?;
    if !store.list(Name::MANIFESTS, "", 1).await?.entries.is_empty() {
        return Err(ChainError::NotEmpty);
    }
    let number = ManifestNumber(1);
    let view = Manifest {
        number,
        parent: None,
        base: None,
        made_at: now,
        witnessed: now,
        points: Vec::new(),
        gone_points: Vec::new(),
        gone_objects: Vec::new(),
        indexes: Vec::new(),
        records: Vec::new(),
        locks: Vec::new(),
    };
    let bytes = Bytes::from(view.seal(slots, master, random));
    match place(store, master, number, &bytes, terms, &[], random).await? {
        Outcome::Placed => {}
        Outcome::Void(_) => return Err(ChainError::NotEmpty),
    }
    let (is, view) = (Parent { number, link: Link::of(&bytes) }, Arc::new(view));
    Ok(Opened {
        master: Arc::clone(master),
        slots: slots.clone(),
        newest: is,
        base: is,
        base_view: Arc::clone(&view),
        base_len: bytes.len() as u64,
        view,
        void: Vec::new(),
        next: above(number)?,
        lineage: Lineage::Unasked,
    })
}

/// Adds a manifest that says what `next` says: a full view, whose number, parent and base are set here.
/// Everything it names must be acknowledged. When this returns, the manifest was read back.
///
/// After an error it may be there or not: who opens the vault anew finds out. If somebody else has added
/// one meanwhile, nothing is written: what `next` says was not made from it.
pub async fn commit(
    store: &impl Store,
    opened: &Opened,
    next: &Manifest,
    slots: &Slots,
    terms: Terms,
    random: &mut (impl Random + Send),
) -> Result<Opened, ChainError> {
    check_slots(&opened.master, slots)?;
    let len = longest(next);
    if len > BODY_LEN_MAX as u64 {
        return Err(ChainError::TooLong { len });
    }
    let (mut number, mut void) = (opened.next, opened.void.clone());
    for _ in 0..VOID_MAX {
        let mut view = next.clone();
        (view.number, view.parent, view.base) = (number, Some(opened.newest), None);
        (view.gone_points, view.gone_objects) = (Vec::new(), Vec::new());
        let (bytes, is_full) = sealed(opened, &view, slots, random);
        let link = Link::of(&bytes);
        match place(store, &opened.master, number, &bytes, terms, &void, random).await? {
            Outcome::Placed => {
                let (is, view) = (Parent { number, link }, Arc::new(view));
                let mut opened = opened.clone();
                if is_full {
                    (opened.base, opened.base_view) = (is, Arc::clone(&view));
                    opened.base_len = bytes.len() as u64;
                }
                (opened.newest, opened.view, opened.slots) = (is, view, slots.clone());
                (opened.next, opened.void) = (free_above(number, &void)?, void);
                return Ok(opened);
            }
            Outcome::Void(reason) => void.push(Void { number, reason }),
        }
        number = free_above(number, &void)?;
    }
    Err(ChainError::Contended { first: opened.next })
}

fn check_slots(master: &MasterKey, slots: &Slots) -> Result<(), ChainError> {
    let are_own = slots.check() == master.check() && !slots.all().is_empty();
    if are_own { Ok(()) } else { Err(ChainError::Slots) }
}

/// The longest body that can come of this.
fn longest(view: &Manifest) -> u64 {
    // Rows of VAULT.md, each with the rows of objects and pools it may need.
    let points: usize =
        view.points.iter().map(|point| 280 + point.root.len() + point.attributes.len()).sum();
    let leaves: usize = view.indexes.iter().map(|index| 64 + 56 * index.leaves.len()).sum();
    (136 + points + leaves + 64 * view.records.len() + 16 * view.locks.len()) as u64
}

/// The manifest as a difference to the base, or full if that became too long.
fn sealed(
    opened: &Opened,
    view: &Manifest,
    slots: &Slots,
    random: &mut (impl Random + Send),
) -> (Bytes, bool) {
    let behind = view.number.0 - opened.base.number.0;
    if behind < DIFFERENCES_MAX {
        let difference = view.difference(&opened.base_view, opened.base);
        let bytes = difference.seal(slots, &opened.master, random);
        let len = bytes.len() as u64;
        if len <= DIFFERENCE_LEN || len <= opened.base_len / 2 {
            return (Bytes::from(bytes), false);
        }
    }
    (Bytes::from(view.seal(slots, &opened.master, random)), true)
}

enum Outcome {
    /// It is there, and reads back.
    Placed,
    /// The number cannot be had, and what has it counts for nothing.
    Void(VoidReason),
}

async fn place(
    store: &impl Store,
    master: &MasterKey,
    number: ManifestNumber,
    bytes: &Bytes,
    terms: Terms,
    void: &[Void],
    random: &mut (impl Random + Send),
) -> Result<Outcome, ChainError> {
    if !terms.creates_only {
        let is_alone = claim::is_alone(store, number, random).await?;
        // Only now: who was there before has a claim, or a manifest.
        match theirs(store, master, number).await? {
            Outcome::Void(VoidReason::Missing) => {}
            outcome => return Ok(outcome),
        }
        if !is_alone {
            return Ok(Outcome::Void(VoidReason::Claimed));
        }
    }
    let name = Name::Manifest(number).to_string();
    let settled = settled(store, &name, bytes, terms.until).await?;
    if settled == Settled::Ours && !keeps(Mutant::ReadBack) {
        return Ok(Outcome::Placed);
    }
    let is_ours = |found: Bytes| if found == *bytes { Ok(()) } else { Err(VoidReason::Link) };
    match fetch::proved(store, number, Some(bytes.len() as u64), is_ours).await? {
        Ok(()) if !keeps(Mutant::GonePast) => Ok(Outcome::Placed),
        Ok(()) if is_gone_past(store, master, number, terms, void).await? => {
            Err(ChainError::Overtaken { number })
        }
        Ok(()) => Ok(Outcome::Placed),
        Err(VoidReason::Missing) => Err(ChainError::NotReadBack { number }),
        Err(_) => theirs(store, master, number).await,
    }
}

/// Whether the number was free although others had gone on: the manifest under it may have been deleted,
/// as one that is not held, and the newest is above it. Where create-only is not honoured, somebody who
/// met our claim may have gone past it before we wrote: there every higher name counts.
async fn is_gone_past(
    store: &impl Store,
    master: &MasterKey,
    number: ManifestNumber,
    terms: Terms,
    void: &[Void],
) -> Result<bool, ChainError> {
    let listing = store.list(Name::MANIFESTS, "", VOID_MAX).await?;
    for entry in &listing.entries {
        let Ok(Name::Manifest(listed)) = Name::parse(&entry.name) else { continue };
        if listed <= number {
            break;
        }
        if !terms.creates_only {
            return Ok(true);
        }
        if void.iter().any(|void| void.number == listed) {
            continue;
        }
        let prove = |found: Bytes| opens(master, listed, &found);
        if fetch::proved(store, listed, Some(entry.len), prove).await?.is_ok() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What has the number is not ours. If it is a manifest of this vault, ours was made from an old view.
async fn theirs(
    store: &impl Store,
    master: &MasterKey,
    number: ManifestNumber,
) -> Result<Outcome, ChainError> {
    let prove = |found: Bytes| opens(master, number, &found);
    match fetch::proved(store, number, None, prove).await? {
        Ok(_) if keeps(Mutant::Overtaken) => Err(ChainError::Overtaken { number }),
        Ok(_) => Ok(Outcome::Void(VoidReason::Claimed)),
        Err(reason) => Ok(Outcome::Void(reason)),
    }
}

/// Creates with the same bytes again while the answer is lost.
async fn settled(
    store: &impl Store,
    name: &str,
    bytes: &Bytes,
    until: Option<Until>,
) -> Result<Settled, StoreError> {
    for _ in 1..ATTEMPTS {
        match settle(store, name, bytes, until).await {
            Err(error) if error.is_passing() => {}
            settled => return settled,
        }
    }
    settle(store, name, bytes, until).await
}
