mod hostile;
#[cfg(feature = "mutants")]
mod mutants;

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use keelhold_disk::tree;

use super::*;
use crate::chain::{Opened, Unlock, open};
use crate::format::{Leaf, LeafPlace, Manifest, PlainFrame, SealedObject, Shape};
use crate::random::seeded;
use crate::read::NoLocal;
use crate::read::tests::{Truth, restored, truth};
use crate::store::{MemoryStore, Store};
use crate::testing::vault::reader;
use crate::testing::{POOL, now};

fn verified<S: Store + 'static>(vault: &VaultReader<S>, sample: Sample) -> VerifyReport {
    now(verify(vault, sample, &mut seeded(1), &|_| ())).unwrap()
}

/// Everything of a vault: what a listing shows.
fn names(store: &impl Store) -> Vec<(String, u64)> {
    let listing = now(store.list("", "", 1000)).unwrap();
    assert!(!listing.has_more);
    listing.entries.into_iter().map(|entry| (entry.name, entry.len)).collect()
}

#[test]
fn a_sound_vault_has_no_findings() {
    for seed in 0..4 {
        let truth = truth(seed, 5);
        let vault = reader(&truth.store, truth.last());
        let report = verified(&vault, Sample::Whole);
        assert_eq!(report.findings, []);
        let packed = names(&truth.store.inner).len() - 6;
        assert_eq!((report.objects, report.points), (packed as u64, 5), "seed {seed}");
        assert!(report.entries == report.chunks && report.chunks > 50, "{report:?}");
        let some = verified(&vault, Sample::OneIn(3));
        assert_eq!(some.findings, []);
        assert_eq!(some.objects + some.present, report.objects);
        assert!(some.present > 0 && some.points < 6);
    }
}

/// A lost object is named, with exactly the points that need it.
#[test]
fn a_lost_object_is_named_with_the_points_it_touches() {
    let truth = truth(11, 5);
    for (name, len) in names(&truth.store.inner) {
        if name.starts_with("m/") {
            continue;
        }
        let bytes = now(truth.store.inner.read(&name, 0..len)).unwrap();
        now(truth.store.inner.delete(&name)).unwrap();
        let vault = reader(&truth.store, truth.last());
        let expected: BTreeSet<PointId> = truth
            .points
            .iter()
            .filter(|(point, _)| {
                // The recipe is part of a point; a restore of files does not need it.
                let recipe = vault.point_row(point).unwrap().recipe_number;
                let fresh = reader(&truth.store, truth.last());
                let lacks_recipe = now(fresh.chunks(POOL, &[recipe])).is_err();
                let reader = fresh.point(point, NoLocal).unwrap();
                lacks_recipe || now(restored(&reader)).is_err()
            })
            .map(|(point, _)| *point)
            .collect();
        for sample in [Sample::Whole, Sample::OneIn(1000)] {
            let report = verified(&vault, sample);
            let [finding] = &report.findings[..] else {
                panic!("{name}: {:?}", report.findings);
            };
            assert_eq!(finding.object.as_deref(), Some(&*name));
            assert_eq!(finding.fault, ReadError::Lost { object: name.clone() });
            // Needs of a lost leaf are told by ranges: more points than strictly do.
            if name.starts_with("i/") {
                assert!(finding.points.is_superset(&expected), "{name}");
            } else {
                assert_eq!(finding.points, expected, "{name}");
            }
        }
        truth.store.inner.put(&name, bytes);
    }
}

/// An index object in the place of one that is there, its leaves changed.
fn with_leaves(truth: &Truth, change: impl Fn(&mut Leaf)) -> Opened {
    let mut opened = truth.last().clone();
    let mut view: Manifest = (*opened.view).clone();
    let vault = reader(&truth.store, &opened);
    let row = view.indexes.last_mut().unwrap();
    let index = opened.view.indexes.len() - 1;
    let mut leaves = Vec::new();
    for at in 0..row.leaves.len() {
        let mut leaf = (*now(vault.leaves(&[(index, at)])).unwrap()[&(index, at)]).clone();
        change(&mut leaf);
        leaves.push(leaf);
    }
    let frames: Vec<PlainFrame> = leaves
        .iter()
        .map(|leaf| {
            let plain = leaf.to_bytes();
            let codec = crate::format::Codec::Raw;
            PlainFrame { codec, plain_len: plain.len() as u32, packed: plain }
        })
        .collect();
    let shape = Shape {
        kind: crate::format::ObjectKind::Index,
        class: crate::format::Class::ZERO,
        shipment: opened.newest.number,
        pool: crate::units::PoolId([0; 16]),
        pad_to: 1,
    };
    let sealed = SealedObject::seal(&opened.master, &shape, frames.clone(), &[], &mut seeded(77));
    truth.store.inner.put(&name_of(&sealed.object), Bytes::from(sealed.bytes));
    row.object = sealed.object;
    row.leaves = leaves
        .iter()
        .zip(&sealed.frames)
        .map(|(leaf, frame)| {
            let (first, last) = leaf.range().unwrap();
            LeafPlace { pool: leaf.pool, first, last, frame: *frame }
        })
        .collect();
    opened.view = Arc::new(view);
    opened
}

/// Of each frame, two chunks of one length that lie in it.
fn swap(leaf: &mut Leaf, with_ids: bool) {
    for at in 1..leaf.entries.len() {
        let (before, here) = (leaf.entries[at - 1], leaf.entries[at]);
        if before.len == here.len && before.frame == here.frame && before.kind == 0 {
            leaf.entries[at - 1].start = here.start;
            leaf.entries[at].start = before.start;
            if with_ids {
                leaf.entries[at - 1].id = here.id;
                leaf.entries[at].id = before.id;
            }
            return;
        }
    }
}

fn newest_point(truth: &Truth, opened: &Opened) -> Result<bool, tree::ReadError<ReadError>> {
    let vault = reader(&truth.store, opened);
    let (point, files) = &truth.points[truth.points.len() - 1];
    let reader = vault.point(point, NoLocal).unwrap();
    now(restored(&reader)).map(|found| found == *files)
}

/// Faults of our own, sealed like everything: entries that lead to other chunks.
#[test]
pub(super) fn an_index_that_misleads_is_noticed() {
    let truth = truth(12, 2);
    let swapped = with_leaves(&truth, |leaf| swap(leaf, false));
    assert!(matches!(
        newest_point(&truth, &swapped),
        Err(tree::ReadError::Store(ReadError::OtherBytes { .. }))
    ));
    let renumbered = with_leaves(&truth, |leaf| swap(leaf, true));
    assert!(matches!(
        newest_point(&truth, &renumbered),
        Err(tree::ReadError::Store(ReadError::OtherChunks { .. }))
    ));
}

#[test]
pub(super) fn verifying_holds_the_index_against_the_objects() {
    let truth = truth(12, 2);
    let swapped = with_leaves(&truth, |leaf| swap(leaf, false));
    let report = verified(&reader(&truth.store, &swapped), Sample::Whole);
    let misled = |finding: &Finding| matches!(finding.fault, ReadError::Misled { .. });
    assert!(report.findings.iter().any(misled), "{:?}", report.findings);
}

/// Without the id key nothing is proved, and nothing is said to be.
#[test]
fn without_the_id_key_nothing_is_verified() {
    let truth = truth(13, 1);
    let opened = truth.last();
    let (master, view) = (Arc::clone(&opened.master), Arc::clone(&opened.view));
    let vault = VaultReader::new(Arc::clone(&truth.store), master, view, None);
    let error = now(verify(&vault, Sample::Whole, &mut seeded(1), &|_| ())).unwrap_err();
    assert_eq!(error, ReadError::NoIdKey);
    assert!(vault.point(&truth.points[0].0, NoLocal).is_err());
    assert_eq!(now(vault.records()).unwrap().records.len(), 1);
}
