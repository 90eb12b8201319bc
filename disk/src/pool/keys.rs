//! The pool's keys: out of a superblock with the key from outside, and back into the next one.

use std::fmt;

use keelhold_chunk::cut::CutParams;
use keelhold_chunk::{DecodeError, Reader};
use zeroize::{Zeroize as _, Zeroizing};

use super::create::CreateOptions;
use super::layout::Fixed;
use super::run::RunPlace;
use super::{Inner, Pool, Work};
use crate::device::Device;
use crate::error::{CommitError, OpenError};
use crate::format::{FEATURE_ENCRYPTED, Features, RunHeader, Superblock};
use crate::mutants::Mutants;
use crate::seal::{
    DataKey, KEY_LEN, RunOrigin, RunSeal, Secrets, UnwrapError, Wrapped, WrappingKey,
};
use crate::units::{PoolId, UnixNanos};

/// Number of the data key that runs name. There is one: it lives as long as the pool.
pub(super) const DATA_KEY: u32 = 1;

/// Wrapped keys, as superblocks carry them.
#[derive(Debug, Clone)]
pub(super) struct Wrapping {
    number: u32,
    wrapped: Wrapped,
}

/// What decides where content is cut and how chunks are named. Whoever makes another pool with it, for
/// an appliance whose pool was lost, need not send again what is known elsewhere.
pub struct ContentKeys {
    pub id_key: [u8; KEY_LEN],
    /// Encoded parameters of the cutter, its seed among them.
    pub cut: Vec<u8>,
}

impl ContentKeys {
    /// Options for a pool that cuts and names as the one these keys are from.
    pub fn into_options(self, options: CreateOptions) -> Result<CreateOptions, DecodeError> {
        let mut reader = Reader::new(&self.cut);
        let cut = CutParams::decode(&mut reader)?;
        reader.finish()?;
        Ok(CreateOptions { id_key: Some(self.id_key), cut: Some(cut), ..options })
    }
}

impl Drop for ContentKeys {
    fn drop(&mut self) {
        self.id_key.zeroize();
        self.cut.zeroize();
    }
}

impl fmt::Debug for ContentKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ContentKeys(secret)")
    }
}

/// Everything secret in a superblock, opened.
pub(super) struct Keys {
    pub(super) secrets: Secrets,
    pub(super) data_key: Option<DataKey>,
    pub(super) wrapping: Option<Wrapping>,
}

impl Keys {
    /// Keys of a new pool: encrypted, if there is a key to wrap with.
    pub(super) fn make(
        secrets: Secrets,
        pool: PoolId,
        key: Option<&WrappingKey>,
        mut random: impl FnMut(&mut [u8]),
    ) -> Self {
        let Some(key) = key else {
            return Self { secrets, data_key: None, wrapping: None };
        };
        let mut bytes = Zeroizing::new([0; KEY_LEN]);
        random(&mut bytes[..]);
        let data_key = DataKey::new(bytes, Mutants::default());
        let number = 1;
        let wrapped = Wrapped::make(key, (pool, number), &data_key, &secrets, random);
        Self { secrets, data_key: Some(data_key), wrapping: Some(Wrapping { number, wrapped }) }
    }

    /// The keys a superblock carries.
    pub(super) fn open(
        superblock: &Superblock,
        pool: PoolId,
        key: Option<&WrappingKey>,
        mutants: Mutants,
    ) -> Result<Self, OpenError> {
        let number = superblock.key_number;
        if superblock.is_encrypted() != (number != 0) {
            return Err(OpenError::Contradiction { what: "feature bits and key number" });
        }
        if !superblock.is_encrypted() {
            // Whoever has a key expects sealed bytes: these may have been put in their place.
            if key.is_some() {
                return Err(OpenError::NotEncrypted);
            }
            let secrets = Secrets {
                id_key: superblock.id_key,
                index_secret: superblock.index_secret,
                cut_params: superblock.cut_params.clone(),
            };
            return Ok(Self { secrets, data_key: None, wrapping: None });
        }
        let wrapped = Wrapped::from_bytes(&superblock.wrapped_key).map_err(OpenError::Tables)?;
        let key = key.ok_or(OpenError::KeyNeeded)?;
        let opened = wrapped.open(key, (pool, number), mutants);
        let (data_key, secrets) = opened.map_err(|error| match error {
            UnwrapError::WrongKey => OpenError::WrongKey { number },
            UnwrapError::Damaged => OpenError::Contradiction { what: "the wrapped keys" },
        })?;
        let wrapping = Some(Wrapping { number, wrapped });
        Ok(Self { secrets, data_key: Some(data_key), wrapping })
    }
}

/// Puts keys into a superblock: in clear, or wrapped and nothing else.
pub(super) fn lock(
    superblock: Superblock,
    secrets: &Secrets,
    wrapping: Option<&Wrapping>,
) -> Superblock {
    match wrapping {
        None => Superblock {
            id_key: secrets.id_key,
            cut_params: secrets.cut_params.clone(),
            index_secret: secrets.index_secret,
            ..superblock
        },
        Some(Wrapping { number, wrapped }) => {
            let incompatible = superblock.features.incompatible | FEATURE_ENCRYPTED;
            Superblock {
                features: Features { incompatible, ..superblock.features },
                key_number: *number,
                wrapped_key: wrapped.to_bytes(),
                ..superblock
            }
        }
    }
}

impl Fixed {
    pub(super) fn is_encrypted(&self) -> bool {
        self.seal.is_some()
    }

    /// What runs made now name as their key.
    pub(super) fn key_number(&self) -> u32 {
        if self.is_encrypted() { DATA_KEY } else { 0 }
    }

    /// The key of the run that has this header and was made for this place.
    pub(super) fn run_seal(&self, at: &RunPlace, header: &RunHeader) -> Option<RunSeal> {
        let origin = RunOrigin {
            pool: self.pool,
            container: at.container,
            generation: at.generation_salt,
            block: at.block,
            salt: header.salt,
        };
        self.seal.as_ref().map(|key| key.run(&origin))
    }
}

impl<D: Device, W: Work> Inner<D, W> {
    /// The superblock with the pool's keys in it.
    pub(super) fn with_keys(&self, superblock: Superblock) -> Superblock {
        let secrets = Secrets {
            id_key: *self.fixed.id_key.as_bytes(),
            index_secret: self.fixed.index_secret,
            cut_params: self.fixed.cut.to_bytes(),
        };
        lock(superblock, &secrets, self.wrapping.borrow().as_ref())
    }
}

impl<D: Device, W: Work> Pool<D, W> {
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.inner.fixed.is_encrypted()
    }

    /// For who keeps them where the pool is kept as well; they are as secret as what they name.
    #[must_use]
    pub fn content_keys(&self) -> ContentKeys {
        let fixed = &self.inner.fixed;
        ContentKeys { id_key: *fixed.id_key.as_bytes(), cut: fixed.cut.to_bytes() }
    }

    /// Number of the wrapping key in use; 0 if the pool is not encrypted.
    #[must_use]
    pub fn key_number(&self) -> u32 {
        self.inner.wrapping.borrow().as_ref().map_or(0, |wrapping| wrapping.number)
    }

    /// Wraps the data key with another key: once this returns, the former key opens nothing any more.
    /// What is stored stays as it is. Gives the number of the new key; none where the pool is not
    /// encrypted.
    ///
    /// After a failure only the disks know which of the two keys holds: the pool takes no more
    /// changes until it is opened again.
    pub async fn rotate_key(
        &self,
        key: &WrappingKey,
        now: UnixNanos,
    ) -> Result<Option<u32>, CommitError> {
        let inner = &self.inner;
        let Some(data_key) = &inner.fixed.seal else {
            return Ok(None);
        };
        // Not while a checkpoint is being made: it would write the old key after the new one.
        let mut checkpoints = inner.checkpoints.lock().await;
        let Some(old) = inner.wrapping.borrow().clone() else {
            return Ok(None);
        };
        let number = old.number + 1;
        let random = |bytes: &mut [u8]| inner.entropy.borrow_mut().fill(bytes);
        let wrapped = old.wrapped.rewrapped(key, (inner.fixed.pool, number), data_key, random);
        inner.wrapping.replace(Some(Wrapping { number, wrapped }));
        inner.witness(now);
        let made = inner.make_checkpoint(&mut checkpoints).await;
        if made.is_err() && inner.journal.check().is_ok() {
            // Refused before anything was written, for want of room.
            inner.wrapping.replace(Some(old));
        }
        made.map(|()| Some(number))
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(secret)")
    }
}
