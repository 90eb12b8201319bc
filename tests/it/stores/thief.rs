//! Somebody has the uploader's credential, and does his worst. What is locked is read all the same.

use bytes::Bytes;
use keelhold_tests::cloud::{Action, Bucket, Habit, StrictS3};
use keelhold_vault::store::{Store, StoreError, StoreFault, Until, settle};

use super::{open, run};

const DAY: i64 = 86_400;
const OBJECTS: usize = 40;

fn name(number: usize) -> String {
    format!("d/0/{number:03}")
}

fn content(number: usize) -> Bytes {
    let mut bytes = vec![0; 1000 + number];
    blake3::Hasher::new().update(&number.to_le_bytes()).finalize_xof().fill(&mut bytes);
    Bytes::from(bytes)
}

/// Reads as every reader of the vault does: what does not prove itself is asked for once more.
async fn read(store: &impl Store, number: usize) -> Result<Bytes, StoreError> {
    let (name, wanted) = (name(number), content(number));
    let range = 0..wanted.len() as u64;
    match store.read(&name, range.clone()).await {
        Ok(found) if found == wanted => Ok(found),
        _ if store.recall(&name).await? => store.read(&name, range).await,
        answer => answer,
    }
}

/// What a thief can do with the server itself: nothing of it goes through our store.
fn vandalise(server: &StrictS3, may_mark: bool) {
    let now = server.now();
    let mut bucket = server.bucket();
    for number in 0..OBJECTS {
        let key = format!("one/{}", name(number));
        // Plain puts make new versions; he needs no more than the right to put.
        match number % 4 {
            0 => drop(bucket.put(&key, Bytes::from_static(b"garbage"), None, now)),
            1 => {
                for _ in 0..7 {
                    bucket
                        .put(&key, Bytes::from(vec![7; content(number).len()]), None, now)
                        .unwrap();
                }
            }
            2 if may_mark => bucket.delete(&key, None, false, now).unwrap(),
            2 => {}
            _ if may_mark => {
                bucket.put(&key, Bytes::from_static(b"garbage"), None, now).unwrap();
                bucket.delete(&key, None, false, now).unwrap();
                bucket.delete(&key, None, false, now).unwrap();
            }
            _ => {}
        }
        // What he would rather do is refused by the server.
        let first = bucket.keys[&key][0].id.clone();
        assert!(bucket.delete(&key, Some(&first), false, now).is_err());
    }
}

#[test]
fn a_thief_takes_nothing_that_is_locked() {
    for may_mark in [false, true] {
        let server = StrictS3::start(Bucket::new(true, true, Habit::Strict));
        server.set_page_max(17);
        let writer = open(&server, "uploader");
        let until = Some(Until(server.now() + 30 * DAY));
        for number in 0..OBJECTS {
            run(settle(&writer, &name(number), &content(number), until)).unwrap();
        }
        vandalise(&server, may_mark);
        // Who wrote, and who comes with nothing but the credential, read everything.
        for reader in [&writer, &open(&server, "uploader")] {
            for number in 0..OBJECTS {
                assert_eq!(run(read(reader, number)).unwrap(), content(number), "{number}");
                let len = run(reader.head(&name(number))).unwrap();
                assert_eq!(len, Some(content(number).len() as u64), "{number}");
                assert_eq!(run(reader.locked_until(&name(number))), Ok(until), "{number}");
            }
        }
        // Nothing is missing from listings, whatever lies on top, and lengths are those of ours.
        let reader = open(&server, "uploader");
        let (mut names, mut after) = (Vec::new(), String::new());
        loop {
            let page = run(reader.list("d/", &after, 9)).unwrap();
            names.extend(page.entries.iter().map(|entry| (entry.name.clone(), entry.len)));
            after = names.last().unwrap().0.clone();
            if !page.has_more {
                break;
            }
        }
        let all: Vec<_> =
            (0..OBJECTS).map(|number| (name(number), content(number).len() as u64)).collect();
        assert_eq!(names, all);
        // Locks are extended on ours, not on what lies on top of it.
        let longer = Until(server.now() + 60 * DAY);
        for number in 0..OBJECTS {
            run(reader.extend(&name(number), longer)).unwrap();
            assert_eq!(run(reader.locked_until(&name(number))), Ok(Some(longer)));
        }
    }
}

/// With the credential itself, over the network.
#[test]
fn the_uploaders_credential_deletes_and_shortens_nothing() {
    let server = StrictS3::start(Bucket::new(true, true, Habit::Strict));
    let store = open(&server, "uploader");
    let until = Until(server.now() + 30 * DAY);
    for number in 0..4 {
        run(store.create(&name(number), content(number), Some(until))).unwrap();
        let deleted = run(store.delete(&name(number))).map_err(|error| error.fault);
        assert_eq!(deleted, Err(StoreFault::Refused));
        run(store.extend(&name(number), Until(server.now() + DAY))).unwrap();
        assert_eq!(run(store.locked_until(&name(number))), Ok(Some(until)));
        assert_eq!(run(store.read(&name(number), 0..1000)).unwrap(), content(number)[..1000]);
    }
    assert!(!keelhold_tests::cloud::UPLOADER.contains(&Action::DeleteObjectVersion));
}

/// The prune credential cleans up behind a thief when the locks have ended: versions and markers.
#[test]
fn deleting_deletes_all_versions() {
    let server = StrictS3::start(Bucket::new(true, false, Habit::Strict));
    let store = open(&server, "prune");
    run(store.create("d/0/001", content(1), None)).unwrap();
    {
        let (mut bucket, now) = (server.bucket(), server.now());
        bucket.put("one/d/0/001", Bytes::from_static(b"garbage"), None, now).unwrap();
        bucket.delete("one/d/0/001", None, false, now).unwrap();
        // A neighbour whose name begins alike is none of it.
        bucket.put("one/d/0/0011", Bytes::from_static(b"stays"), None, now).unwrap();
    }
    run(store.delete("d/0/001")).unwrap();
    let left: Vec<String> = server.bucket().keys.keys().cloned().collect();
    assert_eq!(left, ["one/d/0/0011"]);
    assert_eq!(run(store.head("d/0/001")), Ok(None));
}
