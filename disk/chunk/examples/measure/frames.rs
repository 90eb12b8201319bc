//! Chunks packed into frames and compressed, with what the run's directory takes for them.

use std::fmt;

use zstd::bulk::Compressor;

/// Directory entries of a run: see `disk/FORMAT.md`.
const CHUNK_ENTRY_LEN: usize = 48;
const FRAME_ENTRY_LEN: usize = 48;

#[derive(Clone, Copy)]
pub enum Codec {
    Lz4,
    Zstd(i32),
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lz4 => f.write_str("lz4"),
            Self::Zstd(level) => write!(f, "zstd {level}"),
        }
    }
}

/// Stored bytes of the chunks in frames of about `frame_len`, directories included. A frame takes
/// chunks until it is that long; with 0 each has its own.
pub fn stored(chunks: &[&[u8]], frame_len: usize, codec: Codec) -> usize {
    let mut packer = Packer::new(codec);
    let mut frame = Vec::with_capacity(frame_len + (1 << 20));
    for chunk in chunks {
        if !frame.is_empty() && frame.len() + chunk.len() > frame_len {
            packer.pack(&frame);
            frame.clear();
        }
        frame.extend_from_slice(chunk);
    }
    packer.pack(&frame);
    packer.stored + chunks.len() * CHUNK_ENTRY_LEN
}

struct Packer {
    zstd: Option<Compressor<'static>>,
    buffer: Vec<u8>,
    stored: usize,
}

impl Packer {
    fn new(codec: Codec) -> Self {
        let zstd = match codec {
            Codec::Lz4 => None,
            Codec::Zstd(level) => Compressor::new(level).ok(),
        };
        Self { zstd, buffer: vec![0; 4 << 20], stored: 0 }
    }

    fn pack(&mut self, frame: &[u8]) {
        if frame.is_empty() {
            return;
        }
        let packed = match &mut self.zstd {
            None => lz4_flex::block::compress_into(frame, &mut self.buffer).ok(),
            Some(zstd) => zstd.compress_to_buffer(frame, self.buffer.as_mut_slice()).ok(),
        };
        // Raw when compression does not pay.
        let len = packed.map_or(frame.len(), |packed| packed.min(frame.len()));
        self.stored += len + FRAME_ENTRY_LEN;
    }
}
