//! Time that passes, and time that jumps.

use super::*;
use crate::clock::Clock;
use crate::machine::{EnrolError, enrol, invite, renew, revoke};
use keelhold_disk::units::UnixNanos;
use rcgen::{CertificateParams, KeyPair};
use std::sync::atomic::{AtomicI64, Ordering};

const SECOND: i64 = 1_000_000_000;
const DAY: i64 = 86_400 * SECOND;
/// A day in 2026.
const NOW: i64 = 20_600 * DAY;

/// A clock that is set by hand: the wall, and what has passed.
pub(super) struct Hand(AtomicI64, AtomicI64);

impl Hand {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(NOW), AtomicI64::new(0)))
    }

    pub(super) fn turn(&self, nanos: i64) {
        self.0.fetch_add(nanos, Ordering::Relaxed);
    }

    /// Time goes by as it should.
    pub(super) fn pass(&self, nanos: i64) {
        self.turn(nanos);
        self.1.fetch_add(nanos, Ordering::Relaxed);
    }
}

impl Clock for Hand {
    fn now(&self) -> UnixNanos {
        UnixNanos(self.0.load(Ordering::Relaxed))
    }

    fn passed(&self) -> std::time::Duration {
        let passed = self.1.load(Ordering::Relaxed);
        std::time::Duration::from_nanos(u64::try_from(passed).unwrap())
    }
}

fn request(key: &KeyPair) -> Vec<u8> {
    CertificateParams::default().serialize_request(key).unwrap().der().to_vec()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn points_keep_their_order_when_the_clock_jumps() {
    let clock = Hand::new();
    let house = house_by("jumps", clock.clone()).await;
    for jump in [0, -10 * DAY, 400 * DAY, -400 * DAY, 0] {
        clock.turn(jump);
        let talk = house.talk(b'a').await;
        match talk.start.basis {
            None => honest(&talk),
            Some(_) => tree(&talk, vec![Item::Same { first: 0, count: 2 }]),
        }
        assert_eq!(result(talk.end.await.unwrap()), (Outcome::Ok, None), "after {jump}");
    }
    let points = house.daemon.points().await.unwrap();
    assert_eq!(points.len(), 5);
    assert!(points.windows(2).all(|pair| pair[0].at < pair[1].at), "{points:?}");
}

/// What a point is called, and whether it is still there after a reclaim.
async fn survives(house: &House, id: &str) -> bool {
    let result = crate::reclaim::now(&house.daemon, crate::upkeep::Why::Asked).await.unwrap();
    let left = house.daemon.points().await.unwrap();
    let is_there = left.iter().any(|point| crate::id_text::encode(&point.id.0) == id);
    assert_eq!(result.points_dropped, u64::from(!is_there));
    is_there
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_jump_of_the_clock_ends_the_time_in_the_trash() {
    let clock = Hand::new();
    let house = house_by("trash", clock.clone()).await;
    for _ in 0..2 {
        clock.pass(SECOND);
        let talk = house.talk(b'a').await;
        match talk.start.basis {
            None => honest(&talk),
            Some(_) => tree(&talk, vec![Item::Same { first: 0, count: 2 }]),
        }
        assert_eq!(result(talk.end.await.unwrap()), (Outcome::Ok, None));
    }
    let id = crate::id_text::encode(&house.daemon.points().await.unwrap()[0].id.0);
    let request = crate::api::types::ForgetRequest { points: vec![id.clone()], now: false };
    let actor = crate::audit::Actor::keelhold();
    let forgotten = house.daemon.forget(&actor, &request).await.unwrap();
    assert!(forgotten.trashed_until.is_some());
    for jump in [3_650 * DAY, -7_300 * DAY, 3_650 * DAY, 20 * DAY, -NOW] {
        clock.turn(jump);
        assert!(survives(&house, &id).await, "after {jump}");
    }
    clock.pass(14 * DAY - 60 * SECOND);
    assert!(survives(&house, &id).await);
    clock.pass(60 * SECOND);
    assert!(!survives(&house, &id).await);
    let undone = house.daemon.undo_forget(&actor, &id).await;
    assert_eq!(undone.unwrap_err().code, Code::UndoTooLate);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_ends_with_its_time_and_is_used_once() {
    let clock = Hand::new();
    let house = house_by("token", clock.clone()).await;
    let (store, authority) = (&house.daemon.store, &house.daemon.authority);
    let request = request(&KeyPair::generate().unwrap());
    let late = invite(store, authority, "late", 3_600).await.unwrap();
    clock.turn(3_601 * SECOND);
    let refused = enrol(store, authority, &late.token.secret, &request, "1").await;
    assert_eq!(refused.unwrap_err().failure().code, Code::TokenExpired);
    let token = invite(store, authority, "late", 3_600).await.unwrap().token;
    clock.turn(3_599 * SECOND);
    enrol(store, authority, &token.secret, &request, "1").await.unwrap();
    let refused = enrol(store, authority, &token.secret, &request, "1").await;
    assert_eq!(refused.unwrap_err().failure().code, Code::TokenUsed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewal_gives_new_life_to_the_same_key_and_to_no_other() {
    let clock = Hand::new();
    let house = house_by("renewal", clock.clone()).await;
    let (store, authority) = (&house.daemon.store, &house.daemon.authority);
    let token = invite(store, authority, "box", 3_600).await.unwrap().token;
    let key = KeyPair::generate().unwrap();
    let first = enrol(store, authority, &token.secret, &request(&key), "1").await.unwrap();
    let id = first.machine.id;
    clock.turn(60 * DAY);
    let renewed = renew(store, authority, &id, &request(&key)).await.unwrap();
    let end = |der: &[u8]| {
        x509_parser::parse_x509_certificate(der).unwrap().1.validity().not_after.timestamp()
    };
    assert_eq!(end(&renewed) - end(&first.certificate), 60 * 86_400);
    let other = request(&KeyPair::generate().unwrap());
    let refused = renew(store, authority, &id, &other).await;
    assert!(matches!(refused, Err(EnrolError::OtherKey)), "{refused:?}");
    revoke(store, "box").await.unwrap();
    let refused = renew(store, authority, &id, &request(&key)).await;
    assert!(matches!(refused, Err(EnrolError::MachineGone)), "{refused:?}");
}
