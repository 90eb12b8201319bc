//! Argon2id with parameters that are bounded wherever they come from.

use argon2::{Algorithm, Argon2, Params, Version};
use keelhold_cipher::KEY_LEN;
use thiserror::Error;
use zeroize::Zeroizing;

use super::passphrase::Passphrase;

const MEMORY_KIB_MIN: u32 = 8 << 10;
/// A slot that somebody forged must not be able to exhaust the machine that reads it.
const MEMORY_KIB_MAX: u32 = 2 << 20;
const PASSES_MAX: u32 = 16;
const LANES_MAX: u32 = 16;

/// What one guess of a passphrase costs. Only values within bounds exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KdfParams {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum KdfError {
    #[error(
        "{memory_kib} KiB of memory are asked for, allowed are {MEMORY_KIB_MIN} to {MEMORY_KIB_MAX}"
    )]
    Memory { memory_kib: u32 },
    #[error("{passes} passes are asked for, allowed are 1 to {PASSES_MAX}")]
    Passes { passes: u32 },
    #[error("{lanes} lanes are asked for, allowed are 1 to {LANES_MAX}")]
    Lanes { lanes: u32 },
    #[error("{memory_kib} KiB of memory could not be had")]
    OutOfMemory { memory_kib: u32 },
}

impl KdfParams {
    pub fn new(memory_kib: u32, passes: u32, lanes: u32) -> Result<Self, KdfError> {
        if !(MEMORY_KIB_MIN..=MEMORY_KIB_MAX).contains(&memory_kib) {
            return Err(KdfError::Memory { memory_kib });
        }
        if !(1..=PASSES_MAX).contains(&passes) {
            return Err(KdfError::Passes { passes });
        }
        if !(1..=LANES_MAX).contains(&lanes) {
            return Err(KdfError::Lanes { lanes });
        }
        Ok(Self { memory_kib, passes, lanes })
    }

    /// What new slots take on a machine with so much memory: 1 GiB, or 256 MiB below 4 GiB. RFC 9106
    /// recommends 3 passes and 4 lanes where memory is not without limit.
    #[must_use]
    pub fn for_machine(memory_bytes: u64) -> Self {
        let memory_kib = if memory_bytes >= 4 << 30 { 1 << 20 } else { 256 << 10 };
        Self { memory_kib, passes: 3, lanes: 4 }
    }

    #[must_use]
    pub fn memory_kib(self) -> u32 {
        self.memory_kib
    }

    #[must_use]
    pub fn passes(self) -> u32 {
        self.passes
    }

    #[must_use]
    pub fn lanes(self) -> u32 {
        self.lanes
    }

    pub(super) fn stretch(
        self,
        passphrase: &Passphrase,
        salt: &[u8; 16],
    ) -> Result<Zeroizing<[u8; KEY_LEN]>, KdfError> {
        let params = Params::new(self.memory_kib, self.passes, self.lanes, Some(KEY_LEN))
            .expect("the bounds of this type lie inside those of Argon2");
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let mut secret = Zeroizing::new([0; KEY_LEN]);
        argon2
            .hash_password_into(passphrase.as_bytes(), salt, &mut secret[..])
            .map_err(|_| KdfError::OutOfMemory { memory_kib: self.memory_kib })?;
        Ok(secret)
    }
}
