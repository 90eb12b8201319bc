//! The cipher: AES-256-GCM, its tag behind the sealed bytes.
//!
//! A crate of its own for one reason. The cipher is generic code and is compiled where it is used; the
//! pool keeps its debug assertions in released programs, and with them the very same loops run at half
//! their speed (1.0 instead of 0.5 CPU seconds a GiB, measured). Here they are compiled without.

#![forbid(unsafe_code)]

use std::fmt;

use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::{AeadInOut, Aes256Gcm, KeyInit};

pub const KEY_LEN: usize = 32;
pub const NONCE_LEN: usize = 12;
/// How much longer sealed bytes are than plain ones.
pub const TAG_LEN: usize = 16;

/// Sealed bytes are not what was sealed under this key, nonce and associated data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsealable;

impl fmt::Display for Unsealable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sealed bytes were altered or belong elsewhere")
    }
}

impl std::error::Error for Unsealable {}

/// A key ready to be used; it overwrites its memory when it goes.
pub struct Cipher(Aes256Gcm);

// None of these may be compiled into the caller: see above.
impl Cipher {
    #[must_use]
    #[inline(never)]
    pub fn new(key: &[u8; KEY_LEN]) -> Self {
        Self(Aes256Gcm::new(key.into()))
    }

    /// Seals `plain` into `sealed`, which is by the tag longer. One pass: nothing is copied first.
    ///
    /// # Panics
    /// If the lengths do not fit each other.
    #[inline(never)]
    pub fn seal_into(&self, nonce: [u8; NONCE_LEN], bound: &[u8], plain: &[u8], sealed: &mut [u8]) {
        assert_eq!(plain.len() + TAG_LEN, sealed.len(), "room for the tag, and no more");
        let (body, tag) = sealed.split_at_mut(plain.len());
        let body = InOutBuf::new(plain, body).expect("lengths are the same");
        self.tag(nonce, bound, body, tag);
    }

    /// Seals in place; the last [`TAG_LEN`] bytes become the tag.
    ///
    /// # Panics
    /// If there is no room for the tag.
    #[inline(never)]
    pub fn seal(&self, nonce: [u8; NONCE_LEN], bound: &[u8], bytes: &mut [u8]) {
        let (body, tag) = bytes.split_at_mut(bytes.len() - TAG_LEN);
        self.tag(nonce, bound, body.into(), tag);
    }

    fn tag(
        &self,
        nonce: [u8; NONCE_LEN],
        bound: &[u8],
        body: InOutBuf<'_, '_, u8>,
        tag: &mut [u8],
    ) {
        let made = self.0.encrypt_inout_detached(&nonce.into(), bound, body);
        tag.copy_from_slice(&made.expect("nothing here is as long as GCM's limit of 64 GiB"));
    }

    /// Opens in place, all but the tag at the end; gives the plain length. Bytes that do not open stay
    /// as they are.
    #[inline(never)]
    pub fn open(
        &self,
        nonce: [u8; NONCE_LEN],
        bound: &[u8],
        bytes: &mut [u8],
    ) -> Result<usize, Unsealable> {
        let len = bytes.len().checked_sub(TAG_LEN).ok_or(Unsealable)?;
        let (body, tag) = bytes.split_at_mut(len);
        let tag: &[u8; TAG_LEN] = (&*tag).try_into().map_err(|_| Unsealable)?;
        let opened = self.0.decrypt_inout_detached(&nonce.into(), bound, body.into(), tag.into());
        opened.map(|()| len).map_err(|_| Unsealable)
    }
}

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cipher(secret)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Test case 14 of the GCM specification: the format is AES-256-GCM and nothing else.
    #[test]
    fn the_cipher_is_the_standard_one() {
        let cipher = Cipher::new(&[0; KEY_LEN]);
        let mut sealed = [0; 32];
        cipher.seal_into([0; NONCE_LEN], &[], &[0; 16], &mut sealed);
        let expected = [
            0xce, 0xa7, 0x40, 0x3d, 0x4d, 0x60, 0x6b, 0x6e, 0x07, 0x4e, 0xc5, 0xd3, 0xba, 0xf3,
            0x9d, 0x18, 0xd0, 0xd1, 0xc8, 0xa7, 0x99, 0x99, 0x6b, 0xf0, 0x26, 0x5b, 0x98, 0xb5,
            0xd4, 0x8a, 0xb9, 0x19,
        ];
        assert_eq!(sealed, expected);
        assert_eq!(cipher.open([0; NONCE_LEN], &[], &mut sealed), Ok(16));
        assert_eq!(sealed[..16], [0; 16]);
    }
}
