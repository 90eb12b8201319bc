use super::*;
use crate::testing::slots;

/// From a store and a kit, every point comes back.
#[test]
fn every_point_comes_back() {
    for seed in 0..6 {
        let truth = truth(seed, 6);
        let (_, kit) = slots(&crate::testing::master(), 2);
        let opened = now(open(&*truth.store, Unlock::Kit(&kit), None)).unwrap();
        let vault = reader(&truth.store, &opened);
        for (point, files) in &truth.points {
            let reader = vault.point(point, NoLocal).unwrap();
            assert_eq!(&now(restored(&reader)).unwrap(), files, "seed {seed}");
        }
        let records = now(vault.records()).unwrap();
        assert_eq!(records.records["machine/a"], (5, 5usize.to_le_bytes().to_vec()));
        assert_eq!(records.series["jobs"].len(), 6);
        let strange = PointId([1; 16]);
        let none = vault.point(&strange, NoLocal).unwrap_err();
        assert_eq!(none, ReadError::NoPoint { point: strange });
    }
}

/// A pool that has lost some chunks, and has others under some numbers.
struct Patchy<'a> {
    chunks: &'a RefCell<Chunks>,
    is_there: fn(u64) -> bool,
    is_other: bool,
}

impl Local for Patchy<'_> {
    async fn chunks_at(
        &self,
        pool: PoolId,
        first: u64,
        count: u16,
    ) -> Vec<Option<(ChunkId, Bytes)>> {
        assert_eq!(pool, POOL);
        let chunks = self.chunks.borrow();
        let at = |number| {
            (self.is_there)(number).then(|| chunks.get(if self.is_other { 1 } else { number }))
        };
        (first..first + u64::from(count)).map(at).collect()
    }

    async fn ids_at(&self, pool: PoolId, first: u64, count: u16) -> Vec<Option<ChunkId>> {
        let found = self.chunks_at(pool, first, count).await;
        found.into_iter().map(|found| found.map(|(id, _)| id)).collect()
    }
}

/// What is near, and whether it is something else.
type Case = (fn(u64) -> bool, bool);

#[test]
fn what_is_near_is_not_fetched_and_what_is_lost_there_is() {
    let truth: &'static Truth = Box::leak(Box::new(truth(7, 5)));
    let (point, files) = &truth.points[3];
    let mut requests = Vec::new();
    let cases: [Case; 4] = [
        (|_| true, false),
        (|number| number % 3 != 0, false),
        (|number| number % 3 == 0, true),
        (|_| false, false),
    ];
    for (is_there, is_other) in cases {
        let vault = reader(&truth.store, truth.last());
        truth.store.take();
        let near = Patchy { chunks: &truth.chunks, is_there, is_other };
        let reader = vault.point(point, near).unwrap();
        assert_eq!(&now(restored(&reader)).unwrap(), files);
        requests.push(truth.store.take());
    }
    println!("requests: all near, two thirds near, a third wrong, nothing near: {requests:?}");
    assert_eq!(requests[0], 0);
    assert!(requests[1] <= requests[3]);
}

/// Chunks by number, from two pools' worth of leaves, in any order.
#[test]
fn chunks_come_by_number() {
    let truth = truth(8, 4);
    let vault = reader(&truth.store, truth.last());
    let next = truth.chunks.borrow().next;
    let numbers: Vec<u64> = (1..next).rev().chain([3, 3, 1]).collect();
    let found = now(vault.chunks(POOL, &numbers)).unwrap();
    for (number, found) in numbers.iter().zip(found) {
        assert_eq!(found, truth.chunks.borrow().get(*number));
    }
    let missing = now(vault.chunks(POOL, &[1, next])).unwrap_err();
    assert_eq!(missing, ReadError::NoChunk { pool: POOL, number: next });
}

/// The entries of what repack wrote stand before older ones, wherever both are.
#[test]
fn replaced_entries_are_read_from_the_higher_rank() {
    let truth = truth(9, 3);
    let mut view = (*truth.last().view).clone();
    // The same leaves again, at a higher rank, and the old objects gone from the store.
    let old = view.indexes[0].clone();
    let mut newer = old.clone();
    newer.rank = 99;
    newer.object.object = crate::units::ObjectId([1; 16]);
    view.indexes.push(newer);
    let master = Arc::clone(&truth.last().master);
    let key = Some(IdKey::new(crate::testing::vault::ID_KEY));
    let vault = VaultReader::new(Arc::clone(&truth.store), master, Arc::new(view), key);
    let number = old.leaves[0].first;
    let error = now(vault.chunks(POOL, &[number])).unwrap_err();
    assert!(matches!(&error, ReadError::Lost { object } if object.starts_with("i/0/")), "{error}");
}

/// What a reader of chunks and records waits for, it may wait for on any thread.
#[test]
fn futures_may_change_threads() {
    fn is_send<T: Send>(value: T) -> T {
        value
    }
    let truth = truth(5, 1);
    let reader = reader(&truth.store, truth.last());
    now(is_send(reader.records())).unwrap();
    assert_eq!(now(is_send(reader.chunks(crate::testing::POOL, &[1]))).unwrap().len(), 1);
}
