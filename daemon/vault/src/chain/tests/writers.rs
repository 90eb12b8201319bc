//! Two who write to one vault at a time.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::format::{Link, Parent};
use crate::keys::MasterKey;
use crate::store::lying::{Lie, LyingStore, Outage};
use crate::testing::interleave;

/// Commits what it can, and gives what it was told is there.
async fn writer(store: &impl Store, master: &Arc<MasterKey>, terms: Terms, seed: u64) -> Told {
    let random = &mut seeded(seed);
    let (slots, _) = slots(master, 2);
    let (mut told, mut opened) = (Told::default(), None);
    for at in 0..8 {
        let Some(state) = opened.take() else {
            opened = open(store, Unlock::Master(master), None).await.ok();
            continue;
        };
        let next = one_more(&state, at, random);
        match commit(store, &state, &next, &slots, terms, random).await {
            Ok(state) => {
                told.acknowledged.push((state.newest, state.clone()));
                opened = Some(state);
            }
            Err(ChainError::Overtaken { .. } | ChainError::Contended { .. }) => told.refused += 1,
            Err(error) => panic!("{error}"),
        }
    }
    told
}

#[derive(Default)]
struct Told {
    acknowledged: Vec<(Parent, Opened)>,
    refused: usize,
}

/// What came of one interleaving: commits, refusals, commits that were gone past.
fn race(lie: Option<Lie>, terms: Terms, seed: u64) -> Result<[usize; 3], String> {
    let store = Watched::yielding(LyingStore::new(lie, Outage::Never));
    let (master, random) = (master(), &mut seeded(seed));
    let (slots, _) = slots(&master, 2);
    let quiet = &store.inner;
    now(found(quiet, &master, &slots, terms, 7, random)).map_err(|error| error.to_string())?;
    let writers = (0..2).map(|which| writer(&store, &master, terms, 1000 + 2 * seed + which));
    let told = interleave(writers.collect(), seed);

    let mut numbers: BTreeMap<ManifestNumber, Link> = BTreeMap::new();
    for (is, _) in told.iter().flat_map(|told| &told.acknowledged) {
        if numbers.insert(is.number, is.link).is_some() {
            return Err(format!("seed {seed}: two believe in manifest {}", is.number));
        }
    }
    for (number, link) in &numbers {
        let name = Name::Manifest(*number).to_string();
        let len = now(quiet.inner.head(&name)).unwrap().ok_or("lost")?;
        if Link::of(&now(quiet.inner.read(&name, 0..len)).unwrap()) != *link {
            return Err(format!("seed {seed}: manifest {number} is another than acknowledged"));
        }
    }
    let opened = now(open(quiet, Unlock::Master(&master), None)).map_err(|e| e.to_string())?;
    let mut passed = 0;
    for (is, state) in told.iter().flat_map(|told| &told.acknowledged) {
        let points = &state.view.points;
        if points.iter().all(|point| opened.view.points.contains(point)) {
            continue;
        }
        // Gone past: then whoever was told so hears of it when he opens the vault again.
        passed += 1;
        let seen = Some(Seen { number: is.number, link: is.link });
        let again = now(open(quiet, Unlock::Master(&master), seen));
        if !matches!(again, Err(ChainError::Rollback { .. })) {
            return Err(format!("seed {seed}: manifest {} was lost silently", is.number));
        }
    }
    Ok([numbers.len(), told.iter().map(|told| told.refused).sum(), passed])
}

/// Create-only decides: nothing that was acknowledged is ever lost.
#[test]
fn of_two_writers_one_has_the_number() {
    let mut sums = [0; 3];
    for seed in 0..300 {
        let came = race(None, TERMS, seed).unwrap();
        (0..3).for_each(|at| sums[at] += came[at]);
    }
    println!("commits, refusals, gone past: {sums:?}");
    assert!(sums[0] > 1000 && sums[1] > 300 && sums[2] == 0, "{sums:?}");
}

/// The store overwrites whatever it is told: claims decide.
#[test]
fn claims_decide_where_the_store_does_not() {
    let terms = Terms { creates_only: false, until: None };
    for lie in [Lie::IgnoresCondition, Lie::OverwritesAndSaysExists, Lie::SaysMade] {
        let mut sums = [0; 3];
        for seed in 0..400 {
            let came = race(Some(lie), terms, seed).unwrap();
            (0..3).for_each(|at| sums[at] += came[at]);
        }
        println!("{lie:?}: commits, refusals, gone past: {sums:?}");
        assert!(sums[0] > 1000, "{lie:?}: {sums:?}");
    }
}

/// Trusting such a store without claims loses manifests: the reason claims are there.
#[test]
fn without_claims_a_store_that_overwrites_loses_manifests() {
    let lost = (0..300).filter(|seed| race(Some(Lie::IgnoresCondition), TERMS, *seed).is_err());
    assert!(lost.count() > 10);
}

#[cfg(feature = "mutants")]
pub(super) fn races(creates_only: bool) -> Result<(), String> {
    let lie = if creates_only { None } else { Some(Lie::IgnoresCondition) };
    (0..100).try_for_each(|seed| {
        let [_, _, passed] = race(lie, Terms { creates_only, until: None }, seed)?;
        let is_safe = !creates_only || passed == 0;
        if is_safe { Ok(()) } else { Err(format!("seed {seed}: {passed} commits are lost")) }
    })
}
