//! Turns bundles into frames on worker threads; the stream puts them back in order.

use std::sync::Arc;

use bytes::Bytes;
use keelhold_wire::{Codec, Frame, FromAgent, Message};
use tokio::sync::mpsc;

use super::pack::Bundle;
use super::queue::Queue;

/// Stored bytes must be this much shorter to be worth unpacking them again: one part in 32.
const PAYS_SHIFT: u32 = 5;
/// Level 1: as fast as LZ4 on two cores, and 15 to 40 per cent smaller.
const ZSTD_LEVEL: i32 = 1;

/// A bundle on its way through a worker.
#[derive(Debug)]
pub(crate) struct Pressing {
    pub(crate) number: u64,
    pub(crate) bundle: Bundle,
}

/// A whole message, header included.
#[derive(Debug)]
pub(crate) struct Pressed {
    pub(crate) number: u64,
    pub(crate) plain_len: u64,
    pub(crate) message: Vec<u8>,
}

/// Starts the workers of a session. They send what they made to `pressed`.
pub(crate) fn start(
    job: u64,
    codec: Codec,
    pressed: &mpsc::UnboundedSender<Pressed>,
) -> std::io::Result<Arc<Queue<Pressing>>> {
    let count = std::thread::available_parallelism().map_or(2, std::num::NonZero::get).min(8);
    Queue::start("compress", count, || {
        let mut press = Press::new(codec);
        let pressed = pressed.clone();
        move |pressing: Pressing| {
            let Pressing { number, bundle } = pressing;
            let plain_len = bundle.plain_len as u64;
            let message = press.frame(job, bundle).to_bytes();
            // The stream has ended if nobody listens.
            let _ = pressed.send(Pressed { number, plain_len, message });
        }
    })
}

struct Press {
    codec: Codec,
    zstd: Option<zstd::bulk::Compressor<'static>>,
    plain: Vec<u8>,
}

impl Press {
    fn new(codec: Codec) -> Self {
        let zstd = match codec {
            // Without memory for its tables the frames travel raw.
            Codec::Zstd => zstd::bulk::Compressor::new(ZSTD_LEVEL).ok(),
            Codec::Lz4 | Codec::Raw => None,
        };
        Self { codec, zstd, plain: Vec::new() }
    }

    fn frame(&mut self, job: u64, bundle: Bundle) -> FromAgent {
        let Bundle { refs, chunks, plain_len } = bundle;
        self.plain.clear();
        chunks.iter().for_each(|chunk| self.plain.extend_from_slice(chunk));
        drop(chunks);
        let pressed = match self.codec {
            Codec::Raw => None,
            Codec::Lz4 => lz4(&self.plain),
            Codec::Zstd => self.zstd.as_mut().and_then(|zstd| zstd.compress(&self.plain).ok()),
        };
        let limit = plain_len - (plain_len >> PAYS_SHIFT);
        let (codec, stored) = match pressed.filter(|pressed| pressed.len() < limit) {
            Some(pressed) => (self.codec, pressed),
            None => (Codec::Raw, self.plain.clone()),
        };
        let stored = Bytes::from(stored);
        FromAgent::Frame(Frame { job, codec, plain_len: plain_len as u32, refs, stored })
    }
}

fn lz4(plain: &[u8]) -> Option<Vec<u8>> {
    let mut pressed = vec![0; lz4_flex::block::get_maximum_output_size(plain.len())];
    let len = lz4_flex::block::compress_into(plain, &mut pressed).ok()?;
    pressed.truncate(len);
    Some(pressed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bundle(chunk: Vec<u8>) -> Bundle {
        let plain_len = chunk.len();
        Bundle { refs: [3].into_iter().collect(), chunks: vec![Bytes::from(chunk)], plain_len }
    }

    fn frame(codec: Codec, chunk: Vec<u8>) -> Frame {
        match Press::new(codec).frame(1, bundle(chunk)) {
            FromAgent::Frame(frame) => frame,
            other => panic!("{other:?}"),
        }
    }

    fn unlz4(stored: &[u8], len: usize) -> Vec<u8> {
        let mut plain = vec![0; len];
        let filled = lz4_flex::block::decompress_into(stored, &mut plain).unwrap();
        assert_eq!(filled, len);
        plain
    }

    #[test]
    fn what_compresses_is_compressed_and_the_rest_is_raw() {
        let text = b"the same words again and again, ".repeat(100);
        let zstd = frame(Codec::Zstd, text.clone());
        assert_eq!(zstd.codec, Codec::Zstd);
        assert_eq!(zstd::bulk::decompress(&zstd.stored, text.len()).unwrap(), text);
        let lz4 = frame(Codec::Lz4, text.clone());
        assert_eq!(lz4.codec, Codec::Lz4);
        assert_eq!(unlz4(&lz4.stored, text.len()), text);
        assert_eq!(frame(Codec::Raw, text.clone()).stored, text);
        let key = keelhold_chunk::IdKey::new([1; 32]);
        let noise: Vec<u8> = (0..100u8).flat_map(|number| *key.id(&[number]).as_bytes()).collect();
        assert_eq!(frame(Codec::Zstd, noise.clone()).codec, Codec::Raw);
        assert_eq!(frame(Codec::Lz4, noise.clone()).stored, noise);
    }
}
