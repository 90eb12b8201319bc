//! Encryption at rest: which key seals what, and why no key ever meets a nonce twice.
//!
//! ```text
//! wrapping key (32 bytes in a file, never on the disks)
//!   └─ wraps the data key (random, made with the pool, in every superblock)
//!        ├─ derives one key per run      ← random salt of the run
//!        ├─ derives one key per entry    ← random salt, epoch, sequence and position of the entry
//!        └─ derives the key of the secrets in the superblock
//! ```
//!
//! Everything is sealed with AES-256-GCM in place. GCM is broken by one key meeting one nonce with two
//! contents, so:
//!
//! - **Runs.** A run's salt is 16 random bytes drawn when the run is put together; a run is written once
//!   and never again under that salt, whatever a crash left of it. Inside a run the nonce is what is
//!   sealed (frame or chunk table) and its index.
//! - **Journal entries.** Each has a key of its own and seals once: both copies on the disks are the same
//!   bytes. The key depends on epoch and sequence. The epoch is one more than that of the newest root,
//!   and the first thing an opening makes durable, before it writes an entry, is a root with its
//!   epoch; so no two openings after one another write under the same epoch, and within an opening
//!   a sequence is given once (after a failed write nothing more is written). A root that comes back
//!   from the past, by an old image or by stale superblocks, breaks that argument: therefore 16 random
//!   bytes are in the key, too.
//! - **Wrapped data key.** A random nonce of 96 bits; a key file wraps a handful of times in its life.
//! - **Secrets of the superblock.** Sealed once, when the pool is made, and copied from then on.
//!
//! What is sealed is bound to its meaning by associated data: pool, place, kind, index, codec, length.
//! Stored bytes that belong elsewhere do not open, even if somebody who knows the checksum secret (it
//! is in clear in every label) gave them a sound head.

mod entry;
mod run;
mod wrap;

use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::mutants::Mutants;

pub use entry::{ENTRY_OVERHEAD, EntryOrigin};
pub use keelhold_cipher::{KEY_LEN, TAG_LEN, Unsealable};
pub use run::{RunOrigin, RunSeal};
pub use wrap::{Secrets, UnwrapError, Wrapped};

/// The key that wraps a pool's data key. It comes from outside and is never written to a disk.
#[derive(Clone)]
pub struct WrappingKey(Zeroizing<[u8; KEY_LEN]>);

impl WrappingKey {
    #[must_use]
    pub fn new(bytes: [u8; KEY_LEN]) -> Self {
        Self(Zeroizing::new(bytes))
    }
}

impl fmt::Debug for WrappingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WrappingKey(secret)")
    }
}

/// The key everything in a pool is sealed under. Clones share one memory, which is overwritten when
/// the last of them goes.
#[derive(Clone)]
pub struct DataKey {
    bytes: Arc<Zeroizing<[u8; KEY_LEN]>>,
    mutants: Mutants,
}

impl DataKey {
    #[must_use]
    pub fn new(bytes: Zeroizing<[u8; KEY_LEN]>, mutants: Mutants) -> Self {
        Self { bytes: Arc::new(bytes), mutants }
    }

    /// A key for one purpose, from the data key and what makes it one of a kind.
    fn derive(&self, context: &str, parts: &[&[u8]]) -> Zeroizing<[u8; KEY_LEN]> {
        let mut hasher = blake3::Hasher::new_derive_key(context);
        hasher.update(&self.bytes[..]);
        for part in parts {
            hasher.update(part);
        }
        Zeroizing::new(*hasher.finalize().as_bytes())
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey(secret)")
    }
}

#[cfg(test)]
mod tests;
