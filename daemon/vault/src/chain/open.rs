//! The newest manifest that counts.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::error::{ChainError, Void, VoidReason};
use super::unlock::{Believed, Opener};
use super::{Lineage, Opened, Seen, Unlock, VOID_MAX, above, fetch, free_above, lineage};
use crate::format::{ClearManifest, Manifest, Name, Parent};
use crate::mutants::{Mutant, keeps};
use crate::store::Store;
use crate::units::ManifestNumber;

/// Names of one listing: the newest and some that may be void.
const NAMES: usize = 8;

/// Opens the vault at its newest manifest. `seen` is what an earlier opening gave: the vault is refused
/// if it is behind that, or another under the same number.
pub async fn open(
    store: &impl Store,
    unlock: Unlock<'_>,
    seen: Option<Seen>,
) -> Result<Opened, ChainError> {
    let mut search = Search::new(store, unlock);
    let newest = search.newest(seen).await?;
    search.finish(newest, seen).await
}

/// Opens an older state on purpose: the newest manifest below a number. Nothing may be committed to it.
pub async fn open_below(
    store: &impl Store,
    unlock: Unlock<'_>,
    below: ManifestNumber,
) -> Result<Opened, ChainError> {
    let mut search = Search::new(store, unlock);
    search.after = Name::Manifest(below).to_string();
    let newest = search.newest(None).await?;
    search.finish(newest, None).await
}

struct Search<'a, S> {
    store: &'a S,
    opener: Opener<'a>,
    /// Lengths as listed.
    lens: BTreeMap<ManifestNumber, u64>,
    void: Vec<Void>,
    /// The listing goes on behind this name.
    after: String,
    tried: usize,
}

impl<'a, S: Store> Search<'a, S> {
    fn new(store: &'a S, unlock: Unlock<'a>) -> Self {
        let opener = Opener::new(unlock);
        let (lens, after) = (BTreeMap::new(), String::new());
        Self { store, opener, lens, void: Vec::new(), after, tried: 0 }
    }

    async fn newest(&mut self, seen: Option<Seen>) -> Result<Believed, ChainError> {
        let mut is_first = true;
        loop {
            let listing = self.store.list(Name::MANIFESTS, &self.after, NAMES).await?;
            let mut numbers = Vec::with_capacity(NAMES);
            for entry in &listing.entries {
                // What is no name of a manifest costs a try as well: such names could be many.
                match Name::parse(&entry.name) {
                    Ok(Name::Manifest(number)) if number.0 > 0 => {
                        self.lens.insert(number, entry.len);
                        numbers.push(number);
                    }
                    _ => self.tried += 1,
                }
            }
            if is_first && let Some(seen) = seen {
                let is_stale = numbers.first().is_none_or(|highest| *highest < seen.number);
                if is_stale && let Some(believed) = self.unlisted(seen).await? {
                    return Ok(believed);
                }
            }
            for number in numbers {
                if let Some(believed) = self.look(number).await? {
                    return Ok(believed);
                }
            }
            let Some(last) = listing.entries.last().filter(|_| listing.has_more) else {
                return Err(self.opener.nothing_opens(std::mem::take(&mut self.void)));
            };
            self.after.clone_from(&last.name);
            if self.tried >= VOID_MAX {
                self.skip(seen)?;
            }
            is_first = false;
        }
    }

    /// Somebody put a lot of nothing under high numbers. Who has seen a manifest knows where to go on.
    fn skip(&mut self, seen: Option<Seen>) -> Result<(), ChainError> {
        let reachable = seen.and_then(|seen| seen.number.0.checked_add(VOID_MAX as u64 + 1));
        let behind = reachable.map(|number| Name::Manifest(ManifestNumber(number)).to_string());
        match behind.filter(|behind| *behind > self.after) {
            Some(behind) => {
                (self.after, self.tried) = (behind, 0);
                Ok(())
            }
            None => {
                let last = self.void.iter().map(|void| void.number).min();
                let last = last.unwrap_or(ManifestNumber(u64::MAX));
                Err(ChainError::TooManyVoid { tried: self.tried, last })
            }
        }
    }

    /// The listing does not show what was there before: numbers are asked for one by one, upwards.
    async fn unlisted(&mut self, seen: Seen) -> Result<Option<Believed>, ChainError> {
        let (mut highest, mut number) = (None, seen.number);
        for _ in 0..VOID_MAX {
            match self.believed(number).await? {
                Err(VoidReason::Missing) => break,
                Err(reason) => self.void.push(Void { number, reason }),
                Ok(believed) => highest = Some(believed),
            }
            number = above(number)?;
        }
        Ok(highest)
    }

    /// The manifest under a number, if it is one of ours.
    async fn believed(
        &mut self,
        number: ManifestNumber,
    ) -> Result<Result<Believed, VoidReason>, ChainError> {
        let (listed, opener) = (self.lens.get(&number).copied(), &mut self.opener);
        let prove = |bytes| opener.open(number, &bytes);
        Ok(fetch::proved(self.store, number, listed, prove).await?)
    }

    async fn look(&mut self, number: ManifestNumber) -> Result<Option<Believed>, ChainError> {
        if self.void.iter().any(|void| void.number == number) {
            return Ok(None);
        }
        self.tried += 1;
        match self.believed(number).await? {
            Ok(believed) => Ok(Some(believed)),
            Err(reason) => {
                self.void.push(Void { number, reason });
                Ok(None)
            }
        }
    }

    async fn finish(mut self, newest: Believed, seen: Option<Seen>) -> Result<Opened, ChainError> {
        let Believed { is, slots, manifest, len } = newest;
        self.opener.refuse_replaced(is.number)?;
        let parent = manifest.parent;
        let (base, base_view, base_len, view) = self.merged(is, manifest, len).await?;
        self.passed_over(is.number, parent).await?;
        let lineage = match seen {
            None => Lineage::Unasked,
            Some(seen) => {
                let lens = &self.lens;
                lineage::prove(self.store, &mut self.opener, lens, is, parent, seen).await?
            }
        };
        self.void.sort_by_key(|void| std::cmp::Reverse(void.number));
        let next = free_above(is.number, &self.void)?;
        let master = self.opener.master().cloned().ok_or(ChainError::Empty)?;
        let void = self.void;
        Ok(Opened {
            master,
            slots,
            newest: is,
            base,
            base_view,
            base_len,
            view,
            void,
            next,
            lineage,
        })
    }

    /// The newest manifest as a full one.
    async fn merged(
        &mut self,
        is: Parent,
        manifest: Manifest,
        len: u64,
    ) -> Result<(Parent, Arc<Manifest>, u64, Arc<Manifest>), ChainError> {
        let Some(meant) = manifest.base else {
            let view = Arc::new(manifest);
            return Ok((is, Arc::clone(&view), len, view));
        };
        let (number, base) = (is.number, meant.number);
        let unreadable = |reason| ChainError::Base { number, base, reason };
        let found = self.believed(base).await?.map_err(unreadable)?;
        let found_is = if keeps(Mutant::BaseLink) { found.is } else { meant };
        let merged = manifest.over(&found.manifest, found_is);
        let view = Arc::new(merged.map_err(|fault| ChainError::Merge { number, fault })?);
        Ok((meant, Arc::new(found.manifest), found.len, view))
    }

    /// Between a manifest and its parent there is nothing that opens: otherwise two did not know of each
    /// other, and what the lower one says is lost.
    async fn passed_over(
        &mut self,
        by: ManifestNumber,
        parent: Option<Parent>,
    ) -> Result<(), ChainError> {
        let below = parent.map_or(0, |parent| parent.number.0);
        for number in (below + 1..by.0).rev().take(VOID_MAX).map(ManifestNumber) {
            let reason = match self.believed(number).await? {
                Err(VoidReason::Missing) => continue,
                Err(reason) => reason,
                Ok(_) => VoidReason::PassedOver { by },
            };
            self.void.push(Void { number, reason });
        }
        Ok(())
    }
}

/// Whether these bytes are a manifest of the vault, under this number.
pub(super) fn opens(
    opened: &crate::keys::MasterKey,
    number: ManifestNumber,
    bytes: &[u8],
) -> Result<Parent, VoidReason> {
    let clear = ClearManifest::read(bytes).map_err(VoidReason::Format)?;
    if clear.number != number {
        return Err(VoidReason::Number { found: clear.number });
    }
    super::unlock::believe(&clear, opened, bytes).map(|believed| believed.is)
}
