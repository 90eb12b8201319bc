use super::*;
use crate::store::lying::{Lie, LyingStore, Outage};
use crate::store::{StoreError, StoreFault};

/// Differences while they are short, a full one when that no longer pays.
#[test]
pub(super) fn differences_end_in_a_full_manifest() {
    let store = Watched::new(MemoryStore::new());
    let (master, random) = (master(), &mut seeded(20));
    let (slots, _) = slots(&master, 2);
    let mut opened = now(found(&store, &master, &slots, TERMS, 7, random)).unwrap();
    for number in 2..=258 {
        let next = one_more(&opened, number, random);
        opened = now(commit(&store, &opened, &next, &slots, TERMS, random)).unwrap();
        let full = if number == 257 { 257 } else { opened.base.number.0 };
        assert_eq!(opened.base.number.0, full, "{number}");
    }
    assert_eq!(opened.base.number, ManifestNumber(257));
    let mut next = (*opened.view).clone();
    next.points.extend((0..40_000).map(|at| point(random, at)));
    next.points.sort_by_key(|point| point.point);
    let grown = now(commit(&store, &opened, &next, &slots, TERMS, random)).unwrap();
    println!("40,257 points, full: {} bytes", grown.base_len);
    assert_eq!(grown.base, grown.newest);
    store.take();
    let again = now(open(&store, Unlock::Master(&master), Some(opened.seen()))).unwrap();
    assert_eq!((again.view, again.lineage, store.take()), (grown.view, Lineage::Proved, 2));
}

/// Requests fail, or are done and their answers lost: what is acknowledged is there, and nothing else
/// is in its place.
#[test]
pub(super) fn lost_answers_are_settled_by_looking() {
    let mut errors = 0;
    for every in 2..12 {
        for outage in [Outage::Before { every }, Outage::After { every }] {
            let store = LyingStore::new(None, outage);
            let (master, random) = (master(), &mut seeded(every));
            let (slots, _) = slots(&master, 2);
            let mut opened = None;
            let (mut acknowledged, mut offered) = (Vec::new(), Vec::new());
            for step in 0..60 {
                let Some(state) = opened.take() else {
                    let seen = acknowledged.last().map(|state: &Opened| state.seen());
                    let found = match now(open(&store, Unlock::Master(&master), seen)) {
                        Err(ChainError::Empty) => {
                            now(found(&store, &master, &slots, TERMS, 7, random))
                        }
                        found => found,
                    };
                    opened = found.inspect_err(only_outage).ok();
                    continue;
                };
                let next = one_more(&state, step, random);
                offered.push(next.points.clone());
                match now(commit(&store, &state, &next, &slots, TERMS, random)) {
                    Ok(state) => {
                        acknowledged.push(state.clone());
                        opened = Some(state);
                    }
                    Err(error) => {
                        only_outage(&error);
                        errors += 1;
                    }
                }
            }
            let opened = match now(open(&store.inner, Unlock::Master(&master), None)) {
                // With every second request lost, not even founding may come to its end.
                Err(ChainError::Empty) if acknowledged.is_empty() => continue,
                opened => opened.unwrap(),
            };
            for state in &acknowledged {
                let points = &state.view.points;
                assert!(
                    points.iter().all(|point| opened.view.points.contains(point)),
                    "{outage:?}"
                );
            }
            assert!(opened.void.is_empty(), "{outage:?}: our own attempts take no numbers");
            assert!(offered.contains(&opened.view.points) || offered.is_empty());
        }
    }
    assert!(errors > 10, "{errors}");
}

fn only_outage(error: &ChainError) {
    let is_outage = matches!(
        error,
        ChainError::Store(StoreError { fault: StoreFault::Unavailable { .. }, .. })
    );
    assert!(is_outage, "{error}");
}

/// Whatever a store does instead of what it says, nothing is acknowledged that does not read back.
#[test]
pub(super) fn lies_end_in_errors() {
    for lie in Lie::ALL {
        let store = LyingStore::new(Some(lie), Outage::Never);
        let (master, random) = (master(), &mut seeded(30));
        let (slots, _) = slots(&master, 2);
        let Ok(one) = now(found(&store, &master, &slots, TERMS, 7, random)) else {
            continue;
        };
        let next = one_more(&one, 1, random);
        let Ok(two) = now(commit(&store, &one, &next, &slots, TERMS, random)) else {
            continue;
        };
        // Read by somebody whom the store does not lie to.
        let opened = now(open(&store.inner, Unlock::Master(&master), Some(one.seen()))).unwrap();
        assert_eq!(opened.view, two.view, "{lie:?}");
        let told = now(open(&store, Unlock::Master(&master), Some(two.seen())));
        assert!(told.is_err() || told.unwrap().view == two.view, "{lie:?}");
    }
}

/// Success is reported and others' bytes stay: found by reading back.
#[test]
pub(super) fn a_number_that_was_not_given_is_not_taken() {
    let store = LyingStore::new(Some(Lie::SaysMade), Outage::Never);
    let (master, random) = (master(), &mut seeded(31));
    let (slots, _) = slots(&master, 2);
    let one = now(found(&store, &master, &slots, TERMS, 7, random)).unwrap();
    let name = Name::Manifest(ManifestNumber(2)).to_string();
    store.inner.put(&name, Bytes::from_static(b"somebody was faster"));
    let next = one_more(&one, 1, random);
    let three = now(commit(&store, &one, &next, &slots, TERMS, random)).unwrap();
    assert_eq!((three.newest.number, three.void.len()), (ManifestNumber(3), 1));
    let opened = now(open(&store, Unlock::Master(&master), None)).unwrap();
    assert_eq!((opened.newest, opened.void.len()), (three.newest, 1));
}

/// Others went on and their manifests below the newest were deleted: a number among them is free, and
/// what is written under it would be passed over by everybody. Garbage above it is nobody.
#[test]
pub(super) fn a_number_that_became_free_again_is_not_taken() {
    for is_garbage in [false, true] {
        let store = Watched::new(MemoryStore::new());
        let (master, random) = (master(), &mut seeded(32));
        let (slots, _) = slots(&master, 2);
        let one = now(found(&store, &master, &slots, TERMS, 7, random)).unwrap();
        let mut theirs = one.clone();
        for at in 2..5 {
            let next = one_more(&theirs, at, random);
            theirs = now(commit(&store, &theirs, &next, &slots, TERMS, random)).unwrap();
        }
        for number in 2..5 {
            let name = Name::Manifest(ManifestNumber(number)).to_string();
            if number < 4 || is_garbage {
                now(store.inner.delete(&name)).unwrap();
            }
            if number == 4 && is_garbage {
                store.inner.put(&name, Bytes::from_static(b"nothing"));
            }
        }
        let next = one_more(&one, 9, random);
        let ended = now(commit(&store, &one, &next, &slots, TERMS, random));
        if is_garbage {
            assert_eq!(ended.unwrap().newest.number, ManifestNumber(2));
            continue;
        }
        let error = ended.map(|opened| opened.newest).unwrap_err();
        assert_eq!(error, ChainError::Overtaken { number: ManifestNumber(2) });
        let opened = now(open(&store, Unlock::Master(&master), Some(theirs.seen()))).unwrap();
        assert_eq!(opened.newest, theirs.newest);
    }
}

/// Every future of the chain may wait on any thread.
#[test]
fn futures_may_change_threads() {
    fn is_send<T: Send>(value: T) -> T {
        value
    }
    let (store, master) = (MemoryStore::new(), master());
    let (slots, _) = slots(&master, 2);
    let (mut random, mut other) = (seeded(33), seeded(34));
    let one = now(is_send(found(&store, &master, &slots, TERMS, 7, &mut random))).unwrap();
    let next = one_more(&one, 1, &mut other);
    now(is_send(commit(&store, &one, &next, &slots, TERMS, &mut random))).unwrap();
    now(is_send(open(&store, Unlock::Master(&master), Some(one.seen())))).unwrap();
}
