//! Too much of everything.

use std::io::Read;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use keelhold_tests::liar::{Ending, Liar, file, noise, root};
use keelhold_wire::limits::{ITEMS_COUNT_MAX, SKIPPED_COUNT_MAX, TEXT_LEN_MAX};
use keelhold_wire::{
    ALPN_AGENT, Ask, Content, Extent, FromAgent, FromServer, Item, Items, Message, Progress,
    SkipReason, Skipped, SkippedEntry, Started, Wish,
};

use super::Door;
use super::stage::Stage;

/// Says one message for ever, at most so often; gives how it ended.
fn flood(liar: &mut Liar, times: u64, message: impl Fn(u64) -> Vec<u8>) -> Ending {
    for time in 0..times {
        if !liar.try_raw(&message(time), Duration::from_secs(20)) {
            break;
        }
    }
    liar.ending()
}

/// Items that wait for a chunk which never comes.
fn items_flood(stage: &Stage, items: &[Item]) -> Ending {
    let mut liar = stage.session();
    liar.begin();
    let content = Content::Extents(vec![liar.chunk(&noise(90, 9_000))]);
    liar.items(1, vec![root(), file(b"a", 9_000, content)]);
    liar.items(2, vec![Item::EntryOpen { path: b"b".to_vec() }]);
    let job = liar.job();
    let items = items.to_vec();
    let mut bytes = FromAgent::Items(Items { job, seq: 3, items }).to_bytes();
    let mut seq = 2;
    let ending = loop {
        seq += 1;
        assert!(seq < 100_000, "the daemon takes everything");
        if let Some(FromAgent::Items(mut again)) = decoded(&bytes) {
            again.seq = seq;
            bytes = FromAgent::Items(again).to_bytes();
        }
        if !liar.try_raw(&bytes, Duration::from_secs(20)) {
            break liar.ending();
        }
    };
    println!("{seq} messages of {} bytes were sent", bytes.len());
    ending
}

fn decoded(bytes: &[u8]) -> Option<FromAgent> {
    let body = bytes::Bytes::copy_from_slice(&bytes[12..]);
    FromAgent::from_body(0x20, &body).ok()
}

fn extents(count: usize) -> Item {
    let extents = (0..count as u64).map(|at| Extent::Chunk {
        id: keelhold_chunk::ChunkId::from_bytes(noise(at, 32).try_into().unwrap()),
        len: 1 + at as u32,
    });
    Item::EntryMore { extents: extents.collect() }
}

const WINDOWS: &[Door] = &[
    ("tiny items without end behind a chunk that never comes", Ending::Cut, |stage| {
        items_flood(stage, &vec![Item::EntryMore { extents: Vec::new() }; ITEMS_COUNT_MAX])
    }),
    ("references without end that are never sent", Ending::Cut, |stage| {
        items_flood(stage, &[extents(30_000)])
    }),
    ("progress without end", Ending::Cut, |stage| {
        let mut liar = stage.session();
        liar.begin();
        let job = liar.job();
        let progress = Progress { job, entries: u64::MAX, files: u64::MAX, bytes: u64::MAX };
        let bytes = FromAgent::Progress(progress).to_bytes().repeat(10_000);
        for _ in 0..20 {
            liar.raw(&bytes);
        }
        liar.raw(&[0xff; 12]);
        liar.ending()
    }),
    ("a hundred thousand skipped entries", Ending::Refused(504), |stage| {
        let mut liar = stage.session();
        liar.begin();
        let (text, reason) = ("x".repeat(TEXT_LEN_MAX), SkipReason::Unreadable);
        let entry = SkippedEntry { path: vec![b'p'; 255], reason, text };
        let entries = vec![entry; SKIPPED_COUNT_MAX];
        let bytes = FromAgent::Skipped(Skipped { job: liar.job(), entries }).to_bytes();
        for _ in 0..400 {
            liar.raw(&bytes);
        }
        liar.finish();
        // A daemon that takes less than is sent sees what it has room for exceeded first, and cuts.
        match liar.ending() {
            Ending::Cut => Ending::Refused(504),
            ending => ending,
        }
    }),
];

/// As many connections as one likes that never say anything.
fn silent(stage: &Stage, count: usize) -> Ending {
    let address = stage.appliance.address();
    let all: Vec<TcpStream> = (0..count).filter_map(|_| TcpStream::connect(address).ok()).collect();
    let begun = Instant::now();
    for mut stream in all {
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        assert_eq!(stream.read(&mut [0; 1]).unwrap_or(0), 0, "nothing is said to a stranger");
    }
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    Ending::Cut
}

/// Eight jobs at once, each with as much on its way as it gets away with.
fn all_jobs(stage: &Stage) -> Ending {
    let mut liar = Liar::greeted(&stage.thief);
    liar.say(&FromAgent::Ask(Ask { ask: 1, wish: Wish::Backup { source: None } }));
    let mut jobs = Vec::new();
    while jobs.len() < 8 {
        let job = liar.wait(|message| match message {
            FromServer::StartBackup(start) => Some(start.job),
            _ => None,
        });
        jobs.push(job);
    }
    let bytes = noise(91, 9_000);
    for job in &jobs {
        liar.say(&FromAgent::Started(Started { job: *job }));
        let id = keelhold_chunk::ChunkId::from_bytes([*job as u8; 32]);
        let content = Content::Extents(vec![Extent::Chunk { id, len: bytes.len() as u32 }]);
        let items = vec![root(), file(b"a", 9_000, content)];
        liar.say(&FromAgent::Items(Items { job: *job, seq: 1, items }));
        let items = vec![Item::EntryOpen { path: b"b".to_vec() }];
        liar.say(&FromAgent::Items(Items { job: *job, seq: 2, items }));
    }
    let more = vec![Item::EntryMore { extents: Vec::new() }; ITEMS_COUNT_MAX];
    flood(&mut liar, 100_000, |time| {
        let (job, seq) = (jobs[time as usize % 8], 3 + time / 8);
        FromAgent::Items(Items { job, seq, items: more.clone() }).to_bytes()
    })
}

const CONNECTIONS: &[Door] = &[
    ("three hundred connections that say nothing", Ending::Cut, |stage| silent(stage, 300)),
    ("a hundred connections that shake hands and say nothing", Ending::Cut, |stage| {
        let dial = |_| Liar::dial(&stage.thief, &[ALPN_AGENT]).ok();
        let mut all: Vec<Liar> = (0..100).filter_map(dial).collect();
        assert!(all.iter_mut().all(|liar| liar.ending() == Ending::Cut));
        Ending::Cut
    }),
    ("two hundred connections one after the other", Ending::Cut, |stage| {
        let mut last = Liar::greeted(&stage.thief);
        for _ in 0..200 {
            let next = Liar::greeted(&stage.thief);
            assert_eq!(last.ending(), Ending::Cut);
            last = next;
        }
        last.raw(&[0xff; 12]);
        last.ending()
    }),
    ("ten thousand wishes", Ending::Cut, |stage| {
        let mut liar = Liar::greeted(&stage.thief);
        for ask in 0..10_000 {
            liar.say(&FromAgent::Ask(Ask { ask, wish: Wish::Overdue }));
        }
        liar.raw(&[0xff; 12]);
        liar.ending()
    }),
    ("eight jobs at once, flooded", Ending::Cut, all_jobs),
];

pub const ALL: &[&[Door]] = &[WINDOWS, CONNECTIONS];
