//! Lies below the messages' meaning: headers, kinds, numbers, and bodies that are none.

use keelhold_tests::liar::{Ending, Liar, Papers, root};
use keelhold_wire::header::Header;
use keelhold_wire::limits::BODY_LEN_MAX;
use keelhold_wire::{
    ALPN_AGENT, Ask, Cancel, Committed, FromAgent, FromServer, Items, Message, Outcome, Renew,
    Started, Wish,
};

use super::stage::Stage;
use super::{Door, Session};

const ITEMS: u8 = 0x20;

fn header(len: u32, kind: u8, reserved: u8) -> Vec<u8> {
    let mut bytes = Header::seal(kind, &[]).to_vec();
    bytes[..4].copy_from_slice(&len.to_le_bytes());
    bytes[5] = reserved;
    bytes
}

pub const IN_SESSIONS: &[&[Session]] = &[&[
    ("a message that claims four gigabytes", Ending::Cut, |liar| {
        liar.raw(&header(u32::MAX, ITEMS, 0));
    }),
    ("a message one byte beyond the limit", Ending::Cut, |liar| {
        liar.raw(&header(BODY_LEN_MAX as u32 + 1, ITEMS, 0));
    }),
    ("a wrong checksum", Ending::Cut, |liar| {
        let mut bytes = FromAgent::Started(Started { job: liar.job() }).to_bytes();
        bytes[8] ^= 1;
        liar.raw(&bytes);
    }),
    ("reserved bits", Ending::Cut, |liar| liar.raw(&header(0, ITEMS, 1))),
    ("a kind there is not", Ending::Cut, |liar| liar.body(0x7f, &[])),
    ("a kind that only the daemon may send", Ending::Cut, |liar| {
        let job = liar.job();
        liar.say(&FromServer::Cancel(Cancel { job }));
    }),
    ("a commit by the agent itself", Ending::Cut, |liar| {
        let start = liar.start.clone().unwrap();
        let (job, basis) = (start.job, start.basis.unwrap());
        let point = [9; 16];
        liar.say(&FromServer::Committed(Committed { job, point, basis, partial: false }));
    }),
    ("a body with something behind it", Ending::Cut, |liar| {
        let started = FromAgent::Started(Started { job: liar.job() });
        let body = [&started.to_bytes()[12..], &[0]].concat();
        liar.body(started.kind(), &body);
    }),
    ("a body that ends too soon", Ending::Cut, |liar| liar.body(ITEMS, &[1, 1, 5])),
    ("counts far beyond what follows", Ending::Cut, |liar| {
        // Job 1, message 1, then 2^63 items.
        let count = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01];
        liar.body(ITEMS, &[&[1, 1][..], &count].concat());
    }),
    ("a number written longer than need be", Ending::Cut, |liar| {
        liar.body(0x11, &[0x81, 0x80, 0x00]);
    }),
    ("a message for a job there never was", Ending::Cut, |liar| {
        liar.say(&FromAgent::Started(Started { job: u64::MAX }));
    }),
    ("a message for a thousand jobs", Ending::Cut, |liar| {
        for job in 0..1_000 {
            liar.say(&FromAgent::Started(Started { job: 1_000_000 + job }));
        }
    }),
    ("a second greeting", Ending::Cut, |liar| liar.say(&Liar::hello(1, 1))),
    ("a message torn in its middle", Ending::Cut, |liar| {
        let bytes = FromAgent::Started(Started { job: liar.job() }).to_bytes();
        liar.raw(&bytes[..9]);
        liar.close();
    }),
]];

fn first(papers: &Papers, bytes: &[u8]) -> Ending {
    let mut liar = Liar::dial(papers, &[ALPN_AGENT]).unwrap();
    liar.raw(bytes);
    liar.ending()
}

fn versions(stage: &Stage, min: u32, max: u32) -> Ending {
    first(&stage.thief, &Liar::hello(min, max).to_bytes())
}

/// Asks, and gives what is answered.
fn ask(stage: &Stage, wish: Wish) -> Ending {
    let mut liar = Liar::greeted(&stage.thief);
    liar.say(&FromAgent::Ask(Ask { ask: 1, wish }));
    let outcome = liar.wait(|message| match message {
        FromServer::Answer(answer) => Some(answer.outcome),
        _ => None,
    });
    match outcome {
        Outcome::Refused(refusal) => Ending::Refused(refusal.code),
        Outcome::Accepted { jobs } => panic!("accepted as {jobs:?}"),
    }
}

const GREETINGS: &[Door] = &[
    ("version 0", Ending::Refused(309), |stage| versions(stage, 0, 0)),
    ("version 999", Ending::Refused(309), |stage| versions(stage, 999, 999)),
    ("versions the wrong way round", Ending::Refused(309), |stage| versions(stage, 9, 0)),
    ("versions beyond sixteen bits", Ending::Refused(309), |stage| {
        versions(stage, 1 << 16 | 1, 1 << 16 | 1)
    }),
    ("a job before the greeting", Ending::Cut, |stage| {
        let items = Items { job: 1, seq: 1, items: vec![root()] };
        first(&stage.thief, &FromAgent::Items(items).to_bytes())
    }),
    ("a greeting with a name beyond the limit", Ending::Cut, |stage| {
        let body = [&[1, 1, 0, 0x80, 0x10][..], &[b'a'; 2048], &[7; 16]].concat();
        first(&stage.thief, &[&Header::seal(0x01, &body)[..], &body].concat())
    }),
    ("no greeting at all", Ending::Cut, |stage| first(&stage.thief, &[])),
];

const WISHES: &[Door] = &[
    ("another machine's session", Ending::Cut, |stage| {
        // The number of a job of `m`, which was never started on this connection.
        let started = stage.appliance.ask(&["backup", "m/t"]).ok();
        let job = started["job"].as_u64().unwrap();
        let mut liar = Liar::greeted(&stage.thief);
        liar.say(&FromAgent::Started(Started { job }));
        liar.ending()
    }),
    ("a wish for another machine's source", Ending::Refused(401), |stage| {
        ask(stage, Wish::Backup { source: Some(String::from("m/t")) })
    }),
    ("a renewal with garbage", Ending::Cut, |stage| {
        let mut liar = Liar::greeted(&stage.thief);
        liar.say(&FromAgent::Renew(Renew { request: vec![0x30; 300] }));
        liar.ending()
    }),
    ("a renewal for another key", Ending::Cut, |stage| {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut liar = Liar::greeted(&stage.thief);
        let request = keelhold_tests::liar::request(&key);
        liar.say(&FromAgent::Renew(Renew { request }));
        liar.ending()
    }),
];

pub const AT_THE_DOOR: &[&[Door]] = &[GREETINGS, WISHES];
