//! The data key under the wrapping key, and the pool's secrets under the data key: what the superblock
//! of an encrypted pool carries.

use std::fmt;

use keelhold_chunk::{DecodeError, Reader, Writer};
use keelhold_cipher::{Cipher, KEY_LEN, NONCE_LEN, TAG_LEN};
use zeroize::{Zeroize, Zeroizing};

use super::{DataKey, WrappingKey};
use crate::mutants::Mutants;
use crate::units::PoolId;

const CHECK_LEN: usize = 16;
const VERSION: u8 = 1;
/// Longest sealed secrets a decoder takes: two keys and the cutter's parameters are far shorter.
const SECRETS_LEN_MAX: usize = 256;

/// What nobody may learn from the disks of an encrypted pool, beside its content.
#[derive(Clone, PartialEq, Eq)]
pub struct Secrets {
    pub id_key: [u8; KEY_LEN],
    pub index_secret: [u8; KEY_LEN],
    /// Encoded parameters of the cutter, its seed among them.
    pub cut_params: Vec<u8>,
}

/// Keys as the superblock carries them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrapped {
    /// Tells a wrong key from damage, and fixes which key it is: AES-GCM alone would open under
    /// another key that somebody made for the purpose.
    check: [u8; CHECK_LEN],
    nonce: [u8; NONCE_LEN],
    data_key: [u8; KEY_LEN + TAG_LEN],
    secrets_nonce: [u8; NONCE_LEN],
    secrets: Vec<u8>,
}

/// Why wrapped keys do not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnwrapError {
    #[error("the key is not the one that wraps the pool's data key")]
    WrongKey,
    #[error("the wrapped keys are damaged")]
    Damaged,
}

fn check(key: &WrappingKey, pool: PoolId, number: u32) -> [u8; CHECK_LEN] {
    let mut hasher = blake3::Hasher::new_derive_key("keelhold 2026 wrapping key check");
    hasher.update(&key.0[..]).update(&pool.0).update(&number.to_le_bytes());
    let mut check = [0; CHECK_LEN];
    check.copy_from_slice(&hasher.finalize().as_bytes()[..CHECK_LEN]);
    check
}

fn bound(pool: PoolId, number: u32) -> Vec<u8> {
    [&pool.0[..], &number.to_le_bytes()].concat()
}

impl DataKey {
    fn secrets_cipher(&self) -> Cipher {
        Cipher::new(&self.derive("keelhold 2026 superblock secrets", &[]))
    }
}

impl Wrapped {
    /// Wraps `data_key` and seals `secrets`: for a new pool. `random` fills nonces.
    #[must_use]
    pub fn make(
        key: &WrappingKey,
        (pool, number): (PoolId, u32),
        data_key: &DataKey,
        secrets: &Secrets,
        mut random: impl FnMut(&mut [u8]),
    ) -> Self {
        let mut secrets_nonce = [0; NONCE_LEN];
        random(&mut secrets_nonce);
        let plain = Zeroizing::new(secrets.to_bytes());
        let mut sealed = vec![0; plain.len() + TAG_LEN];
        data_key.secrets_cipher().seal_into(secrets_nonce, &pool.0, &plain, &mut sealed);
        let empty = Self {
            check: [0; CHECK_LEN],
            nonce: [0; NONCE_LEN],
            data_key: [0; KEY_LEN + TAG_LEN],
            secrets_nonce,
            secrets: sealed,
        };
        empty.rewrapped(key, (pool, number), data_key, random)
    }

    /// The same keys under another wrapping key. Secrets stay sealed as they are.
    #[must_use]
    pub fn rewrapped(
        &self,
        key: &WrappingKey,
        (pool, number): (PoolId, u32),
        data_key: &DataKey,
        mut random: impl FnMut(&mut [u8]),
    ) -> Self {
        let mut wrapped = Self { check: check(key, pool, number), ..self.clone() };
        random(&mut wrapped.nonce);
        let cipher = Cipher::new(&key.0);
        let (bound, plain) = (bound(pool, number), &data_key.bytes[..]);
        cipher.seal_into(wrapped.nonce, &bound, plain, &mut wrapped.data_key);
        wrapped
    }

    /// Opens the keys.
    pub fn open(
        &self,
        key: &WrappingKey,
        (pool, number): (PoolId, u32),
        mutants: Mutants,
    ) -> Result<(DataKey, Secrets), UnwrapError> {
        if check(key, pool, number) != self.check {
            return Err(UnwrapError::WrongKey);
        }
        let damaged = |_| UnwrapError::Damaged;
        let mut room = Zeroizing::new(self.data_key);
        let cipher = Cipher::new(&key.0);
        cipher.open(self.nonce, &bound(pool, number), &mut room[..]).map_err(damaged)?;
        let mut bytes = Zeroizing::new([0; KEY_LEN]);
        bytes.copy_from_slice(&room[..KEY_LEN]);
        let data_key = DataKey::new(bytes, mutants);
        let mut plain = Zeroizing::new(self.secrets.clone());
        let cipher = data_key.secrets_cipher();
        let len = cipher.open(self.secrets_nonce, &pool.0, &mut plain).map_err(damaged)?;
        let secrets = Secrets::from_bytes(&plain[..len]).map_err(|_| UnwrapError::Damaged)?;
        Ok((data_key, secrets))
    }

    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.u8(VERSION);
        writer.raw(&self.check);
        writer.raw(&self.nonce);
        writer.raw(&self.data_key);
        writer.raw(&self.secrets_nonce);
        writer.bytes(&self.secrets);
        writer.finish()
    }

    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let version = reader.u8()?;
        if version != VERSION {
            return Err(reader.undefined("wrapped key version", u64::from(version)));
        }
        let wrapped = Self {
            check: reader.array()?,
            nonce: reader.array()?,
            data_key: reader.array()?,
            secrets_nonce: reader.array()?,
            secrets: reader.bytes(SECRETS_LEN_MAX)?.to_vec(),
        };
        reader.finish()?;
        Ok(wrapped)
    }
}

impl Secrets {
    fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.raw(&self.id_key);
        writer.raw(&self.index_secret);
        writer.bytes(&self.cut_params);
        writer.finish()
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let secrets = Self {
            id_key: reader.array()?,
            index_secret: reader.array()?,
            cut_params: reader.bytes(SECRETS_LEN_MAX)?.to_vec(),
        };
        reader.finish()?;
        Ok(secrets)
    }
}

impl Drop for Secrets {
    fn drop(&mut self) {
        self.id_key.zeroize();
        self.index_secret.zeroize();
        self.cut_params.zeroize();
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets(secret)")
    }
}
