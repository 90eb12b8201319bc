//! One slot: the master key wrapped for a passphrase or for a recovery kit.

use keelhold_cipher::{Cipher, KEY_LEN, NONCE_LEN, TAG_LEN};
use thiserror::Error;
use zerocopy::little_endian::{I64, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};
use zeroize::Zeroizing;

use super::kdf::{KdfError, KdfParams};
use super::{KitId, MasterKey, derive};
use crate::random::Random;
use crate::units::VaultId;

/// Most shares a kit may have.
pub(crate) const SHARES_MAX: u8 = 16;

#[derive(
    Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Debug,
)]
#[repr(C)]
struct RawSlot {
    kind: u8,
    number: u8,
    shares: u8,
    need: u8,
    key_number: U32,
    memory_kib: U32,
    passes: U32,
    lanes: U32,
    kit: [u8; 8],
    made_at: I64,
    salt: [u8; 16],
    commitment: [u8; 32],
    nonce: [u8; NONCE_LEN],
    sealed: [u8; KEY_LEN + TAG_LEN],
}

pub const SLOT_LEN: usize = size_of::<RawSlot>();
/// What says which key is meant and how it is made.
const MEANING_LEN: usize = 52;
/// What the sealed master key is bound to.
const BOUND_LEN: usize = 84;
const _: () = assert!(SLOT_LEN == 144);
const _: () = assert!(std::mem::offset_of!(RawSlot, commitment) == MEANING_LEN);
const _: () = assert!(std::mem::offset_of!(RawSlot, nonce) == BOUND_LEN);

/// How many shares a kit has, and how many of them open it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KitShape {
    shares: u8,
    need: u8,
}

impl KitShape {
    /// `need` of `shares`; at least one, at most sixteen.
    #[must_use]
    pub fn new(need: u8, shares: u8) -> Option<Self> {
        ((1..=SHARES_MAX).contains(&shares) && (1..=shares).contains(&need))
            .then_some(Self { shares, need })
    }

    #[must_use]
    pub fn shares(self) -> u8 {
        self.shares
    }

    #[must_use]
    pub fn need(self) -> u8 {
        self.need
    }
}

/// Who opens a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotKind {
    Passphrase(KdfParams),
    Kit { kit: KitId, shape: KitShape },
}

/// Why bytes are no slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SlotFault {
    #[error("slot kind {found} is not defined")]
    Kind { found: u8 },
    #[error("slot parameters are out of bounds: {0}")]
    Kdf(#[source] KdfError),
    #[error("{need} of {shares} shares are no kit")]
    Shape { need: u8, shares: u8 },
    #[error("a field that this kind of slot does not have is not zero")]
    Reserved,
    #[error("slot and key numbers begin with 1")]
    Number,
}

/// A master key, wrapped. Parameters were checked before this exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    raw: RawSlot,
    kind: SlotKind,
}

/// The two keys a slot's secret gives: what wraps, and what proves which one wraps.
struct SlotKeys {
    wrapping: Cipher,
    commitment: [u8; 32],
}

fn slot_keys(secret: &[u8; KEY_LEN], vault: VaultId, raw: &RawSlot) -> SlotKeys {
    let parts = [&secret[..], &vault.0, &raw.as_bytes()[..MEANING_LEN]];
    SlotKeys {
        wrapping: Cipher::new(&derive("keelhold 2026 vault slot key", &parts)),
        commitment: *derive("keelhold 2026 vault slot commitment", &parts),
    }
}

/// What is written into a new slot beside keys.
#[derive(Debug, Clone, Copy)]
pub(super) struct SlotPlan {
    pub number: u8,
    pub kind: SlotKind,
    pub made_at: i64,
    pub salt: [u8; 16],
}

impl Slot {
    pub(super) fn make(
        master: &MasterKey,
        plan: &SlotPlan,
        secret: &[u8; KEY_LEN],
        random: &mut impl Random,
    ) -> Self {
        let mut raw = RawSlot::read_from_bytes(&[0; SLOT_LEN]).expect("size is asserted above");
        raw.number = plan.number;
        raw.key_number = U32::new(master.number);
        raw.made_at = I64::new(plan.made_at);
        raw.salt = plan.salt;
        match plan.kind {
            SlotKind::Passphrase(params) => {
                raw.kind = 1;
                raw.memory_kib = U32::new(params.memory_kib());
                raw.passes = U32::new(params.passes());
                raw.lanes = U32::new(params.lanes());
            }
            SlotKind::Kit { kit, shape } => {
                raw.kind = 2;
                (raw.shares, raw.need, raw.kit) = (shape.shares, shape.need, kit.0);
            }
        }
        let keys = slot_keys(secret, master.vault, &raw);
        raw.commitment = keys.commitment;
        random.fill(&mut raw.nonce);
        let mut sealed = [0; KEY_LEN + TAG_LEN];
        keys.wrapping.seal_into(
            raw.nonce,
            &raw.bound(master.vault),
            &master.bytes[..],
            &mut sealed,
        );
        raw.sealed = sealed;
        Self { raw, kind: plan.kind }
    }

    /// The wrapped key; `None` if this secret is not the one that wraps it.
    pub(super) fn open(
        &self,
        vault: VaultId,
        secret: &[u8; KEY_LEN],
    ) -> Option<Result<MasterKey, keelhold_cipher::Unsealable>> {
        let keys = slot_keys(secret, vault, &self.raw);
        if keys.commitment != self.raw.commitment {
            return None;
        }
        let mut room = Zeroizing::new(self.raw.sealed);
        let opened = keys.wrapping.open(self.raw.nonce, &self.raw.bound(vault), &mut room[..]);
        Some(opened.map(|_| {
            let mut bytes = Zeroizing::new([0; KEY_LEN]);
            bytes.copy_from_slice(&room[..KEY_LEN]);
            MasterKey::from_bytes(vault, self.raw.key_number.get(), bytes)
        }))
    }

    #[must_use]
    pub fn is_passphrase(&self) -> bool {
        matches!(self.kind(), SlotKind::Passphrase(_))
    }

    #[must_use]
    pub fn kind(&self) -> SlotKind {
        self.kind
    }

    #[must_use]
    pub fn number(&self) -> u8 {
        self.raw.number
    }

    #[must_use]
    pub fn made_at(&self) -> i64 {
        self.raw.made_at.get()
    }

    pub(super) fn salt(&self) -> &[u8; 16] {
        &self.raw.salt
    }

    #[must_use]
    pub fn to_bytes(&self) -> [u8; SLOT_LEN] {
        let mut bytes = [0; SLOT_LEN];
        bytes.copy_from_slice(self.raw.as_bytes());
        bytes
    }

    pub fn from_bytes(bytes: &[u8; SLOT_LEN]) -> Result<Self, SlotFault> {
        let raw = RawSlot::read_from_bytes(bytes).expect("size is asserted above");
        if raw.number == 0 || raw.key_number.get() == 0 {
            return Err(SlotFault::Number);
        }
        let costs = [raw.memory_kib, raw.passes, raw.lanes].map(U32::get);
        let kind = match raw.kind {
            1 => {
                if (raw.shares, raw.need, raw.kit) != (0, 0, [0; 8]) {
                    return Err(SlotFault::Reserved);
                }
                let params = KdfParams::new(costs[0], costs[1], costs[2]);
                SlotKind::Passphrase(params.map_err(SlotFault::Kdf)?)
            }
            2 => {
                if costs != [0; 3] {
                    return Err(SlotFault::Reserved);
                }
                let shape = KitShape::new(raw.need, raw.shares)
                    .ok_or(SlotFault::Shape { need: raw.need, shares: raw.shares })?;
                SlotKind::Kit { kit: KitId(raw.kit), shape }
            }
            found => return Err(SlotFault::Kind { found }),
        };
        Ok(Self { raw, kind })
    }
}

impl RawSlot {
    fn bound(&self, vault: VaultId) -> Vec<u8> {
        [&vault.0[..], &self.as_bytes()[..BOUND_LEN]].concat()
    }
}

#[cfg(test)]
pub(super) fn fields() -> crate::layout::Fields {
    crate::layout::fields!(RawSlot: kind, number, shares, need, key_number, memory_kib, passes, lanes, kit, made_at, salt, commitment, nonce, sealed)
}
