//! Bytes from a peer that means no good: messages that were valid and were changed, with a checksum
//! that fits. Whatever comes of it, nothing panics, nothing takes much memory, and what is accepted
//! is written back byte for byte.

use super::samples;
use crate::backup::SkippedEntry;
use crate::items::{Content, Extent, Item, Items};
use crate::message::{FromAgent, FromNewcomer, FromServer, Message, ToNewcomer};
use crate::refs::Runs;
use bytes::Bytes;
use keelhold_chunk::Writer;

/// Deterministic from its seed.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }
}

fn mutate(body: &mut Vec<u8>, chance: &mut Chance) {
    for _ in 0..1 + chance.below(4) {
        let at = chance.below(body.len());
        match chance.below(7) {
            0 if !body.is_empty() => body[at] ^= 1 << chance.below(8),
            1 if !body.is_empty() => body[at] = chance.next() as u8,
            2 => body.truncate(at),
            3 => body.insert(at, chance.next() as u8),
            4 if !body.is_empty() => drop(body.remove(at)),
            5 => {
                // A number far beyond anything sensible.
                let mut writer = Writer::new();
                writer.varint(u64::MAX >> chance.below(64));
                body.splice(at..at, writer.finish());
            }
            _ => {
                let end = at + chance.below(body.len() - at);
                let piece = body[at..end].to_vec();
                body.splice(at..at, piece);
            }
        }
    }
}

fn try_body<M: Message + PartialEq + std::fmt::Debug>(kind: u8, body: &Bytes) -> Option<M> {
    let message = M::from_body(kind, body).ok()?;
    assert_eq!(message.kind(), kind);
    let mut writer = Writer::new();
    message.put_body(&mut writer);
    assert_eq!(writer.finish(), body.as_ref(), "accepted and not canonical: {message:?}");
    Some(message)
}

fn bodies() -> Vec<(u8, Vec<u8>)> {
    fn body(message: &impl Message) -> (u8, Vec<u8>) {
        (message.kind(), message.to_bytes()[crate::header::HEADER_LEN..].to_vec())
    }
    let mut all: Vec<(u8, Vec<u8>)> = samples::from_agent().iter().map(body).collect();
    all.extend(samples::from_server().iter().map(body));
    all.extend(samples::from_agent_2().iter().map(body));
    all.extend(samples::from_server_2().iter().map(body));
    all.extend(samples::to_newcomer().iter().map(body));
    all.push(body(&samples::enroll()));
    all
}

#[test]
fn changed_messages_do_no_harm() {
    let seed = 20_260_101;
    println!("seed {seed}");
    let mut chance = Chance(seed);
    let bodies = bodies();
    let mut accepted = 0;
    for _ in 0..60_000 {
        let (kind, body) = &bodies[chance.below(bodies.len())];
        let mut body = body.clone();
        mutate(&mut body, &mut chance);
        let body = Bytes::from(body);
        let agent = try_body::<FromAgent>(*kind, &body);
        let server = try_body::<FromServer>(*kind, &body);
        try_body::<FromNewcomer>(*kind, &body);
        try_body::<ToNewcomer>(*kind, &body);
        let held = agent.as_ref().map_or(0, agent_len).max(server.as_ref().map_or(0, server_len));
        assert!(held <= 16 * body.len() + (1 << 20), "{held} bytes from {}", body.len());
        accepted += usize::from(agent.is_some() || server.is_some());
    }
    assert!(accepted > 1_000, "{accepted} changed messages were still valid");
}

/// The worst that can be said in one message, by hand: each is refused or stays small.
#[test]
fn few_bytes_do_not_grow_into_many() {
    let items = |fill: &dyn Fn(&mut Writer)| {
        let mut writer = Writer::new();
        writer.varint(7);
        writer.varint(1);
        fill(&mut writer);
        Bytes::from(writer.finish())
    };
    // A long path, then entries that repeat it for three bytes each.
    let paths = items(&|writer| {
        writer.varint(4_000);
        writer.u8(2);
        writer.varint(0);
        writer.bytes(&[b'a'; 60_000]);
        for _ in 0..3_999 {
            writer.raw(&[2]);
            writer.varint(60_000);
            writer.bytes(b"");
        }
    });
    assert!(FromAgent::from_body(0x20, &paths).is_err());
    // As many of the smallest items as fit.
    let smallest = items(&|writer| {
        writer.varint(4_096);
        (0..4_096).for_each(|_| writer.raw(&[0, 0, 1]));
    });
    let message = FromAgent::from_body(0x20, &smallest).unwrap();
    assert!(agent_len(&message) <= 16 * smallest.len() + (1 << 20));
    let one_more = items(&|writer| {
        writer.varint(4_097);
        (0..4_097).for_each(|_| writer.raw(&[0, 0, 1]));
    });
    assert!(FromAgent::from_body(0x20, &one_more).is_err());
    // Runs: two bytes each.
    let mut writer = Writer::new();
    writer.varint(7);
    writer.varint(u64::MAX);
    writer.varint(32_768);
    (0..32_768).for_each(|_| writer.raw(&[1, 1]));
    let want = Bytes::from(writer.finish());
    let message = FromAgent::from_body(0x21, &want).unwrap();
    assert!(agent_len(&message) <= 16 * want.len() + (1 << 20));
}

fn agent_len(message: &FromAgent) -> usize {
    match message {
        FromAgent::Items(items) => items_len(items),
        FromAgent::Want(want) => runs_len(&want.wanted),
        FromAgent::Frame(frame) => runs_len(&frame.refs),
        FromAgent::Skipped(skipped) => skipped_len(&skipped.entries),
        FromAgent::Restored(done) => skipped_len(&done.skipped) + skipped_len(&done.failed),
        _ => 0,
    }
}

fn server_len(message: &FromServer) -> usize {
    match message {
        FromServer::Items(items) => items_len(items),
        FromServer::Want(want) => runs_len(&want.wanted),
        FromServer::Frame(frame) => runs_len(&frame.refs),
        FromServer::StartBackup(start) => runs_len(&start.read_again),
        _ => 0,
    }
}

/// A growing vector may have been twice its length, and its old half beside it while it moved.
const GROWTH: usize = 3;

fn runs_len(runs: &Runs) -> usize {
    std::mem::size_of_val(runs.runs()) * GROWTH
}

fn skipped_len(entries: &[SkippedEntry]) -> usize {
    let held = entries.iter().map(|entry| entry.path.capacity() + entry.text.capacity());
    size_of_val(entries) * GROWTH + held.sum::<usize>()
}

fn items_len(items: &Items) -> usize {
    let extents = |extents: &[Extent]| size_of_val(extents) * GROWTH;
    let held = items.items.iter().map(|item| match item {
        Item::Same { .. } => 0,
        Item::Entry { path, attributes, content } => {
            let content = match content {
                Content::None | Content::Basis { .. } => 0,
                Content::Inline(bytes) => bytes.capacity(),
                Content::Extents(list) => extents(list),
            };
            path.capacity() + attributes.capacity() + content
        }
        Item::EntryOpen { path } => path.capacity(),
        Item::EntryMore { extents: list } => extents(list),
        Item::EntryClose { attributes } => attributes.capacity(),
    });
    size_of_val(items.items.as_slice()) * GROWTH + held.sum::<usize>()
}
