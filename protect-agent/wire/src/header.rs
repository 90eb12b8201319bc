//! The twelve bytes before every body.
//!
//! | offset | size | name | meaning |
//! |---|---|---|---|
//! | 0 | 4 | `len` | length of the body |
//! | 4 | 1 | `kind` | which message |
//! | 5 | 1 | `flags` | 0 |
//! | 6 | 2 | `reserved` | 0 |
//! | 8 | 4 | `crc` | CRC-32 of the first eight bytes and the body |
//!
//! TLS already proves who sent the bytes. The checksum finds what TLS cannot: memory that broke
//! before it was sealed, and a reader that lost its place.

use crate::error::WireError;

pub const HEADER_LEN: usize = 12;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub body_len: u32,
    pub kind: u8,
    crc: u32,
}

impl Header {
    /// The header for `body`, as bytes.
    #[must_use]
    pub fn seal(kind: u8, body: &[u8]) -> [u8; HEADER_LEN] {
        assert!(body.len() <= crate::limits::BODY_LEN_MAX, "a message is built within its limits");
        let [a, b, c, d] = (body.len() as u32).to_le_bytes();
        let head = [a, b, c, d, kind, 0, 0, 0];
        let [e, f, g, h] = checksum(&head, body).to_le_bytes();
        [a, b, c, d, kind, 0, 0, 0, e, f, g, h]
    }

    /// Understands the header; nothing may be allocated for a body before this said yes.
    pub fn open(bytes: [u8; HEADER_LEN], body_len_max: usize) -> Result<Self, WireError> {
        let [a, b, c, d, kind, flags, r, s, e, f, g, h] = bytes;
        let body_len = u32::from_le_bytes([a, b, c, d]);
        if body_len as usize > body_len_max {
            return Err(WireError::TooLong { kind, len: body_len, limit: body_len_max });
        }
        if (flags, r, s) != (0, 0, 0) {
            return Err(WireError::Reserved { kind });
        }
        Ok(Self { body_len, kind, crc: u32::from_le_bytes([e, f, g, h]) })
    }

    pub fn check(&self, body: &[u8]) -> Result<(), WireError> {
        let [a, b, c, d] = self.body_len.to_le_bytes();
        let found = checksum(&[a, b, c, d, self.kind, 0, 0, 0], body);
        if found == self.crc {
            Ok(())
        } else {
            Err(WireError::Checksum { kind: self.kind, expected: self.crc, found })
        }
    }
}

fn checksum(head: &[u8; 8], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(head);
    hasher.update(body);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_flipped_bit_is_noticed() {
        let body = b"some body";
        let sealed = Header::seal(7, body);
        let open = |bytes| Header::open(bytes, 9).and_then(|header| header.check(body));
        assert_eq!(open(sealed), Ok(()));
        for bit in 0..HEADER_LEN * 8 {
            let mut other = sealed;
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(open(other).is_err(), "bit {bit}");
        }
        assert!(Header::open(sealed, 8).is_err());
    }
}
