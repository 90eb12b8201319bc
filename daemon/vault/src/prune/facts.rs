//! What is held, and what there may be: read before anything is decided.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{PruneError, Terms};
use crate::chain::{Found, Opened, VoidReason, manifest_at};
use crate::format::{ClearObject, FormatFault, Index, Leaf, Manifest, Name, ObjectRef, Parent};
use crate::mutants::{Mutant, keeps};
use crate::store::{Entry, LIST_MAX, Store, StoreFault};
use crate::units::{ManifestNumber, ObjectId};

/// Everything a plan is made from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Manifests that are held.
    pub held: BTreeSet<ManifestNumber>,
    /// The oldest of the margin: what has a number below is over.
    pub oldest: Option<ManifestNumber>,
    /// Objects that held manifests name, and their lengths.
    pub named: BTreeMap<ObjectId, u64>,
    /// For other objects that a readable manifest names, the highest such manifest.
    pub let_go: BTreeMap<ObjectId, ManifestNumber>,
    /// Manifests of this vault that are not held, and their lengths.
    pub old: BTreeMap<ManifestNumber, u64>,
    /// Bytes of held manifests.
    pub held_len: u64,
    /// Names there may be, as listed.
    pub listed: Vec<Entry>,
}

/// Reads every held manifest and every leaf of it, and lists what there may be.
pub async fn gather(
    store: &impl Store,
    opened: &Opened,
    terms: &Terms,
) -> Result<Facts, PruneError> {
    let mut run = Gathering { store, opened, all: BTreeMap::new(), leaves: BTreeMap::new() };
    let (held, oldest) = run.held(terms).await?;
    let mut facts = Facts { held: held.clone(), oldest: Some(oldest), ..Facts::default() };
    for number in &held {
        let view = run.full(*number)?;
        facts.held_len += run.all[number].len;
        for object in run.names(&view, true).await? {
            facts.named.insert(object.object, u64::from(object.len));
        }
    }
    run.old(&mut facts).await?;
    for folder in ["d/", "p/", "i/", "r/"] {
        facts.listed.extend(list(store, folder).await?);
    }
    Ok(facts)
}

async fn list(store: &impl Store, folder: &str) -> Result<Vec<Entry>, PruneError> {
    let (mut all, mut after) = (Vec::new(), String::new());
    loop {
        let listing = store.list(folder, &after, LIST_MAX).await?;
        all.extend(listing.entries);
        match all.last() {
            Some(last) if listing.has_more && last.name > after => after.clone_from(&last.name),
            _ => return Ok(all),
        }
    }
}

struct Gathering<'a, S> {
    store: &'a S,
    opened: &'a Opened,
    /// Manifests that open.
    all: BTreeMap<ManifestNumber, Found>,
    /// What the leaves of an index object name.
    leaves: BTreeMap<ObjectId, BTreeSet<ObjectRef>>,
}

impl<S: Store> Gathering<'_, S> {
    async fn find(&mut self, is: Parent) -> Result<(), Unfound> {
        if let Some(found) = self.all.get(&is.number) {
            let is_it = found.is == is;
            return if is_it { Ok(()) } else { Err(Unfound::Void(VoidReason::Link)) };
        }
        let found = manifest_at(self.store, self.opened, is.number).await;
        let found = found.map_err(|error| Unfound::Store(error.into()))?;
        let found = found.map_err(Unfound::Void)?;
        let is_it = found.is == is;
        self.all.insert(is.number, found);
        if is_it { Ok(()) } else { Err(Unfound::Void(VoidReason::Link)) }
    }

    async fn must(&mut self, is: Parent) -> Result<(), PruneError> {
        self.find(is).await.map_err(|error| match error {
            Unfound::Store(error) => error,
            Unfound::Void(reason) => PruneError::Manifest { number: is.number, reason },
        })
    }

    /// The newest, all that were the newest inside the margin, those that somebody may have believed
    /// between them, and the bases of all of these. Gives the oldest that is not only a base, too.
    async fn held(
        &mut self,
        terms: &Terms,
    ) -> Result<(BTreeSet<ManifestNumber>, ManifestNumber), PruneError> {
        let newest = self.opened.newest;
        self.must(newest).await?;
        let cut_off = terms.witnessed.saturating_sub(terms.margin);
        // From the newest down. A manifest was the newest until the one above it was made; of two
        // appliances that ship by mistake, the later time counts.
        let mut chain = vec![newest.number];
        let mut current = newest.number;
        while let Some(parent) = self.all[&current].manifest.parent {
            let is_inside = self.all[&current].manifest.witnessed > cut_off;
            match self.find(parent).await {
                Ok(()) => {}
                Err(Unfound::Store(error)) => return Err(error),
                Err(Unfound::Void(reason)) if is_inside => {
                    return Err(PruneError::Manifest { number: parent.number, reason });
                }
                // Deleted by an earlier run.
                Err(Unfound::Void(_)) => break,
            }
            current = parent.number;
            chain.push(current);
        }
        let mut highest = i64::MIN;
        let mut lowest = newest.number;
        for pair in chain.windows(2).rev() {
            let (above, below) = (pair[0], pair[1]);
            highest = highest.max(self.all[&below].manifest.witnessed);
            if highest.max(self.all[&above].manifest.witnessed) > cut_off {
                lowest = below;
                break;
            }
        }
        if !keeps(Mutant::PruneMargin) {
            lowest = newest.number;
        }
        for number in (lowest.0..newest.number.0).map(ManifestNumber) {
            if !self.all.contains_key(&number)
                && let Ok(found) = manifest_at(self.store, self.opened, number).await?
            {
                self.all.insert(number, found);
            }
        }
        let mut held: BTreeSet<ManifestNumber> =
            self.all.keys().copied().filter(|number| *number >= lowest).collect();
        for number in held.clone() {
            if let Some(base) = self.all[&number].manifest.base {
                self.must(base).await?;
                held.insert(base.number);
            }
        }
        Ok((held, lowest))
    }

    fn full(&self, number: ManifestNumber) -> Result<Arc<Manifest>, PruneError> {
        let found = &self.all[&number];
        let Some(base) = found.manifest.base else { return Ok(Arc::new(found.manifest.clone())) };
        let fault = |reason| PruneError::Manifest { number: base.number, reason };
        let own = self.all.get(&base.number).ok_or_else(|| fault(VoidReason::Missing))?;
        let merged = found.manifest.clone().over(&own.manifest, own.is);
        merged.map(Arc::new).map_err(|fault| PruneError::Base { number, fault })
    }

    /// Every object a full manifest names, directly or through a leaf.
    async fn names(
        &mut self,
        view: &Manifest,
        must: bool,
    ) -> Result<BTreeSet<ObjectRef>, PruneError> {
        let mut names = BTreeSet::new();
        for point in &view.points {
            names.insert(point.recipe.object);
            names.extend(point.root_page.map(|place| place.object));
        }
        names.extend(view.records.iter().map(|record| record.object));
        for index in &view.indexes {
            names.insert(index.object);
            if let Some(known) = self.leaves.get(&index.object.object) {
                names.extend(known);
                continue;
            }
            match self.index(index).await {
                Ok(own) => {
                    names.extend(&own);
                    self.leaves.insert(index.object.object, own);
                }
                Err(error) if must && keeps(Mutant::PruneLeaf) => return Err(error),
                Err(_) => {}
            }
        }
        Ok(names)
    }

    async fn index(&self, index: &Index) -> Result<BTreeSet<ObjectRef>, PruneError> {
        let name = Name::of(&index.object).to_string();
        let bytes = match self.store.read(&name, 0..u64::from(index.object.len)).await {
            Err(error) if error.fault == StoreFault::NotFound => {
                return Err(PruneError::IndexLost { name });
            }
            read => read?,
        };
        let master = &self.opened.master;
        let read = || -> Result<BTreeSet<ObjectRef>, FormatFault> {
            let object = ClearObject::read(&bytes)?.expect(master.vault(), &index.object)?;
            let (mut own, mut leaves, mut fault) = (BTreeSet::new(), 0, None);
            object.verify(master, &bytes, |_, plain| match Leaf::from_bytes(plain) {
                Ok(leaf) => {
                    leaves += 1;
                    own.extend(leaf.objects);
                }
                Err(found) => fault = Some(found),
            })?;
            let is_all = leaves == index.leaves.len();
            let content = FormatFault::Content { what: "leaves of an index object" };
            fault.map_or(if is_all { Ok(own) } else { Err(content) }, Err)
        };
        read().map_err(|fault| PruneError::Index { name, fault })
    }

    /// Manifests that are not held any more, and what they named: for the audit, as far as it is there.
    async fn old(&mut self, facts: &mut Facts) -> Result<(), PruneError> {
        let Some(oldest) = facts.oldest else { return Ok(()) };
        for entry in list(self.store, Name::MANIFESTS).await? {
            let Ok(Name::Manifest(number)) = Name::parse(&entry.name) else { continue };
            if number < oldest
                && !self.all.contains_key(&number)
                && let Ok(found) = manifest_at(self.store, self.opened, number).await?
            {
                self.all.insert(number, found);
            }
        }
        let old: Vec<ManifestNumber> = (self.all.keys().copied())
            .filter(|number| *number < oldest && !facts.held.contains(number))
            .collect();
        for number in old {
            facts.old.insert(number, self.all[&number].len);
            // Without its base nobody knows what it named.
            let Ok(view) = self.full(number) else { continue };
            for object in self.names(&view, false).await? {
                facts.let_go.insert(object.object, number);
            }
        }
        Ok(())
    }
}

enum Unfound {
    Void(VoidReason),
    Store(PruneError),
}
