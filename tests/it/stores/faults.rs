//! Wrong credentials, wrong buckets, wrong clocks, and servers that fail: each is told from the others,
//! and what may pass is asked for again.

use std::time::Duration;

use bytes::Bytes;
use keelhold_tests::cloud::{BUCKET, Bucket, Fault, Habit, Kind, Plan, StrictS3};
use keelhold_vault::store::{
    CloudStore, Created, Credential, Patience, Settled, Store, StoreFault, settle,
};

use super::{open, open_at, patience, run};

fn strict() -> StrictS3 {
    StrictS3::start(Bucket::new(true, false, Habit::Strict))
}

fn with(server: &StrictS3, url: &str, credential: &str) -> CloudStore {
    let credential = Credential::parse(credential).unwrap();
    CloudStore::open(url, Some(&server.endpoint()), &credential, patience()).unwrap()
}

/// What every operation says.
fn faults(store: &impl Store) -> [StoreFault; 4] {
    [
        run(store.list("m/", "", 8)).unwrap_err().fault,
        run(store.create("m/1", Bytes::from_static(b"1"), None)).unwrap_err().fault,
        run(store.read("m/1", 0..1)).unwrap_err().fault,
        run(store.head("m/1")).unwrap_err().fault,
    ]
}

#[test]
fn wrong_credentials_are_named() {
    let server = strict();
    let right = server.credential("uploader");
    for wrong in [right.replace("uploader", "nobody"), right.replace("secret/of", "secret/oF")] {
        let store = with(&server, "s3://vault", &wrong);
        assert_eq!(faults(&store), [(); 4].map(|()| StoreFault::Credentials));
        // Asking again would help nobody, and locks accounts.
        assert_eq!(store.sent(), 5);
    }
}

#[test]
fn a_missing_bucket_is_named() {
    let server = strict();
    let store = with(&server, "s3://another", &server.credential("uploader"));
    let found = [
        run(store.list("m/", "", 8)).unwrap_err().fault,
        run(store.create("m/1", Bytes::new(), None)).unwrap_err().fault,
        run(store.read("m/1", 0..1)).unwrap_err().fault,
    ];
    assert_eq!(found, [(); 3].map(|()| StoreFault::NoBucket));
    assert_eq!(store.sent(), 3);
}

#[test]
fn a_wrong_region_is_named() {
    let server = strict();
    let there = server.credential("uploader").replace("eu-central-1", "us-east-1");
    let expected = "eu-central-1".to_owned();
    let found = run(with(&server, "s3://vault", &there).list("", "", 1)).unwrap_err().fault;
    assert_eq!(found, StoreFault::Region { expected });
}

#[test]
fn clocks_that_differ_are_named() {
    let server = strict();
    for ahead in [-3600, 3600] {
        server.set_ahead(ahead);
        for fault in faults(&open(&server, "uploader")) {
            let StoreFault::ClockSkew { ahead: found } = fault else { panic!("{fault:?}") };
            assert!(found.abs_diff(ahead) <= 60, "{found} for {ahead}");
        }
    }
}

#[test]
fn rights_that_are_missing_are_named() {
    let server = strict();
    let store = open(&server, "uploader");
    run(store.create("m/1", Bytes::new(), None)).unwrap();
    assert_eq!(run(store.delete("m/1")).unwrap_err().fault, StoreFault::Refused);
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let server = strict();
    let (at, credential) = (server.endpoint(), server.credential("uploader"));
    drop(server);
    let credential = Credential::parse(&credential).unwrap();
    let store = CloudStore::open("s3://vault", Some(&at), &credential, patience()).unwrap();
    let error = run(store.list("", "", 1)).unwrap_err();
    assert_eq!(error.fault, StoreFault::Unreachable);
    assert!(error.is_passing());
    assert_eq!(store.sent(), 4);
}

/// An endpoint that says nothing holds nobody for longer than was allowed.
#[test]
fn a_server_that_hangs_is_left() {
    let server = strict();
    server.plan(Some(Plan::new(Fault::Hang, 1, u64::MAX)));
    let silence = Duration::from_millis(50);
    let hasty = Patience { silence, attempts: 2, ..patience() };
    let store = open_at(&server, "uploader", hasty);
    for fault in faults(&store) {
        assert!(matches!(fault, StoreFault::Silent { .. }), "{fault:?}");
    }
    assert_eq!(store.inner().sent(), 8);
}

/// Storms pass; what was asked for is done, once.
#[test]
fn storms_are_outlived() {
    for fault in
        [Fault::Status(500), Fault::Status(503), Fault::Status(429), Fault::Cut, Fault::Lost]
    {
        for every in [2, 3, 5] {
            let server = strict();
            server.plan(Some(Plan::new(fault, every, u64::MAX)));
            let store = open(&server, "uploader");
            for number in 0..8_u8 {
                let (name, bytes) = (format!("m/{number}"), Bytes::from(vec![number; 5000]));
                let settled = run(settle(&store, &name, &bytes, None));
                assert_eq!(settled, Ok(Settled::Ours), "{fault:?} {every}");
                assert_eq!(run(store.read(&name, 0..5000)).unwrap(), bytes);
            }
            assert_eq!(run(store.list("m/", "", 100)).unwrap().entries.len(), 8);
            let bucket = server.bucket();
            assert!(bucket.keys.values().all(|versions| versions.len() == 1), "{fault:?} {every}");
        }
    }
}

/// What does not pass is reported with its status after a bounded number of attempts.
#[test]
fn storms_that_stay_are_reported() {
    for status in [500, 502, 503, 504, 429] {
        let server = strict();
        server.plan(Some(Plan::new(Fault::Status(status), 1, u64::MAX)));
        let store = open(&server, "uploader");
        let error = run(store.create("m/1", Bytes::new(), None)).unwrap_err();
        assert_eq!(error.fault, StoreFault::Unavailable { status });
        assert!(error.is_passing());
        assert_eq!(server.take_counts().into_iter().collect::<Vec<_>>(), [(Kind::Put, 4)]);
    }
    let server = strict();
    server.plan(Some(Plan::new(Fault::Status(507), 1, 1)));
    let error = run(open(&server, "uploader").create("m/1", Bytes::new(), None)).unwrap_err();
    assert_eq!(error.fault, StoreFault::Full);
    assert!(!error.is_passing());
}

/// A first attempt that was done and not answered: the second finds it.
#[test]
fn a_lost_answer_is_no_second_object() {
    let server = strict();
    server.plan(Some(Plan::new(Fault::Lost, 1, 1)));
    let store = open(&server, "uploader");
    let made = run(store.create("m/1", Bytes::from_static(b"1"), None));
    assert_eq!(made, Ok(Created::Exists));
    assert_eq!(server.bucket().keys["one/m/1"].len(), 1);
}

#[test]
fn impossible_listings_are_refused() {
    for (fault, is_found) in [
        (Fault::StrangeList, true),
        (Fault::Garbage, true),
        (Fault::Cut, false),
        (Fault::BackwardList, false),
    ] {
        let server = strict();
        let store = open(&server, "uploader");
        for number in 0..5 {
            run(store.create(&format!("m/{number}"), Bytes::new(), None)).unwrap();
        }
        server.plan(Some(Plan::new(fault, 1, 1)));
        let listed = run(store.list("m/", "", 3));
        let error = listed.as_ref().err().map(|error| &error.fault);
        let is_named = matches!(error, Some(StoreFault::Listing { .. } | StoreFault::Unfit));
        assert_eq!(is_named, is_found, "{fault:?}: {listed:?}");
        // Order is ours to make; an answer that broke off was asked for again.
        if !is_found {
            let listing = listed.unwrap();
            assert!(listing.entries.iter().all(|entry| entry.name.starts_with("m/")));
        }
    }
}

/// The figures of the contract are counted in requests: none is wasted.
#[test]
fn one_request_each() {
    let server = strict();
    let store = open(&server, "uploader");
    run(store.create("m/1", Bytes::from_static(b"12345"), None)).unwrap();
    run(store.read("m/1", 1..4)).unwrap();
    run(store.head("m/1")).unwrap();
    run(store.list("m/", "", 8)).unwrap();
    let counts: Vec<_> = server.take_counts().into_iter().collect();
    assert_eq!(counts, [(Kind::Put, 1), (Kind::Get, 1), (Kind::Head, 1), (Kind::List, 1)]);
    assert_eq!(BUCKET, "vault");
}
