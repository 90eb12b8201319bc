//! Whole sessions over a pipe in memory, against a small server that keeps everything it is told and
//! believes nothing: it hashes every chunk and follows the rules of the windows.

mod frozen;
mod server;

use super::*;
use crate::backup::DataReads;
use crate::notes::Notes;
use crate::script::Scripts;
use crate::snapshot::Snapshots;
use crate::status::SharedStatus;
use keelhold_wire::{Codec, Mode, Runs};
use server::{Point, Server, Session};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

struct Bench {
    dir: tempfile::TempDir,
    surroundings: Arc<Surroundings>,
}

impl Bench {
    fn new() -> Self {
        Self::at(LATE)
    }

    fn at(secs: i64) -> Self {
        let dir = tempfile::tempdir_in(scratch()).unwrap();
        fs::create_dir(dir.path().join("tree")).unwrap();
        let context = Context {
            sources: dir.path().join("sources"),
            keep_out: Vec::new(),
            clock: Arc::new(Still(secs)),
            reads: DataReads::by_ring(),
            snapshots: Snapshots::new(true, Notes::new(&dir.path().join("snapshots"))),
            scripts: Scripts {
                directory: dir.path().join("scripts"),
                notes: Notes::new(&dir.path().join("owed")),
            },
        };
        let config = Config {
            restore_root: dir.path().join("restore"),
            restore_original: false,
            reconnect_max: crate::backoff::LONGEST,
            script_directory: dir.path().join("scripts"),
            snapshots: true,
            metered: None,
        };
        let surroundings = Surroundings {
            context,
            config,
            status: SharedStatus::new("test", "keelhold://test:1"),
            restore_command: Vec::new(),
        };
        Self { dir, surroundings: Arc::new(surroundings) }
    }

    fn tree(&self) -> PathBuf {
        self.dir.path().join("tree")
    }

    /// One connection on which `server` runs one session.
    async fn session(&self, server: &mut Server, session: Session) -> Result<Point, String> {
        let (ours, theirs) = tokio::io::duplex(64 << 10);
        let surroundings = self.surroundings.clone();
        let agent = tokio::spawn(async move {
            let (_asks, mut asked) = mpsc::channel(1);
            let (renewed, _) = mpsc::unbounded_channel();
            converse(ours, &surroundings, &mut asked, &mut mpsc::channel(1).1, renewed, |_| {})
                .await
        });
        let point = server.serve(theirs, &self.tree(), session).await;
        let ended = tokio::time::timeout(Duration::from_secs(20), agent).await;
        assert!(ended.is_ok(), "the agent ends with its connection");
        point
    }
}

/// A directory on a file system whose ctime tells, if there is one.
fn scratch() -> PathBuf {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    if target.is_dir() { target } else { std::env::temp_dir() }
}

/// Bytes that do not repeat, from a seed.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    })
    .flatten()
    .take(len)
    .collect()
}

fn plant(tree: &Path) {
    fs::create_dir_all(tree.join("docs/deep/er")).unwrap();
    fs::write(tree.join("docs/empty"), b"").unwrap();
    fs::write(tree.join("docs/tiny"), b"tiny").unwrap();
    for number in 0..300 {
        let text = format!("file {number}\n").repeat(number * 3);
        fs::write(tree.join(format!("docs/deep/{number:03}")), text).unwrap();
    }
    fs::write(tree.join("docs.txt"), noise(1, 300_000)).unwrap();
    fs::write(tree.join("large"), noise(2, 5 << 20)).unwrap();
    symlink("docs/tiny", tree.join("link")).unwrap();
    fs::hard_link(tree.join("docs/tiny"), tree.join("twin")).unwrap();
    let sparse = fs::File::create(tree.join("sparse")).unwrap();
    sparse.set_len(3 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, &noise(3, 70_000), 1 << 20).unwrap();
    let hole = fs::File::create(tree.join("small-hole")).unwrap();
    hole.set_len(2048).unwrap();
}

/// Compares what the server holds with the tree itself, read again by other means.
fn assert_equal(point: &Point, tree: &Path) {
    let mut expected = Vec::new();
    collect(tree, tree, &mut expected);
    expected.sort_by(|l, r| keelhold_chunk::entry::path_order(&l.0, &r.0));
    let found: Vec<_> =
        point.entries.iter().map(|entry| (entry.path.clone(), entry.content.clone())).collect();
    let names = |list: &[(Vec<u8>, Vec<u8>)]| -> Vec<String> {
        list.iter().map(|(path, _)| String::from_utf8_lossy(path).into_owned()).collect()
    };
    assert_eq!(names(&found), names(&expected));
    for (found, expected) in found.iter().zip(&expected) {
        assert!(found.1 == expected.1, "content of {}", String::from_utf8_lossy(&found.0));
    }
}

fn collect(root: &Path, dir: &Path, into: &mut Vec<(Vec<u8>, Vec<u8>)>) {
    use std::os::unix::ffi::OsStrExt;
    let path = |at: &Path| at.strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec();
    into.push((path(dir), Vec::new()));
    for found in fs::read_dir(dir).unwrap() {
        let at = found.unwrap().path();
        let kind = fs::symlink_metadata(&at).unwrap();
        if kind.is_dir() {
            collect(root, &at, into);
        } else {
            let content = if kind.is_file() { fs::read(&at).unwrap() } else { Vec::new() };
            into.push((path(&at), content));
        }
    }
}

/// A clock that stands still: what was written before it counts as old, and nothing else does.
#[derive(Debug)]
struct Still(i64);

impl crate::clock::Clock for Still {
    fn now(&self) -> keelhold_chunk::Timestamp {
        keelhold_chunk::Timestamp { secs: self.0, nanos: 0 }
    }

    fn chance(&self) -> u64 {
        0
    }
}

/// Later than any file a test writes, and earlier.
const LATE: i64 = 1 << 33;
const EARLY: i64 = 0;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tree_arrives_whole_and_unchanged_ones_cost_nothing() {
    let bench = Bench::new();
    plant(&bench.tree());
    let mut server = Server::new(Codec::Zstd);
    let first = bench.session(&mut server, Session::default()).await.unwrap();
    assert_equal(&first, &bench.tree());
    assert!(first.skipped.is_empty(), "{:?}", first.skipped);
    assert_eq!(first.stats.files, 307);
    assert_eq!(first.stats.entries, first.entries.len() as u64);

    let basis = Session { basis: Some(first.basis()), ..Session::default() };
    let second = bench.session(&mut server, basis).await.unwrap();
    assert_equal(&second, &bench.tree());
    if first.trusted_by_the_file_system {
        assert_eq!(second.stats.files_changed, 0);
        assert_eq!(second.stats.bytes_read, 0);
        assert_eq!(second.frame_count, 0);
        assert!(second.bytes_received < 400, "{}", second.bytes_received);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_is_sent_and_nothing_else() {
    let bench = Bench::new();
    plant(&bench.tree());
    let mut server = Server::new(Codec::Lz4);
    let first = bench.session(&mut server, Session::default()).await.unwrap();
    let basis = Session { basis: Some(first.basis()), ..Session::default() };
    fs::write(bench.tree().join("docs/deep/007"), b"another").unwrap();
    fs::remove_file(bench.tree().join("docs/deep/100")).unwrap();
    fs::remove_file(bench.tree().join("twin")).unwrap();
    fs::write(bench.tree().join("zzz"), noise(9, 1000)).unwrap();
    let second = bench.session(&mut server, basis).await.unwrap();
    assert_equal(&second, &bench.tree());
    if first.trusted_by_the_file_system {
        // Two files, and the one whose link count fell.
        assert_eq!(second.stats.files_changed, 3);
        assert_eq!(second.stats.bytes_read, 7 + 1000 + 4);
    }
    // The third session finds the state the second one wrote.
    let basis = Session { basis: Some(second.basis()), ..Session::default() };
    let third = bench.session(&mut server, basis).await.unwrap();
    assert_equal(&third, &bench.tree());
    if first.trusted_by_the_file_system {
        assert_eq!(third.stats.files_changed, 0);
    }
}

/// What was written in the same instant as it was read cannot be told unchanged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_young_is_read_again() {
    let bench = Bench::at(EARLY);
    plant(&bench.tree());
    let mut server = Server::new(Codec::Zstd);
    let first = bench.session(&mut server, Session::default()).await.unwrap();
    let basis = Session { basis: Some(first.basis()), ..Session::default() };
    let second = bench.session(&mut server, basis).await.unwrap();
    assert_equal(&second, &bench.tree());
    assert_eq!(second.stats.files_changed, second.stats.files);
    assert_eq!(second.stats.bytes_read, first.stats.bytes_read);
    assert_eq!(second.frame_count, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_server_lost_is_read_again() {
    let bench = Bench::new();
    plant(&bench.tree());
    let mut server = Server::new(Codec::Raw);
    let first = bench.session(&mut server, Session::default()).await.unwrap();
    server.chunks.clear();
    let read_again = first
        .entries
        .iter()
        .enumerate()
        .filter(|(_, entry)| !entry.content.is_empty())
        .map(|(ordinal, _)| ordinal as u64)
        .collect::<Runs>();
    let again = Session { basis: Some(first.basis()), read_again, ..Session::default() };
    let second = bench.session(&mut server, again).await.unwrap();
    assert_equal(&second, &bench.tree());
    assert!(!server.chunks.is_empty());
}

/// Inside their entries, small, and large: one reading each, however many names.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_with_several_names_are_read_once() {
    let bench = Bench::new();
    let tree = bench.tree();
    let mut len = 0;
    for (name, size) in [("inline", 300), ("small", 20_000), ("large", 9 << 20)] {
        fs::write(tree.join(name), noise(size as u64, size)).unwrap();
        for number in 0..4 {
            let dir = tree.join(format!("dir-{number}"));
            fs::create_dir_all(&dir).unwrap();
            fs::hard_link(tree.join(name), dir.join(name)).unwrap();
        }
        len += size as u64;
    }
    // A name outside of the source: its group is never complete.
    fs::hard_link(tree.join("small"), bench.dir.path().join("outside")).unwrap();
    let mut server = Server::new(Codec::Zstd);
    let first = bench.session(&mut server, Session::default()).await.unwrap();
    assert_equal(&first, &tree);
    assert_eq!((first.stats.bytes_read, first.stats.bytes_source), (len, 5 * len));
    let groups = first.entries.iter().filter_map(|entry| entry.attributes.link_group);
    assert_eq!(groups.clone().count(), 15);
    assert_eq!(groups.collect::<std::collections::HashSet<_>>().len(), 3);
    let check = Session { basis: Some(first.basis()), mode: Mode::Check, ..Session::default() };
    let second = bench.session(&mut server, check).await.unwrap();
    assert_equal(&second, &tree);
    assert_eq!((second.stats.bytes_read, second.stats.wrong_shortcuts), (len, 0));
    let basis = Session { basis: Some(second.basis()), ..Session::default() };
    let third = bench.session(&mut server, basis).await.unwrap();
    assert_equal(&third, &tree);
    if first.trusted_by_the_file_system {
        assert_eq!((third.stats.files_changed, third.stats.bytes_read), (0, 0));
    }
}

/// A connection may last longer than a certificate: it is renewed on the way.
#[tokio::test]
async fn a_renewal_that_comes_due_is_asked_for_and_its_answer_handed_over() {
    let bench = Bench::new();
    let (ours, theirs) = tokio::io::duplex(64 << 10);
    let (due, mut renewals) = mpsc::channel(1);
    let (renewed, mut certificates) = mpsc::unbounded_channel();
    let surroundings = bench.surroundings.clone();
    let agent = tokio::spawn(async move {
        let (_asks, mut asked) = mpsc::channel(1);
        converse(ours, &surroundings, &mut asked, &mut renewals, renewed, |_| {}).await
    });
    let (reader, writer) = tokio::io::split(theirs);
    let (mut receiver, mut sender) = (Receiver::new(reader), keelhold_wire::Sender::new(writer));
    let hello = receiver.receive::<FromAgent>().await.unwrap();
    assert!(matches!(hello, Some(FromAgent::Hello(_))));
    let (server_version, machine_name) = (String::from("1"), String::from("box"));
    let welcome = Welcome { version: 1, server_version, machine_name, now: 0 };
    sender.send(&FromServer::Welcome(welcome)).await.unwrap();
    sender.send(&FromServer::Ping(Ping { number: 3 })).await.unwrap();
    sender.flush().await.unwrap();
    let pong = receiver.receive::<FromAgent>().await.unwrap();
    assert_eq!(pong, Some(FromAgent::Pong(Pong { number: 3 })));
    due.send(vec![4; 100]).await.unwrap();
    let asked = receiver.receive::<FromAgent>().await.unwrap();
    assert_eq!(asked, Some(FromAgent::Renew(Renew { request: vec![4; 100] })));
    let certificate = vec![5; 200];
    let answer = keelhold_wire::Renewed { certificate: certificate.clone() };
    sender.send(&FromServer::Renewed(answer)).await.unwrap();
    sender.flush().await.unwrap();
    assert_eq!(certificates.recv().await, Some(certificate));
    sender.close().await.unwrap();
    agent.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_reads_everything_and_counts_wrong_shortcuts() {
    let bench = Bench::new();
    plant(&bench.tree());
    let mut server = Server::new(Codec::Zstd);
    let first = bench.session(&mut server, Session::default()).await.unwrap();
    let check = Session { basis: Some(first.basis()), mode: Mode::Check, ..Session::default() };
    let second = bench.session(&mut server, check).await.unwrap();
    assert_equal(&second, &bench.tree());
    assert_eq!(second.stats.wrong_shortcuts, 0);
    assert_eq!(second.stats.bytes_read, first.stats.bytes_read);
    assert_eq!(second.frame_count, 0);
}

/// The connection is cut after ever more bytes; every later session begins from the start and what
/// arrived is not sent again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_connection_costs_nothing_that_arrived() {
    let bench = Bench::new();
    plant(&bench.tree());
    let mut server = Server::new(Codec::Zstd);
    let mut cut_after = 100;
    let point = loop {
        let session = Session { cut_after: Some(cut_after), ..Session::default() };
        match bench.session(&mut server, session).await {
            Ok(point) => break point,
            Err(reason) => assert_eq!(reason, "cut"),
        }
        cut_after = cut_after * 3 / 2 + 1;
    };
    assert_equal(&point, &bench.tree());
    let whole = bench.session(&mut server, Session::default()).await.unwrap();
    assert_equal(&whole, &bench.tree());
    assert_eq!(whole.frame_count, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_protected_is_declined_with_a_reason() {
    let bench = Bench::new();
    fs::remove_dir(bench.tree()).unwrap();
    let mut server = Server::new(Codec::Zstd);
    let refused = bench.session(&mut server, Session::default()).await.unwrap_err();
    assert!(refused.contains("KH-E1020"), "{refused}");
    assert!(refused.contains("cannot be opened"), "{refused}");
}
