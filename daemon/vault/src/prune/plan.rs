//! What may go: a function of the facts.

use std::collections::BTreeSet;

use super::{Because, Facts, PruneError, Terms};
use crate::format::Name;
use crate::mutants::{Mutant, keeps};
use crate::units::{ManifestNumber, ObjectId};

/// One name, and why it may go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deletion {
    pub name: String,
    pub bytes: u64,
    pub because: Because,
}

/// What goes, in this order: chunks, then index and records, manifests last and the oldest first, so
/// that an interrupted run leaves what says why.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    pub objects: Vec<Deletion>,
    pub manifests: Vec<Deletion>,
    pub bytes: u64,
    /// Of the whole vault, as far as it is known.
    pub total: u64,
}

impl Plan {
    pub fn all(&self) -> impl Iterator<Item = &Deletion> {
        self.objects.iter().chain(&self.manifests)
    }

    /// Stops a run that would delete more than anybody expects.
    pub fn brake(&self, terms: &Terms) -> Result<(), PruneError> {
        let is_much = u128::from(self.bytes) * 5 > u128::from(self.total);
        let is_more = terms.forecast.is_some_and(|bytes| self.bytes / 2 > bytes);
        if (is_much || is_more) && !terms.confirmed {
            let (bytes, total, forecast) = (self.bytes, self.total, terms.forecast);
            return Err(PruneError::TooMuch { bytes, total, forecast });
        }
        Ok(())
    }
}

#[must_use]
pub fn plan(facts: &Facts) -> Plan {
    let mut plan = Plan::default();
    let Some(oldest) = facts.oldest else { return plan };
    let mut seen: BTreeSet<ObjectId> = BTreeSet::new();
    for entry in &facts.listed {
        let Ok(Name::Object { shipment, object, .. }) = Name::parse(&entry.name) else { continue };
        let is_over = shipment < oldest && !facts.held.contains(&shipment);
        let is_over = is_over || !keeps(Mutant::PruneOrphans);
        if facts.named.contains_key(&object) || !is_over || !seen.insert(object) {
            continue;
        }
        let because = match facts.let_go.get(&object) {
            Some(last) => Because::LetGo { by: above(facts, *last) },
            None => Because::Orphan { shipment },
        };
        plan.objects.push(Deletion { name: entry.name.clone(), bytes: entry.len, because });
    }
    for (number, bytes) in &facts.old {
        let because = Because::Old { below: oldest };
        let name = Name::Manifest(*number).to_string();
        plan.manifests.push(Deletion { name, bytes: *bytes, because });
    }
    plan.bytes = plan.all().map(|deletion| deletion.bytes).sum();
    plan.total = facts.named.values().sum::<u64>() + facts.held_len + plan.bytes;
    plan
}

/// The manifest that was made after this one.
fn above(facts: &Facts, last: ManifestNumber) -> ManifestNumber {
    let numbers = facts.old.keys().chain(&facts.held);
    numbers.copied().filter(|number| *number > last).min().unwrap_or(last)
}
