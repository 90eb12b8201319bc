//! Frames as bytes: compress, open, verify. Pure functions, run by [`Work`](crate::work::Work).

use std::cell::RefCell;

use bytes::Bytes;
use keelhold_chunk::IdKey;
use zstd::bulk::Decompressor;

use crate::error::IngestError;
use crate::format::Codec;
use crate::units::ChunkRef;

/// Plain bytes a frame is filled up to: neighbours compress together, and a random read pays little.
pub const FRAME_TARGET: usize = 256 << 10;
/// zstd level of the hot path: about as fast as LZ4, 15 to 40 % smaller.
const ZSTD_LEVEL: i32 = 1;

/// A frame as an agent sent it, or as the pool is about to store it.
#[derive(Debug, Clone)]
pub struct IncomingFrame {
    pub codec: Codec,
    pub plain_len: u32,
    pub stored: Bytes,
    /// In the order of their bytes in the plain frame.
    pub chunks: Vec<ChunkRef>,
}

/// A frame whose every chunk was hashed and found to be what it claims.
#[derive(Debug)]
pub struct VerifiedFrame {
    pub(super) codec: Codec,
    pub(super) stored: Bytes,
    /// Of the stored bytes; zero where they are sealed first and hashed then.
    pub(super) hash: [u8; 32],
    pub(super) plain: Bytes,
    pub(super) chunks: Vec<ChunkRef>,
}

/// Compresses `plain` with `codec` if that pays at least one part in 32; else keeps it raw. Both codecs
/// pass over what does not compress at several GiB/s, so nothing is sampled first.
#[must_use]
pub(super) fn compress(codec: Codec, plain: Vec<u8>) -> (Codec, Vec<u8>) {
    let stored = match codec {
        Codec::Raw => None,
        Codec::Lz4 => Some(lz4_flex::block::compress(&plain)),
        Codec::Zstd => zstd::bulk::compress(&plain, ZSTD_LEVEL).ok(),
    };
    match stored {
        Some(stored) if stored.len() <= plain.len() - plain.len() / 32 => (codec, stored),
        _ => (Codec::Raw, plain),
    }
}

/// Decompresses into exactly `plain_len` bytes; `None` if the stored bytes do not give that. A raw
/// frame is not copied.
#[must_use]
pub(super) fn decompress(codec: Codec, stored: &Bytes, plain_len: usize) -> Option<Bytes> {
    if codec == Codec::Raw {
        return (stored.len() == plain_len).then(|| stored.clone());
    }
    let mut plain = Vec::new();
    decompress_into(codec, stored, plain_len, &mut plain)?;
    Some(plain.into())
}

/// As [`decompress`], into memory that is lent for frame after frame; a raw one does not need it.
#[must_use]
pub(super) fn decompress_into<'a>(
    codec: Codec,
    stored: &'a [u8],
    plain_len: usize,
    room: &'a mut Vec<u8>,
) -> Option<&'a [u8]> {
    let plain: &[u8] = match codec {
        Codec::Raw => stored,
        Codec::Lz4 => {
            room.resize(plain_len, 0);
            let len = lz4_flex::block::decompress_into(stored, room).ok()?;
            &room[..len]
        }
        Codec::Zstd => {
            room.clear();
            // Filled as it is, without zeros first.
            room.reserve(plain_len);
            unpack(stored, room)?;
            room
        }
    };
    (plain.len() == plain_len).then_some(plain)
}

thread_local! {
    /// A decompressor is a lot of memory to set up for one frame.
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// As much as `room` has room for, or nothing.
fn unpack(stored: &[u8], room: &mut Vec<u8>) -> Option<usize> {
    DECOMPRESSOR.with_borrow_mut(|kept| {
        let decompressor = match kept {
            Some(decompressor) => decompressor,
            None => kept.insert(Decompressor::new().ok()?),
        };
        decompressor.decompress_to_buffer(stored, room).ok()
    })
}

/// Opens what somebody sent and proves every chunk in it.
pub(super) fn verify(
    key: &IdKey,
    frame: IncomingFrame,
    check_ids: bool,
    hashed: bool,
) -> Result<VerifiedFrame, IngestError> {
    let chunks_len: u64 = frame.chunks.iter().map(|chunk| u64::from(chunk.len)).sum();
    if chunks_len != u64::from(frame.plain_len) {
        return Err(IngestError::FrameLen { plain_len: u64::from(frame.plain_len), chunks_len });
    }
    let limit = crate::format::FRAME_PLAIN_MAX as u64;
    if chunks_len > limit || frame.stored.len() as u64 > limit + limit / 8 {
        let len = chunks_len.max(frame.stored.len() as u64);
        return Err(IngestError::FrameTooLarge { len, limit });
    }
    let plain = decompress(frame.codec, &frame.stored, frame.plain_len as usize)
        .ok_or(IngestError::Decompress { plain_len: frame.plain_len })?;
    let mut rest = &plain[..];
    for chunk in &frame.chunks {
        let (bytes, after) = rest.split_at(chunk.len as usize);
        if check_ids && key.id(bytes) != chunk.id {
            return Err(IngestError::WrongId { id: chunk.id });
        }
        rest = after;
    }
    let hash = if hashed { *blake3::hash(&frame.stored).as_bytes() } else { [0; 32] };
    Ok(VerifiedFrame {
        codec: frame.codec,
        stored: frame.stored,
        hash,
        plain,
        chunks: frame.chunks,
    })
}

/// Makes a frame of chunks that are already proved (pages, recipes, what is framed again). Where frames
/// are sealed, they are `hashed` afterwards.
#[must_use]
pub(super) fn build(codec: Codec, plain: Vec<u8>, hashed: bool) -> BuiltFrame {
    let plain_len = plain.len() as u32;
    let (codec, stored) = compress(codec, plain);
    let hash = if hashed { *blake3::hash(&stored).as_bytes() } else { [0; 32] };
    BuiltFrame { codec, plain_len, stored: Bytes::from(stored), hash }
}

#[derive(Debug, Clone)]
pub(super) struct BuiltFrame {
    pub(super) codec: Codec,
    pub(super) plain_len: u32,
    /// Compressed, not sealed.
    pub(super) stored: Bytes,
    /// Of the stored bytes; zero where they are sealed first and hashed then.
    pub(super) hash: [u8; 32],
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(len: usize) -> Vec<u8> {
        b"the quick brown fox ".iter().copied().cycle().take(len).collect()
    }

    fn noise(len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        blake3::Hasher::new().update(b"noise").finalize_xof().fill(&mut bytes);
        bytes
    }

    #[test]
    fn every_codec_gives_the_bytes_back_and_noise_stays_raw() {
        for codec in [Codec::Raw, Codec::Lz4, Codec::Zstd] {
            let (used, stored) = compress(codec, text(100_000));
            assert_eq!(used, codec);
            let stored = Bytes::from(stored);
            let plain = Bytes::from(text(100_000));
            assert_eq!(decompress(used, &stored, 100_000), Some(plain));
            assert_eq!(decompress(used, &stored, 99_999), None);
            // Lent memory: what was there before, and that it has more room, does not show.
            let mut room = vec![1; 150_000];
            for (plain_len, fits) in [(100_000, true), (99_999, false), (100_001, false)] {
                let plain = decompress_into(used, &stored, plain_len, &mut room);
                assert_eq!(plain.map(<[u8]>::to_vec), fits.then(|| text(100_000)));
            }
            let (used, stored) = compress(codec, noise(100_000));
            assert_eq!((used, stored), (Codec::Raw, noise(100_000)));
        }
    }

    #[test]
    fn a_frame_that_lies_is_refused() {
        let key = IdKey::new([1; 32]);
        let plain = text(1000);
        let chunk = |bytes: &[u8]| ChunkRef { id: key.id(bytes), len: bytes.len() as u32 };
        let honest = IncomingFrame {
            codec: Codec::Raw,
            plain_len: 1000,
            stored: Bytes::from(plain.clone()),
            chunks: vec![chunk(&plain[..401]), chunk(&plain[401..])],
        };
        assert!(verify(&key, honest.clone(), true, true).is_ok());
        let mut swapped = honest.clone();
        swapped.chunks.swap(0, 1);
        assert!(matches!(verify(&key, swapped, true, true), Err(IngestError::WrongId { .. })));
        let short = IncomingFrame { plain_len: 999, ..honest.clone() };
        assert!(matches!(verify(&key, short, true, true), Err(IngestError::FrameLen { .. })));
        let bomb = IncomingFrame { codec: Codec::Zstd, ..honest };
        assert!(matches!(verify(&key, bomb, true, true), Err(IngestError::Decompress { .. })));
    }
}
