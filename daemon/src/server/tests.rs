//! Sessions against a real pool, with a script in the place of the agent. An agent that lies gets its
//! session ended with a clear refusal, leaves no point and no session behind, and the next honest one
//! works.

mod month;
mod time;
mod vaults;

use super::budget::Inlet;
use super::outbox::Outbox;
use super::session::{self, End, Task};
use crate::api::types::Outcome;
use crate::clock::{SharedClock, SystemClock};
use crate::daemon::Daemon;
use crate::disks::KnownDisks;
use crate::failure::Code;
use crate::job::JobId;
use crate::pool_open::{Bench, DiskSpec, PoolSizes, on_bench, start};
use crate::record::{
    MachineRecord, MachineState, SourceKind, SourceRecord, machine_key, source_key,
};
use crate::settings::Settings;
use crate::state_dir::{DiskPath, DiskPaths, StateDir};
use bytes::Bytes;
use keelhold_chunk::{Attributes, IdKey, Kind, Timestamp};
use keelhold_disk::pool::INDEX_BUDGET;
use keelhold_wire::header::{HEADER_LEN, Header};
use keelhold_wire::limits::BODY_LEN_MAX;
use keelhold_wire::{
    BackupStats, Codec, Content, Extent, Finish, Frame, FromAgent, FromServer, Item, Items,
    Message as _, Restored, StartBackup, Started, Want,
};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};

/// A daemon over a pool of its own, without network.
struct House {
    daemon: Arc<Daemon>,
    dir: PathBuf,
    stop: watch::Sender<bool>,
}

impl Drop for House {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

async fn house(name: &str) -> House {
    house_by(name, Arc::new(SystemClock)).await
}

async fn house_by(name: &str, clock: SharedClock) -> House {
    let dir = std::env::temp_dir().join(format!("keelhold-house-{}-{name}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    let disk = DiskSpec { path: dir.join("disk"), create_len: Some(128 << 20) };
    let (of_pool, specs) = (Arc::clone(&clock), vec![disk.clone()]);
    let make = move || {
        on_bench(1, None, async |bench: Bench| {
            bench.create(&specs, keelhold_disk::pool::CreateOptions::default(), &of_pool).await
        })
    };
    let (pool, found) = tokio::task::spawn_blocking(make).await.unwrap().unwrap();
    let (pool, path) = (pool.to_string(), disk.path);
    let known = found.iter().map(|found| DiskPath { id: found.id.to_string(), path: path.clone() });
    let disks = DiskPaths { pool, disks: known.collect(), joining: None };
    let state = StateDir::new(dir.clone());
    let sizes = PoolSizes { workers: 1, index_budget: INDEX_BUDGET };
    let pool = start(disks.clone(), sizes, None, Arc::clone(&clock)).await.unwrap();
    let (stop, stopping) = watch::channel(false);
    let url = String::from("keelhold://nowhere:1");
    let daemon = Daemon::open(
        pool.handle,
        clock,
        KnownDisks::new(state, disks),
        url,
        Settings::default(),
        stopping,
    )
    .await
    .unwrap();
    for number in [b'a', b'b'] {
        let id = crate::id_text::encode(&[number; 16]);
        let machine = MachineRecord {
            id: id.clone(),
            name: format!("machine-{}", char::from(number)),
            state: MachineState::Active,
            key: None,
            denied_keys: Vec::new(),
            version: None,
            last_seen: None,
            quota_bytes: None,
        };
        let mut change = daemon.store.change().await;
        change.put(machine_key(&id), &machine).unwrap();
        change.put(source_key(&id), &source(number)).unwrap();
        change.commit().await.unwrap();
    }
    House { daemon: Arc::new(daemon), dir, stop }
}

fn source(number: u8) -> SourceRecord {
    let id = crate::id_text::encode(&[number; 16]);
    let kind = SourceKind::Tree {
        root_hex: String::from("2f"),
        exclude: Vec::new(),
        all_file_systems: false,
        default_excludes: true,
    };
    SourceRecord {
        machine: id.clone(),
        id,
        name: String::from("tree"),
        kind,
        removed: false,
        stopped: None,
        kept_before: None,
    }
}

/// What the session sends, opened.
struct Messages(mpsc::Receiver<Vec<u8>>);

impl Messages {
    async fn recv(&mut self) -> Option<FromServer> {
        let bytes = self.0.recv().await?;
        let (head, body) = bytes.split_first_chunk::<HEADER_LEN>().unwrap();
        let header = Header::open(*head, BODY_LEN_MAX).unwrap();
        Some(FromServer::from_body(header.kind, &Bytes::copy_from_slice(body)).unwrap())
    }
}

/// One session with its script.
struct Talk {
    inlet: Option<Inlet>,
    messages: Messages,
    start: StartBackup,
    job: JobId,
    end: tokio::task::JoinHandle<End>,
}

impl House {
    async fn talk(&self, number: u8) -> Talk {
        let source = source(number);
        let machine = source.machine.clone();
        let name = String::from("machine/tree");
        let accepted = self.daemon.jobs.accept_backup(
            &machine,
            &source.id,
            name,
            crate::job::Order::default(),
            || Ok(()),
        );
        let job = accepted.await.unwrap().job;
        assert!(self.daemon.jobs.take(job));
        let (inlet, mut arrivals) = Inlet::new();
        let (outbox, messages) = Outbox::new();
        let mut messages = Messages(messages);
        let (daemon, mut stopping) = (Arc::clone(&self.daemon), self.stop.subscribe());
        let task = Task {
            job,
            source,
            order: crate::job::Order::default(),
            name: String::from("machine/tree"),
            quota_left: None,
            terms: super::Terms::default(),
        };
        let end = tokio::spawn(async move {
            let end = session::run(&daemon, &task, &outbox, &mut arrivals, &mut stopping).await;
            match &end {
                End::Parked | End::NoRoom { .. } => daemon.jobs.park(job),
                End::Over { outcome, .. } => {
                    daemon.jobs.finish(job, *outcome, None, None, None).await.unwrap();
                }
            }
            end
        });
        let Some(FromServer::StartBackup(start)) = messages.recv().await else {
            panic!("a session begins with its order");
        };
        Talk { inlet: Some(inlet), messages, start, job, end }
    }

    async fn points(&self) -> usize {
        self.daemon.points().await.unwrap().len()
    }

    async fn sessions(&self) -> usize {
        self.daemon.store.pool.call(|pool| async move { pool.sessions().len() }).await.unwrap()
    }
}

impl Talk {
    fn say(&self, message: FromAgent) {
        let len = message.to_bytes().len() as u64;
        self.inlet.as_ref().unwrap().take(message, len).unwrap();
    }

    fn begin(&self) {
        self.say(FromAgent::Started(Started { job: self.job }));
    }

    fn items(&self, seq: u64, items: Vec<Item>) {
        self.say(FromAgent::Items(Items { job: self.job, seq, items }));
    }

    fn frame(&self, refs: &[u64], plain_len: u32, codec: Codec, stored: Vec<u8>) {
        let refs = refs.iter().copied().collect();
        let stored = stored.into();
        self.say(FromAgent::Frame(Frame { job: self.job, codec, plain_len, refs, stored }));
    }

    fn finish(&self) {
        let stats = BackupStats { files: 1, ..BackupStats::default() };
        self.say(FromAgent::Finish(Finish {
            job: self.job,
            stats,
            reached: keelhold_wire::Reached::default(),
        }));
    }

    fn chunk(&self, bytes: &[u8]) -> Extent {
        let key = IdKey::new(self.start.id_key);
        Extent::Chunk { id: key.id(bytes), len: bytes.len() as u32 }
    }

    async fn want(&mut self) -> Want {
        loop {
            match self.messages.recv().await {
                Some(FromServer::Want(want)) => return want,
                Some(_) => {}
                None => panic!("the session ended instead of answering"),
            }
        }
    }
}

fn attributes(kind: Kind) -> Vec<u8> {
    let mtime = Timestamp { secs: 5, nanos: 6 };
    let (mode, uid, gid) = (0o755, 1, 1);
    Attributes { kind, mode, uid, gid, mtime, link_group: None, xattrs: Vec::new() }.to_bytes()
}

fn root() -> Item {
    let attributes = attributes(Kind::Directory);
    Item::Entry { path: Vec::new(), attributes, content: Content::None }
}

fn file(path: &[u8], size: u64, content: Content) -> Item {
    Item::Entry { path: path.to_vec(), attributes: attributes(Kind::File { size }), content }
}

const DATA: &[u8] = b"bytes of a file that somebody wants to keep";

fn honest(talk: &Talk) {
    talk.begin();
    let extents = vec![talk.chunk(DATA)];
    let len = DATA.len() as u64;
    talk.items(1, vec![root(), file(b"a", len, Content::Extents(extents))]);
    talk.frame(&[0], DATA.len() as u32, Codec::Raw, DATA.to_vec());
    talk.finish();
}

fn result(end: End) -> (Outcome, Option<Code>) {
    match end {
        End::Over { outcome, failure, .. } => (outcome, failure.map(|failure| failure.code)),
        End::Parked | End::NoRoom { .. } => panic!("the session was parked"),
    }
}

type Attack = (&'static str, fn(&Talk));

/// Offers a file of [`DATA`], so that reference 0 is wanted.
fn offer(talk: &Talk) {
    talk.begin();
    let extents = vec![talk.chunk(DATA)];
    let len = DATA.len() as u64;
    talk.items(1, vec![root(), file(b"a", len, Content::Extents(extents))]);
}

fn tree(talk: &Talk, items: Vec<Item>) {
    talk.begin();
    talk.items(1, items);
    talk.finish();
}

const LEN: u32 = DATA.len() as u32;

const FRAME_ATTACKS: &[Attack] = &[
    ("bytes that are not the chunk", |talk| {
        offer(talk);
        talk.frame(&[0], LEN, Codec::Raw, vec![7; DATA.len()]);
    }),
    ("a reference never made", |talk| {
        offer(talk);
        talk.frame(&[1], LEN, Codec::Raw, DATA.to_vec());
    }),
    ("a chunk sent twice", |talk| {
        offer(talk);
        talk.frame(&[0], LEN, Codec::Raw, DATA.to_vec());
        talk.frame(&[0], LEN, Codec::Raw, DATA.to_vec());
    }),
    ("a plain length that is not that of the chunks", |talk| {
        offer(talk);
        talk.frame(&[0], LEN + 1, Codec::Raw, DATA.to_vec());
    }),
    ("fewer bytes than announced", |talk| {
        offer(talk);
        talk.frame(&[0], LEN, Codec::Raw, DATA[1..].to_vec());
    }),
    ("garbage said to be zstd", |talk| {
        offer(talk);
        talk.frame(&[0], LEN, Codec::Zstd, vec![0xaa; 30]);
    }),
    ("garbage said to be lz4", |talk| {
        offer(talk);
        talk.frame(&[0], LEN, Codec::Lz4, vec![0xff; 30]);
    }),
    ("a chunk under another length", |talk| {
        talk.begin();
        let Extent::Chunk { id, .. } = talk.chunk(DATA) else { return };
        let extents = vec![Extent::Chunk { id, len: LEN + 1 }];
        talk.items(1, vec![root(), file(b"a", u64::from(LEN) + 1, Content::Extents(extents))]);
        talk.frame(&[0], LEN + 1, Codec::Raw, [DATA, b"x"].concat());
    }),
    ("an end before what was wanted came", |talk| {
        offer(talk);
        talk.finish();
    }),
];

const STREAM_ATTACKS: &[Attack] = &[
    ("items before the start", |talk| talk.items(1, vec![root()])),
    ("a gap in the sequence", |talk| {
        talk.begin();
        talk.items(2, vec![root()]);
    }),
    ("a piece of no entry", |talk| {
        tree(talk, vec![root(), Item::EntryMore { extents: Vec::new() }]);
    }),
    ("an end of no entry", |talk| {
        let attributes = attributes(Kind::File { size: 0 });
        tree(talk, vec![root(), Item::EntryClose { attributes }]);
    }),
    ("an entry in an entry", |talk| {
        let open = || Item::EntryOpen { path: b"a".to_vec() };
        tree(talk, vec![root(), open(), open()]);
    }),
    ("an end inside an entry", |talk| {
        tree(talk, vec![root(), Item::EntryOpen { path: b"a".to_vec() }]);
    }),
    ("a message of another kind of job", |talk| {
        talk.begin();
        let stats = keelhold_wire::RestoreStats::default();
        let (skipped, failed) = (Vec::new(), Vec::new());
        talk.say(FromAgent::Restored(Restored { job: talk.job, stats, skipped, failed }));
    }),
];

const TREE_ATTACKS: &[Attack] = &[
    ("no root", |talk| tree(talk, vec![file(b"a", 0, Content::None)])),
    ("no entries at all", |talk| tree(talk, Vec::new())),
    ("paths out of order", |talk| {
        let file = |path: &[u8]| file(path, 0, Content::None);
        tree(talk, vec![root(), file(b"b"), file(b"a")]);
    }),
    ("a path twice", |talk| {
        let file = || file(b"a", 0, Content::None);
        tree(talk, vec![root(), file(), file()]);
    }),
    ("a path out of the tree", |talk| {
        tree(talk, vec![root(), file(b"../a", 0, Content::None)]);
    }),
    ("an absolute path", |talk| tree(talk, vec![root(), file(b"/a", 0, Content::None)])),
    ("a path with a NUL", |talk| tree(talk, vec![root(), file(b"a\0b", 0, Content::None)])),
    ("no parent", |talk| tree(talk, vec![root(), file(b"a/b", 0, Content::None)])),
    ("a file as parent", |talk| {
        let file = |path: &[u8]| file(path, 0, Content::None);
        tree(talk, vec![root(), file(b"a"), file(b"a/b")]);
    }),
    ("a size without content", |talk| tree(talk, vec![root(), file(b"a", 9, Content::None)])),
    ("content shorter than the size", |talk| {
        tree(talk, vec![root(), file(b"a", 9, Content::Inline(vec![1; 8]))]);
    }),
    ("holes beyond the size", |talk| {
        let extents = vec![Extent::Hole { len: u64::MAX / 4 }];
        tree(talk, vec![root(), file(b"a", 9, Content::Extents(extents))]);
    }),
    ("content of a directory", |talk| {
        let attributes = attributes(Kind::Directory);
        let content = Content::Inline(vec![1]);
        tree(talk, vec![root(), Item::Entry { path: b"a".to_vec(), attributes, content }]);
    }),
    ("attributes that are none", |talk| {
        let (path, attributes) = (b"a".to_vec(), vec![0xff; 9]);
        tree(talk, vec![root(), Item::Entry { path, attributes, content: Content::None }]);
    }),
    ("entries of a basis there is not", |talk| {
        tree(talk, vec![Item::Same { first: 0, count: 1 }]);
    }),
    ("content of a basis there is not", |talk| {
        tree(talk, vec![root(), file(b"a", 9, Content::Basis { ordinal: 7 })]);
    }),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lies_end_the_session_and_leave_nothing() {
    let house = house("lies").await;
    for (name, attack) in FRAME_ATTACKS.iter().chain(STREAM_ATTACKS).chain(TREE_ATTACKS) {
        let mut talk = house.talk(b'a').await;
        attack(&talk);
        let told = async {
            while let Some(message) = talk.messages.recv().await {
                if let FromServer::Failed(failed) = message {
                    return failed.refusal.code;
                }
            }
            0
        };
        assert_eq!(told.await, Code::AgentBroke.value(), "{name}");
        let ended = result(talk.end.await.unwrap());
        assert_eq!(ended, (Outcome::Failed, Some(Code::AgentBroke)), "{name}");
        assert_eq!((house.points().await, house.sessions().await), (0, 0), "{name}");
    }
    let talk = house.talk(b'a').await;
    honest(&talk);
    assert_eq!(result(talk.end.await.unwrap()), (Outcome::Ok, None));
    assert_eq!(house.points().await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_machines_chunks_are_asked_for_and_stored_once() {
    let house = house("foreign").await;
    let talk = house.talk(b'a').await;
    honest(&talk);
    assert_eq!(result(talk.end.await.unwrap()).0, Outcome::Ok);
    let mut talk = house.talk(b'b').await;
    honest(&talk);
    // Knowing a name is no proof of having the bytes.
    assert_eq!(talk.want().await.wanted.count(), 1);
    let End::Over { result: second, .. } = talk.end.await.unwrap() else {
        panic!("the second backup was parked");
    };
    assert_eq!(second.result, Outcome::Ok);
    // Its own pages may be new; the bytes of the file are not stored again.
    let data = house.daemon.store.pool.call(|pool| async move { pool.status().chunks }).await;
    let again = house.talk(b'b').await;
    again.begin();
    again.items(1, vec![Item::Same { first: 0, count: 2 }]);
    again.finish();
    assert_eq!(result(again.end.await.unwrap()).0, Outcome::Ok);
    let after = house.daemon.store.pool.call(|pool| async move { pool.status().chunks }).await;
    // One more recipe and nothing else.
    assert_eq!(after.unwrap(), data.unwrap() + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_connection_parks_and_what_came_is_not_wanted_again() {
    let house = house("cut").await;
    let mut talk = house.talk(b'a').await;
    offer(&talk);
    assert_eq!(talk.want().await.wanted.count(), 1);
    talk.frame(&[0], LEN, Codec::Raw, DATA.to_vec());
    // Acknowledged: the chunk is in the pool.
    while let Some(message) = talk.messages.recv().await {
        if matches!(message, FromServer::Credit(credit) if credit.frame_bytes > 0) {
            break;
        }
    }
    drop(talk.inlet.take());
    assert!(matches!(talk.end.await.unwrap(), End::Parked));
    assert_eq!((house.points().await, house.sessions().await), (0, 1));
    let mut again = house.talk(b'a').await;
    assert_eq!((again.job, again.start.session), (talk.job, talk.start.session));
    offer(&again);
    assert!(again.want().await.wanted.is_empty());
    again.finish();
    assert_eq!(result(again.end.await.unwrap()).0, Outcome::Ok);
    assert_eq!((house.points().await, house.sessions().await), (1, 0));
}
