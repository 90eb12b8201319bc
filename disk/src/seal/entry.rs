//! Sealing the operations of a journal entry: they carry names, records and notes.

use keelhold_cipher::{Cipher, NONCE_LEN, TAG_LEN, Unsealable};

use super::DataKey;
use crate::mutants::Mutant;
use crate::units::PoolId;

const SALT_LEN: usize = 16;

/// How much longer a sealed body is: its salt in front, the tag behind.
pub const ENTRY_OVERHEAD: usize = SALT_LEN + TAG_LEN;

/// Each key seals one body, so any nonce will do.
const NONCE: [u8; NONCE_LEN] = [0; NONCE_LEN];

/// Which entry a body belongs to. See the [module](super) for why no two different bodies share a key.
#[derive(Debug, Clone, Copy)]
pub struct EntryOrigin<'a> {
    pub pool: PoolId,
    pub epoch: u64,
    pub sequence: u64,
    pub position: u64,
    /// The entry's own fields, in clear: parent, witnessed time, counts.
    pub fields: &'a [u8],
}

impl EntryOrigin<'_> {
    fn bound(&self, key: &DataKey) -> Vec<u8> {
        if !key.mutants.keeps(Mutant::SealPlace) {
            return Vec::new();
        }
        let numbers = [self.sequence, self.epoch, self.position].map(u64::to_le_bytes);
        [&self.pool.0[..], numbers.as_flattened(), self.fields].concat()
    }
}

impl DataKey {
    fn entry(&self, origin: &EntryOrigin<'_>, salt: &[u8]) -> Cipher {
        let numbers = [origin.epoch, origin.sequence, origin.position].map(u64::to_le_bytes);
        let key = self.derive("keelhold 2026 journal key", &[salt, numbers.as_flattened()]);
        Cipher::new(&key)
    }

    /// The body as it will stand in both copies of the entry.
    #[must_use]
    pub fn seal_body(&self, origin: &EntryOrigin<'_>, salt: [u8; SALT_LEN], ops: &[u8]) -> Vec<u8> {
        let mut body = vec![0; ops.len() + ENTRY_OVERHEAD];
        let (front, rest) = body.split_at_mut(SALT_LEN);
        front.copy_from_slice(&salt);
        let cipher = self.entry(origin, &salt);
        cipher.seal_into(NONCE, &origin.bound(self), ops, rest);
        body
    }

    /// The plain operations of a sealed body.
    pub fn open_body(&self, origin: &EntryOrigin<'_>, body: &[u8]) -> Result<Vec<u8>, Unsealable> {
        let (salt, sealed) = body.split_at_checked(SALT_LEN).ok_or(Unsealable)?;
        let mut ops = sealed.to_vec();
        let cipher = self.entry(origin, salt);
        let len = cipher.open(NONCE, &origin.bound(self), &mut ops)?;
        ops.truncate(len);
        Ok(ops)
    }
}
