//! Whole restores over a pipe in memory.

use super::*;
use bytes::Bytes;
use keelhold_chunk::{Attributes, IdKey, Kind, Timestamp};
use keelhold_wire::{
    Codec, Content, Extent, Frame, Item, Items, ItemsEnd, OnClash, Restored, Runs,
};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use tokio::io::DuplexStream;

const KEY: [u8; 32] = [4; 32];

fn attributes(kind: Kind) -> Vec<u8> {
    let uid = rustix::process::geteuid().as_raw();
    let gid = rustix::process::getegid().as_raw();
    let mtime = Timestamp { secs: 1_000_000_000, nanos: 5 };
    let mode = if kind == Kind::Directory { 0o755 } else { 0o640 };
    Attributes { kind, mode, uid, gid, mtime, link_group: None, xattrs: Vec::new() }.to_bytes()
}

fn entry(path: &str, kind: Kind, content: Content) -> Item {
    Item::Entry { path: path.as_bytes().to_vec(), attributes: attributes(kind), content }
}

fn chunk(number: u8) -> Vec<u8> {
    vec![number; 5_000]
}

fn extent(number: u8) -> Extent {
    Extent::Chunk { id: IdKey::new(KEY).id(&chunk(number)), len: 5_000 }
}

/// A tree with every way content can come; the large file continues behind its first item.
fn items() -> Vec<Item> {
    let size = 5_000 * 3 + 100_000;
    let begun = vec![extent(0), Extent::Hole { len: 100_000 }];
    vec![
        entry("", Kind::Directory, Content::None),
        entry("a", Kind::Directory, Content::None),
        entry("a/empty", Kind::File { size: 0 }, Content::None),
        entry("a/inline", Kind::File { size: 5 }, Content::Inline(b"hello".to_vec())),
        entry("a/large", Kind::File { size }, Content::Extents(begun)),
        Item::EntryMore { extents: vec![extent(1), extent(0)] },
        entry("link", Kind::Symlink { target: b"a/inline".to_vec() }, Content::None),
    ]
}

struct Served {
    last: FromAgent,
    wanted: Vec<u64>,
}

/// Sends the items, answers wants with `send`, and returns what the restore said last.
async fn serve(stream: DuplexStream, items: Vec<Item>, send: fn(u64) -> Vec<u8>) -> Served {
    let (reader, writer) = tokio::io::split(stream);
    let (mut receiver, mut sender) = (Receiver::new(reader), Sender::new(writer));
    let entries = items.iter().filter(|item| matches!(item, Item::Entry { .. })).count() as u64;
    let items = FromServer::Items(Items { job: 1, seq: 1, items });
    let end = FromServer::ItemsEnd(ItemsEnd { job: 1, entries });
    // A restore that has ended no longer reads; its last word is on its way and says why.
    let _ = sender.send(&items).await;
    let _ = sender.send(&end).await;
    let mut wanted = Vec::new();
    loop {
        match receiver.receive::<FromAgent>().await.unwrap().unwrap() {
            FromAgent::Want(want) => {
                for reference in want.wanted.iter() {
                    wanted.push(reference);
                    let stored = Bytes::from(send(reference));
                    let refs = [reference].into_iter().collect::<Runs>();
                    let plain_len = stored.len() as u32;
                    let frame = Frame { job: 1, codec: Codec::Raw, plain_len, refs, stored };
                    let _ = sender.send(&FromServer::Frame(frame)).await;
                }
            }
            last @ (FromAgent::Restored(_) | FromAgent::Aborted(_)) => {
                return Served { last, wanted };
            }
            _ => {}
        }
    }
}

async fn run(root: &Path, items: Vec<Item>, send: fn(u64) -> Vec<u8>) -> Served {
    let (ours, theirs) = tokio::io::duplex(1 << 20);
    let place = Place::Beneath { root: root.to_owned(), path: b"back".to_vec() };
    let (target, on_clash) = (b"back".to_vec(), OnClash::Overwrite);
    let start = StartRestore { job: 1, target, original: false, on_clash, id_key: KEY };
    let restoring = tokio::spawn(async move {
        let (reader, writer) = tokio::io::split(ours);
        let (mut receiver, mut sender) = (Receiver::new(reader), Sender::new(writer));
        let order = Order { place };
        if let Err(error) = restore(&order, start, &mut receiver, &mut sender).await {
            let refusal = JobRefusal { job: 1, refusal: Failure::from(error).into() };
            super::send(&mut sender, &FromAgent::Aborted(refusal)).await.unwrap();
        }
    });
    let served = serve(theirs, items, send).await;
    restoring.await.unwrap();
    served
}

fn right(reference: u64) -> Vec<u8> {
    chunk([0, 1, 0][reference as usize])
}

fn restored(served: Served) -> Restored {
    match served.last {
        FromAgent::Restored(restored) => restored,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tree_is_written_and_then_only_its_differences() {
    let dir = tempfile::tempdir().unwrap();
    let first = restored(run(dir.path(), items(), right).await);
    assert_eq!((first.stats.entries, first.stats.failed), (6, 0), "{:?}", first.failed);
    assert_eq!(first.stats.bytes_written, 3 * 5_000 + 5);
    let back = dir.path().join("back");
    assert_eq!(fs::read(back.join("link")).unwrap(), b"hello");
    assert!(fs::read(back.join("a/empty")).unwrap().is_empty());
    let large = [chunk(0), vec![0; 100_000], chunk(1), chunk(0)].concat();
    assert!(fs::read(back.join("a/large")).unwrap() == large);
    let stat = fs::metadata(back.join("a/large")).unwrap();
    assert_eq!((stat.mtime(), stat.mtime_nsec(), stat.mode() & 0o777), (1_000_000_000, 5, 0o640));
    assert_eq!(fs::metadata(&back).unwrap().mtime(), 1_000_000_000);

    // One chunk is spoilt: it alone comes again.
    let file = fs::OpenOptions::new().write(true).open(back.join("a/large")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"spoilt", 105_500).unwrap();
    let served = run(dir.path(), items(), right).await;
    assert_eq!(served.wanted, [1]);
    let second = restored(served);
    assert_eq!((second.stats.bytes_kept, second.stats.failed), (10_000, 0));
    assert!(fs::read(back.join("a/large")).unwrap() == large);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_are_not_the_chunk_are_never_written() {
    let dir = tempfile::tempdir().unwrap();
    let served = run(dir.path(), items(), |_| vec![9; 5_000]).await;
    let FromAgent::Aborted(aborted) = served.last else { panic!("{:?}", served.last) };
    assert_eq!(aborted.refusal.code, Code::ProtocolBroken.number());
    let large = fs::read(dir.path().join("back/a/large")).unwrap_or_default();
    assert!(!large.contains(&9));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn items_that_make_no_tree_end_the_restore() {
    let more = || Item::EntryMore { extents: vec![extent(0)] };
    let long = Content::Extents(vec![extent(0), extent(1)]);
    for bad in [
        vec![more()],
        vec![Item::Same { first: 0, count: 1 }],
        vec![Item::EntryClose { attributes: Vec::new() }],
        vec![entry("x", Kind::File { size: 9 }, Content::Inline(b"short".to_vec()))],
        vec![entry("x", Kind::File { size: 5_001 }, long)],
        vec![Item::Entry { path: b"x".to_vec(), attributes: vec![0xff], content: Content::None }],
    ] {
        let dir = tempfile::tempdir().unwrap();
        let served = run(dir.path(), bad.clone(), right).await;
        assert!(matches!(served.last, FromAgent::Aborted(_)), "{bad:?}");
    }
}
