use super::*;
use crate::format::{Link, Parent};
use crate::keys::{KdfParams, OpenError, Passphrase};

#[test]
pub(super) fn what_was_committed_is_what_opens() {
    let vault = vault(1, 5);
    let opened = vault.open(None).unwrap();
    let last = vault.last();
    assert_eq!((opened.newest, opened.base, &opened.view), (last.newest, last.base, &last.view));
    assert_eq!((opened.next, opened.base_len), (ManifestNumber(7), last.base_len));
    assert_eq!(opened.base_view, last.base_view);
    assert!(opened.void.is_empty() && opened.view.points.len() == 5);
    // The base is among the names that were listed: its length is known.
    println!(
        "requests to open: {}",
        vault.store.requests.load(std::sync::atomic::Ordering::Relaxed)
    );
    assert!(vault.store.take() <= 3);
    let again = vault.open(Some(vault.states[1].seen())).unwrap();
    assert_eq!(again.lineage, Lineage::Proved);
    let below = open_below(&vault.store, Unlock::Master(&last.master), ManifestNumber(4));
    assert_eq!(now(below).unwrap().view, vault.states[2].view);
}

#[test]
pub(super) fn an_empty_store_is_no_vault_and_nothing_is_founded_twice() {
    let store = MemoryStore::new();
    let master = master();
    let empty = now(open(&store, Unlock::Master(&master), None)).unwrap_err();
    assert_eq!(empty, ChainError::Empty);
    let (slots, kit) = slots(&master, 2);
    let random = &mut seeded(3);
    now(found(&store, &master, &slots, TERMS, 7, random)).unwrap();
    let again = now(found(&store, &master, &slots, TERMS, 7, random)).unwrap_err();
    assert_eq!(again, ChainError::NotEmpty);
    let opened = now(open(&store, Unlock::Kit(&kit), None)).unwrap();
    assert_eq!(opened.master.check(), master.check());
    let none = Slots::new(&master);
    let bare = now(commit(&store, &opened, &opened.view, &none, TERMS, random)).unwrap_err();
    assert_eq!(bare, ChainError::Slots);
}

/// An attacker who may write takes the next numbers, and far ones.
#[test]
pub(super) fn numbers_that_say_nothing_are_reported_and_gone_past() {
    let vault = vault(2, 3);
    let (foreign, random) = (super::vault(3, 6), &mut seeded(4));
    // Another vault's manifest, one of ours under another number, noise, nothing.
    vault.store.inner.put(&vault.name(5), foreign.bytes(5));
    let other = MasterKey::draw(VAULT, &mut seeded(99));
    let (others, _) = slots(&other, 5);
    let sealed = vault.last().view.seal(&others, &other, random);
    vault.store.inner.put(&vault.name(6), vault.bytes(2));
    vault.store.inner.put(&vault.name(7), Bytes::from_static(b"noise"));
    vault.store.inner.put(&vault.name(8), Bytes::new());
    vault.store.inner.put(&vault.name(u64::MAX), Bytes::from(sealed));
    vault.store.inner.put("m/zzz", Bytes::new());
    // The foreign vault has the same keys here: its fifth manifest opens, and its base is not ours.
    let error = vault.open(None).unwrap_err();
    let (number, base) = (ManifestNumber(5), ManifestNumber(1));
    assert!(matches!(error, ChainError::Merge { number: found, .. } if found == number), "{error}");
    assert_eq!(base, vault.last().base.number);
    now(vault.store.inner.delete(&vault.name(5))).unwrap();
    let opened = vault.open(Some(vault.last().seen())).unwrap();
    assert_eq!(opened.newest, vault.last().newest);
    let void: Vec<u64> = opened.void.iter().map(|void| void.number.0).collect();
    assert_eq!(void, [u64::MAX, 8, 7, 6]);
    // The chain goes on in the gap, then above what is taken.
    let next = one_more(&opened, 50, random);
    let five = now(commit(&vault.store, &opened, &next, &opened.slots, TERMS, random)).unwrap();
    assert_eq!((five.newest.number, five.next), (ManifestNumber(5), ManifestNumber(9)));
    let next = one_more(&five, 51, random);
    let nine = now(commit(&vault.store, &five, &next, &five.slots, TERMS, random)).unwrap();
    assert_eq!(nine.newest.number, ManifestNumber(9));
    let again = vault.open(Some(five.seen())).unwrap();
    assert_eq!((again.newest, &again.view), (nine.newest, &nine.view));
    assert_eq!(again.void.len(), 4);
}

/// More nothing than anybody will look at: an error, unless one knows where to look.
#[test]
pub(super) fn who_has_seen_a_manifest_finds_it_below_any_amount_of_nothing() {
    let vault = vault(5, 3);
    for number in 0..100 {
        vault.store.inner.put(&vault.name(u64::MAX - number), Bytes::from_static(b"x"));
    }
    let error = vault.open(None).unwrap_err();
    assert!(matches!(error, ChainError::TooManyVoid { tried: 64, .. }), "{error}");
    let opened = vault.open(Some(vault.states[1].seen())).unwrap();
    assert_eq!(opened.view, vault.last().view);
    let master = &vault.last().master;
    let below = open_below(&vault.store, Unlock::Master(master), ManifestNumber(1 << 32));
    assert_eq!(now(below).unwrap().view, opened.view);
}

#[test]
pub(super) fn a_vault_that_was_set_back_is_refused() {
    let vault = vault(6, 5);
    let (seen, number) = (vault.last().seen(), vault.last().newest.number.0);
    now(vault.store.inner.delete(&vault.name(number))).unwrap();
    let found = vault.states[4].newest;
    assert_eq!(vault.open(Some(seen)).unwrap_err(), ChainError::Rollback { seen, found });
    assert_eq!(vault.open(None).unwrap().newest, found);
    // Another history from the fourth on, written with the same keys: an image that was set back.
    let (four, random) = (&vault.states[4], &mut seeded(7));
    let next = one_more(four, 60, random);
    let six = now(commit(&vault.store, four, &next, &four.slots, TERMS, random)).unwrap();
    let rollback = |found: &Opened| ChainError::Rollback { seen, found: found.newest };
    assert_eq!(vault.open(Some(seen)).unwrap_err(), rollback(&six));
    let next = one_more(&six, 61, random);
    let seven = now(commit(&vault.store, &six, &next, &four.slots, TERMS, random)).unwrap();
    assert_eq!(vault.open(Some(seen)).unwrap_err(), rollback(&seven));
    let next = one_more(&seven, 62, random);
    let eight = now(commit(&vault.store, &seven, &next, &four.slots, TERMS, random)).unwrap();
    assert_eq!(vault.open(Some(seen)).unwrap_err(), rollback(&eight));
    assert_eq!(vault.open(Some(vault.states[3].seen())).unwrap().newest, eight.newest);
}

/// What lies between may have been pruned, or replaced: that is told, and is no reason to refuse.
#[test]
pub(super) fn a_broken_lineage_is_told() {
    let vault = vault(8, 6);
    let seen = Some(vault.states[2].seen());
    let five = vault.bytes(5);
    now(vault.store.inner.delete(&vault.name(5))).unwrap();
    let opened = vault.open(seen).unwrap();
    assert_eq!(opened.lineage, Lineage::Broken { at: ManifestNumber(5) });
    // A sound manifest of the right number that is another: sealed again, with another salt.
    let clear = ClearManifest::read(&five).unwrap();
    let manifest = clear.open(&vault.last().master).unwrap();
    let other = manifest.seal(&clear.slots, &vault.last().master, &mut seeded(9));
    vault.store.inner.put(&vault.name(5), Bytes::from(other));
    let opened = vault.open(seen).unwrap();
    assert_eq!(opened.lineage, Lineage::Broken { at: ManifestNumber(5) });
    vault.store.inner.put(&vault.name(5), five);
    assert_eq!(vault.open(seen).unwrap().lineage, Lineage::Proved);
}

#[test]
pub(super) fn a_lost_or_altered_base_is_named() {
    let vault = vault(10, 3);
    let first = vault.bytes(1);
    now(vault.store.inner.delete(&vault.name(1))).unwrap();
    let (number, base) = (ManifestNumber(4), ManifestNumber(1));
    let reason = VoidReason::Missing;
    assert_eq!(vault.open(None).unwrap_err(), ChainError::Base { number, base, reason });
    let mut bytes = first.to_vec();
    bytes[200] ^= 1;
    vault.store.inner.put(&vault.name(1), Bytes::from(bytes));
    assert!(
        matches!(vault.open(None).unwrap_err(), ChainError::Base { base: found, .. } if found == base)
    );
    // The same base, sealed again, is not the one that was meant.
    let clear = ClearManifest::read(&first).unwrap();
    let manifest = clear.open(&vault.last().master).unwrap();
    let other = manifest.seal(&clear.slots, &vault.last().master, &mut seeded(9));
    vault.store.inner.put(&vault.name(1), Bytes::from(other));
    assert!(matches!(
        vault.open(None).unwrap_err(),
        ChainError::Merge { number: ManifestNumber(4), .. }
    ));
}

/// A listing that shows less than there is: numbers above are asked for.
#[test]
pub(super) fn a_stale_listing_is_not_believed() {
    let vault = vault(11, 5);
    struct Stale<'a>(&'a MemoryStore, u64);
    impl Store for Stale<'_> {
        async fn create(
            &self,
            name: &str,
            bytes: Bytes,
            until: Option<crate::store::Until>,
        ) -> Result<crate::store::Created, crate::store::StoreError> {
            self.0.create(name, bytes, until).await
        }
        async fn read(
            &self,
            name: &str,
            range: std::ops::Range<u64>,
        ) -> Result<Bytes, crate::store::StoreError> {
            self.0.read(name, range).await
        }
        async fn head(&self, name: &str) -> Result<Option<u64>, crate::store::StoreError> {
            self.0.head(name).await
        }
        async fn list(
            &self,
            folder: &str,
            after: &str,
            limit: usize,
        ) -> Result<crate::store::Listing, crate::store::StoreError> {
            let from = Name::Manifest(ManifestNumber(self.1)).to_string();
            self.0.list(folder, after.max(&from), limit).await
        }
        async fn locked_until(
            &self,
            _: &str,
        ) -> Result<Option<crate::store::Until>, crate::store::StoreError> {
            Ok(None)
        }
        async fn extend(
            &self,
            _: &str,
            _: crate::store::Until,
        ) -> Result<(), crate::store::StoreError> {
            Ok(())
        }
        async fn delete(&self, name: &str) -> Result<(), crate::store::StoreError> {
            self.0.delete(name).await
        }
    }
    let master = &vault.last().master;
    for below in 1..6 {
        let store = Stale(&vault.store.inner, below);
        for state in &vault.states {
            let seen = state.seen();
            let opened = now(open(&store, Unlock::Master(master), Some(seen)));
            // Who has seen less than the listing shows cannot know better.
            let expected = if below > seen.number.0 { below - 1 } else { 6 };
            assert_eq!(opened.unwrap().newest.number.0, expected, "{below} {seen:?}");
        }
        // Who writes to what he takes for the newest finds the number taken.
        if below > 1 {
            let old = now(open(&store, Unlock::Master(master), None)).unwrap();
            let random = &mut seeded(below);
            let next = one_more(&old, 70, random);
            let error = now(commit(&store, &old, &next, &old.slots, TERMS, random)).unwrap_err();
            assert_eq!(error, ChainError::Overtaken { number: ManifestNumber(below) });
        }
    }
}

/// A secret that was replaced opens what it opened, and never passes for the newest.
#[test]
pub(super) fn a_replaced_secret_does_not_set_the_vault_back() {
    let store = MemoryStore::new();
    let (master, random) = (master(), &mut seeded(12));
    let params = KdfParams::new(8 << 10, 1, 1).unwrap();
    let old = Passphrase::new("the anchor holds the keel").unwrap();
    let new = Passphrase::new("the keel holds the anchor").unwrap();
    let mut slots = Slots::new(&master);
    slots.set_passphrase(&master, &old, params, 1, random).unwrap();
    let one = now(found(&store, &master, &slots, TERMS, 7, random)).unwrap();
    assert_eq!(now(open(&store, Unlock::Passphrase(&old), None)).unwrap().newest, one.newest);
    slots.set_passphrase(&master, &new, params, 2, random).unwrap();
    let two = now(commit(&store, &one, &one.view, &slots, TERMS, random)).unwrap();
    assert_eq!(now(open(&store, Unlock::Passphrase(&new), None)).unwrap().newest, two.newest);
    let (number, opens) = (ManifestNumber(2), ManifestNumber(1));
    let error = now(open(&store, Unlock::Passphrase(&old), None)).unwrap_err();
    assert_eq!(error, ChainError::Replaced { number, opens });
    let wrong = Passphrase::new("neither keel nor anchor").unwrap();
    let error = now(open(&store, Unlock::Passphrase(&wrong), None)).unwrap_err();
    assert_eq!(error, ChainError::Unlock { number, error: OpenError::WrongPassphrase });
    // Somebody's own slots in front do not hide ours.
    let other = MasterKey::draw(VAULT, &mut seeded(98));
    let mut forged = Slots::new(&other);
    forged.set_passphrase(&other, &wrong, params, 2, random).unwrap();
    let mut view = (*two.view).clone();
    (view.number, view.parent) = (ManifestNumber(3), Some(Parent { number, link: Link([1; 32]) }));
    let name = Name::Manifest(view.number).to_string();
    store.put(&name, Bytes::from(view.seal(&forged, &other, random)));
    let opened = now(open(&store, Unlock::Passphrase(&new), None)).unwrap();
    assert_eq!((opened.newest, opened.void.len()), (two.newest, 1));
}
