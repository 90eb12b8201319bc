//! The cipher: AES-256-GCM with its tag behind the sealed bytes.

use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::{AeadInOut, Aes256Gcm, KeyInit};

use super::{KEY_LEN, Unsealable};

/// How much longer sealed bytes are than plain ones.
pub const TAG_LEN: usize = 16;
pub(super) const NONCE_LEN: usize = 12;

/// A key ready to be used; it overwrites its memory when it goes.
pub(super) struct Cipher(Aes256Gcm);

impl Cipher {
    pub(super) fn new(key: &[u8; KEY_LEN]) -> Self {
        Self(Aes256Gcm::new(key.into()))
    }

    /// Seals `plain` into `sealed`, which is by the tag longer. One pass: nothing is copied first.
    pub(super) fn seal_into(
        &self,
        nonce: [u8; NONCE_LEN],
        bound: &[u8],
        plain: &[u8],
        sealed: &mut [u8],
    ) {
        assert_eq!(plain.len() + TAG_LEN, sealed.len(), "room for the tag, and no more");
        let (body, tag) = sealed.split_at_mut(plain.len());
        let body = InOutBuf::new(plain, body).expect("lengths are the same");
        self.tag(nonce, bound, body, tag);
    }

    /// Seals in place; the last [`TAG_LEN`] bytes become the tag.
    pub(super) fn seal(&self, nonce: [u8; NONCE_LEN], bound: &[u8], bytes: &mut [u8]) {
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
    pub(super) fn open(
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
