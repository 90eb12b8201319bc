//! What is believed is what was committed, whoever holds the store.

mod commits;
#[cfg(feature = "mutants")]
mod mutants;
mod opens;
mod writers;

use super::*;
use crate::format::{ClearManifest, Name};
use crate::random::{Random, seeded};
use crate::store::{MemoryStore, Store};
use crate::testing::{VAULT, Watched, master, now, point, slots};
use bytes::Bytes;

const TERMS: Terms = Terms { creates_only: true, until: None };

/// A vault with so many manifests behind the first.
struct Vault {
    store: Watched<MemoryStore>,
    states: Vec<Opened>,
}

fn vault(seed: u64, manifests: usize) -> Vault {
    let store = Watched::new(MemoryStore::new());
    let (master, random) = (master(), &mut seeded(seed));
    let (slots, _) = slots(&master, 2);
    let mut states = vec![now(found(&store, &master, &slots, TERMS, 7, random)).unwrap()];
    for at in 0..manifests {
        let next = one_more(&states[at], at as i64, random);
        states.push(now(commit(&store, &states[at], &next, &slots, TERMS, random)).unwrap());
    }
    store.take();
    Vault { store, states }
}

/// What the vault holds, and one point more.
fn one_more(opened: &Opened, at: i64, random: &mut impl Random) -> crate::format::Manifest {
    let mut next = (*opened.view).clone();
    next.points.push(point(random, at));
    next.points.sort_by_key(|point| point.point);
    next.made_at = at;
    next
}

impl Vault {
    fn last(&self) -> &Opened {
        &self.states[self.states.len() - 1]
    }

    fn name(&self, number: u64) -> String {
        Name::Manifest(ManifestNumber(number)).to_string()
    }

    fn bytes(&self, number: u64) -> Bytes {
        let name = self.name(number);
        let len = now(self.store.inner.head(&name)).unwrap().unwrap();
        now(self.store.inner.read(&name, 0..len)).unwrap()
    }

    fn open(&self, seen: Option<Seen>) -> Result<Opened, ChainError> {
        now(open(&self.store, Unlock::Master(&self.last().master), seen))
    }
}
