//! Stores that fail, lose answers, fill up, refuse; local files that are damaged.

use super::*;
use crate::store::{DirectoryStore, MemoryStore, StoreFault};

fn is_typed(error: &ShipError) -> bool {
    use crate::chain::ChainError;
    matches!(
        error,
        ShipError::Store(_)
            | ShipError::Ids(IdsError::Store(_))
            | ShipError::Chain(ChainError::Store(_) | ChainError::NotReadBack { .. })
    )
}

pub(crate) fn failing_at_every_request() {
    let faults = [
        (StoreFault::Unavailable { status: 503 }, false),
        (StoreFault::Unavailable { status: 0 }, true),
        (StoreFault::Full, false),
        (StoreFault::Refused, false),
    ];
    for (fault, is_after) in faults {
        for count in [1, 1000] {
            let mut at = 0;
            loop {
                let store = MemoryStore::new();
                let (mut site, mut pool) = (Site::found(&store), Pool::new(POOL));
                pool.back_up(1, 80, 3);
                let mut order = pool.order();
                order.records = vec![record("a", 2)];
                order.records_are_all = true;
                let plan = Plan::Fails { at, count, fault: fault.clone(), is_after };
                let failing = store.kept().with(plan, Turns::None);
                let ended = site.ship_over(&failing, (&pool, &order), 1, 1, &|| false).unwrap();
                let what = format!("{fault} at {at} for {count}, answer lost {is_after}");
                let there = check(&store, &site, &pool);
                match &ended {
                    Ok(_) => assert_eq!(there, all_points(&pool), "{what}"),
                    Err(error) => assert!(is_typed(error), "{what}: {error}"),
                }
                site.reopen(&store);
                site.ship(&store, &pool, &order, 2).unwrap();
                assert_eq!(check(&store, &site, &pool), all_points(&pool), "{what}");
                let (count, _) = stored(&store, &site.master);
                assert!(count.values().all(|count| *count == 1), "{what}");
                if failing.requests.into_inner() <= at {
                    break;
                }
                at += 1;
            }
            assert!(at >= 8, "{at} requests");
        }
    }
}

#[test]
fn a_store_that_fails_is_told_and_nothing_wrong_is_named() {
    failing_at_every_request();
}

/// What lies under the names of leftovers is believed only if it is what the name says.
pub(crate) fn false_leftovers() {
    let store = MemoryStore::new();
    let (mut site, mut pool) = (Site::found(&store), Pool::new(POOL));
    pool.back_up(1, 120, 3);
    let order = pool.order();
    // A shipment that was interrupted before its manifest; then its objects were moved and cut.
    let killed = store.kept().killed(4, true);
    assert!(site.ship_over(&killed, (&pool, &order), 9, 1, &|| false).is_none());
    let left = now(store.list("d/", "", 100)).unwrap().entries;
    assert!(left.len() >= 2);
    for (at, entry) in left.iter().enumerate() {
        let bytes = now(store.read(&entry.name, 0..entry.len)).unwrap();
        now(store.delete(&entry.name)).unwrap();
        let (name, bytes) = match at % 2 {
            0 => (entry.name.clone(), bytes.slice(..bytes.len() - (200 << 10))),
            _ => {
                let Ok(Name::Object { kind, class, shipment, .. }) = Name::parse(&entry.name)
                else {
                    panic!("{}", entry.name)
                };
                let object = crate::units::ObjectId([at as u8; 16]);
                (Name::Object { kind, class, shipment, object }.to_string(), bytes)
            }
        };
        now(store.create(&name, bytes, None)).unwrap();
    }
    now(store.create("d/3/0000000000000002/aaaaaaaaaaaaaaaaaaaaaaaaaa", Bytes::new(), None))
        .unwrap();
    now(store.create("d/3/0000000000000003/garbage", Bytes::from_static(b"x"), None)).unwrap();
    let shipped = site.ship(&store, &pool, &order, 2).unwrap();
    assert_eq!(check(&store, &site, &pool), all_points(&pool));
    assert!(shipped.chunks > 0);
}

#[test]
fn leftovers_are_proved() {
    false_leftovers();
}

/// Local files that are damaged, cut or exchanged are made again.
pub(crate) fn damaged_local_files() {
    let store = MemoryStore::new();
    let (mut site, mut pool) = (Site::found(&store), Pool::new(POOL));
    pool.back_up(0, 300, 3);
    let order = pool.order();
    site.ship(&store, &pool, &order, 1).unwrap();
    for case in 0..30 {
        let ids = site.dir.path().join("ids");
        for entry in std::fs::read_dir(&ids).unwrap() {
            let path = entry.unwrap().path();
            let mut bytes = std::fs::read(&path).unwrap();
            match case % 5 {
                0 => bytes.truncate(bytes.len() / 2),
                1 => bytes.clear(),
                // Where the bytes lie, of every chunk, and nothing else: rows of 72 bytes, 56 a block.
                2 => {
                    for at in (0..bytes.len().saturating_sub(4096)).step_by(4096) {
                        (0..56).for_each(|row| bytes[at + row * 72 + 48] ^= 1);
                    }
                }
                _ => {
                    let len = bytes.len();
                    for at in 0..len / 64 {
                        bytes[(at * 64 + case * 7) % len] ^= 1;
                    }
                }
            }
            std::fs::write(&path, &bytes).unwrap();
        }
        // The same content under new numbers: it has to be found, whole.
        let mut again = Pool::new(POOL);
        again.next = 10_000 * (case as u64 + 1);
        let numbers: BTreeMap<u64, u64> =
            pool.chunks.iter().map(|(n, (_, k, b))| (*n, again.add(*k, b.clone()))).collect();
        let (_, point) = pool.points.values().next().unwrap();
        let mut point = point.clone();
        point.point = PointId([case as u8 + 1; 16]);
        point.recipe_number = numbers[&point.recipe_number];
        point.root_page = point.root_page.map(|number| numbers[&number]);
        let reach = numbers.values().copied().collect();
        again.points.insert(point.point, (reach, point));
        let mut order = again.order();
        order.gone = site.opened.view.points.iter().map(|point| point.point).collect();
        let shipped = site.ship(&store, &again, &order, 3).unwrap();
        assert_eq!((shipped.chunks, shipped.left_out.len()), (0, 0), "case {case}");
        assert_eq!(check(&store, &site, &again), all_points(&again), "case {case}");
    }
}

#[test]
fn damaged_local_files_are_made_again() {
    damaged_local_files();
}

/// A pool behind which somebody damages every local file, when it is asked for something the so-manieth
/// time.
struct Damaging<'a> {
    pool: &'a Pool,
    ids: std::path::PathBuf,
    asked: AtomicU64,
    at: u64,
}

impl Damaging<'_> {
    fn asked(&self) {
        if self.asked.fetch_add(1, Ordering::Relaxed) != self.at {
            return;
        }
        for entry in std::fs::read_dir(&self.ids).unwrap() {
            let path = entry.unwrap().path();
            let mut bytes = std::fs::read(&path).unwrap();
            bytes.iter_mut().step_by(32).for_each(|byte| *byte ^= 1);
            std::fs::write(&path, &bytes).unwrap();
        }
    }
}

impl Source for Damaging<'_> {
    fn pool(&self) -> PoolId {
        self.pool.pool
    }

    async fn reach(&self, point: PointId) -> Result<RoaringTreemap, SourceError> {
        self.asked();
        self.pool.reach(point).await
    }

    async fn ids(&self, numbers: Vec<u64>) -> Result<Vec<(u64, ChunkId)>, SourceError> {
        self.asked();
        self.pool.ids(numbers).await
    }

    async fn frames(&self, numbers: Vec<u64>) -> Result<Vec<SourceFrame>, SourceError> {
        self.asked();
        self.pool.frames(numbers).await
    }
}

/// Every file is damaged in the middle of a shipment that writes several manifests.
#[test]
fn files_damaged_on_the_way_are_made_again() {
    let mut at = 0;
    loop {
        let store = MemoryStore::new();
        let (mut site, mut pool) = (Site::found(&store), Pool::new(POOL));
        pool.back_up(0, 60, 3);
        let order = pool.order();
        site.ship(&store, &pool, &order, 1).unwrap();
        for seed in 1..4 {
            pool.back_up(seed, 90, 3);
        }
        let mut order = pool.order();
        order.round_chunks = 64;
        let (ids, asked) = (site.dir.path().join("ids"), AtomicU64::new(0));
        let source = Damaging { pool: &pool, ids, asked, at };
        let (mut local, mut random) = (site.ids(), site.random(2));
        let opened = site.opened.clone();
        let shipped = now(ship(
            &store.kept(),
            &opened,
            &mut local,
            &source,
            &order,
            &InPlace,
            &mut random,
            &|_| {},
            &|| false,
        ))
        .unwrap();
        assert!(shipped.left_out.is_empty(), "at {at}");
        assert_eq!(check(&store, &site, &pool), all_points(&pool), "at {at}");
        let (count, _) = stored(&store, &site.master);
        assert!(count.values().all(|count| *count == 1), "at {at}");
        if source.asked.into_inner() <= at {
            break;
        }
        at += 1;
    }
    assert!(at > 10, "{at} questions");
}

/// The same over a directory.
#[test]
fn a_directory_is_a_vault() {
    let folder = tempfile::tempdir().unwrap();
    let store = DirectoryStore::open(folder.path()).unwrap();
    let (mut site, mut pool) = (Site::found(&store), Pool::new(POOL));
    for seed in 0..3 {
        pool.back_up(seed, 100, 3);
        let order = pool.order();
        site.ship(&store, &pool, &order, seed).unwrap();
        site.reopen(&store);
    }
    assert_eq!(check(&store, &site, &pool), all_points(&pool));
}

/// Two chunks whose ids begin alike are two chunks.
pub(crate) fn similar_ids() {
    let store = MemoryStore::new();
    let (mut site, mut pool) = (Site::found(&store), Pool::new(POOL));
    pool.back_up(0, 50, 3);
    let order = pool.order();
    site.ship(&store, &pool, &order, 1).unwrap();
    let mut other = Pool::new(PoolId([8; 16]));
    let point = other.back_up(1, 20, 3);
    // The pool's ids are made to begin as those that are there.
    let there: Vec<[u8; 32]> = pool.chunks.values().map(|(id, ..)| *id.as_bytes()).collect();
    for (at, (id, ..)) in other.chunks.values_mut().enumerate() {
        let mut bytes = there[at];
        bytes[31] ^= 1;
        *id = ChunkId::from_bytes(bytes);
    }
    assert_eq!(other.points.len(), 1);
    let order = other.order();
    let shipped = site.ship(&store, &other, &order, 2).unwrap();
    assert_eq!(shipped.known, 0);
    assert_eq!(check(&store, &site, &other), BTreeSet::from([point.point]));
}

#[test]
fn ids_are_compared_whole() {
    similar_ids();
}
