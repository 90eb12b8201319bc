//! Keys of a vault: a random master key, wrapped in slots, and one key for each thing that is sealed.
//!
//! No key meets a nonce twice: every object and every manifest has a key of its own, derived from
//! random bytes that were drawn for it and are in its head, and inside it a nonce says what is sealed.
//! Nothing that a crash interrupted is ever put together again under the same random bytes. VAULT.md,
//! section 7, has the argument.

mod kdf;
mod passphrase;
mod slot;
mod slots;

use std::fmt;

use keelhold_cipher::{Cipher, KEY_LEN};
use zeroize::Zeroizing;

use crate::random::Random;
use crate::units::{ManifestNumber, ObjectId, VaultId};

pub use kdf::{KdfError, KdfParams};
pub use passphrase::{PASSPHRASE_CHARS_MIN, Passphrase, PassphraseFault};
pub use slot::{KitShape, SLOT_LEN, Slot, SlotFault, SlotKind};
pub use slots::{MasterCheck, OpenError, SLOTS_MAX, Slots, SlotsFault};

/// A key from what it is for and what makes it one of a kind.
pub(crate) fn derive(context: &str, parts: &[&[u8]]) -> Zeroizing<[u8; KEY_LEN]> {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    for part in parts {
        hasher.update(part);
    }
    Zeroizing::new(*hasher.finalize().as_bytes())
}

/// The key everything in a vault is derived from.
#[derive(Clone)]
pub struct MasterKey {
    vault: VaultId,
    /// Counts the master keys of the vault, from 1.
    number: u32,
    bytes: Zeroizing<[u8; KEY_LEN]>,
}

impl MasterKey {
    /// The first master key of a new vault.
    #[must_use]
    pub fn draw(vault: VaultId, random: &mut impl Random) -> Self {
        Self { vault, number: 1, bytes: Zeroizing::new(random.array()) }
    }

    /// A master key that was kept elsewhere.
    #[must_use]
    pub fn from_bytes(vault: VaultId, number: u32, bytes: Zeroizing<[u8; KEY_LEN]>) -> Self {
        Self { vault, number, bytes }
    }

    /// The key itself, for who keeps it.
    #[must_use]
    pub fn expose(&self) -> &Zeroizing<[u8; KEY_LEN]> {
        &self.bytes
    }

    #[must_use]
    pub fn vault(&self) -> VaultId {
        self.vault
    }

    #[must_use]
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Tells this key from every other without telling the key.
    #[must_use]
    pub fn check(&self) -> MasterCheck {
        let number = self.number.to_le_bytes();
        let parts = [&self.bytes[..], &self.vault.0, &number];
        MasterCheck(*derive("keelhold 2026 vault master check", &parts))
    }

    /// What seals an object. Its id must never have been used for other content.
    #[must_use]
    pub fn object(&self, object: ObjectId) -> Cipher {
        let parts = [&self.bytes[..], &self.vault.0, &object.0];
        Cipher::new(&derive("keelhold 2026 vault object key", &parts))
    }

    /// What seals the body of a manifest.
    #[must_use]
    pub fn manifest(&self, number: ManifestNumber, salt: &[u8; 16]) -> Cipher {
        let number = number.0.to_le_bytes();
        let parts = [&self.bytes[..], &self.vault.0, salt, &number];
        Cipher::new(&derive("keelhold 2026 vault manifest key", &parts))
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MasterKey(secret of {}, number {})", self.vault, self.number)
    }
}

/// The random secret behind a recovery kit: what the shares give when enough of them are together.
#[derive(Clone)]
pub struct KitSecret(Zeroizing<[u8; KEY_LEN]>);

/// Tells one kit from another without telling its secret.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KitId(pub [u8; 8]);

impl KitSecret {
    #[must_use]
    pub fn draw(random: &mut impl Random) -> Self {
        Self(Zeroizing::new(random.array()))
    }

    /// A secret that was kept elsewhere, or came out of shares.
    #[must_use]
    pub fn from_bytes(bytes: Zeroizing<[u8; KEY_LEN]>) -> Self {
        Self(bytes)
    }

    /// The secret itself, for who keeps or divides it.
    #[must_use]
    pub fn expose(&self) -> &Zeroizing<[u8; KEY_LEN]> {
        &self.0
    }

    pub(crate) fn as_bytes(&self) -> &[u8; KEY_LEN] {
        &self.0
    }

    #[must_use]
    pub fn id(&self, vault: VaultId) -> KitId {
        let derived = derive("keelhold 2026 vault kit id", &[&self.0[..], &vault.0]);
        let mut id = [0; 8];
        id.copy_from_slice(&derived[..8]);
        KitId(id)
    }
}

impl fmt::Debug for KitSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KitSecret(secret)")
    }
}

impl fmt::Display for KitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KitId({self})")
    }
}

#[cfg(test)]
mod tests;
