//! The small file that says what the entries file is about. It is rewritten after every session;
//! the entries only when some of them changed.

use keelhold_chunk::{DecodeError, Reader, Writer};

const MAGIC: &[u8; 8] = b"KHAGHEAD";

/// Which basis the entries describe, and in which file they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    pub basis: [u8; 16],
    pub entry_count: u64,
    /// Part of the entries file's name.
    pub generation: u64,
}

impl Head {
    pub(crate) fn to_bytes(self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.raw(MAGIC);
        writer.raw(&self.basis);
        writer.u64(self.entry_count);
        writer.u64(self.generation);
        let mut bytes = writer.finish();
        let crc = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// `None` for whatever this version did not write.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (body, crc) = bytes.split_last_chunk::<4>()?;
        if crc32fast::hash(body) != u32::from_le_bytes(*crc) {
            return None;
        }
        let take = || -> Result<Option<Self>, DecodeError> {
            let mut reader = Reader::new(body);
            let magic = reader.array::<8>()?;
            let head = Self {
                basis: reader.array()?,
                entry_count: reader.u64()?,
                generation: reader.u64()?,
            };
            reader.finish()?;
            Ok((&magic == MAGIC).then_some(head))
        };
        take().ok().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_byte_makes_it_nothing() {
        let head = Head { basis: [7; 16], entry_count: 1 << 40, generation: 3 };
        let bytes = head.to_bytes();
        assert_eq!(Head::from_bytes(&bytes), Some(head));
        for at in 0..bytes.len() {
            let mut other = bytes.clone();
            other[at] ^= 1;
            assert_eq!(Head::from_bytes(&other), None, "byte {at}");
            assert_eq!(Head::from_bytes(&bytes[..at]), None);
        }
    }
}
