//! One suite over every store there is.

use bytes::Bytes;
use futures_util::future::join_all;
use keelhold_tests::cloud::{Bucket, Habit, StrictS3};
use keelhold_vault::store::conformance::unmet;
use keelhold_vault::store::{AnyStore, Created, MemoryStore, Probed, Store, probe, probe_locks};

use super::servers::{Azurite, Moto};
use super::{open, run, seeded};

const NOTHING: [&str; 0] = [];

#[test]
fn any_store_is_what_its_url_says() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("file://{}", folder.path().display());
    let store = AnyStore::open(&url, None, None).unwrap();
    assert_eq!(run(unmet(&store)), NOTHING);
    assert_eq!(run(unmet(&AnyStore::Memory(MemoryStore::new()))), NOTHING);
    let server = StrictS3::start(Bucket::new(true, true, Habit::Strict));
    let credential = server.credential("prune");
    let credential = keelhold_vault::store::Credential::parse(&credential).unwrap();
    let at = server.endpoint();
    let store = AnyStore::open("s3://vault", Some(&at), Some(&credential)).unwrap();
    assert_eq!(run(unmet(&store)), NOTHING);
}

/// With and without versions, with whole pages and with pages of three rows.
#[test]
fn the_stand_in_for_s3_is_a_store() {
    for (is_versioned, page_max) in [(false, 1000), (true, 1000), (true, 3), (false, 2)] {
        let server = StrictS3::start(Bucket::new(is_versioned, false, Habit::Strict));
        server.set_page_max(page_max);
        let unmet = run(unmet(&open(&server, "prune")));
        assert_eq!(unmet, NOTHING, "versions: {is_versioned}, pages of {page_max}");
    }
}

/// Where versions cannot be listed, names are.
#[test]
fn a_server_without_listings_of_versions_is_a_store() {
    let server = StrictS3::start(Bucket::new(false, false, Habit::NoVersionLists));
    assert_eq!(run(unmet(&open(&server, "prune"))), NOTHING);
}

/// What the suite and the probe say of servers that are known to lie about conditions.
#[test]
fn lies_about_conditions_are_found() {
    let server = StrictS3::start(Bucket::new(false, false, Habit::IgnoresConditions));
    let store = open(&server, "prune");
    assert!(run(unmet(&store)).contains(&"creates only"));
    assert!(!run(probe(&store, &mut seeded(1))).unwrap().creates_only);
}

/// Of many at one moment one makes the object; where conditions are not atomic more say they did.
#[test]
fn one_of_many_creates_over_the_network() {
    let winners = |habit| {
        let server = StrictS3::start(Bucket::new(false, false, habit));
        let store = open(&server, "uploader");
        let racing = (0..16).map(|writer| store.create("m/1", Bytes::from(vec![writer; 9]), None));
        let made = run(join_all(racing));
        made.into_iter().filter(|answer| answer.as_ref().unwrap() == &Created::Made).count()
    };
    assert_eq!(winners(Habit::Strict), 1);
    assert!(winners(Habit::NotAtomic) > 1);
}

#[test]
fn azurite_is_a_store() {
    let Some(azurite) = Azurite::start() else { return };
    let store = azurite.open("one");
    assert_eq!(run(unmet(&store)), NOTHING);
    let probed = run(probe(&store, &mut seeded(2))).unwrap();
    assert_eq!(probed, Probed { creates_only: true, lists_at_once: true });
    // It knows no locks; nobody may believe it does.
    let proof = run(probe_locks(&store, azurite.now(), &mut seeded(3)));
    assert!(!proof.is_ok_and(|proof| proof.is_proved()));
}

#[test]
fn moto_is_a_store() {
    let Some(moto) = Moto::start() else { return };
    let store = moto.open("plain");
    // In a listing of versions from a key that is none, this version of moto leaves out the next one.
    assert_eq!(run(unmet(&store)), ["lists from a name that is none"]);
    let probed = run(probe(&store, &mut seeded(4))).unwrap();
    assert_eq!(probed, Probed { creates_only: true, lists_at_once: false });
    // Locks of its own making, in a bucket that has them.
    let proof = run(probe_locks(&moto.open("locked"), moto.now(), &mut seeded(5))).unwrap();
    assert!(proof.locks && proof.keeps && proof.may_delete, "{proof:?}");
    let proof = run(probe_locks(&store, moto.now(), &mut seeded(6))).unwrap();
    assert!(!proof.locks, "{proof:?}");
}
