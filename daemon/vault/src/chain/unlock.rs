//! From bytes to a manifest: whose slots are tried, how often, and with what.

use std::sync::Arc;

use bytes::Bytes;

use super::Unlock;
use super::error::{ChainError, Void, VoidReason};
use crate::format::{ClearManifest, Manifest, Parent};
use crate::keys::{MasterKey, OpenError, Slots};
use crate::units::ManifestNumber;

/// Different tables of slots a passphrase is tried on: each may cost what its forger wanted it to.
const TABLES_MAX: usize = 4;

/// A manifest that opened.
#[derive(Debug)]
pub(super) struct Believed {
    pub is: Parent,
    pub slots: Slots,
    pub manifest: Manifest,
    pub len: u64,
}

/// Opens manifests. Has the master key from the first one that opened.
pub(super) struct Opener<'a> {
    unlock: Unlock<'a>,
    master: Option<Arc<MasterKey>>,
    /// Tables of slots that did not open.
    tried: Vec<(Slots, OpenError)>,
    /// Manifests whose slots did not open before another's did.
    refused: Vec<(ManifestNumber, Bytes, OpenError)>,
}

impl<'a> Opener<'a> {
    pub fn new(unlock: Unlock<'a>) -> Self {
        let master = match unlock {
            Unlock::Master(master) => Some(Arc::new(master.clone())),
            Unlock::Passphrase(_) | Unlock::Kit(_) => None,
        };
        Self { unlock, master, tried: Vec::new(), refused: Vec::new() }
    }

    pub fn master(&self) -> Option<&Arc<MasterKey>> {
        self.master.as_ref()
    }

    /// The manifest that stands under this number.
    pub fn open(&mut self, number: ManifestNumber, bytes: &Bytes) -> Result<Believed, VoidReason> {
        let clear = ClearManifest::read(bytes).map_err(VoidReason::Format)?;
        if clear.number != number {
            return Err(VoidReason::Number { found: clear.number });
        }
        if let Some(master) = &self.master {
            return believe(&clear, master, bytes);
        }
        match self.unlock(&clear.slots) {
            Ok(master) => {
                let believed = believe(&clear, &master, bytes)?;
                self.master = Some(Arc::new(master));
                Ok(believed)
            }
            Err(error) => {
                self.refused.push((number, bytes.clone(), error));
                Err(VoidReason::Unlock(error))
            }
        }
    }

    fn unlock(&mut self, slots: &Slots) -> Result<MasterKey, OpenError> {
        if let Some((_, error)) = self.tried.iter().find(|(tried, _)| tried == slots) {
            return Err(*error);
        }
        let opened = match self.unlock {
            Unlock::Master(master) => return Ok(master.clone()),
            Unlock::Passphrase(_) if self.tried.len() >= TABLES_MAX => {
                return Err(OpenError::WrongPassphrase);
            }
            Unlock::Passphrase(passphrase) => slots.open_with_passphrase(passphrase),
            Unlock::Kit(secret) => slots.open_with_kit(secret),
        };
        opened.inspect_err(|error| self.tried.push((slots.clone(), *error)))
    }

    /// Refuses a secret that opens older manifests only: what it opened is not the newest.
    pub fn refuse_replaced(&self, opens: ManifestNumber) -> Result<(), ChainError> {
        let Some(master) = &self.master else {
            return Ok(());
        };
        for (number, bytes, _) in &self.refused {
            let opened = ClearManifest::read(bytes).and_then(|clear| clear.open(master));
            if opened.is_ok() {
                return Err(ChainError::Replaced { number: *number, opens });
            }
        }
        Ok(())
    }

    /// Why nothing opened.
    pub fn nothing_opens(&self, void: Vec<Void>) -> ChainError {
        match self.refused.first() {
            Some((number, _, error)) => ChainError::Unlock { number: *number, error: *error },
            None if void.is_empty() => ChainError::Empty,
            None => ChainError::NothingOpens { void },
        }
    }
}

pub(super) fn believe(
    clear: &ClearManifest<'_>,
    master: &MasterKey,
    bytes: &[u8],
) -> Result<Believed, VoidReason> {
    let manifest = clear.open(master).map_err(VoidReason::Format)?;
    let (is, slots) = (clear.as_parent(), clear.slots.clone());
    Ok(Believed { is, slots, manifest, len: bytes.len() as u64 })
}
