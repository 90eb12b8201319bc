use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::FutureExt;

use super::conformance::unmet;
use super::lying::{Lie, LyingStore, Outage};
use super::*;
use crate::random::seeded;

/// None of these stores ever waits.
fn now<T>(work: impl Future<Output = T>) -> T {
    work.now_or_never().expect("these stores answer at once")
}

#[test]
fn every_store_does_what_is_asked_of_it() {
    assert!(now(unmet(&MemoryStore::new())).is_empty());
    assert!(now(unmet(&Checked::new(MemoryStore::new()))).is_empty());
    let folder = tempfile::tempdir().unwrap();
    let unmet_here = now(unmet(&DirectoryStore::open(folder.path()).unwrap()));
    assert!(unmet_here.is_empty(), "{unmet_here:?}");
    let folder = tempfile::tempdir().unwrap();
    let checked = Checked::new(DirectoryStore::open(folder.path()).unwrap());
    assert!(now(unmet(&checked)).is_empty());
    assert!(now(unmet(&LyingStore::new(None, Outage::Never))).is_empty());
}

/// The suite has teeth: of every lie it says which requirement is not met.
#[test]
fn the_suite_finds_every_lie() {
    let expected = |lie| match lie {
        Lie::IgnoresCondition | Lie::OverwritesAndSaysExists | Lie::SaysMade => "creates only",
        Lie::CutsObjects => "creates",
        Lie::ShortReads | Lie::FlipsBits => "reads ranges",
        Lie::LenientRanges => "refuses ranges beyond the end",
        Lie::ForgetsHeads => "knows lengths",
        Lie::StaleListing => "lists what was just created",
        Lie::UnsortedListing | Lie::IgnoresFolder | Lie::IgnoresLimit => "lists in order",
        Lie::IgnoresAfter | Lie::EndsEarly | Lie::NeverEnds => "lists page by page",
        Lie::KeepsDeleted => "deletes",
    };
    for lie in Lie::ALL {
        let found = now(unmet(&LyingStore::new(Some(lie), Outage::Never)));
        assert!(found.contains(&expected(lie)), "{lie:?}: {found:?}");
    }
}

/// Answers that cannot be never reach who asked.
#[test]
fn impossible_answers_are_refused() {
    let fill = |lie| {
        let store = Checked::new(LyingStore::new(Some(lie), Outage::Never));
        for name in ["k/1", "k/2", "k/3", "l/1", "a/1"] {
            store.inner().inner.put(name, Bytes::from_static(b"12345"));
        }
        store
    };
    let short = now(fill(Lie::ShortReads).read("k/1", 0..5)).unwrap_err();
    assert_eq!(short.fault, StoreFault::Short { expected: 5, found: 4 });
    assert!(short.is_passing());
    let lenient = now(fill(Lie::LenientRanges).read("k/1", 0..6)).unwrap_err();
    assert_eq!(lenient.fault, StoreFault::Short { expected: 6, found: 5 });
    let listed = |lie, limit| match now(fill(lie).list("k/", "k/1", limit)) {
        Err(StoreError { fault: StoreFault::Listing { what }, .. }) => what,
        other => panic!("{lie:?}: {other:?}"),
    };
    assert_eq!(listed(Lie::UnsortedListing, 9), "names out of order, or twice");
    assert_eq!(listed(Lie::IgnoresAfter, 9), "names that were not asked for");
    assert_eq!(listed(Lie::IgnoresFolder, 9), "names that were not asked for");
    assert_eq!(listed(Lie::IgnoresLimit, 1), "more names than were asked for");
    assert_eq!(listed(Lie::NeverEnds, 9), "no names, and yet more");
}

#[test]
fn the_probe_finds_out_what_creating_means() {
    let probed = |lie| now(probe(&LyingStore::new(lie, Outage::Never), &mut seeded(1))).unwrap();
    assert_eq!(probed(None), Probed { creates_only: true, lists_at_once: true });
    for lie in [Lie::IgnoresCondition, Lie::OverwritesAndSaysExists, Lie::SaysMade] {
        assert!(!probed(Some(lie)).creates_only, "{lie:?}");
    }
    assert!(!probed(Some(Lie::StaleListing)).lists_at_once);
    let folder = tempfile::tempdir().unwrap();
    let store = DirectoryStore::open(folder.path()).unwrap();
    for seed in 0..20 {
        let probed = now(probe(&store, &mut seeded(seed))).unwrap();
        assert_eq!(probed, Probed { creates_only: true, lists_at_once: true }, "seed {seed}");
    }
}

/// However answers are lost, what is there in the end is ours exactly once, or somebody else's.
#[test]
fn a_lost_answer_is_settled_by_looking() {
    let bytes = Bytes::from_static(b"manifest");
    for every in 1..=5 {
        for outage in [Outage::Before { every }, Outage::After { every }] {
            // The worst one fails always: then there is no answer, and still nothing wrong.
            let store = LyingStore::new(None, outage);
            let mut answer = now(settle(&store, "m/1", &bytes, None));
            for _ in 0..20 {
                match &answer {
                    Err(error) => assert!(error.is_passing()),
                    Ok(_) => break,
                }
                answer = now(settle(&store, "m/1", &bytes, None));
            }
            assert!(store.requests() <= 60);
            if every > 1 {
                assert_eq!(answer, Ok(Settled::Ours), "{outage:?}");
            }
            let found = now(store.inner.read("m/1", 0..8));
            assert!(found.is_ok_and(|found| found == bytes) || every == 1, "{outage:?}");
        }
    }
    let store = MemoryStore::new();
    for theirs in ["manifezt", "another manifest"] {
        store.put("m/1", Bytes::from_static(theirs.as_bytes()));
        assert_eq!(now(settle(&store, "m/1", &bytes, None)), Ok(Settled::Theirs));
        let len = theirs.len() as u64;
        assert_eq!(now(store.read("m/1", 0..len)).unwrap(), theirs.as_bytes());
    }
}

/// Of many who create one name at a time exactly one is told that he did, and his bytes are there.
#[test]
fn one_of_many_creates() {
    let folder = tempfile::tempdir().unwrap();
    // As two processes would: each has opened the directory by itself.
    let stores = [(); 2].map(|()| DirectoryStore::open(folder.path()).unwrap());
    for round in 0..50 {
        let name = format!("m/{round}");
        let (winners, winner) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for writer in 0..8 {
                let (stores, name, winners, winner) = (&stores, &name, &winners, &winner);
                scope.spawn(move || {
                    let bytes = Bytes::from(vec![writer as u8; 5000]);
                    if now(stores[writer % 2].create(name, bytes, None)).unwrap() == Created::Made {
                        winners.fetch_add(1, Ordering::SeqCst);
                        winner.store(writer, Ordering::SeqCst);
                    }
                });
            }
        });
        assert_eq!(winners.into_inner(), 1, "round {round}");
        let found = now(stores[0].read(&name, 0..5000)).unwrap();
        assert_eq!(found, vec![winner.into_inner() as u8; 5000]);
    }
    assert_eq!(std::fs::read_dir(folder.path().join(".partial")).unwrap().count(), 0);
}

/// What a writer left that was killed is removed; what one is writing is not.
#[test]
fn half_written_files_are_swept() {
    let folder = tempfile::tempdir().unwrap();
    let store = DirectoryStore::open(folder.path()).unwrap();
    let partial = folder.path().join(".partial");
    std::fs::write(partial.join("1.0"), b"half of an obj").unwrap();
    let busy = std::fs::File::create(partial.join("2.0")).unwrap();
    busy.lock().unwrap();
    assert_eq!(now(store.list("", "", 10)).unwrap(), Listing::default());
    DirectoryStore::open(folder.path()).unwrap();
    assert!(!partial.join("1.0").exists() && partial.join("2.0").exists());
}

/// Who may write into the directory cannot lead us out of it.
#[test]
fn links_lead_nowhere() {
    let (folder, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::write(outside.path().join("secret"), b"secret").unwrap();
    let store = DirectoryStore::open(folder.path()).unwrap();
    symlink(outside.path(), folder.path().join("a")).unwrap();
    symlink(outside.path().join("secret"), folder.path().join("b")).unwrap();
    std::fs::create_dir(folder.path().join("c")).unwrap();
    let refused = |fault| fault == StoreFault::Refused;
    let fault = |error: StoreError| error.fault;
    assert!(refused(now(store.read("a/secret", 0..1)).map_err(fault).unwrap_err()));
    assert!(refused(now(store.read("b", 0..1)).map_err(fault).unwrap_err()));
    assert!(refused(now(store.head("c")).map_err(fault).unwrap_err()));
    assert!(refused(now(store.create("a/new", Bytes::new(), None)).map_err(fault).unwrap_err()));
    assert_eq!(now(store.create("b", Bytes::new(), None)), Ok(Created::Exists));
    assert!(refused(now(store.delete("a/secret")).map_err(fault).unwrap_err()));
    assert_eq!(now(store.list("", "", 10)).unwrap(), Listing::default());
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1);
    let missing = DirectoryStore::open(&folder.path().join("none")).unwrap_err();
    assert_eq!(missing.fault, StoreFault::NotFound);
}

/// Lets a thousand bytes go at a time, after a look at what was written so far; stops for ever after so
/// many.
#[derive(Debug)]
struct Watching {
    partial: std::path::PathBuf,
    let_go: AtomicUsize,
    upto: usize,
}

impl Pace for Watching {
    fn take(&self, most: u64) -> futures_util::future::BoxFuture<'_, u64> {
        let entries = std::fs::read_dir(&self.partial).unwrap();
        let written: u64 = entries.map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
        assert_eq!(written as usize, self.let_go.load(Ordering::Relaxed), "no byte goes early");
        if written as usize >= self.upto {
            return Box::pin(std::future::pending());
        }
        let part = most.min(1000);
        self.let_go.fetch_add(part as usize, Ordering::Relaxed);
        Box::pin(std::future::ready(part))
    }
}

/// Every byte waits for the pace; who gives up in the middle leaves nothing.
#[test]
fn a_directory_is_written_as_its_pace_allows() {
    let folder = tempfile::tempdir().unwrap();
    let partial = folder.path().join(".partial");
    let bytes = Bytes::from((0..150_500_u32).map(|at| (at >> 3) as u8).collect::<Vec<_>>());
    for (upto, is_whole) in [(usize::MAX, true), (70_000, false)] {
        let pace =
            Arc::new(Watching { partial: partial.clone(), let_go: AtomicUsize::new(0), upto });
        let store = DirectoryStore::open(folder.path()).unwrap();
        let store = store.with_pace(Arc::<Watching>::clone(&pace));
        let name = if is_whole { "d/1" } else { "d/2" };
        let created = store.create(name, bytes.clone(), None).now_or_never();
        assert_eq!(created, is_whole.then_some(Ok(Created::Made)));
        assert_eq!(std::fs::read_dir(&partial).unwrap().count(), 0);
        assert_eq!(now(store.head(name)).unwrap(), is_whole.then_some(bytes.len() as u64));
        let let_go = pace.let_go.load(Ordering::Relaxed);
        assert_eq!(let_go, if is_whole { bytes.len() } else { 70_000 });
        if is_whole {
            assert_eq!(now(store.read(name, 0..bytes.len() as u64)).unwrap(), bytes);
            // What is there is not written again, and costs nothing.
            let again = store.create(name, bytes.clone(), None).now_or_never();
            assert_eq!(again, Some(Ok(Created::Exists)));
            assert_eq!(pace.let_go.load(Ordering::Relaxed), let_go);
        }
    }
}
