//! One of every message, with something in every field.

use bytes::Bytes;
use keelhold_chunk::{ChunkId, IdKey};

use crate::*;

pub(super) fn id(number: u8) -> ChunkId {
    IdKey::new([9; 32]).id(&[number])
}

fn runs(numbers: &[u64]) -> Runs {
    numbers.iter().copied().collect()
}

fn refusal() -> Refusal {
    Refusal::new(309, "no version in common", "update the older of the two")
}

pub(super) fn hello() -> Hello {
    Hello {
        version_min: 1,
        version_max: 1,
        agent_version: "0.1.0".to_owned(),
        hostname: "mölle".to_owned(),
        boot_id: [0xb0; 16],
    }
}

pub(super) fn items() -> Vec<Item> {
    let chunk = |number| Extent::Chunk { id: id(number), len: 70_000 };
    let entry = |path: &[u8], content| Item::Entry {
        path: path.to_vec(),
        attributes: vec![1, 2, 3],
        content,
    };
    vec![
        Item::Same { first: 0, count: 12 },
        entry(b"etc", Content::None),
        entry(b"etc/hostname", Content::Inline(b"box\n".to_vec())),
        entry(b"etc/hosts", Content::Basis { ordinal: 14 }),
        entry(
            b"etc/x\xff\n",
            Content::Extents(vec![chunk(1), Extent::Hole { len: 1 << 40 }, chunk(2)]),
        ),
        Item::EntryOpen { path: b"etd".to_vec() },
        Item::EntryMore { extents: vec![chunk(3), chunk(1)] },
        Item::EntryMore { extents: Vec::new() },
        Item::EntryClose { attributes: vec![9; 40] },
        Item::Same { first: 20, count: u64::MAX - 20 },
    ]
}

pub(super) fn start_backup() -> StartBackup {
    StartBackup {
        job: 7,
        session: [5; 16],
        source: Source {
            name: "home".to_owned(),
            kind: SourceKind::Tree(TreeSource {
                excludes: vec!["**/*.o".to_owned(), "tmp/".to_owned()],
                ..TreeSource::new(b"/home".to_vec())
            }),
        },
        id_key: [6; 32],
        cut: vec![1, 0, 0x40],
        inline_max: 1024,
        frame_len: 256 << 10,
        codec: Codec::Zstd,
        mode: Mode::Check,
        basis: Some(Basis { id: [7; 16], entries: 190_000 }),
        read_again: runs(&[3, 4, 5, 100]),
        demands: Box::default(),
    }
}

fn frame() -> Frame {
    Frame {
        job: 7,
        codec: Codec::Lz4,
        plain_len: 1000,
        refs: runs(&[0, 2, 3]),
        stored: Bytes::from_static(b"stored bytes"),
    }
}

fn skipped() -> SkippedEntry {
    SkippedEntry {
        path: b"a/\xfe".to_vec(),
        reason: SkipReason::Unreadable,
        text: "permission denied".to_owned(),
    }
}

fn stats() -> BackupStats {
    BackupStats {
        entries: 1,
        files: 2,
        bytes_source: 3 << 40,
        files_changed: 4,
        bytes_read: 5,
        skipped: 6,
        wrong_shortcuts: 7,
    }
}

pub(super) fn from_agent() -> Vec<FromAgent> {
    let job = 7;
    let no = || JobRefusal { job, refusal: refusal() };
    let restored = RestoreStats {
        entries: 9,
        files: 8,
        bytes_written: 7,
        bytes_kept: 6,
        skipped: 5,
        failed: 4,
    };
    vec![
        FromAgent::Hello(hello()),
        FromAgent::Ping(Ping { number: 300 }),
        FromAgent::Pong(Pong { number: u64::MAX }),
        FromAgent::Ask(Ask { ask: 1, wish: Wish::Backup { source: None } }),
        FromAgent::Ask(Ask { ask: 2, wish: Wish::Backup { source: Some("home".to_owned()) } }),
        FromAgent::Ask(Ask { ask: 3, wish: Wish::Overdue }),
        FromAgent::Renew(Renew { request: vec![0x30, 0x82] }),
        FromAgent::Started(Started { job }),
        FromAgent::Declined(no()),
        FromAgent::Finish(Finish { job, stats: stats(), reached: Reached::default() }),
        FromAgent::Aborted(no()),
        FromAgent::Skipped(Skipped { job, entries: vec![skipped(), skipped()] }),
        FromAgent::Progress(Progress { job, entries: 1, files: 2, bytes: 3 }),
        FromAgent::Items(Items { job, seq: 1, items: items() }),
        FromAgent::Want(Want { job, upto: 9, wanted: runs(&[1, 8]) }),
        FromAgent::Frame(frame()),
        FromAgent::Credit(Credit { job, items_seq: 3, frame_bytes: 1 << 33 }),
        FromAgent::Restored(Restored {
            job,
            stats: restored,
            skipped: vec![skipped()],
            failed: Vec::new(),
        }),
    ]
}

pub(super) fn from_server() -> Vec<FromServer> {
    let job = 7;
    let basis = Basis { id: [8; 16], entries: 190_001 };
    vec![
        FromServer::Welcome(Welcome {
            version: 1,
            server_version: "0.1.0".to_owned(),
            machine_name: "box".to_owned(),
            now: -1,
        }),
        FromServer::Refuse(refusal()),
        FromServer::Ping(Ping { number: 1 }),
        FromServer::Pong(Pong { number: 2 }),
        FromServer::Answer(Answer { ask: 1, outcome: Outcome::Accepted { jobs: vec![7, 300] } }),
        FromServer::Answer(Answer { ask: 2, outcome: Outcome::Refused(refusal()) }),
        FromServer::Renewed(Renewed { certificate: vec![0x30, 0x83] }),
        FromServer::StartBackup(start_backup()),
        FromServer::Committed(Committed { job, point: [8; 16], basis, partial: true }),
        FromServer::Failed(JobRefusal { job, refusal: refusal() }),
        FromServer::Cancel(Cancel { job }),
        FromServer::Items(Items { job, seq: 2, items: items() }),
        FromServer::Want(Want { job, upto: 9, wanted: Runs::new() }),
        FromServer::Frame(frame()),
        FromServer::Credit(Credit { job, items_seq: 0, frame_bytes: 0 }),
        FromServer::StartRestore(StartRestore {
            job,
            target: b"/srv/restore/a".to_vec(),
            original: false,
            on_clash: OnClash::Overwrite,
            id_key: [6; 32],
        }),
        FromServer::ItemsEnd(ItemsEnd { job, entries: 4 }),
    ]
}

/// What version 2 added.
pub(super) fn from_agent_2() -> Vec<FromAgent> {
    let job = 7;
    let shortfalls = vec!["the post script ended with 1".to_owned()];
    let reached = Reached { consistency: Consistency::Application, shortfalls };
    let mounted = |point: &[u8], uuid: Option<&str>| MountedFileSystem {
        point: point.to_vec(),
        kind: "btrfs".to_owned(),
        uuid: uuid.map(str::to_owned),
        bytes: 1 << 40,
        bytes_used: 3 << 30,
    };
    vec![
        FromAgent::Condition(Condition::default()),
        FromAgent::Condition(Condition {
            power: Power::Battery,
            charge: Some(73),
            link: LinkCost::Metered,
            slept_seconds: 86_400,
        }),
        FromAgent::FileSystems(FileSystems {
            list: vec![mounted(b"/", Some("0f2c-9a")), mounted(b"/sr\xff", None)],
            unnamed: 2,
        }),
        FromAgent::Log(Log { job, lines: vec!["pre: flushed".to_owned(), String::new()] }),
        FromAgent::Finish(Finish { job, stats: stats(), reached }),
    ]
}

/// What version 2 added.
pub(super) fn from_server_2() -> Vec<FromServer> {
    let demands = Demands {
        consistency_min: Consistency::Crash,
        pre: Some(b"/etc/keelhold/scripts/pre".to_vec()),
        post: None,
        script_seconds: 60,
    };
    let demands = Box::new(demands);
    vec![FromServer::StartBackup(StartBackup { demands, ..start_backup() })]
}

pub(super) fn enroll() -> FromNewcomer {
    FromNewcomer::Enroll(Enroll {
        secret: [0xa5; 16],
        request: vec![0x30; 300],
        hostname: "box".to_owned(),
        agent_version: "0.1.0".to_owned(),
    })
}

pub(super) fn to_newcomer() -> Vec<ToNewcomer> {
    let (certificate, ca) = (vec![0x30; 500], vec![0x31; 400]);
    vec![
        ToNewcomer::Refuse(refusal()),
        ToNewcomer::Enrolled(Enrolled { certificate, ca, machine_name: "box".to_owned() }),
    ]
}
