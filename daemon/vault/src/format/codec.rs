//! Compression of what is sealed: raw, or one Zstandard frame where that is shorter.

use zstd::bulk;

use super::FormatFault;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Codec {
    Raw = 0,
    /// The numbers are those of the pool's frames, where 1 is LZ4.
    Zstd = 2,
}

impl Codec {
    pub(super) fn from_code(code: u8) -> Result<Self, FormatFault> {
        match code {
            0 => Ok(Self::Raw),
            2 => Ok(Self::Zstd),
            _ => Err(FormatFault::Content { what: "codec" }),
        }
    }
}

/// What is made anew is packed as the pool does it.
pub const LEVEL: i32 = 1;

/// Compresses, if that saves a sixteenth or more.
#[must_use]
pub fn pack(plain: &[u8], level: i32) -> (Codec, Vec<u8>) {
    match bulk::compress(plain, level) {
        Ok(packed) if packed.len() + plain.len() / 16 < plain.len() => (Codec::Zstd, packed),
        _ => (Codec::Raw, plain.to_vec()),
    }
}

/// The plain bytes: exactly `plain_len`, and no more memory than that.
pub fn unpack(codec: Codec, bytes: &[u8], plain_len: usize) -> Result<Vec<u8>, FormatFault> {
    let plain = match codec {
        Codec::Raw => bytes.to_vec(),
        Codec::Zstd => bulk::decompress(bytes, plain_len).map_err(|_| FormatFault::Compressed)?,
    };
    if plain.len() == plain_len { Ok(plain) } else { Err(FormatFault::Compressed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_pays_is_compressed_and_nothing_grows_beyond_its_length() {
        let text = b"one anchor, ".repeat(100);
        let (codec, packed) = pack(&text, 1);
        assert_eq!(codec, Codec::Zstd);
        assert_eq!(unpack(codec, &packed, text.len()), Ok(text.clone()));
        assert_eq!(unpack(codec, &packed, text.len() - 1), Err(FormatFault::Compressed));
        assert_eq!(unpack(codec, &packed, text.len() + 1), Err(FormatFault::Compressed));
        assert_eq!(unpack(Codec::Raw, &text, 5), Err(FormatFault::Compressed));
        let (codec, packed) = pack(blake3::hash(b"noise").as_bytes(), 1);
        assert_eq!((codec, packed.len()), (Codec::Raw, 32));
        // A bomb: a megabyte of zeros said to be ten bytes.
        let (codec, bomb) = pack(&vec![0; 1 << 20], 1);
        assert_eq!(unpack(codec, &bomb, 10), Err(FormatFault::Compressed));
    }
}
