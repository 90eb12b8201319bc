//! A second place of the same vault, kept in step: the same objects under the same names, byte for byte,
//! locks included. Whoever loses the first place opens the vault at the second.
//!
//! The order is that of shipping: everything else before manifests, manifests from the oldest to the
//! newest. So whatever stops the copying, the second place is a vault as it was at some moment. Only what
//! proves itself without keys is copied; what does not is told of, and no manifest above it is.

use std::collections::BTreeSet;

use bytes::Bytes;
use thiserror::Error;

use crate::format::{ClearManifest, ClearObject, Name};
use crate::store::{LIST_MAX, Settled, Store, StoreError, settle};
use crate::units::ManifestNumber;

/// Folders, in the order of writing.
const FOLDERS: [&str; 5] = ["d/", "p/", "i/", "r/", Name::MANIFESTS];

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum MirrorError {
    #[error("the first place: {0}")]
    From(#[source] StoreError),
    #[error("the second place: {0}")]
    To(#[source] StoreError),
    /// Another vault, or somebody else's bytes: nothing is overwritten.
    #[error("at the second place {name} is something else")]
    Foreign { name: String },
    #[error("{name} does not prove itself at the first place and is not copied: {why}")]
    Damaged { name: String, why: String },
}

/// What was copied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mirrored {
    pub objects: u64,
    pub bytes: u64,
    /// The newest manifest that is at both places now.
    pub newest: Option<ManifestNumber>,
}

/// Copies what the second place lacks. May be called again after every error.
pub async fn mirror(
    from: &impl Store,
    to: &impl Store,
    watch: &(dyn Fn(Mirrored) + Sync),
) -> Result<Mirrored, MirrorError> {
    // Manifests first: what they name was acknowledged before them.
    let manifests = names(from, Name::MANIFESTS).await.map_err(MirrorError::From)?;
    let mut mirrored = Mirrored::default();
    for folder in FOLDERS {
        let wanted = match folder {
            Name::MANIFESTS => manifests.clone(),
            folder => names(from, folder).await.map_err(MirrorError::From)?,
        };
        let there = names(to, folder).await.map_err(MirrorError::To)?;
        // Numbers of manifests count down in their names: the oldest is the last.
        for (name, len) in wanted.iter().rev().filter(|entry| !there.contains(*entry)) {
            copy(from, to, (name, *len)).await?;
            mirrored.objects += 1;
            mirrored.bytes += len;
            watch(mirrored);
        }
    }
    mirrored.newest = manifests.first().and_then(|(name, _)| match Name::parse(name) {
        Ok(Name::Manifest(number)) => Some(number),
        _ => None,
    });
    Ok(mirrored)
}

/// Names and lengths of a folder, ascending.
async fn names(store: &impl Store, folder: &str) -> Result<BTreeSet<(String, u64)>, StoreError> {
    let (mut names, mut after) = (BTreeSet::new(), String::new());
    loop {
        let listing = store.list(folder, &after, LIST_MAX).await?;
        let Some(last) = listing.entries.last() else { return Ok(names) };
        after.clone_from(&last.name);
        names.extend(listing.entries.into_iter().map(|entry| (entry.name, entry.len)));
        if !listing.has_more {
            return Ok(names);
        }
    }
}

async fn copy(
    from: &impl Store,
    to: &impl Store,
    (name, len): (&str, u64),
) -> Result<(), MirrorError> {
    let bytes = from.read(name, 0..len).await.map_err(MirrorError::From)?;
    prove(name, &bytes).map_err(|why| MirrorError::Damaged { name: name.to_owned(), why })?;
    let until = from.locked_until(name).await.map_err(MirrorError::From)?;
    match settle(to, name, &bytes, until).await.map_err(MirrorError::To)? {
        Settled::Ours => Ok(()),
        Settled::Theirs => Err(MirrorError::Foreign { name: name.to_owned() }),
    }
}

/// As far as that goes without keys: these are the bytes that were written under this name.
fn prove(name: &str, bytes: &Bytes) -> Result<(), String> {
    let parsed = Name::parse(name).map_err(|fault| fault.to_string())?;
    match parsed {
        Name::Manifest(number) => {
            let clear = ClearManifest::read(bytes).map_err(|fault| fault.to_string())?;
            (clear.number == number).then_some(()).ok_or_else(|| format!("it is {}", clear.number))
        }
        Name::Object { .. } => {
            let clear = ClearObject::read(bytes).map_err(|fault| fault.to_string())?;
            clear.prove(bytes).map_err(|fault| fault.to_string())?;
            let is_own = Name::of(&clear.head.object) == parsed;
            is_own.then_some(()).ok_or_else(|| String::from("it is another object"))
        }
        Name::Claim { .. } | Name::Probe(_) => Err(String::from("it is none of the vault")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::{self, Terms, Unlock};
    use crate::random::seeded;
    use crate::store::MemoryStore;
    use crate::testing::{master, now, slots};

    fn copy(from: &MemoryStore, to: &MemoryStore) -> Result<Mirrored, MirrorError> {
        now(mirror(from, to, &|_| {}))
    }

    #[test]
    fn the_second_place_is_the_vault_as_it_was_at_some_moment() {
        let (from, to, mut random) = (MemoryStore::new(), MemoryStore::new(), seeded(5));
        let (master, terms) = (master(), Terms { creates_only: true, until: None });
        let (slots, kit) = slots(&master, 2);
        let mut opened = now(chain::found(&from, &master, &slots, terms, 1, &mut random)).unwrap();
        for round in 1..=5 {
            let next = (*opened.view).clone();
            opened = now(chain::commit(&from, &opened, &next, &slots, terms, &mut random)).unwrap();
            let copied = copy(&from, &to).unwrap();
            assert_eq!(copied.newest, Some(opened.newest.number));
            assert_eq!(copied.objects, if round == 1 { 2 } else { 1 });
            let there = now(chain::open(&to, Unlock::Kit(&kit), None)).unwrap();
            assert_eq!(there.newest, opened.newest);
        }
        assert_eq!(copy(&from, &to).unwrap().objects, 0);
    }

    #[test]
    fn nothing_is_overwritten_and_nothing_damaged_is_copied() {
        let (from, to, mut random) = (MemoryStore::new(), MemoryStore::new(), seeded(6));
        let (master, terms) = (master(), Terms { creates_only: true, until: None });
        let (slots, _) = slots(&master, 2);
        let opened = now(chain::found(&from, &master, &slots, terms, 1, &mut random)).unwrap();
        let name = Name::Manifest(opened.newest.number).to_string();
        now(to.create(&name, Bytes::from_static(b"somebody else's"), None)).unwrap();
        assert_eq!(copy(&from, &to), Err(MirrorError::Foreign { name: name.clone() }));
        let len = now(from.head(&name)).unwrap().unwrap();
        let mut bytes = now(from.read(&name, 0..len)).unwrap().to_vec();
        bytes[60] ^= 1;
        from.put(&name, bytes.into());
        let to = MemoryStore::new();
        assert!(matches!(copy(&from, &to), Err(MirrorError::Damaged { .. })));
        assert!(now(to.list("m/", "", 1)).unwrap().entries.is_empty());
    }
}
