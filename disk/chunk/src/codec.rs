//! Primitives of every variable-length encoding of Keelhold: fixed little-endian integers, varints
//! and length-prefixed bytes.
//!
//! Encodings are canonical: what [`Reader`] accepts, [`Writer`] would have written byte for byte
//! (varints have no superfluous bytes, a finished reader has nothing left). Bytes that are equal
//! therefore mean equal things, which deduplication and golden tests rely on.

use thiserror::Error;

/// Why bytes could not be understood. The place is the offset inside the decoded slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DecodeError {
    #[error("{needed} bytes needed at offset {offset}, {left} left")]
    Short { offset: usize, needed: usize, left: usize },
    #[error("number at offset {offset} is not in its shortest form or exceeds 64 bits")]
    Varint { offset: usize },
    #[error("length {len} at offset {offset} exceeds the limit of {limit}")]
    TooLong { offset: usize, len: u64, limit: u64 },
    #[error("value {value} of {what} at offset {offset} is not defined")]
    Undefined { offset: usize, what: &'static str, value: u64 },
    #[error("{left} bytes left over at offset {offset}")]
    Trailing { offset: usize, left: usize },
}

/// Appends encoded values to a byte vector.
#[derive(Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Continues at the end of `bytes`.
    #[must_use]
    pub fn over(bytes: Vec<u8>) -> Self {
        Self { bytes }
    }

    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub fn u8(&mut self, value: u8) {
        self.bytes.push(value);
    }

    pub fn u16(&mut self, value: u16) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    pub fn u32(&mut self, value: u32) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    pub fn u64(&mut self, value: u64) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    /// Unsigned LEB128.
    pub fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push((value as u8 & 0x7f) | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }

    /// Zigzag, then LEB128: small magnitudes of either sign are short.
    pub fn signed(&mut self, value: i64) {
        self.varint(((value << 1) ^ (value >> 63)) as u64);
    }

    /// Bytes without a length: the reader must know it.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// A varint length, then the bytes.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.varint(bytes.len() as u64);
        self.raw(bytes);
    }
}

/// Reads what [`Writer`] wrote; never panics and never allocates more than the input holds.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, offset: 0 }
    }

    #[must_use]
    pub fn offset(&self) -> usize {
        self.offset
    }

    #[must_use]
    pub fn left(&self) -> usize {
        self.bytes.len() - self.offset
    }

    #[must_use]
    pub fn is_at_end(&self) -> bool {
        self.left() == 0
    }

    /// Accepts the input only if nothing is left of it.
    pub fn finish(self) -> Result<(), DecodeError> {
        match self.left() {
            0 => Ok(()),
            left => Err(DecodeError::Trailing { offset: self.offset, left }),
        }
    }

    pub fn raw(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        if self.left() < len {
            return Err(DecodeError::Short { offset: self.offset, needed: len, left: self.left() });
        }
        let taken = &self.bytes[self.offset..self.offset + len];
        self.offset += len;
        Ok(taken)
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let mut array = [0; N];
        array.copy_from_slice(self.raw(N)?);
        Ok(array)
    }

    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(self.array::<1>()?[0])
    }

    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    pub fn varint(&mut self) -> Result<u64, DecodeError> {
        let start = self.offset;
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(DecodeError::Varint { offset: start });
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                if byte == 0 && shift > 0 {
                    return Err(DecodeError::Varint { offset: start });
                }
                return Ok(value);
            }
        }
        Err(DecodeError::Varint { offset: start })
    }

    /// A varint that must fit 32 bits.
    pub fn varint_u32(&mut self) -> Result<u32, DecodeError> {
        let offset = self.offset;
        let value = self.varint()?;
        u32::try_from(value).map_err(|_| DecodeError::TooLong {
            offset,
            len: value,
            limit: u64::from(u32::MAX),
        })
    }

    /// A count or length of things that follow, refused above `limit`.
    pub fn count(&mut self, limit: usize) -> Result<usize, DecodeError> {
        let offset = self.offset;
        let len = self.varint()?;
        match usize::try_from(len) {
            Ok(count) if count <= limit => Ok(count),
            _ => Err(DecodeError::TooLong { offset, len, limit: limit as u64 }),
        }
    }

    pub fn signed(&mut self) -> Result<i64, DecodeError> {
        let value = self.varint()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// Length-prefixed bytes of at most `limit`.
    pub fn bytes(&mut self, limit: usize) -> Result<&'a [u8], DecodeError> {
        let len = self.count(limit)?;
        self.raw(len)
    }

    /// An error about the value just read, at the current offset.
    #[must_use]
    pub fn undefined(&self, what: &'static str, value: u64) -> DecodeError {
        DecodeError::Undefined { offset: self.offset, what, value }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back() {
        for value in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX - 1, u64::MAX] {
            let mut writer = Writer::new();
            writer.varint(value);
            writer.signed(value as i64);
            let bytes = writer.finish();
            let mut reader = Reader::new(&bytes);
            assert_eq!(reader.varint(), Ok(value));
            assert_eq!(reader.signed(), Ok(value as i64));
            assert_eq!(reader.finish(), Ok(()));
        }
    }

    #[test]
    fn longer_forms_of_a_number_are_refused() {
        assert!(Reader::new(&[0x80, 0x00]).varint().is_err());
        assert!(Reader::new(&[0xff; 10]).varint().is_err());
        assert!(Reader::new(&[0x80]).varint().is_err());
    }

    #[test]
    fn a_length_beyond_the_input_is_an_error_before_anything_is_taken() {
        let mut writer = Writer::new();
        writer.varint(1 << 40);
        let bytes = writer.finish();
        assert!(matches!(Reader::new(&bytes).bytes(1 << 20), Err(DecodeError::TooLong { .. })));
        assert!(matches!(Reader::new(&[5, 1]).bytes(10), Err(DecodeError::Short { .. })));
    }
}
