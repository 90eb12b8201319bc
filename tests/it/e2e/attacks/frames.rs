//! Lies about chunks and how they are packed.

use keelhold_tests::liar::{Ending, Liar, noise};
use keelhold_wire::limits::FRAME_PLAIN_LEN_MAX;
use keelhold_wire::{Codec, Runs};

use super::{BROKE, Session};

const LEN: u32 = 9_002;

fn data() -> Vec<u8> {
    noise(50, LEN as usize)
}

/// Offers [`data`] and sends a frame for it.
fn sent(liar: &mut Liar, plain_len: u32, codec: Codec, stored: Vec<u8>) {
    liar.offer(&data());
    assert_eq!(liar.want().wanted.count(), 1);
    liar.frame([0].into_iter().collect(), plain_len, codec, stored);
    liar.finish();
}

fn refs(first: u64, count: u64) -> Runs {
    let mut runs = Runs::new();
    assert!(runs.push_run(first, count));
    runs
}

/// Small bytes that unpack to a gigabyte.
fn bomb() -> Vec<u8> {
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), 3).unwrap();
    std::io::copy(&mut std::io::Read::take(std::io::repeat(0), 1 << 30), &mut encoder).unwrap();
    encoder.finish().unwrap()
}

/// A frame that says it holds 2^60 bytes, in a window of 2^41.
fn boast() -> Vec<u8> {
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0b1100_0000, 0xf8];
    frame.extend((1u64 << 60).to_le_bytes());
    frame.extend([0x03, 0x00, 0x00, 0x00]);
    frame
}

const REFERENCES: &[Session] = &[
    ("a reference never made", BROKE, |liar| {
        liar.offer(&data());
        liar.frame(refs(1, 1), LEN, Codec::Raw, data());
    }),
    ("a chunk nobody asked for", BROKE, |liar| {
        liar.offer(&noise(1, 9_000));
        assert!(liar.want().wanted.is_empty());
        liar.plain_frame(&noise(1, 9_000));
    }),
    ("a chunk sent twice", BROKE, |liar| {
        liar.offer(&data());
        liar.plain_frame(&data());
        liar.plain_frame(&data());
    }),
    ("more references than a frame may hold", Ending::Cut, |liar| {
        liar.offer(&data());
        liar.frame(refs(0, 1 << 60), LEN, Codec::Raw, data());
    }),
    ("a frame of no chunks", Ending::Cut, |liar| {
        liar.offer(&data());
        liar.frame(Runs::new(), LEN, Codec::Raw, data());
    }),
];

const BYTES: &[Session] = &[
    ("bytes that are not the chunk", BROKE, |liar| {
        sent(liar, LEN, Codec::Raw, noise(51, LEN as usize));
    }),
    ("a plain length that is not that of the chunks", BROKE, |liar| {
        sent(liar, LEN + 1, Codec::Raw, data());
    }),
    ("fewer bytes than announced", BROKE, |liar| {
        sent(liar, LEN, Codec::Raw, data()[1..].to_vec());
    }),
    ("more bytes than announced", BROKE, |liar| {
        sent(liar, LEN, Codec::Raw, [data(), data()].concat());
    }),
    ("garbage said to be zstd", BROKE, |liar| sent(liar, LEN, Codec::Zstd, vec![0xaa; 3_000])),
    ("garbage said to be lz4", BROKE, |liar| sent(liar, LEN, Codec::Lz4, vec![0xff; 3_000])),
    ("zstd with something behind it", BROKE, |liar| {
        let mut stored = zstd::bulk::compress(&data(), 1).unwrap();
        stored.push(0);
        sent(liar, LEN, Codec::Zstd, stored);
    }),
    ("a bomb of a gigabyte", BROKE, |liar| sent(liar, LEN, Codec::Zstd, bomb())),
    ("a zstd frame that claims 2^60 bytes", BROKE, |liar| {
        sent(liar, LEN, Codec::Zstd, boast());
    }),
    ("an lz4 block that unfolds without end", BROKE, |liar| {
        let mut block = vec![0x1f, 0, 1, 0];
        block.extend(vec![0xff; 1 << 20]);
        sent(liar, LEN, Codec::Lz4, block);
    }),
    ("a plain length beyond the limit", Ending::Cut, |liar| {
        liar.offer(&data());
        liar.frame(refs(0, 1), FRAME_PLAIN_LEN_MAX as u32 + 1, Codec::Zstd, bomb());
    }),
    ("a plain length of four gigabytes", Ending::Cut, |liar| {
        liar.offer(&data());
        liar.frame(refs(0, 1), u32::MAX, Codec::Zstd, bomb());
    }),
    ("a plain length of nothing", Ending::Cut, |liar| {
        liar.offer(&data());
        liar.frame(refs(0, 1), 0, Codec::Raw, Vec::new());
    }),
];

pub const ALL: &[&[Session]] = &[REFERENCES, BYTES];
