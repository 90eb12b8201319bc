//! Locks: taken, shown, extended, never shortened; and what the proof says where they are not.

use bytes::Bytes;
use keelhold_tests::cloud::{Bucket, Habit, Kind, StrictS3};
use keelhold_vault::store::{Created, LockProof, Store, StoreFault, Until, probe_locks};

use super::{open, run, seeded};

const DAY: i64 = 86_400;

#[test]
fn a_lock_is_taken_shown_and_extended() {
    let server = StrictS3::start(Bucket::new(true, true, Habit::Strict));
    let (uploader, prune) = (open(&server, "uploader"), open(&server, "prune"));
    let now = server.now();
    let made = run(uploader.create("d/1", Bytes::from_static(b"1"), Some(Until(now + 30 * DAY))));
    assert_eq!(made, Ok(Created::Made));
    run(uploader.create("d/2", Bytes::from_static(b"2"), None)).unwrap();
    assert_eq!(run(uploader.locked_until("d/1")), Ok(Some(Until(now + 30 * DAY))));
    assert_eq!(run(uploader.locked_until("d/2")), Ok(None));
    // One request each: the version is known from creating.
    let _ = server.take_counts();
    run(uploader.extend("d/1", Until(now + 60 * DAY))).unwrap();
    run(uploader.extend("d/2", Until(now + 10 * DAY))).unwrap();
    assert_eq!(server.take_counts().into_iter().collect::<Vec<_>>(), [(Kind::Retain, 2)]);
    // Shorter is not an error, and not done.
    run(uploader.extend("d/1", Until(now + DAY))).unwrap();
    assert_eq!(run(prune.locked_until("d/1")), Ok(Some(Until(now + 60 * DAY))));
    let refused = |name| run(prune.delete(name)).map_err(|error| error.fault);
    assert_eq!(refused("d/1"), Err(StoreFault::Refused));
    // With a clock that is off nobody does anything; then eleven days have passed: what was locked for
    // ten may go, what was extended may not.
    server.set_ahead(11 * DAY);
    assert!(matches!(refused("d/1"), Err(StoreFault::ClockSkew { .. })));
    server.set_ahead(0);
    server.bucket().keys.values_mut().flatten().for_each(|version| {
        version.retention = version.retention.filter(|lock| lock.until > now + 11 * DAY);
    });
    assert_eq!(refused("d/2"), Ok(()));
    assert_eq!(refused("d/1"), Err(StoreFault::Refused));
    assert_eq!(run(prune.head("d/2")), Ok(None));
    let missing = run(uploader.extend("d/9", Until(now + DAY))).map_err(|error| error.fault);
    assert_eq!(missing, Err(StoreFault::NotFound));
}

#[test]
fn the_proof_says_what_is_so() {
    let proof = |habit, has_locks, user| {
        let server = StrictS3::start(Bucket::new(true, has_locks, habit));
        run(probe_locks(&open(&server, user), server.now(), &mut seeded(7))).unwrap()
    };
    let all = LockProof { locks: true, keeps: true, never_shorter: true, may_delete: true };
    assert_eq!(proof(Habit::Strict, true, "prune"), all);
    let uploader = proof(Habit::Strict, true, "uploader");
    assert_eq!(uploader, LockProof { may_delete: false, ..all });
    assert!(uploader.is_proved());
    assert_eq!(proof(Habit::Strict, false, "prune"), LockProof::default());
    let heedless = proof(Habit::IgnoresLocks, true, "prune");
    assert_eq!(heedless, LockProof { keeps: false, ..all });
    let yielding = proof(Habit::Shortens, true, "prune");
    assert_eq!(yielding, LockProof { never_shorter: false, ..all });
    assert!(!heedless.is_proved() && !yielding.is_proved());
}

/// A bucket that cannot lock is told from one that refuses.
#[test]
fn a_bucket_without_locks_says_so() {
    let server = StrictS3::start(Bucket::new(true, false, Habit::Strict));
    let (store, until) = (open(&server, "uploader"), Until(server.now() + DAY));
    let made = run(store.create("d/1", Bytes::new(), Some(until)));
    assert_eq!(made.map_err(|error| error.fault), Err(StoreFault::NoLocks));
    run(store.create("d/1", Bytes::new(), None)).unwrap();
    let extended = run(store.extend("d/1", until));
    assert_eq!(extended.map_err(|error| error.fault), Err(StoreFault::NoLocks));
}
