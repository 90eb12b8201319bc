//! A limit holds inside of a body, and for what is sent again; what somebody else keeps beside a vault
//! is passed over.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use keelhold_tests::cloud::{Bucket, Fault, Habit, Plan, StrictS3};
use keelhold_vault::store::{AnyStore, Credential, Pace, Settled, Store, settle};

use super::{open, run};

/// Slices of a twenty-first of the rate, twenty a second by a clock of its own: what left, and when.
#[derive(Debug)]
struct Virtual {
    state: Mutex<(Duration, Vec<(Duration, u64)>)>,
    /// From which byte on which rate holds.
    rates: Vec<(u64, u64)>,
}

impl Pace for Virtual {
    fn take(&self, most: u64) -> BoxFuture<'_, u64> {
        let mut state = self.state.lock().unwrap();
        let (at, left) = &mut *state;
        let so_far: u64 = left.iter().map(|(_, len)| len).sum();
        let rate = self.rates.iter().rfind(|(from, _)| *from <= so_far).unwrap().1;
        let part = most.min(rate / 21);
        left.push((*at, part));
        *at += Duration::from_secs_f64(part as f64 / (rate / 21 * 20) as f64);
        Box::pin(async move {
            // Others go first, as they do where time passes.
            tokio::task::yield_now().await;
            part
        })
    }
}

fn pace(rates: &[(u64, u64)]) -> Arc<Virtual> {
    Arc::new(Virtual { state: Mutex::default(), rates: rates.to_vec() })
}

/// The most that left in any second between two bytes of all that did.
fn most_a_second(left: &[(Duration, u64)], from: u64, upto: u64) -> u64 {
    let mut so_far = 0;
    let mut within = Vec::new();
    for (at, len) in left {
        if (from..upto).contains(&so_far) {
            within.push((*at, *len));
        }
        so_far += len;
    }
    let window = |(begin, _): &(Duration, u64)| {
        let end = *begin + Duration::from_secs(1);
        let inside = within.iter().filter(|(at, _)| (*begin..end).contains(at));
        inside.map(|(_, len)| len).sum()
    };
    within.iter().map(window).max().unwrap_or(0)
}

fn opened(server: &StrictS3, pace: &Arc<Virtual>) -> AnyStore {
    let credential = Credential::parse(&server.credential("uploader")).unwrap();
    let store = AnyStore::open("s3://vault", Some(&server.endpoint()), Some(&credential)).unwrap();
    store.with_pace(Arc::<Virtual>::clone(pace))
}

#[test]
fn no_second_of_a_body_carries_more_than_the_rate() {
    let server = StrictS3::start(Bucket::new(false, false, Habit::Strict));
    let body = Bytes::from((0..3 << 20).map(|at: u32| (at >> 7) as u8).collect::<Vec<_>>());
    // In the middle of the body another rate is set; it holds for the next piece.
    let change = 1 << 20;
    let pace = pace(&[(0, 256 << 10), (change, 64 << 10)]);
    let store = opened(&server, &pace);
    assert_eq!(run(settle(&store, "m/1", &body, None)), Ok(Settled::Ours));
    assert_eq!(run(store.read("m/1", 0..body.len() as u64)).unwrap(), body);
    let (at, left) = pace.state.lock().unwrap().clone();
    assert_eq!(left.iter().map(|(_, len)| len).sum::<u64>(), body.len() as u64);
    assert!(most_a_second(&left, 0, change) <= 256 << 10);
    assert!(most_a_second(&left, change, u64::MAX) <= 64 << 10);
    // The limit is used.
    assert!(at < Duration::from_secs(4 + 32 + 4), "{at:?}");
}

#[test]
fn what_is_sent_again_is_paid_again() {
    let server = StrictS3::start(Bucket::new(false, false, Habit::Strict));
    let body = Bytes::from(vec![7; 200_000]);
    let pace = pace(&[(0, 1 << 20)]);
    let store = opened(&server, &pace);
    server.plan(Some(Plan::new(Fault::Lost, 1, 1)));
    assert_eq!(run(settle(&store, "m/1", &body, None)), Ok(Settled::Ours));
    let (_, left) = pace.state.lock().unwrap().clone();
    assert_eq!(left.iter().map(|(_, len)| len).sum::<u64>(), 400_000);
}

/// Names that are none of ours, however many, neither end a listing nor hide what is behind them.
#[test]
fn foreign_names_are_passed_over() {
    for (habit, is_versioned) in
        [(Habit::Strict, true), (Habit::Strict, false), (Habit::NoVersionLists, false)]
    {
        let server = StrictS3::start(Bucket::new(is_versioned, false, habit));
        let store = open(&server, "uploader");
        for name in ["m/0", "m/1", "m/zz"] {
            run(store.create(name, Bytes::from_static(b"ours"), None)).unwrap();
        }
        {
            let (now, mut bucket) = (server.now(), server.bucket());
            for number in 0..70 {
                let key = format!("one/m/1 {number:03}.TMP");
                bucket.put(&key, Bytes::from_static(b"theirs"), None, now).unwrap();
            }
            for key in ["one/m/", "one/m/Readme", "one/m/1/", "one/.m", "one/m//x"] {
                bucket.put(key, Bytes::new(), None, now).unwrap();
            }
        }
        for (page_max, limit) in [(1000, 100), (3, 100), (3, 1), (1000, 1), (7, 2)] {
            server.set_page_max(page_max);
            let (mut names, mut after) = (Vec::new(), String::new());
            loop {
                let listing = run(store.list("m/", &after, limit)).unwrap();
                names.extend(listing.entries.into_iter().map(|entry| entry.name));
                match names.last() {
                    Some(last) if listing.has_more => after.clone_from(last),
                    _ => break,
                }
            }
            assert_eq!(names, ["m/0", "m/1", "m/zz"], "{habit:?}, pages of {page_max}, {limit}");
        }
    }
}
